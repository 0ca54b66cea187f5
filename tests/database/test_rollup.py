import random
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import dict_row

from collector.partitions import make_ahead
from collector.rollup import bucket_of, due_rollups, mark_dirty, roll_up, touched_by

START = datetime(2026, 3, 2, tzinfo=UTC)
LATER = START + timedelta(days=3)
UNIT = 7
MINUTE = timedelta(minutes=1)


@pytest.fixture
def connection(database):
    with psycopg.connect(database.ingest_dsn, autocommit=True) as opened:
        make_ahead(opened, START, days=5)
        yield opened


def put(connection, at, *, device=UNIT, mark=True, **points):
    columns = ["device_id", "observed_at", "received_at", *points]
    connection.execute(
        f"INSERT INTO telemetry ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})",
        (device, at, at, *points.values()),
    )
    if mark:
        mark_dirty(connection, [(device, bucket) for bucket in touched_by(at)])


def rows(connection, table):
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(f"SELECT * FROM {table} ORDER BY device_id, bucket").fetchall()


def settle(connection, now=LATER, limit=500):
    total = 0
    while done := roll_up(connection, now=now, limit=limit):
        total += done
    return total


def test_a_bucket_holds_average_least_and_greatest_of_its_readings(connection):
    for minute, load in ((0, 40.0), (5, 50.0), (14, 90.0), (15, 10.0)):
        put(connection, START + minute * MINUTE, ups_load=load)
    settle(connection)
    first, second = rows(connection, "telemetry_15m")
    assert (first["bucket"], first["n"]) == (START, 3)
    assert (first["ups_load_avg"], first["ups_load_min"], first["ups_load_max"]) == (60, 40, 90)
    assert (second["n"], second["ups_load_avg"]) == (1, 10)
    assert first["battery_charge_avg"] is None
    assert first["status_on_battery_any"] is None
    assert first["status_on_battery_seconds"] is None


def test_hours_and_days_weigh_each_bucket_by_its_readings(connection):
    put(connection, START, ups_load=10.0, battery_charge=100.0)
    for minute in range(15, 18):
        put(connection, START + minute * MINUTE, ups_load=30.0)
    settle(connection)
    for table in ("telemetry_1h", "telemetry_1d"):
        (row,) = rows(connection, table)
        assert (row["bucket"], row["n"]) == (START, 4)
        assert (row["ups_load_avg"], row["ups_load_min"], row["ups_load_max"]) == (25, 10, 30)
        assert row["battery_charge_avg"] == 100


@pytest.mark.parametrize(
    ("told", "seconds", "any_"),
    [
        ([(0, True), (5, False)], 300, True),
        ([(0, True)], 600, True),
        ([(10, True)], 300, True),
        ([(-2, True), (3, False)], 180, True),
        ([(-9, True), (3, False)], 60, True),
        ([(-20, True), (3, False)], 0, False),
        ([(-2, True), (-1, False), (3, False)], 0, False),
        ([(0, True), (4, None), (6, False)], 360, True),
        ([(0, False), (5, False)], 0, False),
        ([(0, None), (5, None)], None, None),
        ([(-30, False), (0, None)], None, None),
    ],
)
def test_a_flag_holds_until_told_otherwise_but_never_longer_than_ten_minutes(
    connection, told, seconds, any_
):
    bucket = START + timedelta(hours=1)
    for minute, flag in told:
        put(connection, bucket + minute * MINUTE, ups_load=1.0, status_on_battery=flag)
    settle(connection)
    row = next(row for row in rows(connection, "telemetry_15m") if row["bucket"] == bucket)
    assert row["status_on_battery_seconds"] == seconds
    assert row["status_on_battery_any"] is any_
    assert row["n"] == sum(minute >= 0 for minute, _ in told)


def test_a_bucket_waits_two_minutes_for_stragglers(connection):
    put(connection, START, ups_load=1.0)
    ends = START + 15 * MINUTE
    assert roll_up(connection, now=ends + timedelta(seconds=119)) == 0
    assert due_rollups(connection, now=ends + 2 * MINUTE) == 1
    assert roll_up(connection, now=ends + 2 * MINUTE) == 1
    assert len(rows(connection, "telemetry_15m")) == 1
    assert rows(connection, "telemetry_1h") == []


def test_a_late_reading_changes_every_level_and_a_second_run_changes_nothing(connection):
    put(connection, START, ups_load=10.0)
    settle(connection)
    put(connection, START + MINUTE, ups_load=30.0)
    assert settle(connection) == 3
    kept = {table: rows(connection, f"telemetry_{table}") for table in ("15m", "1h", "1d")}
    assert {table: of[0]["ups_load_avg"] for table, of in kept.items()} == dict.fromkeys(kept, 20)
    mark_dirty(connection, [(UNIT, START)])
    assert settle(connection) == 3
    assert kept == {table: rows(connection, f"telemetry_{table}") for table in kept}


