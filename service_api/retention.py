"""The nightly job that lets go: readings by partitions, and rows that nobody looks at any more.

How long readings, rollups and quarantine are kept is in `collector.partitions`. Alarms, tickets,
work orders and stock moves are kept for ever.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import LiteralString

from psycopg_pool import ConnectionPool

from collector.partitions import retain

KEPT: Mapping[str, timedelta] = {
    "outbox": timedelta(days=90),
    "job_run": timedelta(days=90),
    "collector": timedelta(days=90),
    "notice": timedelta(days=730),
    "user_token": timedelta(days=7),
}
"""How long rows stay after they were done, over or expired."""

_ROWS_AT_ONCE = 10_000

# The row's own place finds it again: these tables have keys of all kinds.
_DELETE: Mapping[str, LiteralString] = {
    "outbox": """
        DELETE FROM outbox WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM outbox WHERE at < %(before)s AND done_at < %(before)s LIMIT %(most)s))
        """,
    "job_run": """
        DELETE FROM job_run WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM job_run WHERE due_at < %(before)s LIMIT %(most)s))
        """,
    "collector": """
        DELETE FROM collector WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM collector WHERE beat_at < %(before)s LIMIT %(most)s))
        """,
    "notice": """
        DELETE FROM notice WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM notice WHERE created_at < %(before)s LIMIT %(most)s))
        """,
    "user_token": """
        DELETE FROM user_token WHERE token_hash = ANY(ARRAY(
            SELECT token_hash FROM user_token WHERE expires_at < %(before)s LIMIT %(most)s))
        """,
}


def let_go(pool: ConnectionPool, now: datetime, *, raw_days: int) -> str:
    """Drop what is over its time; returns what that was, in a line."""
    with pool.connection() as connection:
        retired = retain(connection, now, raw_days=raw_days)
    said = [f"{retired.partitions} partitions", f"{retired.quarantined} quarantined"]
    for table, statement in _DELETE.items():
        deleted = _delete(pool, statement, now - KEPT[table])
        if deleted:
            said.append(f"{deleted} of {table}")
    return ", ".join(said)


def _delete(pool: ConnectionPool, statement: LiteralString, before: datetime) -> int:
    """Delete in small transactions, so that nobody waits for long."""
    total = 0
    while True:
        with pool.connection() as connection:
            deleted = connection.execute(
                statement, {"before": before, "most": _ROWS_AT_ONCE}
            ).rowcount
        total += deleted
        if deleted < _ROWS_AT_ONCE:
            return total
