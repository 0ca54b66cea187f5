"""The one transaction and the tick, on every database variant, under an injected clock."""

import math
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector.arrival import Arrival
from rules.facts import Identity, Rejection
from tests.cast import HEALTHY, ON_BATTERY, RUNNING_LOW, START, Service, register


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def alarms(service: Service) -> list[tuple]:
    """Alarms as (device, rule, state, seconds raised after the start, seconds cleared)."""
    return [
        (
            device,
            rule,
            state,
            (raised - START).total_seconds(),
            None if cleared is None else (cleared - START).total_seconds(),
        )
        for device, rule, state, raised, cleared in service.rows(
            "SELECT device_id, rule_key, state, raised_at, cleared_at FROM alarm ORDER BY id"
        )
    ]


def test_a_reading_becomes_a_row_and_the_newest_state(service, database):
    (ups,) = register(database.admin_dsn)
    service.tell(ups, **HEALTHY)
    assert service.rows(
        "SELECT device_id, observed_at, battery_charge, ups_load FROM telemetry"
    ) == [(ups, START, 100.0, 42.0)]
    assert service.rows(
        "SELECT observed_at, status_on_line, battery_charge FROM device_state WHERE device_id = %s",
        ups,
    ) == [(START, True, 100.0)]


def test_a_partial_reading_keeps_the_other_points(service, database):
    (ups,) = register(database.admin_dsn)
    service.tell(ups, **HEALTHY)
    service.clock.advance(5)
    service.tell(ups, battery_charge=99.0)
    assert service.rows("SELECT battery_charge, ups_load FROM device_state") == [(99.0, 42.0)]


def test_a_partial_reading_after_a_long_silence_does_not_revive_expired_points(service, database):
    (ups,) = register(database.admin_dsn)
    service.tell(ups, input_voltage_nominal=230.0, **HEALTHY)
    service.clock.advance(3600)
    service.tell(ups, battery_charge=99.0)
    assert service.rows(
        "SELECT battery_charge, ups_load, input_voltage_nominal FROM device_state"
    ) == [(99.0, None, 230.0)]


def test_the_same_batch_twice_changes_nothing(service, database):
    (ups,) = register(database.admin_dsn)
    batch = [service.arrive(ups, ON_BATTERY)]
    service.ingest.store(batch)
    before = service.rows("SELECT * FROM device_state"), service.rows("SELECT * FROM rule_state")
    service.ingest.store(batch)
    assert before == (
        service.rows("SELECT * FROM device_state"),
        service.rows("SELECT * FROM rule_state"),
    )
    assert service.one("SELECT count(*) FROM telemetry") == 1
    assert service.ingest.counters.duplicates == 1


def test_a_late_reading_is_kept_but_not_judged(service, database):
    (ups,) = register(database.admin_dsn)
    service.clock.advance(600)
    service.tell(ups, **HEALTHY)
    late = service.arrive(ups, ON_BATTERY, observed_at=START)
    service.ingest.store([late])
    assert service.one("SELECT count(*) FROM telemetry") == 2
    assert service.one("SELECT status_on_battery FROM device_state") is False
    assert service.rows("SELECT * FROM rule_state") == []
    assert service.one("SELECT count(*) FROM rollup_dirty WHERE bucket = %s", START) == 1


def test_out_of_order_readings_of_one_batch_are_judged_in_order(service, database):
    (ups,) = register(database.admin_dsn)
    times = [(70, HEALTHY), (0, ON_BATTERY), (61, ON_BATTERY), (30, ON_BATTERY)]
    batch = [
        service.arrive(ups, points, observed_at=START + timedelta(seconds=s), valid=90)
        for s, points in times
    ]
    service.clock.advance(70)
    service.ingest.store(batch)
    assert alarms(service) == [(ups, "on_battery", "clearing", 60, None)]


def test_a_clock_an_hour_ahead_and_a_reading_too_old_go_to_quarantine(service, database):
    (ups,) = register(database.admin_dsn)
    service.ingest.store(
        [
            service.arrive(ups, HEALTHY, observed_at=START + timedelta(hours=1)),
            service.arrive(ups, HEALTHY, observed_at=START - timedelta(days=15)),
            service.arrive(ups, HEALTHY),
        ]
    )
    assert service.rows("SELECT reason FROM quarantine ORDER BY reason") == [
        ("clock_ahead",),
        ("too_old",),
    ]
    assert service.one("SELECT count(*) FROM telemetry") == 1


def test_an_unknown_device_and_refused_values_go_to_quarantine_and_are_acknowledged(
    service, database
):
    (ups,) = register(database.admin_dsn)
    acknowledged = []
    refused = Rejection("ups.load", "\x00\ud800" * 9_000, "out_of_range", "load 9e9 is too much")
    service.ingest.store(
        [
            Arrival(
                "nobody",
                START,
                "mqtt",
                rejections=(Rejection(None, "{}", "unknown_device", "not registered"),),
                acknowledge=lambda: acknowledged.append("nobody"),
            ),
            Arrival(
                "ups",
                START,
                "snmp",
                ups,
                service.arrive(ups, HEALTHY).reading,
                rejections=(refused,),
                acknowledge=lambda: acknowledged.append("ups"),
            ),
            service.arrive(ups + 999, HEALTHY),
        ]
    )
    assert acknowledged == ["nobody", "ups"]
    assert service.rows("SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1") == [
        ("out_of_range", 1),
        ("unknown_device", 2),
    ]
    assert service.one("SELECT max(length(raw)) FROM quarantine") <= 20_000


