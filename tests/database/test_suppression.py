"""Alarms that are quiet by design: raised and kept, and heard when it is over."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from rules.operations import OperationRefused, close_ticket, reset_alarm
from rules.suppression import QUIET_FOR, SuppressionKind
from rules.suppression_operations import end_suppression, move_end, suppress
from tests.cast import HEALTHY, ON_BATTERY, START, Service, register

FAN = HEALTHY | {"alarm_fan_fault": True}
CALM = HEALTHY | {"alarm_fan_fault": False}


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def say(service: Service, units: list[int], points: dict, *, seconds: int, step: int = 15) -> None:
    for _ in range(0, seconds, step):
        service.tell(*units, valid=3 * step, **points)
        service.run(step, step=step)


def quiet(service: Service, unit: int, kind: SuppressionKind, **more) -> int:
    site_id = service.one("SELECT site_id FROM device WHERE id = %s", unit)
    asked = {
        "device_id": unit,
        "rule_keys": None,
        "lets_critical_through": False,
        "begins_at": service.clock.now,
        "ends_at": None,
        "reason": "fan exchange",
        "actor": "dispatcher",
    }
    with service.pool.connection() as connection:
        return suppress(
            connection, kind=kind, site_id=site_id, now=service.clock.now, **(asked | more)
        )


def alarms(service: Service) -> list[tuple[str, str, bool]]:
    return service.rows(
        "SELECT rule_key, state, suppressed_by IS NOT NULL FROM alarm ORDER BY raised_at, id"
    )


def tickets(service: Service) -> list[tuple[str]]:
    return service.rows("SELECT failure_mode FROM ticket ORDER BY id")


def kinds(service: Service) -> list[str]:
    return [kind for (kind,) in service.rows("SELECT kind FROM alarm_event ORDER BY id")]


def test_an_alarm_of_a_unit_out_of_service_opens_its_ticket_when_it_is_put_back(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    out = quiet(service, ups, SuppressionKind.OUT_OF_SERVICE)
    say(service, [ups], FAN, seconds=300)
    assert alarms(service) == [("fan_fault", "active", True)]
    assert tickets(service) == []
    with service.pool.connection() as connection:
        end_suppression(connection, out, reason="", actor="dispatcher", now=service.clock.now)
    say(service, [ups], FAN, seconds=30)
    assert alarms(service) == [("fan_fault", "active", False)]
    assert len(tickets(service)) == 1
    assert kinds(service) == ["raised", "suppressed", "unsuppressed"]


def test_planned_work_at_a_site_covers_its_outage_and_lets_a_critical_alarm_through(
    service, database
):
    units = register(database.admin_dsn, devices=3)
    service.beat()
    ends_at = START + timedelta(minutes=40)
    quiet(
        service,
        units[0],
        SuppressionKind.PLANNED_WORK,
        device_id=None,
        lets_critical_through=True,
        ends_at=ends_at,
    )
    say(service, units, ON_BATTERY, seconds=300)
    assert {row[2] for row in alarms(service)} == {True}
    assert service.rows("SELECT id FROM incident") == []
    low = ON_BATTERY | {"status_low_battery": True, "battery_charge": 9.0}
    say(service, units[:1], low, seconds=60)
    assert tickets(service) == [("load_at_risk",)]
    say(service, units, CALM, seconds=120)
    assert {row[1] for row in alarms(service)} == {"cleared"}


def test_an_outage_that_outlasts_the_planned_work_is_an_incident_then(service, database):
    units = register(database.admin_dsn, devices=2)
    service.beat()
    quiet(
        service,
        units[0],
        SuppressionKind.PLANNED_WORK,
        device_id=None,
        ends_at=START + timedelta(minutes=10),
    )
    say(service, units, ON_BATTERY, seconds=570)
    assert service.rows("SELECT id FROM incident") == []
    say(service, units, ON_BATTERY, seconds=60)
    assert service.rows("SELECT cause, closed_at FROM incident") == [("mains_failure", None)]
    assert service.rows("SELECT kind, actor FROM suppression_event ORDER BY id") == [
        ("created", "dispatcher"),
        ("over", "rules"),
    ]


def test_what_stood_before_the_work_goes_on_speaking(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    say(service, [ups], FAN, seconds=300)
    quiet(
        service,
        ups,
        SuppressionKind.PLANNED_WORK,
        ends_at=service.clock.now + timedelta(hours=1),
    )
    say(service, [ups], FAN, seconds=30)
    assert alarms(service) == [("fan_fault", "active", False)]


def test_what_clears_while_it_is_quiet_never_speaks(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    quiet(service, ups, SuppressionKind.WORK_MODE, ends_at=START + timedelta(minutes=30))
    say(service, [ups], FAN, seconds=300)
    say(service, [ups], CALM, seconds=2_400)
    assert alarms(service) == [("fan_fault", "cleared", True)]
    assert tickets(service) == []


def test_an_alarm_that_flaps_is_made_quiet_until_it_has_been_calm(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    for _ in range(6):  # raised after 60 s, cleared after 300: every seven minutes
        say(service, [ups], FAN, seconds=90)
        say(service, [ups], CALM, seconds=330)
    assert [row[2] for row in alarms(service)] == [False] * 4 + [True] * 2
    assert service.rows("SELECT kind, rule_keys FROM suppression") == [
        ("chattering", ["fan_fault"])
    ]
    say(service, [ups], CALM, seconds=int(QUIET_FOR.total_seconds()), step=60)
    assert service.rows("SELECT id FROM suppression WHERE ended_at IS NULL") == []
    say(service, [ups], FAN, seconds=90)
    assert alarms(service)[-1] == ("fan_fault", "active", False)


def test_a_flapping_alarm_that_stands_on_is_heard(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    for _ in range(5):
        say(service, [ups], FAN, seconds=90)
        say(service, [ups], CALM, seconds=330)
    say(service, [ups], FAN, seconds=90)
    assert alarms(service)[-1] == ("fan_fault", "active", True)
    say(service, [ups], FAN, seconds=600)
    assert alarms(service)[-1] == ("fan_fault", "active", False)


def test_a_latched_alarm_stands_until_a_person_resets_it(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    say(service, [ups], HEALTHY | {"status_off": True}, seconds=120)
    assert tickets(service) == [("load_dropped",)]
    say(service, [ups], HEALTHY | {"status_off": False}, seconds=120)
    alarm_id, state, over_at = service.rows("SELECT id, state, over_at FROM alarm")[0]
    assert state == "latched"
    assert over_at is not None
    assert service.one("SELECT condition_cleared_at FROM ticket") == over_at
    with service.pool.connection() as connection:
        reset_alarm(connection, alarm_id, actor="dispatcher", now=service.clock.now)
    assert service.rows("SELECT state, cleared_at FROM alarm") == [("cleared", over_at)]
    with (
        service.pool.connection() as connection,
        pytest.raises(OperationRefused, match="latched"),
    ):
        reset_alarm(connection, alarm_id, actor="dispatcher", now=service.clock.now)


def test_a_latched_alarm_that_comes_back_is_the_same_alarm(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    for is_off in (True, False, True):
        say(service, [ups], HEALTHY | {"status_off": is_off}, seconds=120)
    assert alarms(service) == [("output_off", "active", False)]
    assert kinds(service) == ["raised", "clearing", "latched", "recurred"]


def test_closing_the_ticket_resets_what_is_latched_behind_it(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    for is_off in (True, False):
        say(service, [ups], HEALTHY | {"status_off": is_off}, seconds=120)
    with service.pool.connection() as connection:
        close_ticket(
            connection,
            service.one("SELECT id FROM ticket"),
            closing_code="customer_caused",
            text="switched off on purpose",
            actor="dispatcher",
            now=service.clock.now,
        )
    assert alarms(service) == [("output_off", "cleared", False)]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"reason": " "}, "reason"),
        ({"begins_at": START - timedelta(days=2)}, "a day back"),
        ({"begins_at": START + timedelta(days=500)}, "400 days"),
        ({"ends_at": START}, "after it begins"),
        ({"ends_at": START - timedelta(hours=1)}, "after it begins"),
        ({"kind": SuppressionKind.PLANNED_WORK}, "14 days"),
        (
            {"kind": SuppressionKind.PLANNED_WORK, "ends_at": START + timedelta(days=15)},
            "14 days",
        ),
    ],
)
def test_what_cannot_be_suppressed_is_refused_with_the_reason(service, database, asked, why):
    (ups,) = register(database.admin_dsn)
    more = {"kind": SuppressionKind.OUT_OF_SERVICE, **asked}
    with pytest.raises(OperationRefused, match=why):
        quiet(service, ups, **more)


def test_a_unit_is_taken_out_once_and_its_end_can_be_moved(service, database):
    (ups,) = register(database.admin_dsn)
    out = quiet(service, ups, SuppressionKind.OUT_OF_SERVICE)
    with pytest.raises(OperationRefused, match="already"):
        quiet(service, ups, SuppressionKind.OUT_OF_SERVICE)
    until: datetime = START + timedelta(hours=2)
    with service.pool.connection() as connection:
        move_end(connection, out, ends_at=until, actor="dispatcher", now=service.clock.now)
    assert service.one("SELECT ends_at FROM suppression") == until
    with service.pool.connection() as connection:
        end_suppression(connection, out, reason="", actor="dispatcher", now=service.clock.now)
    with (
        service.pool.connection() as connection,
        pytest.raises(OperationRefused, match="over already"),
    ):
        end_suppression(connection, out, reason="", actor="dispatcher", now=service.clock.now)


def test_more_alarms_than_are_looked_at_at_once_all_fall_quiet_and_speak(
    service, database, monkeypatch
):
    monkeypatch.setattr("rules.suppression_store._AT_ONCE", 2)
    units = register(database.admin_dsn, devices=5)
    service.beat()
    say(service, units, FAN, seconds=90)
    out = [quiet(service, unit, SuppressionKind.OUT_OF_SERVICE) for unit in units]
    say(service, units, FAN, seconds=15)
    assert [row[2] for row in alarms(service)] == [True] * 5
    with service.pool.connection() as connection:
        for one in out:
            end_suppression(connection, one, reason="", actor="desk", now=service.clock.now)
    say(service, units, FAN, seconds=15)
    assert [row[2] for row in alarms(service)] == [False] * 5
