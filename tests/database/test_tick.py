"""What time alone brings about: silence, rules switched off, slow clocks, a unit that fails."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector import tick as ticking
from tests.cast import HEALTHY, ON_BATTERY, START, Service, register

DEADLINE_SECONDS = 60


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


@pytest.fixture
def admin(database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.admin_dsn, autocommit=True) as opened:
        yield opened


def alarms(service: Service) -> list[tuple]:
    return [
        (
            rule,
            state,
            (raised - START).total_seconds(),
            cleared and (cleared - START).total_seconds(),
        )
        for rule, state, raised, cleared in service.rows(
            "SELECT rule_key, state, raised_at, cleared_at FROM alarm ORDER BY id"
        )
    ]


def switch(service: Service, rule: str, *, on: bool) -> None:
    with service.pool.connection() as connection:
        connection.execute(
            """
            INSERT INTO rule_override (rule_key, enabled, reason, changed_at, changed_by)
            VALUES (%s, %s, 'test', %s, 'test')
            ON CONFLICT (rule_key) DO UPDATE SET enabled = excluded.enabled
            """,
            (rule, on, service.clock.now),
        )
    service.rules.forget()


def tick_within_deadline(service: Service) -> None:
    ticking_thread = threading.Thread(target=service.tick, daemon=True)
    ticking_thread.start()
    ticking_thread.join(DEADLINE_SECONDS)
    assert not ticking_thread.is_alive(), "the tick never ends"


def test_a_unit_that_never_answered_is_lost_after_15_minutes_from_its_registration(
    service, database
):
    register(database.admin_dsn)
    service.beat()
    service.run(960, step=15)
    assert alarms(service) == [("communication_lost", "active", 915, None)]
    assert service.one("SELECT failure_mode FROM ticket") == "communication_lost"


def test_a_unit_that_never_answered_is_not_lost_while_no_collector_is_alive(service, database):
    register(database.admin_dsn)
    service.run(3600, step=60, beat=False)
    assert alarms(service) == []


def test_a_unit_that_is_watched_again_is_not_lost_at_once(service, database, admin):
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, **HEALTHY)
    admin.execute("UPDATE device SET enabled = false")
    service.run(3600, step=60)
    assert alarms(service) == []
    admin.execute("UPDATE device SET enabled = true")
    admin.execute("UPDATE device SET watched_since_at = %s", (service.clock.now,))
    service.run(840, step=60)
    assert alarms(service) == []
    service.run(120, step=60)
    assert [rule for rule, *_ in alarms(service)] == ["communication_lost"]


@pytest.mark.parametrize("change", ["enabled = true", "collector_group = 'other', enabled = true"])
def test_the_database_notes_when_a_unit_is_watched_again(database, admin, change):
    register(database.admin_dsn)
    admin.execute("UPDATE device SET enabled = false")
    assert admin.execute("SELECT watched_since_at FROM device").fetchone() == (None,)
    admin.execute(f"UPDATE device SET {change}")
    assert admin.execute("SELECT watched_since_at = now() FROM device").fetchone() != (None,)
    noted = admin.execute("SELECT watched_since_at FROM device").fetchone()
    admin.execute("UPDATE device SET name = 'another', enabled = true")
    assert admin.execute("SELECT watched_since_at FROM device").fetchone() == noted


def test_a_unit_that_is_asked_every_hour_is_not_lost_between_two_polls(service, database, admin):
    (ups,) = register(database.admin_dsn)
    admin.execute("UPDATE device SET poll_seconds = 3600")
    service.beat()
    # Its load rises: the tick looks at it after 15 min, long before its next poll.
    service.tell(ups, valid=10_802, **HEALTHY | {"ups_load": 85.0})
    service.run(3540, step=60)
    assert [rule for rule, *_ in alarms(service)] == ["high_load"]
    service.run(7380, step=60)
    assert [rule for rule, *_ in alarms(service)] == ["high_load", "communication_lost"]


def test_alarms_of_a_rule_switched_off_go_stale_at_once_and_can_be_closed_by_hand(
    service, database
):
    from rules.operations import close_stale_alarm

    (ups,) = register(database.admin_dsn)
    service.beat()
    for _ in range(3):
        service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
        service.run(60, step=60)
    switch(service, "fan_fault", on=False)
    service.tick()
    assert [state for rule, state, *_ in alarms(service)] == ["stale"]
    assert service.rows("SELECT kind, actor, detail FROM alarm_event ORDER BY id DESC LIMIT 1") == [
        ("stale", "rule:fan_fault", {"why": "the rule is not in force"})
    ]
    events = service.one("SELECT count(*) FROM alarm_event")
    service.run(5, step=1)
    assert service.one("SELECT count(*) FROM alarm_event") == events
    with service.pool.connection() as connection:
        alarm_id = service.one("SELECT id FROM alarm")
        close_stale_alarm(
            connection, alarm_id, reason="false", actor="dispatcher", now=service.clock.now
        )
    service.tick()
    assert service.rows("SELECT state, condition_cleared_at IS NOT NULL FROM ticket") == [
        ("open", True)
    ]


def test_a_rule_switched_on_again_takes_its_alarm_up_where_it_stood(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    for _ in range(3):
        service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
        service.run(60, step=60)
    switch(service, "fan_fault", on=False)
    service.tick()
    switch(service, "fan_fault", on=True)
    service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
    assert [(rule, state) for rule, state, *_ in alarms(service)] == [("fan_fault", "active")]
    assert service.one("SELECT count(*) FROM ticket") == 1


def test_a_rule_switched_off_while_600_units_wait_for_it_does_not_stop_the_tick(service, database):
    units = register(database.admin_dsn, devices=600)
    service.beat()
    service.tell(*units, valid=900, alarm_fan_fault=True)
    switch(service, "fan_fault", on=False)
    service.clock.advance(61)
    service.beat()
    tick_within_deadline(service)
    assert alarms(service) == []
    assert service.rows("SELECT * FROM rule_state") == []


@pytest.mark.parametrize("lag_seconds", [0, 600, 7200])
def test_a_unit_with_a_slow_clock_keeps_the_hold_times(service, database, lag_seconds):
    """Its hold times pass in its own time: neither cut short by the lag nor by expired values."""
    (ups,) = register(database.admin_dsn)
    lag = timedelta(seconds=lag_seconds)
    service.beat()
    for _ in range(29):  # a load of 85 % must hold for 15 min
        service.ingest.store(
            [
                service.arrive(
                    ups,
                    HEALTHY | {"ups_load": 85.0},
                    observed_at=service.clock.now - lag,
                    valid=92,
                )
            ]
        )
        service.run(30, step=10)
    assert alarms(service) == []
    service.run(40, step=10)
    assert alarms(service) == [("high_load", "active", 900 - lag_seconds, None)]


def test_a_short_outage_told_late_raises_nothing_while_the_rest_is_on_its_way(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.clock.advance(3600)
    service.beat()
    for seconds, points in ((0, ON_BATTERY), (20, ON_BATTERY), (40, HEALTHY)):
        service.ingest.store(
            [
                service.arrive(
                    ups, points, observed_at=START + timedelta(seconds=seconds), valid=None
                )
            ]
        )
        service.run(1, step=1)
    service.run(120, step=10)
    assert alarms(service) == []


def test_an_alarm_raised_while_out_of_sight_is_never_over_before_it_began(service, database):
    """The link breaks; the backlog tells later that mains had come back soon after."""
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, **ON_BATTERY)
    service.run(1800, step=15)
    assert [rule for rule, *_ in alarms(service)] == ["on_battery", "communication_lost"]
    for seconds in range(20, 1800, 20):
        service.ingest.store(
            [service.arrive(ups, HEALTHY, observed_at=START + timedelta(seconds=seconds))]
        )
    service.run(120, step=10)
    for rule, state, raised, cleared in alarms(service):
        assert state == "cleared", rule
        assert cleared > raised, rule
    lost = next(one for one in alarms(service) if one[0] == "communication_lost")
    assert lost[3] >= 1800  # it was out of sight until the backlog came
    assert service.one("SELECT count(*) FROM alarm WHERE cleared_at < raised_at") == 0


def test_a_unit_that_cannot_be_judged_does_not_keep_the_tick_from_the_others(
    service, database, admin
):
    first, second = register(database.admin_dsn, devices=2)
    admin.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no alarm for this unit'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON alarm FOR EACH ROW
        WHEN (NEW.device_id = {first}) EXECUTE FUNCTION refuse();
        """
    )
    service.beat()
    service.run(1800, step=15)
    assert service.rows("SELECT device_id, rule_key FROM alarm") == [(second, "communication_lost")]
    assert service.rows("SELECT kind, subject FROM finding WHERE closed_at IS NULL") == [
        ("tick_failed", f"device:{first}")
    ]
    admin.execute("DROP TRIGGER refuse ON alarm")
    service.run(600, step=15)
    assert service.one("SELECT count(*) FROM alarm WHERE device_id = %s", first) == 1