def test_one_poison_reading_in_a_batch_of_500_is_quarantined_alone(service, database):
    devices = register(database.admin_dsn, devices=500)
    acknowledged = []
    batch = []
    for number, ups in enumerate(devices):
        points = HEALTHY | ({"battery_charge": "ninety"} if number == 317 else {})
        arrival = service.arrive(ups, points)
        batch.append(
            Arrival(
                arrival.device_key,
                arrival.received_at,
                "test",
                ups,
                arrival.reading,
                acknowledge=lambda ups=ups: acknowledged.append(ups),
            )
        )
    service.ingest.store(batch)
    assert service.one("SELECT count(*) FROM telemetry") == 499
    assert service.rows("SELECT device_id, reason FROM quarantine") == [(devices[317], "poison")]
    assert sorted(acknowledged) == devices


def test_nan_and_infinity_never_raise_and_never_clear(service, database):
    (ups,) = register(database.admin_dsn)
    for value in (math.nan, math.inf):
        service.clock.advance(60)
        service.tell(ups, battery_temperature=value)
    assert service.rows("SELECT * FROM rule_state") == []


def test_identity_is_kept_where_it_was_told(service, database):
    (ups,) = register(database.admin_dsn)
    identity = Identity("APC", "SMT1500", None, "UPS 08.8", {"battery.date": "04/30/25"})
    service.ingest.store([Arrival("u", START, "snmp", ups, identity=identity, profile="apc")])
    service.ingest.store([Arrival("u", START, "snmp", ups, identity=Identity(serial="X1"))])
    assert service.rows(
        "SELECT profile, manufacturer, model, serial, firmware, identity FROM device"
    ) == [("apc", "APC", "SMT1500", "X1", "UPS 08.8", {"battery.date": "04/30/25"})]


def test_mains_failure_of_a_site_is_one_incident_one_ticket_and_clears(service, database):
    units = register(database.admin_dsn, devices=5)
    service.beat()
    service.tell(*units, **HEALTHY)
    for _ in range(16):  # 80 s on battery, one unit running low from 65 s on
        service.run(5, step=5)
        seconds = (service.clock.now - START).total_seconds()
        service.tell(*units[:4], **ON_BATTERY)
        service.tell(units[4], **(RUNNING_LOW if seconds >= 70 else ON_BATTERY))
    assert service.rows("SELECT cause, closed_at FROM incident") == [("mains_failure", None)]
    assert [(rule, raised) for _, rule, _, raised, _ in alarms(service)] == [
        ("on_battery", 65),
    ] * 5 + [("low_battery", 75)]
    (ticket,) = service.rows(
        """
        SELECT device_id, failure_mode, state, priority, condition_cleared_at,
            incident_id = (SELECT id FROM incident), reason ->> 'rule',
            reason -> 'readings' ->> 'status_low_battery', (entitlement ->> 'covered')::boolean,
            respond_by_at > opened_at
        FROM ticket
        """
    )
    assert ticket == (
        units[4],
        "load_at_risk",
        "open",
        1,
        None,
        True,
        "low_battery",
        "true",
        False,
        True,
    )
    service.tell(*units, **HEALTHY)
    for _ in range(12):
        service.run(5, step=5)
        service.tell(*units, **HEALTHY)
    assert {state for _, _, state, _, _ in alarms(service)} == {"cleared"}
    assert service.one("SELECT closed_at FROM incident") is not None
    assert service.rows("SELECT state, condition_cleared_at IS NOT NULL FROM ticket") == [
        ("open", True)
    ]
    assert service.rows("SELECT kind FROM ticket_event ORDER BY id") == [
        ("opened",),
        ("condition_cleared",),
    ]
    assert service.rows("SELECT topic, count(*) FROM outbox GROUP BY 1 ORDER BY 1") == [
        ("alarm.cleared", 6),
        ("alarm.raised", 6),
        ("incident.closed", 1),
        ("incident.opened", 1),
        ("ticket.condition_cleared", 1),
        ("ticket.opened", 1),
    ]
    assert service.rows("SELECT * FROM rule_state") == []


def test_a_unit_goes_on_battery_then_silent_and_both_alarms_come_at_their_times(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, **ON_BATTERY)
    service.run(990, step=15)
    assert alarms(service) == [
        (ups, "on_battery", "active", 60, None),
        (ups, "communication_lost", "active", 915, None),
    ]
    # Its silence follows from the mains failure, and its battery may still carry the load …
    assert service.rows("SELECT failure_mode, priority FROM ticket") == []
    # … until it must be about to end by what it said last.
    service.run(int(ON_BATTERY["battery_runtime"]) - 990, step=30)
    assert service.rows("SELECT failure_mode, priority FROM ticket") == [("load_at_risk", 1)]


