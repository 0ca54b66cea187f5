"""What people do with alarms and tickets, over the API and on pages; each step can be undone."""

from datetime import datetime, timedelta

import pytest

from tests.service_api.conftest import Doors
from tests.service_api.test_doors import form_token


def test_an_acknowledgement_is_taken_and_taken_back_with_both_in_the_log(doors: Doors):
    desk = doors.api("desk")
    path = f"/api/v1/alarms/{doors.fleet.alarms['bypass']}"
    done = desk.post(f"{path}/acknowledge").json()
    assert (done["acknowledged_by"], done["state"]) == ("desk", "active")
    again = desk.post(f"{path}/acknowledge")
    assert again.status_code == 409
    assert again.json()["detail"] == "Acknowledged already, by desk."
    assert desk.post(f"{path}/unacknowledge").json()["acknowledged_at"] is None
    kinds = [(line["kind"], line["actor"]) for line in desk.get(f"{path}/log").json()]
    assert kinds == [("unacknowledged", "desk"), ("acknowledged", "desk"), ("raised", "rule")]


def test_a_shelved_alarm_needs_a_reason_and_an_end_within_a_day(doors: Doors):
    desk = doors.api("desk")
    path = f"/api/v1/alarms/{doors.fleet.alarms['load']}"
    end = (doors.now + timedelta(hours=2)).isoformat()
    assert desk.post(f"{path}/shelve", json={"until_at": end}).status_code == 422
    assert desk.post(f"{path}/shelve", json={"until_at": end, "reason": ""}).status_code == 422
    naive = {"until_at": "2026-03-02T09:00:00", "reason": "planned"}
    assert desk.post(f"{path}/shelve", json=naive).status_code == 422
    late = {"until_at": (doors.now + timedelta(hours=30)).isoformat(), "reason": "planned"}
    assert desk.post(f"{path}/shelve", json=late).status_code == 409
    done = desk.post(f"{path}/shelve", json={"until_at": end, "reason": "planned"}).json()
    assert done["shelve_reason"] == "planned"
    listed = desk.get("/api/v1/alarms?state=shelved").json()["items"]
    assert doors.fleet.alarms["load"] in [alarm["id"] for alarm in listed]
    assert desk.post(f"{path}/unshelve").json()["shelved_until_at"] is None


def test_a_critical_alarm_is_shelved_for_a_shift_at_most(doors: Doors):
    desk = doors.api("desk")
    critical = desk.get("/api/v1/alarms?severity=critical").json()["items"][0]["id"]
    path = f"/api/v1/alarms/{critical}"

    def shelved_for(hours: float) -> int:
        until = (doors.now + timedelta(hours=hours)).isoformat()
        return desk.post(f"{path}/shelve", json={"until_at": until, "reason": "known"}).status_code

    assert shelved_for(8.1) == 409
    assert shelved_for(8) == 200
    assert desk.get(path).json()["isa_state"] == "shelved"
    assert desk.post(f"{path}/unshelve").json()["isa_state"] == "unacknowledged"
    assert desk.post(f"{path}/acknowledge").json()["isa_state"] == "acknowledged"
    assert desk.post(f"{path}/unacknowledge").json()["isa_state"] == "unacknowledged"


def test_only_a_stale_alarm_is_closed_by_hand(doors: Doors):
    desk = doors.api("desk")
    standing = f"/api/v1/alarms/{doors.fleet.alarms['worn']}/close"
    assert desk.post(standing, json={"reason": "gone"}).status_code == 409
    stale = f"/api/v1/alarms/{doors.fleet.alarms['stale']}/close"
    closed = desk.post(stale, json={"reason": "Seen on site: the fan runs."}).json()
    assert closed["state"] == "cleared"
    assert closed["cleared_at"] is not None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=cleared", {"past", "stale"}),
        ("severity=critical", {"low_battery"}),
        ("acknowledged=true", {"worn"}),
        ("state=all&rule=on_bypass", {"bypass"}),
    ],
)
def test_alarms_are_filtered(doors: Doors, query: str, expected: set[str]):
    found = {
        alarm["id"] for alarm in doors.api("desk").get(f"/api/v1/alarms?{query}").json()["items"]
    }
    names = {name for name, alarm in doors.fleet.alarms.items() if alarm in found}
    assert names - {"stale"} == expected - {"stale"}


def test_an_alarm_tells_its_reason_incident_and_ticket(doors: Doors):
    alarm = doors.api("bank").get(f"/api/v1/alarms/{doors.fleet.alarms['low_battery']}").json()
    assert alarm["reason"]["values"] == {"status_low_battery": True, "status_on_battery": True}
    assert alarm["incident_id"] == doors.fleet.incident
    assert alarm["ticket_id"] == doors.fleet.tickets["low"]
    assert (alarm["title_en"], alarm["title_zh"]) == (
        "Low battery while on battery",
        "电池供电且电量低",
    )


def test_an_incident_counts_its_units_and_tells_the_shortest_time(doors: Doors):
    incident = doors.api("desk").get("/api/v1/incidents").json()["items"][0]
    assert (incident["units"], incident["units_on_battery"]) == (4, 4)
    assert incident["runtime_left_seconds"] == pytest.approx(246)
    assert incident["shortest_device"] == "UPS bank-1-u1"
    assert incident["severity"] == "critical"
    assert incident["ticket_id"] == doors.fleet.tickets["low"]
    alarms = doors.api("desk").get(f"/api/v1/alarms?incident_id={incident['id']}").json()
    assert alarms["total"] == 5


