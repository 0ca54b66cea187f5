"""Taking units out of service, putting them back, and what pages say of what is quiet."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector.tick import tick
from rules.catalogue import catalogue
from rules.live import LiveRules
from service_api.database import open_pool
from tests.service_api.conftest import Doors
from tests.service_api.test_doors import form_token


def let_time_pass(doors: Doors, minutes: int = 0) -> None:
    pool = open_pool(doors.database.ingest_dsn, most=2, name="test")
    try:
        tick(pool, LiveRules(catalogue()), now=doors.now + timedelta(minutes=minutes))
    finally:
        pool.close()


@pytest.fixture(autouse=True)
def nothing_is_quiet(doors: Doors) -> Iterator[None]:
    """The doors are shared by the tests: what one suppressed, it ends."""
    yield
    desk = doors.api("desk")
    for one in desk.get("/api/v1/suppressions").json()["items"]:
        desk.post(f"/api/v1/suppressions/{one['id']}/end", json={})
    let_time_pass(doors)


def device_of(doors: Doors, alarm: str) -> int:
    found = doors.api("desk").get(f"/api/v1/alarms/{doors.fleet.alarms[alarm]}").json()
    return found["device_id"]


def test_a_unit_is_taken_out_of_service_and_put_back(doors: Doors):
    desk = doors.api("desk")
    alarm = f"/api/v1/alarms/{doors.fleet.alarms['bypass']}"
    device_id = device_of(doors, "bypass")
    asked = {"device_id": device_id, "reason": "Cabinet is being moved."}
    made = desk.post("/api/v1/suppressions", json=asked)
    assert made.status_code == 201
    assert desk.post("/api/v1/suppressions", json=asked).status_code == 409
    let_time_pass(doors)
    told = desk.get(alarm).json()
    assert (told["isa_state"], told["suppressed_for"]) == ("out_of_service", "out_of_service")
    standing = desk.get("/api/v1/alarms?quiet=false").json()["items"]
    assert told["id"] not in [one["id"] for one in standing]
    unit = desk.get("/api/v1/fleet?state=quiet").json()["items"]
    assert [(one["id"], one["quiet_for"]) for one in unit] == [(device_id, "out_of_service")]
    path = f"/api/v1/suppressions/{made.json()['id']}"
    assert desk.get(path).json()["alarms"] >= 1
    assert desk.post(f"{path}/end", json={"reason": "back in place"}).status_code == 200
    let_time_pass(doors)
    assert desk.get(alarm).json()["is_quiet"] is False
    assert [line["kind"] for line in desk.get(f"{path}/log").json()] == ["ended", "created"]


def test_one_rule_on_a_unit_is_taken_out_alone(doors: Doors):
    desk = doors.api("desk")
    device_id = device_of(doors, "bypass")
    until = (doors.now + timedelta(hours=3)).isoformat()
    asked = {"device_id": device_id, "rule": "on_bypass", "until_at": until, "reason": "known"}
    made = desk.post("/api/v1/suppressions", json=asked).json()
    assert made["rules"] == ["on_bypass"]
    let_time_pass(doors)
    others = desk.get(f"/api/v1/alarms?device_id={device_id}").json()["items"]
    assert {one["rule"] for one in others if one["is_quiet"]} >= {"on_bypass"}
    later = (doors.now + timedelta(hours=5)).isoformat()
    moved = desk.post(f"/api/v1/suppressions/{made['id']}/extend", json={"ends_at": later})
    assert moved.json()["ends_at"].startswith((doors.now + timedelta(hours=5)).isoformat()[:16])
    let_time_pass(doors, minutes=301)
    assert desk.get(f"/api/v1/suppressions/{made['id']}").json()["ended_by"] == "rules"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"device_id": 999_999, "reason": "x"}, 404),
        ({"reason": "x"}, 422),
        ({"device_id": 1, "reason": ""}, 422),
        ({"device_id": 1, "reason": "x", "until_at": "2026-03-02T09:00:00"}, 422),
        ({"device_id": 1, "reason": "x", "kind": "work_mode"}, 422),
    ],
)
def test_bad_orders_are_refused(doors: Doors, body: dict, status: int):
    assert doors.api("desk").post("/api/v1/suppressions", json=body).status_code == status


def test_a_customer_reads_their_own_and_takes_nothing_out(doors: Doors):
    desk, bank = doors.api("desk"), doors.api("bank")
    owners = {"bank": None, "other": None}
    for key, device_id in doors.fleet.devices.items():
        owners["bank" if doors.fleet.owner_of[key] == "bank" else "other"] = device_id
    for device_id in owners.values():
        asked = {"device_id": device_id, "reason": "known"}
        assert bank.post("/api/v1/suppressions", json=asked).status_code == 403
        assert desk.post("/api/v1/suppressions", json=asked).status_code == 201
    seen = bank.get("/api/v1/suppressions").json()["items"]
    assert [one["device_id"] for one in seen] == [owners["bank"]]
    assert desk.get("/api/v1/suppressions").json()["total"] == 2
    assert bank.post(f"/api/v1/suppressions/{seen[0]['id']}/end", json={}).status_code == 403


def test_the_page_takes_out_and_puts_back(doors: Doors):
    desk = doors.page("desk")
    device_id = device_of(doors, "bypass")
    sent = {
        "csrf_token": form_token(desk),
        "device_id": device_id,
        "days": 0,
        "reason": "Cabinet is being moved.",
        "next": f"/devices/{device_id}",
    }
    assert desk.post("/suppressions", data=sent).status_code == 303
    assert "Cabinet is being moved." in desk.get(f"/devices/{device_id}").text
    listed = desk.get("/suppressions").text
    assert "Cabinet is being moved." in listed
    made = doors.api("desk").get("/api/v1/suppressions").json()["items"][0]["id"]
    sent = {"csrf_token": form_token(desk), "next": "/suppressions"}
    assert desk.post(f"/suppressions/{made}/end", data=sent).status_code == 303
    assert doors.api("desk").get("/api/v1/suppressions").json()["items"] == []


def test_a_flood_is_grouped_by_cause_and_shown_line_by_line_on_request(doors: Doors):
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        admin.execute(
            """
            INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, state,
                raised_at, changed_at, reason)
            SELECT id, customer_id, site_id, 'high_load', 'warning', 'active', %(at)s, %(at)s, '{}'
            FROM device ON CONFLICT DO NOTHING
            """,
            {"at": doors.now - timedelta(minutes=2)},
        )
    told = doors.api("desk").get("/api/v1/alarms/groups").json()
    assert told["flood"]["alarms"] > 10
    high_load = next(one for one in told["groups"] if one["rule"] == "high_load")
    assert high_load["alarms"] == high_load["units"] > 10
    assert len(high_load["alarm_ids"]) == high_load["unacknowledged"]
    page = doors.page("desk")
    assert "Alarms by cause" in page.get("/alarms").text
    assert "Alarms by cause" not in page.get("/alarms?group=none").text
    assert "Alarms by cause" not in page.get("/alarms?severity=warning").text
