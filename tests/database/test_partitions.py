import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from collector.partitions import make_ahead, oldest_kept, retain

NOON = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def connection(database):
    with psycopg.connect(database.ingest_dsn, autocommit=True) as opened:
        yield opened


def store(connection, at, parent="telemetry"):
    connection.execute("SELECT ensure_partition(%s, %s)", (parent, at))
    if parent == "telemetry":
        connection.execute(
            "INSERT INTO telemetry (device_id, observed_at, received_at) VALUES (1, %s, %s)",
            (at, at),
        )
    else:
        connection.execute(f"INSERT INTO {parent} (device_id, bucket, n) VALUES (1, %s, 1)", (at,))


def instants(connection, parent="telemetry"):
    column = "observed_at" if parent == "telemetry" else "bucket"
    found = connection.execute(f"SELECT {column} FROM {parent} ORDER BY 1").fetchall()
    return [at for (at,) in found]


def quarantine(connection, at):
    connection.execute(
        "INSERT INTO quarantine (received_at, source, reason, detail, raw)"
        " VALUES (%s, 'mqtt', 'bad_json', '', '')",
        (at,),
    )


@pytest.mark.parametrize(
    ("now", "days", "oldest"),
    [
        (NOON, 14, datetime(2026, 2, 16, tzinfo=UTC)),
        (datetime(2026, 3, 2, tzinfo=UTC), 1, datetime(2026, 3, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, 23, 59, tzinfo=UTC), 7, datetime(2025, 12, 25, tzinfo=UTC)),
    ],
)
def test_the_oldest_kept_instant_is_a_midnight(now, days, oldest):
    assert oldest_kept(now, days) == oldest


def test_partitions_made_ahead_take_readings_of_a_week(connection, database):
    made = make_ahead(connection, NOON, days=7)
    assert (made > 9) == (database.variant == "plain")
    assert make_ahead(connection, NOON, days=7) == 0
    for offset in (-1, 0, 7):
        connection.execute(
            "INSERT INTO telemetry (device_id, observed_at, received_at) VALUES (1, %s, %s)",
            (NOON + offset * DAY, NOON),
        )
    assert len(instants(connection)) == 3


def test_readings_of_the_oldest_kept_day_stay_and_older_ones_go(connection):
    oldest = oldest_kept(NOON, 14)
    for at in (oldest - DAY, oldest - timedelta(seconds=1), oldest, NOON):
        store(connection, at)
    assert retain(connection, NOON, raw_days=14).partitions == 1
    assert instants(connection) == [oldest, NOON]
    assert retain(connection, NOON, raw_days=14).partitions == 0


@pytest.mark.parametrize(
    ("parent", "gone", "kept"),
    [
        ("telemetry_15m", 365 + 31, 364),
        ("telemetry_1h", 5 * 366 + 361, 5 * 365),
    ],
)
def test_rollups_are_kept_for_their_time(connection, parent, gone, kept):
    store(connection, NOON - gone * DAY, parent)
    store(connection, NOON - kept * DAY, parent)
    retain(connection, NOON, raw_days=14)
    assert instants(connection, parent) == [NOON - kept * DAY]


def test_quarantined_input_is_kept_for_thirty_days(connection):
    for days in (31, 30, 1):
        quarantine(connection, NOON - days * DAY)
    assert retain(connection, NOON, raw_days=14).quarantined == 1
    left = connection.execute("SELECT count(*) FROM quarantine").fetchone()
    assert left == (2,)


def test_several_that_start_at_once_make_each_partition_once(database):
    count = 8
    together = threading.Barrier(count)

    def make(_: int) -> None:
        with psycopg.connect(database.ingest_dsn) as connection:
            together.wait()
            make_ahead(connection, NOON)

    with ThreadPoolExecutor(count) as threads:
        list(threads.map(make, range(count)))
