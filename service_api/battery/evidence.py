"""What battery figures are made from, read and kept: days, discharges, self-tests, the flag.

Rows of fixed width go through binary COPY straight into NumPy: a fleet has millions of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import TupleRow

from rules.battery.days import DAY_SECONDS, days_of
from rules.battery.facts import (
    Buckets,
    Days,
    Discharge,
    FlagTime,
    TestOutcome,
    TestResult,
    day_of,
)
from rules.battery.spells import discharges_of, flag_times

Connection = psycopg.Connection[TupleRow]
Rows = NDArray[np.void]

AGAIN_DAYS = 2
"""So many of the last full days are reckoned anew each night: readings may have come late."""
BEFORE_DAYS = 3
"""Days that only serve the judgement of those behind them: `rules.battery.days.START_SECONDS`."""
FULL_FROM = 90.0
"""Percent of charge from which a discharge began full enough to tell of the whole battery."""
FLAG_DAYS = 9
"""How far back the unit's flag is looked for: one that was gone for 7 days is over."""

_HEADER_BYTES, _TRAILER_BYTES = 19, 2
_POSTGRES_EPOCH = 10_957  # 2000-01-01 in days since 1970


def _copied(
    connection: Connection, query: LiteralString, parameters: Mapping[str, object], kinds: str
) -> Rows:
    """Read rows without NULLs by binary COPY; `kinds` are NumPy's letters of the columns."""
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)", parameters) as copy,
    ):
        data = b"".join(bytes(chunk) for chunk in copy)
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for place, kind in enumerate(kinds):
        fields += [(f"size{place}", ">i4"), (f"c{place}", _KINDS[kind])]
    inside = data[_HEADER_BYTES : len(data) - _TRAILER_BYTES]
    return np.frombuffer(inside, dtype=np.dtype(fields))


_KINDS = {"q": ">i8", "i": ">i4", "h": ">i2", "f": ">f4", "d": ">f8"}


def _column(rows: Rows, place: int, kind: type) -> NDArray[Any]:
    return rows[f"c{place}"].astype(kind)


def _split(rows: Rows) -> Iterable[tuple[int, Rows]]:
    """Yield each device's rows; they are in order of the device."""
    if not len(rows):
        return
    ids = _column(rows, 0, np.int64)
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    for first, last in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield int(ids[first]), rows[first:last]


_BUCKETS: LiteralString = """
    SELECT device_id, extract(epoch FROM bucket)::bigint,
        coalesce(ups_load_avg, 'NaN'), coalesce(ups_load_min, 'NaN'), coalesce(ups_load_max, 'NaN'),
        coalesce(battery_runtime_avg, 'NaN'), coalesce(battery_charge_min, 'NaN'),
        coalesce(battery_temperature_avg, ambient_temperature_avg, 'NaN'),
        coalesce(status_on_battery_seconds, 0)
    FROM telemetry_15m
    WHERE device_id = ANY(%(ids)s) AND bucket >= %(first)s AND bucket < %(last)s
    ORDER BY device_id, bucket
"""


def buckets_of(
    connection: Connection, device_ids: Sequence[int], first: datetime, last: datetime
) -> dict[int, Buckets]:
    """Return the 15-minute buckets of some units, those without any left out."""
    rows = _copied(
        connection,
        _BUCKETS,
        {"ids": list(device_ids), "first": first, "last": last},
        "qqddddddd",
    )
    return {
        device_id: Buckets(
            _column(part, 1, np.int64), *(_column(part, place, np.float64) for place in range(2, 9))
        )
        for device_id, part in _split(rows)
    }


def take_in(connection: Connection, device_ids: Sequence[int], now: datetime) -> None:
    """Bring the kept days and discharges of some units up to yesterday (UTC).

    Units that have none yet get all that is still there: temperatures from the daily rollups, which
    are kept for ever, the rest from those of 15 minutes.
    """
    last: dict[int, date] = dict(
        connection.execute(
            """
            SELECT u.id, b.day FROM unnest(%s::bigint[]) AS u (id) CROSS JOIN LATERAL (
                SELECT day FROM battery_day WHERE device_id = u.id ORDER BY day DESC LIMIT 1) b
            """,
            (list(device_ids),),
        ).fetchall()
    )
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    earliest = today - timedelta(days=_KEPT_DAYS)
    again = today - timedelta(days=AGAIN_DAYS)
    new = [device_id for device_id in device_ids if device_id not in last]
    _take_temperatures(connection, new, today)
    for one in new:
        _take_buckets(connection, [one], earliest, today)
    current = []
    for device_id, day in sorted(last.items()):
        since = datetime.combine(day, time(), tzinfo=UTC)
        if since < again:  # nights were missed, or the unit was silent
            _take_buckets(connection, [device_id], max(since, earliest), today)
        else:
            current.append(device_id)
    if current:
        _take_buckets(connection, current, again, today)


