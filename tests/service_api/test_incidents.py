"""Incidents through the doors: a region's storm, what customers see of it, and decisions."""

from datetime import timedelta

import pytest

from service_api.incidents.map import HEIGHT, WIDTH, spots
from service_api.incidents.schemas import IncidentSite
from tests.conftest import NOW
from tests.service_api.conftest import Doors


def hang(doors: Doors, site: str, substation: str) -> None:
    doors.api("desk").put(
        f"/api/v1/sites/{doors.fleet.sites[site]}/topology",
        json={"feeders": [{"key": "feed", "substation": substation}]},
    ).raise_for_status()


def fail(doors: Doors, site: str, **runtimes: float) -> int:
    """Write a mains failure of units of a site, each with its seconds left; returns it."""
    ((incident,),) = doors.write(
        """
        INSERT INTO incident (subject, cause, site_id, customer_id, opened_at)
        SELECT 'site:' || id, 'mains_failure', id, customer_id, %s FROM site WHERE key = %s
        RETURNING id
        """,
        NOW - timedelta(minutes=5),
        site,
    )
    for unit, seconds in runtimes.items():
        device = doors.fleet.devices[f"{site}-{unit}"]
        doors.write(
            """
            WITH new AS (
                INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, state,
                    raised_at, changed_at, reason, incident_id)
                SELECT id, customer_id, site_id, 'on_battery', 'major', 'active', %s, %s, '{}', %s
                FROM device WHERE id = %s RETURNING *)
            INSERT INTO incident_member (incident_id, alarm_id, device_id, customer_id, since_at,
                evidence)
            SELECT incident_id, id, device_id, customer_id, raised_at, '{"kind": "site"}' FROM new
            """,
            NOW - timedelta(minutes=5),
            NOW - timedelta(minutes=5),
            incident,
            device,
        )
        doors.write(
            """
            UPDATE device_state SET status_on_battery = true, status_on_line = false,
                observed_at = %s, battery_runtime = %s WHERE device_id = %s
            """,
            NOW,
            seconds,
            device,
        )
    return incident


@pytest.fixture(scope="module")
def storm(doors: Doors) -> dict[str, int]:
    """Two sites of two customers fed by one substation, gathered by hand."""
    hang(doors, "bank-2", "Lingang 110 kV")
    bank = fail(doors, "bank-2", u1=1_200.0, u2=600.0)
    metro = fail(doors, "metro-1", u1=900.0, u2=3_000.0, u3=60.0)
    answer = doors.api("desk").post(
        f"/api/v1/incidents/{bank}/merge",
        json={"incident_ids": [metro], "reason": "the utility called"},
    )
    assert answer.status_code == 200, answer.text
    return {"bank": bank, "metro": metro, "region": answer.json()["id"]}


def test_a_region_is_one_incident_with_its_units_in_the_order_of_need(doors: Doors, storm):
    told = doors.api("desk").get(f"/api/v1/incidents/{storm['region']}").json()
    assert (told["cause"], told["sites"], told["is_storm"]) == ("supply_failure", 2, True)
    weights = {"normal": 1.0, "high": 0.75, "critical": 0.5}
    known = {"bank-2-u1": 1_200, "bank-2-u2": 600, "metro-1-u1": 900, "metro-1-u2": 3_000,
             "metro-1-u3": 60}  # fmt: skip
    assert {unit["key"] for unit in told["members"]} == known.keys()
    weighted = [known[one["key"]] * weights[one["criticality"]] for one in told["members"]]
    assert weighted == sorted(weighted)
    assert told["members"][0]["key"] == "metro-1-u3"
    assert told["members"][0]["basis"] == "reported"
    assert [place["incident_id"] for place in told["places"]] == [storm["metro"], storm["bank"]]
    assert told["evidence"] == [{"kind": "hand", "members": 2}]
    assert [one["kind"] for one in told["timeline"]][-1] == "opened"
    assert told["decisions"][0]["reason"] == "the utility called"
    assert "2 sites" in told["statement_en"]


def test_the_list_has_the_region_and_not_its_sites_for_staff(doors: Doors, storm):
    ids = {one["id"] for one in doors.api("desk").get("/api/v1/incidents").json()["items"]}
    assert storm["region"] in ids
    assert not {storm["bank"], storm["metro"]} & ids


def test_a_customer_sees_their_site_and_nothing_of_the_region(doors: Doors, storm):
    bank = doors.api("bank")
    ids = {one["id"] for one in bank.get("/api/v1/incidents").json()["items"]}
    assert storm["bank"] in ids
    assert not {storm["region"], storm["metro"]} & ids
    assert bank.get(f"/api/v1/incidents/{storm['region']}").status_code == 404
    told = bank.get(f"/api/v1/incidents/{storm['bank']}").json()
    assert len(told["members"]) == 2
    assert told["decisions"] == []
    assert all(one["detail"] == {} for one in told["timeline"])
    assert "metro" not in doors.page("bank").get(f"/incidents/{storm['bank']}").text.lower()


@pytest.mark.parametrize("name", ["mill", "robot", "field"])
def test_who_does_not_dispatch_decides_nothing(doors: Doors, storm, name):
    for what, body in (
        ("merge", {"incident_ids": [1], "reason": "x"}),
        ("split", {"incident_ids": [1], "reason": "x"}),
        ("undo", {"decision_id": 1}),
        ("restoration", {"at": None}),
    ):
        answer = doors.api(name).post(f"/api/v1/incidents/{storm['region']}/{what}", json=body)
        assert answer.status_code == 403, what


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("merge", {"incident_ids": [], "reason": "x"}, 422),
        ("merge", {"incident_ids": [999_999], "reason": "x"}, 404),
        ("merge", {"incident_ids": [1], "reason": ""}, 422),
        ("split", {"reason": "x"}, 409),
        ("split", {"device_ids": [1], "color": "red", "reason": "x"}, 422),
        ("undo", {"decision_id": 999_999}, 404),
        ("restoration", {"at": "2026-03-02T09:00:00"}, 422),
        ("restoration", {"at": "2020-01-01T00:00:00Z"}, 409),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(doors: Doors, storm, what, body, status):
    answer = doors.api("desk").post(f"/api/v1/incidents/{storm['region']}/{what}", json=body)
    assert answer.status_code == status, answer.text


