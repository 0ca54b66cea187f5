"""Readings for a day that TimescaleDB has compressed already; elsewhere, for an old day."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector.rollup import roll_up
from tests.cast import HEALTHY, START, Service, register

LATE = timedelta(days=4)


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def compress(database, table: str) -> int:
    """Compress every chunk, where the server can; returns how many."""
    if database.variant != "timescale-community":
        return 0
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        chunks = owner.execute("SELECT c::text FROM show_chunks(%s) AS c", (table,)).fetchall()
        for (chunk,) in chunks:
            owner.execute("SELECT compress_chunk(%s)", (chunk,))
        return len(chunks)


def test_late_and_repeated_readings_reach_a_compressed_day_once(service, database):
    (ups,) = register(database.admin_dsn)
    early = [
        service.arrive(ups, HEALTHY, observed_at=START + timedelta(minutes=n)) for n in range(5)
    ]
    service.clock.now = START + LATE
    service.ingest.store(early[:2])
    service.tell(ups, **HEALTHY)
    compressed = compress(database, "telemetry")
    assert (compressed > 0) == (database.variant == "timescale-community")
    service.ingest.store(early)  # two of them again, three late
    assert service.ingest.counters.late == 3
    assert service.ingest.counters.duplicates == 2
    assert service.one("SELECT count(*) FROM telemetry") == 6
    assert service.rows("SELECT * FROM quarantine") == []


def test_a_backlog_newer_than_the_state_is_copied_into_a_compressed_day_and_judged(
    service, database
):
    quiet, other = register(database.admin_dsn, devices=2)
    service.clock.now = START + LATE
    service.ingest.store([service.arrive(quiet, HEALTHY, observed_at=START)])
    service.ingest.store([service.arrive(other, HEALTHY, observed_at=START + timedelta(minutes=7))])
    compress(database, "telemetry")
    service.ingest.store(
        [
            service.arrive(
                quiet,
                HEALTHY | {"alarm_fan_fault": True},
                observed_at=START + timedelta(minutes=n),
                valid=90,
            )
            for n in range(1, 4)
        ]
    )
    assert service.one("SELECT count(*) FROM telemetry WHERE device_id = %s", quiet) == 4
    assert service.rows("SELECT rule_key, raised_at FROM alarm") == [
        ("fan_fault", START + timedelta(minutes=2))
    ]
    assert service.one("SELECT observed_at FROM device_state WHERE device_id = %s", quiet) == (
        START + timedelta(minutes=3)
    )


def test_a_late_reading_is_rolled_up_into_compressed_buckets(service, database):
    (ups,) = register(database.admin_dsn)

    def rolled_up() -> list[tuple]:
        with service.pool.connection() as connection:
            while roll_up(connection, now=service.clock.now):
                pass
        return [
            service.rows(f"SELECT sum(n), max(ups_load_max) FROM {table}")[0]
            for table in ("telemetry_15m", "telemetry_1h", "telemetry_1d")
        ]

    service.clock.now = START + LATE
    service.ingest.store([service.arrive(ups, HEALTHY, observed_at=START + timedelta(minutes=1))])
    assert rolled_up() == [(1, 42.0)] * 3
    for table in ("telemetry", "telemetry_15m", "telemetry_1h"):
        compress(database, table)
    late = service.arrive(ups, HEALTHY | {"ups_load": 77.0}, observed_at=START)
    service.ingest.store([late])
    assert rolled_up() == [(2, 77.0)] * 3
