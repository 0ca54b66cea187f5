"""Partitions: made ahead, dropped when their time is over; and how far back readings are taken.

How a partition is made or dropped on each kind of server is in the database's own functions
`ensure_partition` and `drop_partitions`; when it happens is decided here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.rows import TupleRow

KEPT_15M = timedelta(days=365)
KEPT_1H = timedelta(days=5 * 365 + 1)
KEPT_QUARANTINE = timedelta(days=30)

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Retired:
    """How much was let go: partitions of readings and rollups, rows of the quarantine."""

    partitions: int
    quarantined: int


def oldest_kept(now: datetime, raw_days: int) -> datetime:
    """Return the instant before which readings are no longer kept, nor taken: a UTC midnight."""
    oldest = now.astimezone(UTC) - timedelta(days=raw_days)
    return oldest.replace(hour=0, minute=0, second=0, microsecond=0)


def take_turns(connection: psycopg.Connection[TupleRow]) -> None:
    """Let one make partitions at a time, until its transaction ends.

    In a statement of its own: the next one then sees what others made meanwhile. Inside one
    statement the server may go on believing that a table is not there.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('ensure_partition'))")


def make_ahead(connection: psycopg.Connection[TupleRow], now: datetime, *, days: int = 7) -> int:
    """Make the partitions from yesterday to `days` ahead; return how many were missing.

    Yesterday's too: a reading may come late. Servers that make partitions themselves have none
    missing.
    """
    take_turns(connection)
    row = connection.execute(
        """
        SELECT count(*) FILTER (WHERE ensure_partition(parent, starts))
        FROM (
            SELECT p.parent, s.starts
            FROM partition_span p
            CROSS JOIN LATERAL generate_series(
                date_bin(p.span, %(first)s, 'epoch'), %(last)s, p.span
            ) AS s (starts)
            ORDER BY p.parent, s.starts
        ) AS wanted
        """,
        {"first": now - timedelta(days=1), "last": now + timedelta(days=days)},
    ).fetchone()
    return 0 if row is None else int(row[0])


def retain(connection: psycopg.Connection[TupleRow], now: datetime, *, raw_days: int) -> Retired:
    """Drop what is over its time: readings, buckets of 15 minutes and of hours, quarantined input.

    Days are kept for ever. Each table is a transaction of its own, so that none is locked for
    long: call this outside of one.
    """
    partitions = 0
    for parent, before in (
        ("telemetry", oldest_kept(now, raw_days)),
        ("telemetry_15m", now - KEPT_15M),
        ("telemetry_1h", now - KEPT_1H),
    ):
        with connection.transaction():
            row = connection.execute("SELECT drop_partitions(%s, %s)", (parent, before)).fetchone()
            partitions += 0 if row is None else int(row[0])
    quarantined = 0
    while True:
        with connection.transaction():
            deleted = connection.execute(
                """
                DELETE FROM quarantine WHERE id IN (
                    SELECT id FROM quarantine WHERE received_at < %s LIMIT %s
                )
                """,
                (now - KEPT_QUARANTINE, _ROWS_AT_ONCE),
            ).rowcount
        quarantined += deleted
        if deleted < _ROWS_AT_ONCE:
            return Retired(partitions, quarantined)