def test_the_page_of_a_storm_counts_down_and_shows_where(doors: Doors, storm):
    doors.write("UPDATE site SET latitude = 31.2, longitude = 121.5 WHERE key = 'bank-2'")
    doors.write("UPDATE site SET latitude = 30.9, longitude = 121.9 WHERE key = 'metro-1'")
    page = doors.page("desk").get(f"/incidents/{storm['region']}")
    assert page.status_code == 200
    assert 'data-left="60"' in page.text
    assert ">1:00</time>" in page.text
    assert '<svg class="map"' in page.text
    assert "countdown.js" in page.text
    assert "Take sites out" in page.text
    fleet = doors.page("desk").get("/").text
    assert "Regional mains failure" in fleet
    assert "Regional mains failure" in doors.page("desk").get("/wall").text
    assert f"/incidents/{storm['region']}" in fleet
    units = doors.api("desk").get("/api/v1/fleet", params={"incident_id": storm["region"]}).json()
    assert units["total"] == 5
    alarms = doors.api("desk").get("/api/v1/alarms", params={"incident_id": storm["region"]}).json()
    assert alarms["total"] == 5


def test_a_site_is_taken_out_by_form_and_put_back(doors: Doors, storm):
    desk = doors.page("desk")
    path = f"/incidents/{storm['region']}"
    token = desk.get(path).text.partition('name="csrf_token" value="')[2].partition('"')[0]
    refused = desk.post(f"{path}/split", data={"csrf_token": token, "reason": "x"})
    assert refused.status_code == 409
    answer = desk.post(
        f"{path}/split",
        data={"csrf_token": token, "reason": "own transformer", "child_id": [storm["metro"]]},
    )
    assert answer.headers["location"] == f"/incidents/{storm['metro']}"
    told = doors.api("desk").get(f"/api/v1/incidents/{storm['metro']}").json()
    assert told["parent_id"] is None
    assert told["timeline"][0]["kind"] == "released"
    decision = doors.api("desk").get(f"/api/v1{path}").json()["decisions"][0]
    assert decision["kind"] == "split"
    back = desk.post(f"{path}/undo", data={"csrf_token": token, "decision_id": decision["id"]})
    assert back.status_code == 303
    told = doors.api("desk").get(f"/api/v1/incidents/{storm['metro']}").json()
    assert told["parent_id"] == storm["region"]


def test_mains_that_is_expected_back_is_kept_and_taken_away(doors: Doors, storm):
    desk = doors.page("desk")
    path = f"/incidents/{storm['region']}"
    token = desk.get(path).text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert desk.post(
        f"{path}/restoration", data={"csrf_token": token, "minutes": "soon"}
    ).status_code == 422  # fmt: skip
    desk.post(f"{path}/restoration", data={"csrf_token": token, "minutes": "45"})
    told = doors.api("desk").get(f"/api/v1{path}").json()
    assert told["restore_expected_at"] == (NOW + timedelta(minutes=45)).isoformat().replace(
        "+00:00", "Z"
    )
    desk.post(f"{path}/restoration", data={"csrf_token": token, "minutes": ""})
    assert doors.api("desk").get(f"/api/v1{path}").json()["restore_expected_at"] is None


def place(key: int, latitude: float | None, longitude: float | None) -> IncidentSite:
    return IncidentSite(
        key, key, "S", "S", "C", "C", latitude, longitude, 1, 1, 0, 0, 0, "on_battery", None
    )


def test_the_map_has_north_at_the_top_and_one_scale():
    north, south, east = spots(
        [place(1, 31.5, 121.0), place(2, 30.5, 121.0), place(3, 31.0, 121.5), place(4, None, None)]
    )
    assert (north.y, south.y) == (36.0, HEIGHT - 36)  # a degree of latitude fills the height
    assert north.x == south.x < east.x
    # Half a degree of longitude at 31° N is 0.43° of latitude: cos 31° = 0.857.
    assert east.x - north.x == pytest.approx(0.5 * 0.857 * (HEIGHT - 72), abs=0.5)


@pytest.mark.parametrize("places", [[], [place(1, None, 3.0)]])
def test_without_coordinates_there_is_no_map(places):
    assert spots(places) == []


def test_one_site_stands_in_the_middle():
    (only,) = spots([place(1, 31.0, 121.0)])
    assert (only.x, only.y) == (WIDTH / 2, HEIGHT / 2)


def test_an_administrator_changes_the_bounds(doors: Doors):
    path = "/api/v1/incidents/bounds"
    before = doors.api("robot").get(path).json()
    assert before == {
        "regional_sites": 2,
        "regional_minutes": 10,
        "storm_units": 20,
        "back_minutes": 10,
        "low_seconds": 180,
    }
    assert doors.api("desk").put(path, json=before).status_code == 403
    assert doors.api("boss").put(path, json={**before, "storm_units": 1}).status_code == 422
    changed = {**before, "storm_units": 50}
    assert doors.api("boss").put(path, json=changed).json() == changed
    assert doors.api("desk").get(path).json() == changed
    assert doors.write("SELECT changed_by, changed_at FROM incident_bounds") == [("boss", NOW)]
    doors.api("boss").put(path, json=before)