def test_a_ticket_tells_why_what_was_promised_and_what_holds(doors: Doors):
    ticket = doors.api("bank").get(f"/api/v1/tickets/{doors.fleet.tickets['low']}").json()
    assert ticket["reason"]["condition"] == "status_low_battery AND status_on_battery"
    assert ticket["readings_now"]["status_low_battery"] is True
    assert [one["holds"] for one in ticket["entitlement"]["conditions"]] == [True, True, None]
    promises = {one["promise"]: one for one in ticket["deadlines"]}
    assert promises["respond"]["state"] == "running"
    opened = datetime.fromisoformat(ticket["opened_at"])
    assert datetime.fromisoformat(promises["respond"]["due_at"]) == opened + timedelta(minutes=120)
    late = doors.api("desk").get(f"/api/v1/tickets/{doors.fleet.tickets['worn']}").json()
    assert [one["state"] for one in late["deadlines"]] == ["met", "missed"]
    listed = doors.api("desk").get("/api/v1/tickets?state=late").json()["items"]
    assert [one["id"] for one in listed] == [doors.fleet.tickets["worn"]]


def test_a_ticket_goes_its_way_and_back(doors: Doors):
    desk = doors.api("desk")
    new = {"site_id": doors.fleet.sites["mill-1"], "title": "Check the fan", "severity": "warning"}
    ticket = desk.post("/api/v1/tickets", json=new).json()
    path = f"/api/v1/tickets/{ticket['id']}"
    assert desk.post(f"{path}/start").json()["state"] == "in_progress"
    assert desk.post(f"{path}/start").status_code == 409
    wrong = desk.post(f"{path}/resolve", json={"closing_code": "magic"})
    assert wrong.status_code == 409
    done = desk.post(
        f"{path}/resolve", json={"closing_code": "repaired", "text": "Cleaned."}
    ).json()
    assert (done["state"], done["closing_code"]) == ("resolved", "repaired")
    assert desk.post(f"{path}/close", json={"closing_code": "repaired"}).json()["state"] == "closed"
    assert desk.post(f"{path}/reopen", json={"reason": ""}).status_code == 422
    opened = desk.post(f"{path}/reopen", json={"reason": "It hums again."}).json()
    assert (opened["state"], opened["reopened"], opened["closed_at"]) == ("open", 1, None)
    kinds = [line["kind"] for line in desk.get(f"{path}/log").json()]
    assert kinds == ["reopened", "closed", "resolved", "started", "opened"]


def test_a_ticket_whose_alarm_stands_is_not_closed(doors: Doors):
    path = f"/api/v1/tickets/{doors.fleet.tickets['low']}/close"
    answer = doors.api("desk").post(path, json={"closing_code": "repaired"})
    assert answer.status_code == 409
    assert "still stands" in answer.json()["detail"]


def test_the_page_acknowledges_many_at_once_and_says_so(doors: Doors):
    person = doors.page("desk")
    ids = [doors.fleet.alarms[f"on_battery_{n}"] for n in (2, 3, 4)]
    data = {"ids": ids, "csrf_token": form_token(person), "next": "/alarms?severity=major"}
    answer = person.post("/alarms/acknowledge", data=data)
    assert (answer.status_code, answer.headers["location"]) == (303, "/alarms?severity=major")
    shown = person.get("/alarms?severity=major").text
    assert "Acknowledged: 3" in shown
    assert "Acknowledged: 3" not in person.get("/alarms").text
    person.post("/alarms/unacknowledge", data=data)
    alarms = doors.api("desk").get("/api/v1/alarms?severity=major").json()["items"]
    assert all(alarm["acknowledged_at"] is None for alarm in alarms)


def test_ticked_alarms_come_back_and_what_does_not_fit_is_passed_over(doors: Doors):
    ids = [doors.fleet.alarms[f"on_battery_{n}"] for n in (2, 3)]
    until = (doors.now + timedelta(hours=2)).isoformat()
    shelving = {"until_at": until, "reason": "Known."}
    assert doors.api("desk").post(f"/api/v1/alarms/{ids[0]}/shelve", json=shelving).is_success
    person = doors.page("desk")
    data = {"ids": ids, "csrf_token": form_token(person), "next": "/alarms"}
    for deed, said in (("unshelve", "Brought back: 1"), ("reset", "Reset: 0")):
        assert person.post(f"/alarms/{deed}", data=data).status_code == 303
        assert said in person.get("/alarms").text
    assert person.post("/alarms/forget", data=data).status_code == 422


def test_the_ticket_page_offers_staff_the_next_step_and_a_customer_a_note(doors: Doors):
    path = f"/tickets/{doors.fleet.tickets['low']}"
    staff, customer = doors.page("desk").get(path).text, doors.page("bank").get(path).text
    assert "Take in hand" in staff
    assert "Dispatch" in staff
    assert "Take in hand" not in customer
    assert "Add note" in customer
    assert "Response within 2 hours, around the clock." in customer


def test_a_request_from_the_page_becomes_a_ticket(doors: Doors):
    person = doors.page("bank")
    data = {
        "about": f"device:{doors.fleet.devices['bank-2-u1']}",
        "title": "Fan is loud",
        "csrf_token": form_token(person),
    }
    answer = person.post("/tickets/new", data=data)
    assert answer.status_code == 303
    shown = person.get(answer.headers["location"]).text
    assert "Fan is loud" in shown
    foreign = data | {"about": f"device:{doors.fleet.devices['mill-1-u1']}"}
    assert person.post("/tickets/new", data=foreign).status_code == 404


def test_what_people_typed_is_shown_as_text(doors: Doors):
    evil = "<script>alert(1)</script>"
    new = {"site_id": doors.fleet.sites["bank-2"], "title": evil, "detail": evil}
    ticket = doors.api("bank").post("/api/v1/tickets", json=new).json()
    shown = doors.page("bank").get(f"/tickets/{ticket['id']}").text
    assert evil not in shown
    assert "&lt;script&gt;" in shown