def test_a_collector_that_is_down_does_not_turn_its_fleet_silent(service, database):
    units = register(database.admin_dsn, devices=3)
    service.beat()
    service.tell(*units, **HEALTHY)
    service.run(3600, step=60, beat=False)
    assert alarms(service) == []
    assert service.rows("SELECT subject, cause FROM incident WHERE closed_at IS NULL") == [
        ("collector_group:default", "collector_down")
    ]
    with service.pool.connection() as connection:  # it comes back as a new life
        connection.execute(
            """
            INSERT INTO collector (key, collector_group, started_at, beat_at)
            VALUES ('new', 'default', %s, %s)
            """,
            (service.clock.now, service.clock.now),
        )
    service.tick()
    assert service.rows("SELECT cause FROM incident WHERE closed_at IS NULL") == []
    assert alarms(service) == []


def test_silence_for_a_day_raises_the_priority_of_the_same_ticket(service, database):
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, **HEALTHY)
    service.run(90_000, step=300)
    assert [(rule, state) for _, rule, state, _, _ in alarms(service)] == [
        ("communication_lost", "active"),
        ("communication_lost_long", "active"),
    ]
    assert service.rows("SELECT failure_mode, priority FROM ticket") == [("communication_lost", 3)]
    assert service.rows("SELECT kind FROM ticket_event ORDER BY id") == [
        ("opened",),
        ("evidence",),
        ("escalated",),
    ]


def test_an_alarm_whose_condition_is_unknown_for_a_day_goes_stale_and_is_not_normal(
    service, database
):
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
    service.run(61, step=1)
    service.run(87_000, step=300)
    states = {rule: state for _, rule, state, _, _ in alarms(service)}
    assert states["fan_fault"] == "stale"
    service.tell(ups, alarm_fan_fault=False, **HEALTHY)
    service.clock.advance(200)
    service.tell(ups, valid=900, alarm_fan_fault=False, **HEALTHY)
    service.run(400, step=20)
    states = {rule: state for _, rule, state, _, _ in alarms(service)}
    assert states["fan_fault"] == "cleared"


def test_an_inhibited_alarm_opens_nothing_until_its_inhibitor_is_gone(service, database):
    (ups,) = register(database.admin_dsn)
    hot = HEALTHY | {"battery_temperature": 52.0}
    service.beat()
    for _ in range(22):
        service.tell(ups, valid=90, **hot)
        service.run(60, step=60)
    found = service.rows("SELECT rule_key, inhibited_by FROM alarm ORDER BY rule_key")
    assert found == [("battery_hot", "battery_overheated"), ("battery_overheated", None)]
    assert service.rows("SELECT priority FROM ticket") == [(1,)]


def test_a_relapse_within_the_window_reopens_the_closed_ticket(service, database):
    from rules.operations import close_ticket

    (ups,) = register(database.admin_dsn)
    service.beat()

    def fan(fault: bool) -> None:
        for _ in range(7):
            service.tell(ups, valid=90, alarm_fan_fault=fault, **HEALTHY)
            service.run(60, step=60)

    fan(True)
    fan(False)
    (ticket_id,) = service.rows("SELECT id FROM ticket")[0]
    with service.pool.connection() as connection:
        close_ticket(
            connection,
            ticket_id,
            closing_code="repaired",
            text="",
            actor="engineer",
            now=service.clock.now,
        )
    fan(True)
    assert service.rows("SELECT id, state, reopened FROM ticket") == [(ticket_id, "open", 1)]
    fan(False)
    with service.pool.connection() as connection:
        close_ticket(
            connection,
            ticket_id,
            closing_code="repaired",
            text="",
            actor="engineer",
            now=service.clock.now,
        )
    service.clock.advance(15 * 86_400)
    fan(True)
    assert service.rows("SELECT state, reopened FROM ticket ORDER BY id") == [
        ("closed", 1),
        ("open", 0),
    ]


def test_a_database_that_goes_away_is_tried_again_and_nothing_is_lost(service, database):
    (ups,) = register(database.admin_dsn)
    service.tell(ups, **HEALTHY)
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'ridethrough_ingest'
            """
        )
    service.clock.advance(5)
    service.tell(ups, **HEALTHY)
    assert service.one("SELECT count(*) FROM telemetry") == 2


def test_our_own_silence_is_one_incident_for_staff_until_data_comes_again(service, database):
    units = register(database.admin_dsn, devices=3)
    service.beat()
    service.tell(*units, valid=3600, **HEALTHY)
    service.run(360, step=60)
    assert service.rows(
        "SELECT subject, cause, customer_id FROM incident WHERE closed_at IS NULL"
    ) == [("fleet", "no_data", None)]
    service.tell(*units, valid=3600, **HEALTHY)
    service.run(60, step=60)
    assert service.rows("SELECT subject FROM incident WHERE closed_at IS NULL") == []
