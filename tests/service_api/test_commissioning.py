"""The guided test of a unit's alarms, from readings to the report that both parties signed."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from rules.commissioning import sealed
from rules.operations import OperationRefused
from service_api.commissioning import operations, store
from service_api.database import open_pool
from tests.cast import HEALTHY, ON_BATTERY, Service, register
from tests.service_api.conftest import Doors
from tests.service_api.test_doors import form_token


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


class Engineer:
    """Somebody of the staff, at the unit with a phone."""

    def __init__(self, service: Service, dsn: str) -> None:
        self.service = service
        self.pool = open_pool(dsn, most=2, name="test")

    def do(self, deed, *arguments: object, **more: object) -> object:
        with self.pool.connection() as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            return deed(connection, *arguments, **more)

    def now(self) -> dict:
        return {"now": self.service.clock.now}


@pytest.fixture
def engineer(service: Service, database) -> Iterator[Engineer]:
    made = Engineer(service, database.api_dsn)
    yield made
    made.pool.close()


def say(service: Service, unit: int, points: dict, seconds: int) -> None:
    for _ in range(0, seconds, 15):
        service.tell(unit, valid=45, **points)
        service.run(15, step=15)


def test_alarms_are_provoked_seen_and_signed_for(service, engineer, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    say(service, ups, HEALTHY, 30)
    test = engineer.do(operations.begin, ups, actor="wei", **engineer.now())
    assert engineer.do(operations.begin, ups, actor="wei", **engineer.now()) == test

    def states() -> dict[str, str]:
        told = engineer.do(store.commissioning, test)
        return {one.rule: one.state.value for one in told.steps}

    assert states() == dict.fromkeys(
        ["on_battery", "low_battery", "overload", "communication_lost"], "waiting"
    )
    engineer.do(operations.provoke, test, "on_battery", **engineer.now())
    say(service, ups, ON_BATTERY, 90)
    engineer.do(operations.look, test, **engineer.now())
    say(service, ups, HEALTHY, 60)
    assert states()["on_battery"] == "passed"
    assert service.rows("SELECT id FROM ticket") == []
    assert service.rows("SELECT id FROM incident") == []

    engineer.do(operations.provoke, test, "overload", **engineer.now())
    say(service, ups, HEALTHY, 600)
    engineer.do(operations.look, test, **engineer.now())
    assert states()["overload"] == "failed"
    engineer.do(operations.skip, test, "low_battery", reason="the load cannot bear it")
    with pytest.raises(OperationRefused, match="neither tried"):
        engineer.do(operations.finish, test, actor="wei", **engineer.now())
    engineer.do(operations.skip, test, "communication_lost", reason="card is shared")
    engineer.do(operations.finish, test, actor="wei", **engineer.now())

    told = engineer.do(store.commissioning, test)
    assert sealed(told.content) == told.seal
    (mains, _, _, _) = told.content["steps"]
    assert mains["state"] == "passed"
    assert mains["latencies"]["hold"] == 60.0
    assert mains["latencies"]["judging"] >= 0
    for party, name in (("engineer", "Wei"), ("customer", "Caretaker")):
        signed = {"party": party, "name": name, "strokes": "M1 1L9 9", **engineer.now()}
        engineer.do(operations.sign, test, **signed)
        with pytest.raises(OperationRefused, match="signed already"):
            engineer.do(operations.sign, test, **signed)
    with psycopg.connect(database.admin_dsn) as admin, pytest.raises(errors.RestrictViolation):
        admin.execute("UPDATE commissioning SET content = content || '{\"unit\": {}}'")
    with psycopg.connect(database.admin_dsn) as admin, pytest.raises(errors.RestrictViolation):
        admin.execute("UPDATE commissioning SET customer_name = 'Somebody else'")


def test_an_alarm_from_before_the_test_is_no_proof(service, engineer, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    say(service, ups, ON_BATTERY, 120)
    test = engineer.do(operations.begin, ups, actor="wei", **engineer.now())
    engineer.do(operations.provoke, test, "on_battery", **engineer.now())
    say(service, ups, ON_BATTERY, 30)
    engineer.do(operations.look, test, **engineer.now())
    told = engineer.do(store.commissioning, test)
    assert {one.rule: one.state.value for one in told.steps}["on_battery"] == "running"
    with pytest.raises(OperationRefused, match="when it is finished"):
        engineer.do(
            operations.sign, test, party="engineer", name="Wei", strokes="", **engineer.now()
        )


def test_doors_guard_who_begins_and_who_signs_for_whom(doors: Doors):
    field, bank, mill = doors.api("field"), doors.api("bank"), doors.api("mill")
    unit = next(
        doors.fleet.devices[key] for key, owner in doors.fleet.owner_of.items() if owner == "bank"
    )
    assert bank.post("/api/v1/commissioning", json={"device_id": unit}).status_code == 403
    made = field.post("/api/v1/commissioning", json={"device_id": unit})
    assert made.status_code == 201, made.text
    path = f"/api/v1/commissioning/{made.json()['id']}"
    assert mill.get(path).status_code == 404
    for step in made.json()["steps"]:
        where = f"{path}/steps/{step['rule']}/skip"
        assert field.post(where, json={"reason": ""}).status_code == 422
        assert field.post(where, json={"reason": "only papers"}).status_code == 200
    assert field.post(f"{path}/steps/nonsense/provoke").status_code == 404
    assert field.post(f"{path}/finish").status_code == 200
    as_engineer = {"party": "engineer", "name": "Field", "strokes": ""}
    assert bank.post(f"{path}/sign", json=as_engineer).status_code == 403
    hostile = {"party": "customer", "name": "Caretaker", "strokes": 'M1 1"/><script>'}
    assert bank.post(f"{path}/sign", json=hostile).status_code == 422
    mine = {"party": "customer", "name": "Caretaker", "strokes": "M1 1L200 100"}
    assert bank.post(f"{path}/sign", json=mine).json()["accepted"]["name"] == "Caretaker"
    assert "M1 1L200 100" in doors.page("bank").get(f"/commissioning/{made.json()['id']}").text
    listed = bank.get(f"/api/v1/commissioning?device_id={unit}").json()["items"]
    assert [one["id"] for one in listed] == [made.json()["id"]]
    session = made.json()["work_session_id"]
    field.post(f"/api/v1/work-sessions/{session}/check-out", json={"exception": "test over"})


def test_the_page_leads_through_it(doors: Doors):
    field = doors.page("field")
    unit = next(
        doors.fleet.devices[key] for key, owner in doors.fleet.owner_of.items() if owner == "mill"
    )
    token = form_token(field)
    begun = field.post("/commissioning", data={"csrf_token": token, "device_id": unit})
    where = begun.headers["location"]
    page = field.get(where).text
    assert "Open the input breaker" in page
    provoked = field.post(f"{where}/steps/on_battery/provoke", data={"csrf_token": token})
    assert provoked.status_code == 303
    assert "waiting for it" in field.get(where).text
    assert field.get(f"/devices/{unit}").text.count(where) == 1
    session = doors.api("field").get("/api/v1/work-sessions").json()["items"][0]["id"]
    doors.api("field").post(
        f"/api/v1/work-sessions/{session}/check-out", json={"exception": "test over"}
    )
