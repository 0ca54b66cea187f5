"""Rollups: 15 minutes from readings, hours from those, days from hours, kept by dirty marks.

A mark in `rollup_dirty` says that a bucket is to be computed again; whoever stores a reading marks
(`mark_dirty`), the job computes (`roll_up`). Which points are kept stands in `rules.points`;
partitions are made and dropped in `collector.partitions`.

What a bucket holds:
- `n`: how many readings lie in it; a bucket without readings has no row.
- numbers: the plain average, least and greatest of the values that readings told; on the coarser
  levels the average weighs each finer bucket by its `n`, leaving out buckets that do not know it.
- flags: `seconds` that the flag held and whether it held at `any` time. What a reading tells of
  flags holds until the next reading that tells any, over the edge of a bucket too, but never longer
  than 10 minutes: what is not told again is not known.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg
from psycopg.rows import TupleRow

from rules.points import TREND_FLAGS, TREND_NUMBERS, Point

GRACE = timedelta(minutes=2)
"""How long after its end a bucket waits for readings still on their way."""
HOLD = timedelta(minutes=10)
"""How long a flag is believed without being told again."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Bucket = tuple[int, datetime]


@dataclass(frozen=True, slots=True)
class Level:
    """One length of buckets: the table that keeps it and the level computed from it."""

    name: str
    table: str
    span: timedelta
    next_name: str | None
    partitioned: bool


LEVELS = (
    Level("15m", "telemetry_15m", timedelta(minutes=15), "1h", partitioned=True),
    Level("1h", "telemetry_1h", timedelta(hours=1), "1d", partitioned=True),
    Level("1d", "telemetry_1d", timedelta(days=1), None, partitioned=False),
)
"""The finest first; buckets are aligned to UTC."""

FINEST = LEVELS[0].span
"""How long the buckets are that readings mark."""

_BY_NAME = {level.name: level for level in LEVELS}


def bucket_of(at: datetime, level: str = "15m") -> datetime:
    """Return the start of the bucket that an instant falls into."""
    span = _BY_NAME[level].span
    return at - (at - _EPOCH) % span


def touched_by(at: datetime) -> tuple[datetime, ...]:
    """Return the 15-minute buckets that a reading changes: its own and those its flags reach."""
    own, last = bucket_of(at), bucket_of(at + HOLD)
    return (own,) if last == own else (own, last)


def mark_dirty(
    connection: psycopg.Connection[TupleRow], buckets: Iterable[tuple[int, datetime]]
) -> None:
    """Mark 15-minute buckets (device id, start) to be computed, in the caller's transaction.

    A mark that stands already is locked until the caller commits, which costs no write: the job
    skips it meanwhile and so cannot compute the bucket without the caller's readings and then
    forget the mark.
    """
    marks = sorted(set(buckets))
    if marks:
        _mark(connection, "15m", marks)


def roll_up(connection: psycopg.Connection[TupleRow], *, now: datetime, limit: int = 2_000) -> int:
    """Compute up to `limit` due buckets of each level, the finest first; 0 when none is due.

    A bucket is due 2 minutes after its end. Each level is one transaction, so call this outside
    of one. Several may run at once: each claims its own buckets. Call again while it returns more
    than 0.
    """
    done = 0
    for level in LEVELS:
        with connection.transaction():
            done += _roll_up_level(connection, level, now, limit)
    return done


def due_rollups(connection: psycopg.Connection[TupleRow], *, now: datetime) -> int:
    """Return how many buckets are due and not computed yet."""
    return sum(
        int(row[0])
        for level in LEVELS
        for row in connection.execute(
            "SELECT count(*) FROM rollup_dirty WHERE level = %s AND bucket <= %s",
            (level.name, now - GRACE - level.span),
        )
    )


def _roll_up_level(
    connection: psycopg.Connection[TupleRow], level: Level, now: datetime, limit: int
) -> int:
    """Compute one level's due buckets in the open transaction.

    1. Take the marks away. A late reading that commits from here on marks the bucket anew.
    2. Compute, in a statement of its own, so that it sees what was committed before step 1.
    3. Mark the buckets of the next level.
    """
    claimed = _claim(connection, level, now - GRACE - level.span, limit)
    if not claimed:
        return 0
    if level.partitioned:
        _ensure_partitions(connection, level, claimed)
    # Compiling the long list of aggregates would take longer than running it.
    connection.execute("SET LOCAL jit = off")
    devices, starts = [list(column) for column in zip(*claimed, strict=True)]
    ends = [start + level.span for start in starts]
    connection.execute(
        _STATEMENTS[level.name],
        {
            "devices": devices,
            "starts": starts,
            "ends": ends,
            # The outer bounds let the planner leave out partitions.
            "first": min(starts) - HOLD,
            "last": max(ends),
            "hold": HOLD,
        },
    )
    if level.next_name is not None:
        above = level.next_name
        _mark(connection, above, sorted({(d, bucket_of(at, above)) for d, at in claimed}))
    return len(claimed)


def _claim(
    connection: psycopg.Connection[TupleRow], level: Level, newest: datetime, limit: int
) -> list[_Bucket]:
    return connection.execute(
        """
        DELETE FROM rollup_dirty d
        USING (
            SELECT device_id, bucket FROM rollup_dirty
            WHERE level = %(level)s AND bucket <= %(newest)s
            ORDER BY bucket, device_id
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ) due
        WHERE d.level = %(level)s AND d.device_id = due.device_id AND d.bucket = due.bucket
        RETURNING d.device_id, d.bucket
        """,
        {"level": level.name, "newest": newest, "limit": limit},
    ).fetchall()