_KEPT_DAYS = 366


def _take_temperatures(connection: Connection, device_ids: Sequence[int], today: datetime) -> None:
    connection.execute(
        """
        INSERT INTO battery_day (device_id, day, celsius, samples, log_load_low, log_runtime_low,
            log_load_high, log_runtime_high)
        SELECT device_id, (bucket AT TIME ZONE 'UTC')::date,
            coalesce(battery_temperature_avg, ambient_temperature_avg), 0, 'NaN', 'NaN', 'NaN',
            'NaN'
        FROM telemetry_1d WHERE device_id = ANY(%s) AND bucket < %s
        AND coalesce(battery_temperature_avg, ambient_temperature_avg) BETWEEN -1000 AND 1000
        ON CONFLICT DO NOTHING
        """,
        (list(device_ids), today),
    )


def _take_buckets(
    connection: Connection, device_ids: Sequence[int], first: datetime, last: datetime
) -> None:
    """Reckon the days from `first` on, and the times on battery that ended in them."""
    days: list[tuple[Any, ...]] = []
    discharges: list[tuple[Any, ...]] = []
    begin = int(first.timestamp()) // DAY_SECONDS
    before = first - timedelta(days=BEFORE_DAYS)
    for device_id, buckets in buckets_of(connection, device_ids, before, last).items():
        told = days_of(buckets)
        days += [
            (
                device_id,
                day_of(int(told.day[place])),
                float(told.celsius[place]),
                int(told.samples[place]),
                float(told.log_load_low[place]),
                float(told.log_runtime_low[place]),
                float(told.log_load_high[place]),
                float(told.log_runtime_high[place]),
            )
            for place in np.flatnonzero(told.day >= begin)
        ]
        discharges += [
            (
                device_id,
                one.ended_at,
                one.seconds,
                one.load,
                one.charge_before,
                one.charge_after,
                one.celsius,
                one.expected_seconds,
                one.reached_end,
            )
            for one in discharges_of(buckets)
            if one.ended_at >= first
        ]
    if days:
        connection.execute(
            """
            INSERT INTO battery_day (device_id, day, celsius, samples, log_load_low,
                log_runtime_low, log_load_high, log_runtime_high)
            SELECT * FROM unnest(%s::bigint[], %s::date[], %s::real[], %s::smallint[], %s::real[],
                %s::real[], %s::real[], %s::real[])
            ON CONFLICT (device_id, day) DO UPDATE SET celsius = CASE
                    WHEN excluded.celsius = 'NaN' THEN battery_day.celsius
                    ELSE excluded.celsius END,
                samples = excluded.samples,
                log_load_low = excluded.log_load_low, log_runtime_low = excluded.log_runtime_low,
                log_load_high = excluded.log_load_high,
                log_runtime_high = excluded.log_runtime_high
            """,
            [list(column) for column in zip(*days, strict=True)],
        )
    if discharges:
        connection.execute(
            """
            INSERT INTO battery_discharge (device_id, ended_at, seconds, load, charge_before,
                charge_after, celsius, expected_seconds, reached_end)
            SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::real[], %s::real[],
                %s::real[], %s::real[], %s::real[], %s::real[], %s::boolean[])
            ON CONFLICT DO NOTHING
            """,
            [list(column) for column in zip(*discharges, strict=True)],
        )


_DAYS: LiteralString = """
    SELECT device_id, day, celsius, samples, log_load_low, log_runtime_low, log_load_high,
        log_runtime_high
    FROM battery_day WHERE device_id = ANY(%(ids)s) AND day < %(today)s ORDER BY device_id, day
"""