def test_an_alarm_that_stands_without_its_memory_is_taken_up_again(service, database, admin):
    (ups,) = register(database.admin_dsn)
    service.beat()
    for _ in range(3):
        service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
        service.run(60, step=60)
    admin.execute("DELETE FROM rule_state")
    for _ in range(3):
        service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
        service.run(60, step=60)
    assert service.rows("SELECT reason FROM quarantine") == []
    assert service.one("SELECT count(*) FROM alarm") == 1
    for _ in range(8):
        service.tell(ups, valid=90, alarm_fan_fault=False, **HEALTHY)
        service.run(60, step=60)
    assert [state for _, state, *_ in alarms(service)] == ["cleared"]


def test_a_tick_takes_each_unit_once(service, database):
    assert ticking.AT_ONCE == 500
    units = register(database.admin_dsn, devices=501)
    service.beat()
    service.tell(*units, valid=15, **HEALTHY)
    service.clock.advance(120)
    service.beat()
    assert ticking.tick(service.pool, service.rules, now=service.clock.now) == 501


def test_a_deadline_counts_from_when_the_fault_became_known_not_from_a_slow_clock(
    service, database
):
    (ups,) = register(database.admin_dsn)
    service.beat()
    for minute in range(3):
        at = START - timedelta(hours=2) + timedelta(minutes=minute)
        service.ingest.store(
            [service.arrive(ups, {"alarm_fan_fault": True}, observed_at=at, valid=90)]
        )
        service.run(60, step=60)
    assert service.one("SELECT raised_at FROM alarm") < START - timedelta(hours=1)
    (opened_at, respond_by_at) = service.rows("SELECT opened_at, respond_by_at FROM ticket")[0]
    assert opened_at >= START
    assert respond_by_at is None or respond_by_at > opened_at
    assert service.one("SELECT min(at) FROM outbox") >= START


def test_a_collector_that_stopped_as_asked_is_missed_only_when_it_stays_away(service, database):
    register(database.admin_dsn)
    service.beat()
    with service.pool.connection() as connection:
        connection.execute("UPDATE collector SET stopped_at = beat_at")
    service.run(29, step=29, beat=False)
    assert service.rows("SELECT cause FROM incident") == []
    service.run(5, step=5, beat=False)
    assert service.rows("SELECT cause FROM incident") == [("collector_down",)]


def test_a_unit_that_reports_by_exception_is_not_lost_while_its_session_lives(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, valid=None, **HEALTHY)
    service.run(5400, step=60)
    assert alarms(service) == []
    assert service.rows("SELECT cause FROM incident") == []  # nor are we blind
    service.tell(ups, valid=0)  # its last will
    service.run(900, step=15)
    assert alarms(service) == []
    service.run(30, step=15)
    assert [rule for rule, *_ in alarms(service)] == ["communication_lost"]


def test_a_unit_whose_family_may_be_quiet_is_lost_15_minutes_later_than_it_may(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, valid=3600, **HEALTHY)
    service.run(3600, step=60)
    assert alarms(service) == []
    service.run(60, step=15)
    assert [rule for rule, *_ in alarms(service)] == ["communication_lost"]