def _mark(connection: psycopg.Connection[TupleRow], level: str, marks: list[_Bucket]) -> None:
    """Mark buckets; they come sorted, so that two who mark cannot wait for each other."""
    devices, starts = [list(column) for column in zip(*marks, strict=True)]
    connection.execute(
        """
        INSERT INTO rollup_dirty (level, device_id, bucket)
        SELECT %s, device_id, bucket
        FROM unnest(%s::bigint[], %s::timestamptz[]) AS mark (device_id, bucket)
        ON CONFLICT (level, device_id, bucket)
        DO UPDATE SET bucket = excluded.bucket WHERE false
        """,
        (level, devices, starts),
    )


def _ensure_partitions(
    connection: psycopg.Connection[TupleRow], level: Level, claimed: list[_Bucket]
) -> None:
    connection.execute(
        """
        SELECT ensure_partition(%(table)s, starts)
        FROM (
            SELECT DISTINCT date_bin(p.span, bucket, 'epoch') AS starts
            FROM unnest(%(buckets)s::timestamptz[]) AS claimed (bucket)
            JOIN partition_span p ON p.parent = %(table)s
        ) AS spans
        """,
        {"table": level.table, "buckets": list({bucket for _, bucket in claimed})},
    )


def _columns_of(numbers: Iterable[Point], flags: Iterable[Point]) -> Iterator[str]:
    for point in numbers:
        yield from (f"{point.column}_avg", f"{point.column}_min", f"{point.column}_max")
    for point in flags:
        yield from (f"{point.column}_any", f"{point.column}_seconds")


def _from_readings() -> str:
    """Return the statement that computes 15-minute buckets from readings.

    `r` are the readings of a bucket and those up to 10 minutes before it, whose flags it takes
    over; `r.held` is for how many seconds of the bucket the flags of a reading hold.
    """
    inner: list[str] = []
    outer: list[str] = []
    for point in TREND_NUMBERS:
        name = point.column
        inner.append(f"CASE WHEN t.observed_at >= c.bucket THEN t.{name} END AS {name}")
        outer += [f"avg(r.{name})", f"min(r.{name})", f"max(r.{name})"]
    for point in TREND_FLAGS:
        name = point.column
        inner.append(f"t.{name}")
        outer += [
            f"bool_or(r.{name})",
            f"sum(CASE WHEN r.{name} THEN r.held WHEN NOT r.{name} THEN 0 END)",
        ]
    told = f"coalesce({', '.join(f't.{point.column}' for point in TREND_FLAGS)}) IS NOT NULL"
    return f"""
        INSERT INTO telemetry_15m ({_targets()})
        SELECT c.device_id, c.bucket, count(*) FILTER (WHERE r.inside), {", ".join(outer)}
        FROM {_CLAIMED}
        CROSS JOIN LATERAL (
            SELECT t.observed_at >= c.bucket AS inside,
                extract(epoch FROM
                    least(
                        min(t.observed_at) FILTER (WHERE {told}) OVER later,
                        t.observed_at + %(hold)s, c.bucket_end
                    ) - greatest(t.observed_at, c.bucket))::float8 AS held,
                {", ".join(inner)}
            FROM telemetry t
            WHERE t.device_id = c.device_id
            AND t.observed_at >= c.bucket - %(hold)s AND t.observed_at < c.bucket_end
            AND t.observed_at >= %(first)s AND t.observed_at < %(last)s
            WINDOW later AS (
                ORDER BY t.observed_at DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            )
        ) AS r
        WHERE r.held > 0
        GROUP BY c.device_id, c.bucket
        HAVING bool_or(r.inside)
        {_upsert()}
        """


def _from_finer(level: Level, finer: Level) -> str:
    """Return the statement that computes a level from the next finer one."""
    outer: list[str] = []
    for point in TREND_NUMBERS:
        name = point.column
        outer += [
            f"sum(f.{name}_avg * f.n) / sum(f.n) FILTER (WHERE f.{name}_avg IS NOT NULL)",
            f"min(f.{name}_min)",
            f"max(f.{name}_max)",
        ]
    for point in TREND_FLAGS:
        outer += [f"bool_or(f.{point.column}_any)", f"sum(f.{point.column}_seconds)"]
    return f"""
        INSERT INTO {level.table} ({_targets()})
        SELECT c.device_id, c.bucket, sum(f.n), {", ".join(outer)}
        FROM {_CLAIMED}
        CROSS JOIN LATERAL (
            SELECT * FROM {finer.table} f
            WHERE f.device_id = c.device_id
            AND f.bucket >= c.bucket AND f.bucket < c.bucket_end
            AND f.bucket >= %(first)s AND f.bucket < %(last)s
            OFFSET 0 -- one look into the index for each bucket, whatever the planner believes
        ) AS f
        GROUP BY c.device_id, c.bucket
        {_upsert()}
        """


_CLAIMED = """unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
            AS c (device_id, bucket, bucket_end)"""


def _targets() -> str:
    return ", ".join(["device_id", "bucket", "n", *_columns_of(TREND_NUMBERS, TREND_FLAGS)])


def _upsert() -> str:
    columns = ["n", *_columns_of(TREND_NUMBERS, TREND_FLAGS)]
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
    return f"ON CONFLICT (device_id, bucket) DO UPDATE SET {changes}"


_STATEMENTS = {
    "15m": _from_readings(),
    **{level.name: _from_finer(level, finer) for finer, level in pairwise(LEVELS)},
}
