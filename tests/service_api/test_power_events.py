"""Times on battery through the doors: listed, drawn, and what became of the promise."""

from datetime import timedelta

import psycopg
import pytest

from collector.power_store import find_power_events
from service_api.power_events.picture import HEIGHT, WIDTH, picture_of
from service_api.power_events.schemas import TracePoint
from tests.service_api.conftest import Doors


@pytest.fixture(scope="module")
def unit(doors: Doors) -> int:
    """A unit of the bank that ran twenty minutes on a battery that promised twice as much."""
    device_id = next(
        doors.fleet.devices[key] for key, owner in doors.fleet.owner_of.items() if owner == "bank"
    )
    begin = doors.now - timedelta(hours=5)
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute("SELECT ensure_partition('telemetry', %s)", (begin,))
        for second in range(-60, 1_260, 15):
            on = 0 <= second < 1_200
            left = 1 - max(0, min(second, 1_200)) / 1_800
            admin.execute(
                """
                INSERT INTO telemetry (device_id, observed_at, received_at, status_on_battery,
                    battery_charge, battery_runtime, ups_load, battery_voltage, ups_realpower)
                VALUES (%s, %s, %s, %s, %s, %s, 40, 52, 800) ON CONFLICT DO NOTHING
                """,
                (
                    device_id,
                    begin + timedelta(seconds=second),
                    begin + timedelta(seconds=second),
                    on,
                    100 * left,
                    3_600 * left,
                ),
            )
        admin.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        find_power_events(admin, now=doors.now)
    return device_id


def test_an_episode_is_listed_with_its_proof(doors: Doors, unit: int):
    bank = doors.api("bank")
    (event,) = bank.get(f"/api/v1/power-events?device_id={unit}&proved=true").json()["items"]
    assert (event["kind"], event["seconds"]) == ("outage", 1_200.0)
    assert event["watt_hours"] == pytest.approx(800 * 1_200 / 3_600)
    assert event["proved_seconds"] / event["proved_promise"] == pytest.approx(0.5, rel=0.05)
    detail = bank.get(f"/api/v1/power-events/{event['id']}").json()
    assert len(detail["trace"]) == 80 + 8
    assert bank.get(f"/api/v1/power-events?device_id={unit}&kind=self_test").json()["total"] == 0
    late = (doors.now - timedelta(hours=1)).isoformat()
    asked = bank.get("/api/v1/power-events", params={"device_id": unit, "since": late})
    assert asked.json()["total"] == 0


def test_the_unit_s_promises_are_trusted_less_afterwards(doors: Doors, unit: int):
    told = doors.api("bank").get(f"/api/v1/devices/{unit}/runtime-proof").json()
    assert told["episodes"] == 1
    assert 0.5 < told["ratio"] < 0.9
    others = [one for one in doors.fleet.devices.values() if one != unit]
    assert doors.api("desk").get(f"/api/v1/devices/{others[0]}/runtime-proof").json() is None


def test_another_customer_sees_none_of_it(doors: Doors, unit: int):
    mill = doors.api("mill")
    event = doors.api("desk").get(f"/api/v1/power-events?device_id={unit}").json()["items"][0]
    assert mill.get(f"/api/v1/power-events?device_id={unit}").json()["total"] == 0
    assert mill.get(f"/api/v1/power-events/{event['id']}").status_code == 404
    assert mill.get(f"/api/v1/devices/{unit}/runtime-proof").status_code == 404


def test_the_pages_show_it(doors: Doors, unit: int):
    bank = doors.page("bank")
    event = doors.api("bank").get(f"/api/v1/power-events?device_id={unit}").json()["items"][0]
    page = bank.get(f"/power-events/{event['id']}").text
    assert "<polyline" in page
    assert "What became of the promise" in page
    assert f"/power-events/{event['id']}" in bank.get(f"/devices/{unit}").text
    assert f"/power-events/{event['id']}" in bank.get("/power-events").text


def test_the_picture_stays_in_its_box_and_ends_the_promise_where_it_ends(doors: Doors, unit: int):
    detail = doors.api("bank").get(f"/api/v1/power-events?device_id={unit}").json()["items"][0]
    begin = doors.now - timedelta(hours=5)
    assert detail["began_at"].startswith(begin.isoformat()[:16])

    class _Event:
        began_at = begin

    trace = [
        TracePoint(begin + timedelta(seconds=s), True, 130.0 - s / 4, -5.0, 52.0, 120.0)
        for s in range(0, 600, 60)
    ]
    picture = picture_of(_Event(), trace)
    places = [
        tuple(map(float, pair.split(",")))
        for line in (picture.charge, picture.load, picture.promise)
        for pair in line.split()
    ]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    end = picture.promise.split()[-1]
    assert end == f"{(60 + 120) / 540 * WIDTH:.1f},{HEIGHT:.1f}"
    assert picture_of(_Event(), trace[:1]) is None
