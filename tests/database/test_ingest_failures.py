"""What must not stop ingest, and what it must never acknowledge."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from collector import ingest as ingesting
from collector.ingest import Ingest
from rules.catalogue import catalogue
from rules.live import LiveRules
from rules.operations import close_stale_alarm
from tests.cast import HEALTHY, Service, register
from tests.collector.brokers import until

DEADLINE_SECONDS = 60


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn, connections=4)
    yield made
    made.close()


@pytest.fixture
def admin(database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.admin_dsn, autocommit=True) as opened:
        yield opened


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_an_acknowledgement_that_fails_stops_neither_the_loop_nor_the_others(service, database):
    units = register(database.admin_dsn, devices=3)
    acknowledged = []

    def broken() -> None:
        raise ConnectionResetError("the broker is gone")

    batch = [service.arrive(ups, HEALTHY) for ups in units]
    service.ingest.store(
        [
            replace(batch[0], acknowledge=broken),
            replace(batch[1], acknowledge=lambda: acknowledged.append(units[1])),
            replace(batch[2], acknowledge=lambda: acknowledged.append(units[2])),
        ]
    )
    assert acknowledged == units[1:]
    assert service.one("SELECT count(*) FROM telemetry") == 3


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        (
            "REVOKE UPDATE ON device_state FROM ridethrough_ingest",
            "GRANT UPDATE ON device_state TO ridethrough_ingest",
        ),
        ("ALTER TABLE outbox RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO outbox"),
        (
            "ALTER DATABASE {name} SET default_transaction_read_only = on",
            "ALTER DATABASE {name} SET default_transaction_read_only = off",
        ),
    ],
)
def test_a_database_that_refuses_everybody_makes_no_reading_poison(
    service, database, admin, breaks, mends
):
    """A missing right, a table gone, a standby: the readings wait, none goes to quarantine."""
    units = register(database.admin_dsn, devices=3)
    service.beat()
    service.tell(*units, valid=90, alarm_fan_fault=True)
    service.clock.advance(61)
    acknowledged = []
    batch = [
        replace(
            service.arrive(ups, {"alarm_fan_fault": True}, valid=90),
            acknowledge=lambda ups=ups: acknowledged.append(ups),
        )
        for ups in units
    ]
    admin.execute(breaks.format(name=database.name))
    # New connections only: the setting of a database does not reach those that are open.
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=2, open=True) as pool:
        ingest = Ingest(
            pool,
            rules=LiveRules(catalogue()),
            now=service.clock,
            oldest=lambda now: now - timedelta(days=14),
        )
        storing = in_thread(lambda: ingest.store(batch))
        until(lambda: ingest.counters.rounds_retried >= 2)
        assert acknowledged == []
        admin.execute(mends.format(name=database.name))
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            " AND usename = 'ridethrough_ingest'",
            (database.name,),
        )
        storing.join(DEADLINE_SECONDS)
        assert not storing.is_alive()
    assert acknowledged == units
    service.pool.check()
    assert service.one("SELECT count(*) FROM quarantine") == 0
    assert service.one("SELECT count(*) FROM telemetry") == 6
    assert service.one("SELECT count(*) FROM alarm") == 3


def test_poison_found_while_the_database_fails_is_quarantined_once_it_is_back(
    service, database, admin
):
    (ups,) = register(database.admin_dsn)
    acknowledged = []
    poison = replace(
        service.arrive(ups, {"battery_charge": "ninety"}),
        acknowledge=lambda: acknowledged.append(ups),
    )
    admin.execute("REVOKE INSERT ON quarantine FROM ridethrough_ingest")
    storing = in_thread(lambda: service.ingest.store([poison]))
    until(lambda: service.ingest.counters.rounds_retried >= 1)
    assert acknowledged == []
    admin.execute("GRANT INSERT ON quarantine TO ridethrough_ingest")
    storing.join(DEADLINE_SECONDS)
    assert not storing.is_alive()
    assert acknowledged == [ups]
    assert service.rows("SELECT device_id, reason FROM quarantine") == [(ups, "poison")]


def test_ingest_stops_in_bounded_time_without_acknowledging_while_the_database_is_away(
    service, database, admin, monkeypatch
):
    monkeypatch.setattr(ingesting, "PATIENCE_AT_STOP_SECONDS", 0.2)
    (ups,) = register(database.admin_dsn)
    acknowledged = []
    admin.execute("REVOKE ALL ON device_state FROM ridethrough_ingest")
    running = in_thread(service.ingest.run)
    for _ in range(3):
        service.ingest.offer(
            replace(service.arrive(ups, HEALTHY), acknowledge=lambda: acknowledged.append(ups))
        )
    until(lambda: service.ingest.counters.rounds_retried >= 1)
    service.ingest.stop()
    running.join(DEADLINE_SECONDS)
    assert not running.is_alive()
    assert acknowledged == []
    assert service.ingest.counters.left_at_stop == 3


def test_a_stale_alarm_closed_by_hand_while_its_unit_speaks_again_is_not_lost(service, database):
    """Whoever comes second sees what the first did: the fault has an alarm that stands."""
    (ups,) = register(database.admin_dsn)
    service.beat()
    service.tell(ups, valid=90, alarm_fan_fault=True, **HEALTHY)
    service.run(61, step=1)
    service.run(87_000, step=300)
    (alarm_id, state) = service.rows("SELECT id, state FROM alarm WHERE rule_key = 'fan_fault'")[0]
    assert state == "stale"
    with service.pool.connection() as connection:
        close_stale_alarm(
            connection, alarm_id, reason="gone", actor="dispatcher", now=service.clock.now
        )
        speaking = in_thread(lambda: service.tell(ups, valid=900, alarm_fan_fault=True, **HEALTHY))
        with service.pool.connection() as looking:
            until(lambda: looking.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall())
    speaking.join(DEADLINE_SECONDS)
    for _ in range(3):
        service.run(30, step=30)
        service.tell(ups, valid=900, alarm_fan_fault=True, **HEALTHY)
    assert (
        service.one(
            "SELECT count(*) FROM alarm WHERE rule_key = 'fan_fault' AND cleared_at IS NULL"
        )
        == 1
    )


def test_what_is_acknowledged_is_committed_by_then(service, database, admin):
    units = register(database.admin_dsn, devices=3)
    seen_by_others = []
    service.ingest.store(
        [
            replace(
                service.arrive(ups, HEALTHY),
                acknowledge=lambda: seen_by_others.append(
                    admin.execute("SELECT count(*) FROM telemetry").fetchone()[0]
                ),
            )
            for ups in units
        ]
    )
    assert seen_by_others == [3, 3, 3]
