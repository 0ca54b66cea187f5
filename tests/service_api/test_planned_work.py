"""Work announced by customers and dispatchers, made quiet ahead, and looked back on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psycopg
import pytest

from service_api.database import open_pool
from service_api.planned_work.operations import AHEAD, keep_results, make_times
from tests.cast import HEALTHY, ON_BATTERY, START, Service, register
from tests.service_api.conftest import Doors
from tests.service_api.test_doors import form_token


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def asked(doors: Doors, site: str, **more: object) -> dict:
    return {
        "site_id": doors.fleet.sites[site],
        "work": "generator_test",
        "first_on": (doors.now + timedelta(days=1)).date().isoformat(),
        "at": "10:00",
        "minutes": 60,
        "reason": "Monthly generator test, caretaker on site",
        **more,
    }


def test_a_customer_announces_a_test_at_their_own_site_in_one_step(doors: Doors):
    bank = doors.api("bank")
    answer = bank.post("/api/v1/planned-work", json=asked(doors, "bank-2", repeat="weekly"))
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told["site"] == "Branch 7"
    assert "on_battery" in told["rules"]
    assert "communication_lost" not in told["rules"]
    begins = [datetime.fromisoformat(one["begins_at"]) for one in told["times"]]
    assert begins[1] - begins[0] == timedelta(days=7)
    quiet = bank.get(f"/api/v1/suppressions?state=ahead&site_id={told['site_id']}").json()["items"]
    assert len(quiet) == len(
        [
            at
            for at in (begins[0] + timedelta(days=7 * n) for n in range(9))
            if at < doors.now + AHEAD
        ]
    )
    assert {one["kind"] for one in quiet} == {"planned_work"}
    assert {one["lets_critical_through"] for one in quiet} == {True}
    listed = bank.get("/api/v1/planned-work").json()["items"]
    assert told["id"] in [one["id"] for one in listed]


def test_a_customer_announces_nothing_at_another_s_site(doors: Doors):
    bank = doors.api("bank")
    foreign = next(key for key in doors.fleet.sites if not key.startswith("bank"))
    assert bank.post("/api/v1/planned-work", json=asked(doors, foreign)).status_code == 404
    desk = doors.api("desk").post("/api/v1/planned-work", json=asked(doors, foreign)).json()
    assert bank.get(f"/api/v1/planned-work/{desk['id']}").status_code == 404
    assert bank.post(f"/api/v1/planned-work/{desk['id']}/end").status_code == 404
    assert (
        doors.api("robot").post("/api/v1/planned-work", json=asked(doors, foreign)).status_code
        == 403
    )


def test_one_time_is_left_out_and_taken_back_and_the_series_ended(doors: Doors):
    desk = doors.api("desk")
    made = desk.post(
        "/api/v1/planned-work", json=asked(doors, "bank-2", repeat="weekly", at="13:00")
    ).json()
    path = f"/api/v1/planned-work/{made['id']}"
    second = made["times"][1]["occurs_on"]

    def quiet() -> int:
        found = desk.get("/api/v1/suppressions?state=ahead&limit=500").json()["items"]
        return len([one for one in found if one["reason"] == made["reason"]])

    before = quiet()
    told = desk.post(f"{path}/skip", json={"on": second}).json()
    assert told["times"][1]["skipped_by"] == "desk"
    assert quiet() == before - 1
    assert desk.post(f"{path}/unskip", json={"on": second}).json()["times"][1]["skipped_at"] is None
    assert quiet() == before
    assert desk.post(f"{path}/unskip", json={"on": second}).status_code == 409
    assert desk.post(f"{path}/skip", json={"on": "2020-01-01"}).status_code == 409
    ours = len(made["times"])
    assert desk.post(f"{path}/end").json()["ended_by"] == "desk"
    assert quiet() <= before - ours
    assert desk.post(f"{path}/end").status_code == 409


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"reason": ""}, 422),
        ({"reason": "   "}, 409),
        ({"minutes": 1}, 422),
        ({"work": "party"}, 422),
        ({"site_id": 999_999}, 404),
        ({"device_ids": [999_999]}, 404),
        ({"first_on": "2020-01-01"}, 409),
        ({"first_on": "2030-01-01"}, 409),
        ({"at": "10:00+08:00"}, 409),
        ({"repeat": "weekly", "minutes": 20_000}, 409),
        ({"until": "2020-01-01"}, 409),
    ],
)
def test_what_cannot_be_announced_is_refused(doors: Doors, more: dict, status: int):
    answer = doors.api("desk").post("/api/v1/planned-work", json=asked(doors, "bank-2", **more))
    assert answer.status_code == status, answer.text


def test_the_preview_warns_of_other_work_at_that_time(doors: Doors):
    desk = doors.api("desk")
    body = asked(doors, "bank-2", at="22:00", reason="Switchboard inspection")
    assert desk.post("/api/v1/planned-work/preview", json=body).json()["warnings"] == []
    desk.post("/api/v1/planned-work", json=body)
    told = desk.post("/api/v1/planned-work/preview", json=body).json()
    assert "Switchboard inspection" in told["warnings"][0][0]
    assert told["units"] > 0


def test_the_page_shows_what_follows_and_announces(doors: Doors):
    bank = doors.page("bank")
    form = asked(doors, "bank-2", at="07:00", rhythm="monthly", reason="Electrician in the plant")
    form = {key: value for key, value in form.items() if key != "repeat"}
    form["csrf_token"] = form_token(bank)
    assert "On battery" in bank.post("/planned-work/preview", data=form).text
    answer = bank.post("/planned-work", data=form)
    assert answer.status_code == 303, answer.text
    shown = bank.get(answer.headers["location"]).text
    assert "Electrician in the plant" in shown
    assert "Electrician in the plant" in bank.get("/planned-work").text
    bad = bank.post("/planned-work", data={**form, "until": "soon"})
    assert bad.status_code == 422


def plan(database, device_id: int, *, repeat: str, device: bool = False) -> None:
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        admin.execute(
            """
            INSERT INTO planned_work (customer_id, site_id, device_ids, work, first_on, at, minutes,
                repeat, lets_critical_through, reason, created_at, created_by)
            SELECT d.customer_id, d.site_id, CASE WHEN %(device)s THEN ARRAY[d.id] ELSE '{}' END,
                'generator_test', (%(at)s AT TIME ZONE s.time_zone)::date,
                (%(at)s AT TIME ZONE s.time_zone)::time, 30, %(repeat)s, true, 'test', %(now)s,
                'desk'
            FROM device d JOIN site s ON s.id = d.site_id WHERE d.id = %(id)s
            """,
            {
                "device": device,
                "at": START + timedelta(minutes=5),
                "repeat": repeat,
                "now": START,
                "id": device_id,
            },
        )


def test_two_workers_make_each_time_once(database):
    (ups,) = register(database.admin_dsn)
    plan(database, ups, repeat="weekly")
    pool = open_pool(database.ingest_dsn, most=4, name="test")
    try:

        def make(_: int) -> int:
            with pool.connection() as connection:
                return make_times(connection, now=START)

        with ThreadPoolExecutor(4) as workers:
            made = sum(workers.map(make, range(4)))
        with pool.connection() as connection:
            times = connection.execute("SELECT count(*) FROM planned_work_occurrence").fetchone()
            quiet = connection.execute("SELECT count(*) FROM suppression").fetchone()
    finally:
        pool.close()
    assert made == times[0] == quiet[0] == 5


def test_a_generator_test_is_quiet_and_told_of_afterwards(service, database):
    units = register(database.admin_dsn, devices=2)
    plan(database, units[0], repeat="once")
    service.beat()
    with service.pool.connection() as connection:
        make_times(connection, now=service.clock.now)

    def say(points: dict, seconds: int) -> None:
        for _ in range(0, seconds, 15):
            service.tell(*units, valid=45, **points)
            service.run(15, step=15)

    say(HEALTHY, 360)
    say(ON_BATTERY, 600)
    say(HEALTHY, 1_500)
    assert service.rows("SELECT id FROM ticket") == []
    assert service.rows("SELECT id FROM incident") == []
    with service.pool.connection() as connection:
        assert keep_results(connection, now=service.clock.now) == 1
        assert keep_results(connection, now=service.clock.now) == 0
    (result,) = service.rows("SELECT result FROM planned_work_occurrence")[0]
    assert result == {"units": 2, "on_battery": 2, "quiet": {"on_battery": 2}, "through": {}}


def test_a_test_that_no_unit_saw_is_told(service, database):
    (ups,) = register(database.admin_dsn)
    plan(database, ups, repeat="once", device=True)
    with service.pool.connection() as connection:
        make_times(connection, now=START)
        keep_results(connection, now=START + timedelta(hours=1))
    (result,) = service.rows("SELECT result FROM planned_work_occurrence")[0]
    assert result["on_battery"] == 0
