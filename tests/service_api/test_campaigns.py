"""Campaigns: found across customers, shown to staff alone, decided by a person."""

from datetime import timedelta

import psycopg
import pytest

from rules.campaign_store import find_campaigns
from rules.catalogue import catalogue
from tests.conftest import NOW
from tests.service_api.conftest import Doors


def raise_alarms(doors: Doors, rule: str, *units: str, days_ago: float = 1) -> None:
    for unit in units:
        doors.write(
            """
            INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, state,
                raised_at, changed_at, cleared_at, reason)
            SELECT id, customer_id, site_id, %s, 'major', 'cleared', %s, %s, %s, '{}'
            FROM device WHERE id = %s
            """,
            rule,
            *[NOW - timedelta(days=days_ago)] * 3,
            doors.fleet.devices[unit],
        )


def find(doors: Doors, now=NOW) -> int:
    with psycopg.connect(doors.database.ingest_dsn) as connection:
        return find_campaigns(connection, catalogue(), now=now)


@pytest.fixture(scope="module")
def found(doors: Doors) -> int:
    """Redundancy is lost at units of one model and firmware; all else stays below the bounds."""
    # Units are of three models in turn; these are all of the first.
    raise_alarms(doors, "redundancy_lost", "bank-1-u1", "bank-1-u4", "mill-1-u2")
    raise_alarms(doors, "internal_fault", "bank-1-u1", "bank-1-u4", "bank-2-u3")  # one customer
    raise_alarms(doors, "overload", "bank-1-u1", "mill-1-u2")  # two units
    raise_alarms(doors, "on_bypass", "bank-1-u1", "bank-1-u2", "mill-1-u2")  # two models
    raise_alarms(doors, "emergency_power_off", "bank-1-u1", "bank-1-u4", "mill-1-u2", days_ago=9)
    raise_alarms(doors, "low_battery", "mill-2-u1", "mill-2-u4", "clinic-1-u3")  # mains' doing
    assert find(doors) == 1
    assert find(doors) == 0
    ((campaign_id,),) = doors.write("SELECT id FROM campaign")
    return campaign_id


def test_what_several_customers_share_is_a_candidate(doors: Doors, found):
    (one,) = doors.api("desk").get("/api/v1/campaigns").json()["items"]
    assert (one["rule_key"], one["units"], one["customers"]) == ("redundancy_lost", 3, 2)
    assert (one["model"], one["firmware"]) == ("Model 3000", "1.2")
    assert one["fleet"] == 8
    assert "Redundancy lost" in doors.page("desk").get("/campaigns").text


@pytest.mark.parametrize("name", ["bank", "robot"])
def test_only_staff_see_campaigns(doors: Doors, found, name):
    assert doors.api(name).get("/api/v1/campaigns").status_code == 403
    assert doors.api(name).get(f"/api/v1/campaigns/{found}").status_code == 403
    with psycopg.connect(doors.database.api_dsn) as connection:
        connection.execute(
            "SELECT set_config('ridethrough.scope', %s, true)",
            (str(doors.fleet.customers["bank"]),),
        )
        assert connection.execute("SELECT count(*) FROM campaign").fetchone() == (0,)


def test_a_verdict_needs_a_reason_holds_and_is_taken_back(doors: Doors, found):
    desk = doors.api("desk")
    path = f"/api/v1/campaigns/{found}"
    assert desk.post(f"{path}/dismiss", json={"reason": ""}).status_code == 422
    told = desk.post(f"{path}/dismiss", json={"reason": "one delivery of modules"}).json()
    assert (told["state"], told["decided_by"]) == ("dismissed", "desk")
    assert desk.post(f"{path}/confirm", json={"reason": "x"}).status_code == 409
    assert find(doors, NOW + timedelta(days=1)) == 0  # not proposed again so soon
    assert desk.post(f"{path}/undo").json()["state"] == "candidate"
    assert desk.post(f"{path}/undo").status_code == 409
    assert desk.post(f"{path}/confirm", json={"reason": "the maker agrees"}).json()["state"] == (
        "confirmed"
    )
    assert find(doors) == 0
    assert desk.get("/api/v1/campaigns/999999").status_code == 404


def test_the_page_decides_too(doors: Doors, found):
    desk = doors.page("desk")
    text = desk.get("/campaigns", params={"state": "all"}).text
    token = text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert desk.post(f"/campaigns/{found}/undo", data={"csrf_token": token}).status_code == 303
    answer = desk.post(
        f"/campaigns/{found}/confirmed", data={"csrf_token": token, "reason": "seen at the maker"}
    )
    assert answer.status_code == 303
    assert "seen at the maker" in desk.get("/campaigns", params={"state": "confirmed"}).text