def test_a_late_reading_reaches_into_the_next_bucket(connection):
    put(connection, START + 16 * MINUTE, status_on_battery=False)
    settle(connection)
    put(connection, START + 14 * MINUTE, status_on_battery=True)
    settle(connection)
    second = rows(connection, "telemetry_15m")[1]
    assert second["status_on_battery_seconds"] == 60


def test_a_mark_without_readings_leaves_no_row(connection):
    mark_dirty(connection, [(UNIT, START)])
    assert settle(connection) == 3
    assert rows(connection, "telemetry_15m") == []


def test_partitions_that_are_missing_are_made(connection):
    put(connection, START, ups_load=5.0)
    far = START - timedelta(days=400)
    connection.execute("SELECT ensure_partition('telemetry', %s)", (far,))
    put(connection, far, ups_load=6.0)
    settle(connection)
    assert [row["ups_load_avg"] for row in rows(connection, "telemetry_15m")] == [6, 5]
    assert [row["ups_load_avg"] for row in rows(connection, "telemetry_1h")] == [6, 5]


def test_a_mark_that_ingest_is_still_using_is_left_for_the_next_run(connection, database):
    put(connection, START, ups_load=10.0)
    with psycopg.connect(database.ingest_dsn) as ingest:
        put(ingest, START + MINUTE, ups_load=30.0)
        assert roll_up(connection, now=LATER) == 0
        ingest.commit()
    settle(connection)
    assert rows(connection, "telemetry_15m")[0]["n"] == 2


def test_a_mark_set_while_its_bucket_is_computed_is_kept(connection, database):
    put(connection, START, ups_load=10.0)
    with psycopg.connect(database.ingest_dsn) as job:
        roll_up(job, now=LATER)  # computed, but not committed: autocommit is off
        late = threading.Thread(target=put, args=(connection, START + MINUTE), daemon=True)
        late.start()
        job.commit()
        late.join(timeout=30)
        assert not late.is_alive()
    settle(connection)
    assert rows(connection, "telemetry_15m")[0]["n"] == 2


def test_several_jobs_share_the_work_and_lose_nothing(connection, database):
    devices = range(1, 9)
    for device in devices:
        for minute in range(0, 24 * 60, 15):
            put(connection, START + minute * MINUTE, device=device, ups_load=float(device))
    failures = []

    def work():
        try:
            with psycopg.connect(database.ingest_dsn, autocommit=True) as own:
                settle(own, limit=37)
        except psycopg.Error as failure:
            failures.append(failure)

    jobs = [threading.Thread(target=work) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    settle(connection)
    assert failures == []
    assert len(rows(connection, "telemetry_15m")) == 8 * 96
    assert {row["n"] for row in rows(connection, "telemetry_1h")} == {4}
    days = rows(connection, "telemetry_1d")
    assert [(row["n"], row["ups_load_avg"]) for row in days] == [(96, n) for n in devices]


def expected(readings):
    """The rule of `collector.rollup` once more, slowly: bucket → (n, load, seconds on battery)."""
    hold, found = 10 * MINUTE, {}
    for at, load, _ in readings:
        n, loads, _ = found.setdefault(bucket_of(at), (0, [], None))
        found[bucket_of(at)] = (n + 1, loads + ([] if load is None else [load]), None)
    told = [(at, flag) for at, _, flag in readings if flag is not None]
    for bucket, (n, loads, _) in found.items():
        seconds = None
        for (at, flag), following in zip(told, [*told[1:], (None, None)], strict=True):
            until = min(at + hold, bucket + 15 * MINUTE, following[0] or at + hold)
            held = (until - max(at, bucket)).total_seconds()
            if held > 0:
                seconds = (seconds or 0) + (held if flag else 0)
        found[bucket] = (n, sum(loads) / len(loads) if loads else None, seconds)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_any_readings_roll_up_as_the_rule_says(connection, seed):
    chance = random.Random(seed)
    seconds = sorted(chance.sample(range(6 * 3600), 300 if seed % 2 else 30))
    readings = [
        (
            START + timedelta(seconds=second),
            chance.choice([None, float(chance.randrange(100))]),
            chance.choice([None, True, False]),
        )
        for second in seconds
    ]
    shuffled = chance.sample(readings, len(readings))
    for number, (at, load, flag) in enumerate(shuffled):
        put(connection, at, ups_load=load, status_overload=flag)
        if number % 50 == 0:
            settle(connection, limit=chance.choice([1, 500]))
    settle(connection)
    got = {
        row["bucket"]: (row["n"], row["ups_load_avg"], row["status_overload_seconds"])
        for row in rows(connection, "telemetry_15m")
    }
    wanted = expected(readings)
    assert got.keys() == wanted.keys()
    for bucket, (n, load, held) in wanted.items():
        assert got[bucket] == (n, pytest.approx(load), pytest.approx(held))
