"""Problem records: found by themselves, once, moved on by people, and taken back."""

from datetime import timedelta

import psycopg
import pytest

from rules.problem_store import find_problems
from tests.service_api.conftest import Doors
from tests.service_api.test_doors import form_token

CLOSE = "UPDATE ticket SET closing_code = %s WHERE failure_mode = 'test_fan'"


def look(doors: Doors, days: float = 0) -> int:
    with psycopg.connect(doors.database.ingest_dsn) as connection:
        return find_problems(connection, now=doors.now + timedelta(days=days))


@pytest.fixture
def unit(doors: Doors) -> int:
    """A unit whose fan failed three times lately; whatever else comes back is forgotten."""
    device_id = next(
        doors.fleet.devices[key] for key, owner in doors.fleet.owner_of.items() if owner == "mill"
    )
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        admin.execute("DELETE FROM problem")
        for ago in (60, 30, 3):
            at = doors.now - timedelta(days=ago)
            admin.execute(
                """
                WITH new AS (
                    INSERT INTO ticket (customer_id, site_id, device_id, failure_mode, source,
                        title_en, title_zh, severity, priority, priority_terms, state, reason,
                        entitlement, opened_at, opened_by, closed_at, closing_code)
                    SELECT customer_id, site_id, id, 'test_fan', 'rule', 'Fan fault', '风扇故障',
                        'minor', 3, '[]', 'closed', '{}', '{}', %(at)s, 'rules', %(at)s, 'repaired'
                    FROM device WHERE id = %(id)s
                    AND NOT EXISTS (SELECT FROM ticket WHERE failure_mode = 'test_fan'
                        AND opened_at = %(at)s)
                    RETURNING id)
                INSERT INTO ticket_event (ticket_id, at, kind, actor)
                SELECT id, %(at)s, 'opened', 'rules' FROM new
                """,
                {"at": at, "id": device_id},
            )
    return device_id


def found(doors: Doors, unit: int) -> dict:
    items = doors.api("desk").get(f"/api/v1/problems?device_id={unit}&kind=unit").json()["items"]
    (one,) = [each for each in items if each["failure"] == "test_fan"]
    return one


def test_a_fault_that_comes_back_opens_one_record(doors: Doors, unit: int):
    assert look(doors) >= 1
    assert look(doors) == 0
    problem = found(doors, unit)
    assert (problem["state"], problem["times"], problem["title_zh"]) == ("detected", 3, "风扇故障")
    detail = doors.api("desk").get(f"/api/v1/problems/{problem['id']}").json()
    assert {one["about"] for one in detail["evidence"]} == {"ticket"}
    assert [one["kind"] for one in detail["log"]] == ["detected"]


def test_false_alarms_do_not_come_back(doors: Doors, unit: int):
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute(CLOSE, ("false_alarm",))
    look(doors)
    listed = doors.api("desk").get("/api/v1/problems?limit=500").json()["items"]
    assert "test_fan" not in {one["failure"] for one in listed}
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute(CLOSE, ("repaired",))


def test_it_is_taken_on_described_and_taken_back(doors: Doors, unit: int):
    desk = doors.api("desk")
    look(doors)
    path = f"/api/v1/problems/{found(doors, unit)['id']}"

    def move(to: str, reason: str = "") -> int:
        return desk.post(f"{path}/state", json={"to": to, "reason": reason}).status_code

    assert move("closed") == 409
    assert move("investigating") == 200
    assert move("known_error") == 409, "nothing is known yet"
    told = {"owner": "desk", "root_cause": "Bearings of one batch", "workaround": "Clean monthly"}
    assert desk.put(path, json=told).json()["problem"]["workaround"] == "Clean monthly"
    assert move("known_error") == 200
    back = desk.post(f"{path}/undo").json()["problem"]
    assert back["state"] == "investigating"
    assert desk.post(f"{path}/undo").json()["problem"]["state"] == "detected"
    assert desk.post(f"{path}/undo").status_code == 409
    assert desk.put(path, json={"nonsense": 1}).status_code == 422


def test_a_dismissed_one_stays_away_for_the_same_evidence(doors: Doors, unit: int):
    desk = doors.api("desk")
    look(doors)
    path = f"/api/v1/problems/{found(doors, unit)['id']}"
    assert desk.post(f"{path}/state", json={"to": "dismissed"}).status_code == 409
    done = desk.post(f"{path}/state", json={"to": "dismissed", "reason": "dusty room, cleaned"})
    assert done.json()["problem"]["settled_at"] is not None
    assert look(doors, days=1) == 0
    assert desk.put(path, json={"owner": "desk"}).status_code == 409
    assert desk.post(f"{path}/undo").json()["problem"]["state"] == "detected"


def test_the_workaround_is_where_the_engineer_looks(doors: Doors, unit: int):
    look(doors)
    problem = found(doors, unit)
    desk = doors.page("desk")
    sent = {"csrf_token": form_token(desk), "workaround": "Clean the filter first"}
    assert desk.post(f"/problems/{problem['id']}/describe", data=sent).status_code == 303
    assert "Clean the filter first" in desk.get(f"/devices/{unit}").text
    ticket = doors.api("desk").get(f"/api/v1/problems/{problem['id']}").json()["evidence"][0]["ref"]
    assert "Clean the filter first" in desk.get(f"/tickets/{ticket}").text
    assert "Fan fault" in desk.get("/problems").text
    sent = {"csrf_token": form_token(desk), "to": "investigating"}
    assert desk.post(f"/problems/{problem['id']}/state", data=sent).status_code == 303


def test_problems_are_for_staff_alone(doors: Doors, unit: int):
    look(doors)
    mill = doors.api("mill")
    assert mill.get("/api/v1/problems").status_code == 403
    assert "/problems/" not in doors.page("mill").get(f"/devices/{unit}").text