def days_kept(connection: Connection, device_ids: Sequence[int], today: date) -> dict[int, Days]:
    """Return the kept days of some units, those without any left out."""
    rows = _copied(connection, _DAYS, {"ids": list(device_ids), "today": today}, "qifhffff")
    return {
        device_id: Days(
            _column(part, 1, np.int64) + _POSTGRES_EPOCH,
            _column(part, 2, np.float64),
            _column(part, 3, np.int64),
            *(_column(part, place, np.float64) for place in range(4, 8)),
        )
        for device_id, part in _split(rows)
    }


NO_DAYS = Days(
    np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), *(np.empty(0) for _ in range(4))
)


def discharges_kept(
    connection: Connection, device_ids: Sequence[int]
) -> dict[int, list[Discharge]]:
    """Return the kept times on battery of some units, oldest first.

    What an episode tells (`rules.power_events`) goes before what the rollups show of the same time.
    """
    found: dict[int, list[Discharge]] = {}
    for device_id, *values in connection.execute(
        """
        SELECT device_id, ended_at, seconds, load_mean, charge_before, charge_after, celsius,
            promised_seconds, reached_end
        FROM power_event WHERE device_id = ANY(%(ids)s) AND ended_at IS NOT NULL
        AND load_mean IS NOT NULL AND coalesce(charge_before, 100) >= %(full)s
        UNION ALL
        SELECT device_id, ended_at, seconds, load, charge_before, charge_after, celsius,
            expected_seconds, reached_end
        FROM battery_discharge b WHERE device_id = ANY(%(ids)s) AND NOT EXISTS (
            SELECT FROM power_event e WHERE e.device_id = b.device_id
            AND e.began_at < b.ended_at
            AND coalesce(e.ended_at, 'infinity')
                > b.ended_at - make_interval(secs => b.seconds) - interval '30 min')
        ORDER BY 1, 2
        """,
        {"ids": list(device_ids), "full": FULL_FROM},
    ):
        found.setdefault(device_id, []).append(Discharge(*values))
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """What a unit says of its last self-test; `is_dated` when it says on which day."""

    result: TestResult
    is_dated: bool


def tests_kept(
    connection: Connection, told: Mapping[int, Told], device_ids: Sequence[int]
) -> dict[int, list[TestResult]]:
    """Add what units say of their last self-test, and return all that is known of each.

    A unit repeats its last result for ever. One without a date is new only when another result
    came before it; a first pass without a date may be as old as the unit and says nothing.
    """
    found: dict[int, list[TestResult]] = {}
    for device_id, ended_at, outcome in connection.execute(
        """
        SELECT device_id, ended_at, outcome FROM battery_test
        WHERE device_id = ANY(%s) ORDER BY device_id, ended_at
        """,
        (list(device_ids),),
    ):
        found.setdefault(device_id, []).append(TestResult(TestOutcome(outcome), ended_at))
    new = []
    for device_id, one in told.items():
        known = found.setdefault(device_id, [])
        if one.is_dated:
            is_new = all(test.ended_at != one.result.ended_at for test in known)
        elif known:
            is_new = known[-1].outcome is not one.result.outcome
        else:
            is_new = one.result.outcome is TestOutcome.FAILED
        if is_new:
            known.append(one.result)
            new.append((device_id, one.result.ended_at, one.result.outcome.value, one.is_dated))
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO battery_test (device_id, ended_at, outcome, is_dated)
            VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            new,
        )
    return found


def flags_lately(
    connection: Connection, device_ids: Sequence[int], now: datetime
) -> dict[int, tuple[FlagTime, ...]]:
    """Return when the units asked for a new battery lately."""
    rows = _copied(
        connection,
        """
        SELECT device_id, extract(epoch FROM bucket)::bigint, status_replace_battery_seconds
        FROM telemetry_15m WHERE device_id = ANY(%(ids)s) AND bucket >= %(first)s
        AND bucket <= %(now)s AND status_replace_battery_seconds > 0 ORDER BY device_id, bucket
        """,
        {"ids": list(device_ids), "first": now - timedelta(days=FLAG_DAYS), "now": now},
        "qqd",
    )
    return {
        device_id: flag_times(_column(part, 1, np.int64), _column(part, 2, np.float64), now)
        for device_id, part in _split(rows)
    }
