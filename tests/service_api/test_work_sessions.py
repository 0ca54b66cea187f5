"""Engineers at work on a unit: its alarms are lines of the work, looked at before leaving."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from service_api.database import open_pool
from service_api.work_sessions.operations import NotFit, check_in, check_out
from tests.cast import HEALTHY, Service, register
from tests.service_api.conftest import Doors
from tests.service_api.test_doors import form_token


@pytest.fixture(autouse=True)
def everybody_leaves(doors: Doors) -> Iterator[None]:
    """The doors are shared by the tests."""
    yield
    desk = doors.api("desk")
    for one in desk.get("/api/v1/work-sessions").json()["items"]:
        desk.post(f"/api/v1/work-sessions/{one['id']}/check-out", json={"exception": "test over"})


def unit_of(doors: Doors, alarm: str) -> int:
    found = doors.api("desk").get(f"/api/v1/alarms/{doors.fleet.alarms[alarm]}").json()
    return found["device_id"]


def test_checking_in_twice_is_one_session_and_another_is_refused(doors: Doors):
    desk, engineer = doors.api("desk"), doors.api("field")
    body = {"device_id": unit_of(doors, "bypass"), "reason": "Bypass is looked into"}
    first = engineer.post("/api/v1/work-sessions", json=body)
    assert first.status_code == 201, first.text
    assert engineer.post("/api/v1/work-sessions", json=body).json()["id"] == first.json()["id"]
    refused = desk.post("/api/v1/work-sessions", json=body)
    assert refused.status_code == 409
    assert "Field has checked in" in refused.json()["detail"]
    quiet = desk.get("/api/v1/suppressions").json()["items"]
    assert [one["kind"] for one in quiet] == ["work_mode"]


def test_checking_out_names_what_is_wrong_and_wants_a_reason(doors: Doors):
    engineer = doors.api("field")
    body = {"device_id": unit_of(doors, "bypass"), "reason": "Bypass is looked into"}
    path = f"/api/v1/work-sessions/{engineer.post('/api/v1/work-sessions', json=body).json()['id']}"
    found = {one["key"]: one["verdict"] for one in engineer.get(f"{path}/checks").json()}
    assert found["status_bypass"] == "failed"
    refused = engineer.post(f"{path}/check-out", json={})
    assert refused.status_code == 409
    assert "bypass" in refused.json()["detail"]
    left = engineer.post(f"{path}/check-out", json={"exception": "Part ordered, comes on Friday"})
    assert left.json()["exception"] == "Part ordered, comes on Friday"
    assert left.json()["is_armed"] is True
    assert engineer.post(f"{path}/check-out", json={"exception": "x"}).status_code == 409


def test_checking_out_of_another_unit_than_the_records_know_wants_a_reason(doors: Doors):
    engineer, device_id = doors.api("field"), unit_of(doors, "load")
    body = {"device_id": device_id, "reason": "Board replaced"}
    made = engineer.post("/api/v1/work-sessions", json=body).json()

    def verdict(serial: str) -> str:
        with psycopg.connect(doors.database.admin_dsn) as admin:
            admin.execute(
                "UPDATE device SET serial = %s, serial_confirmed = 'SN-KNOWN' WHERE id = %s",
                (serial, device_id),
            )
        checks = engineer.get(f"/api/v1/work-sessions/{made['id']}/checks").json()
        return {one["key"]: one["verdict"] for one in checks}["identity"]

    told = [verdict(serial) for serial in ("SN-OTHER", "unknown", "SN-KNOWN")]
    assert told == ["failed", "unknown", "passed"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"device_id": 999_999, "reason": "x"}, 404),
        ({"device_id": 1}, 409),
        ({"device_id": 1, "work_order_id": 999_999}, 404),
        ({"device_id": 1, "reason": "x", "hours": 25}, 422),
        ({"device_id": 1, "reason": "x", "hours": 0}, 422),
    ],
)
def test_bad_check_ins_are_refused(doors: Doors, body: dict, status: int):
    body = {**body, "device_id": unit_of(doors, "load")} if body["device_id"] == 1 else body
    assert doors.api("field").post("/api/v1/work-sessions", json=body).status_code == status


def test_a_customer_does_not_check_in(doors: Doors):
    body = {"device_id": unit_of(doors, "load"), "reason": "x"}
    assert doors.api("bank").post("/api/v1/work-sessions", json=body).status_code == 403


def test_the_session_is_prolonged_for_a_day_at_most(doors: Doors):
    engineer = doors.api("field")
    body = {"device_id": unit_of(doors, "load"), "reason": "x"}
    made = engineer.post("/api/v1/work-sessions", json=body).json()
    path = f"/api/v1/work-sessions/{made['id']}/extend"
    later = (doors.now + timedelta(hours=12)).isoformat()
    assert engineer.post(path, json={"until_at": later}).json()["until_at"] != made["until_at"]
    too_late = (doors.now + timedelta(hours=25)).isoformat()
    assert engineer.post(path, json={"until_at": too_late}).status_code == 409


def test_the_page_checks_in_and_out_on_a_phone(doors: Doors):
    engineer = doors.page("field")
    device_id = unit_of(doors, "bypass")
    token = form_token(engineer)
    sent = {"csrf_token": token, "device_id": device_id, "reason": "Look at it", "hours": 4}
    answer = engineer.post("/work-sessions", data=sent)
    assert answer.status_code == 303, answer.text
    shown = engineer.get(answer.headers["location"])
    assert "Check out with exceptions" in shown.text
    assert "Work under way" in engineer.get(f"/devices/{device_id}").text
    where = f"{answer.headers['location']}/check-out"
    assert engineer.post(where, data={"csrf_token": token}).status_code == 409
    left = engineer.post(where, data={"csrf_token": token, "exception": "Part ordered"})
    assert left.status_code == 303
    assert "Part ordered" in engineer.get(answer.headers["location"]).text


def test_alarms_meanwhile_are_lines_and_what_stands_at_check_out_opens_its_ticket(database):
    service = Service(database.ingest_dsn)
    api = open_pool(database.api_dsn, most=2, name="test")
    (ups,) = register(database.admin_dsn)
    service.beat()

    def say(points: dict, seconds: int) -> None:
        for _ in range(0, seconds, 15):
            service.tell(ups, valid=45, **points)
            service.run(15, step=15)

    def as_staff(connection: psycopg.Connection) -> None:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")

    try:
        with api.connection() as connection:
            as_staff(connection)
            session_id = check_in(
                connection,
                device_id=ups,
                work_order_id=None,
                reason="fans are exchanged",
                hours=4,
                actor="wei",
                now=service.clock.now,
            )
        fan = HEALTHY | {"alarm_fan_fault": True}
        say(fan, 300)
        assert service.rows("SELECT id FROM ticket") == []
        with api.connection() as connection:
            as_staff(connection)
            now = service.clock.now
            with pytest.raises(NotFit, match="Fan fault"):
                check_out(connection, session_id, exception="", actor="wei", now=now)
        with api.connection() as connection:
            as_staff(connection)
            check_out(
                connection,
                session_id,
                exception="one fan is missing",
                actor="wei",
                now=service.clock.now,
            )
        say(fan, 30)
        assert service.rows("SELECT failure_mode FROM ticket") == [("fan_fault",)]
    finally:
        api.close()
        service.close()


def test_a_forgotten_check_in_is_no_hole(database):
    service = Service(database.ingest_dsn)
    (ups,) = register(database.admin_dsn)
    service.beat()
    try:
        with service.pool.connection() as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        api = open_pool(database.api_dsn, most=1, name="test")
        with api.connection() as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            check_in(
                connection,
                device_id=ups,
                work_order_id=None,
                reason="fans",
                hours=0.1,
                actor="wei",
                now=service.clock.now,
            )
        api.close()
        fan = HEALTHY | {"alarm_fan_fault": True}
        for _ in range(30):
            service.tell(ups, valid=45, **fan)
            service.run(15, step=15)
        assert service.rows("SELECT failure_mode FROM ticket") == [("fan_fault",)]
    finally:
        service.close()
