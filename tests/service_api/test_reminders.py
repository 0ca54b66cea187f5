"""Reminders through HTTP: staff see and change them, customers do not."""

from datetime import timedelta

import pytest
from psycopg_pool import ConnectionPool

from service_api.calendar_facts import CalendarFacts


@pytest.fixture(scope="module")
def reminder(doors):
    doors.write(
        "UPDATE device SET warranty_until = %s, installed_on = NULL"
        " WHERE id = (SELECT min(id) FROM device)",
        (doors.now + timedelta(days=20)).date(),
    )
    with ConnectionPool(doors.database.ingest_dsn, min_size=1, max_size=2, open=True) as pool:
        CalendarFacts().look_at_dates(pool, doors.now)
    found = doors.api("desk").get("/api/v1/reminders?kind=date").json()["items"]
    mine = min(doors.fleet.devices.values())
    return next(one for one in found if (one["rule"], one["device_id"]) == ("warranty_ends", mine))


def test_a_reminder_says_what_about_whom_how_far_and_who_must_act(doors, reminder):
    assert (reminder["owner"], reminder["step"], reminder["said_en"], reminder["said_zh"]) == (
        "sales",
        30.0,
        "in 20 days",
        "还有 20 天",
    )
    missing = doors.api("desk").get("/api/v1/reminders?kind=missing&owner=data").json()
    assert "install_date_missing" in {one["rule"] for one in missing["items"]}


def test_staff_take_it_put_it_off_and_undo_both(doors, reminder):
    client, path = doors.api("desk"), f"/api/v1/reminders/{reminder['id']}"
    assert client.post(f"{path}/take").status_code == 204
    assert client.get(path).json()["taken_by"] == "desk"
    assert client.post(f"{path}/give-back").status_code == 204
    until = (doors.now + timedelta(days=3)).isoformat()
    body = {"until_at": until, "reason": "offer is out"}
    assert client.post(f"{path}/put-off", json=body).status_code == 204
    shown = client.get("/api/v1/reminders?kind=date").json()["items"]
    assert reminder["id"] not in {one["id"] for one in shown}
    hidden = client.get("/api/v1/reminders?state=put_off").json()["items"]
    assert [one["put_off_reason"] for one in hidden] == ["offer is out"]
    assert client.post(f"{path}/bring-back").status_code == 204
    assert client.post(f"{path}/bring-back").status_code == 409
    kinds = [one["kind"] for one in client.get(f"{path}/events").json()]
    assert kinds == ["raised", "step", "taken", "given_back", "put_off", "brought_back"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"until_at": "2026-03-09T08:00:00", "reason": "x"}, 422),
        ({"until_at": "2026-03-09T08:00:00Z"}, 422),
        ({"until_at": "2026-03-09T08:00:00Z", "reason": "x", "more": 1}, 422),
        ({"until_at": "2020-03-09T08:00:00Z", "reason": "x"}, 409),
    ],
)
def test_what_is_wrong_is_refused(doors, reminder, body, status):
    path = f"/api/v1/reminders/{reminder['id']}/put-off"
    assert doors.api("desk").post(path, json=body).status_code == status


def test_a_customer_neither_sees_nor_changes_them(doors, reminder):
    client = doors.api("bank")
    assert client.get("/api/v1/reminders").json()["items"] == []
    assert client.get(f"/api/v1/reminders/{reminder['id']}").status_code == 404
    assert client.post(f"/api/v1/reminders/{reminder['id']}/take").status_code == 403
    assert doors.page("bank").get("/reminders").status_code == 403


def test_the_page_lists_them_with_their_buttons(doors, reminder):
    page = doors.page("desk").get("/reminders", headers={"accept-language": "en"}).text
    assert "Warranty ends" in page
    assert f"/reminders/{reminder['id']}/put-off" in page
    assert doors.page("desk").get("/reminders?state=closed").status_code == 200
