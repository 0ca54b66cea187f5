"""Which devices there are to read, and which collectors are alive, as the database knows them."""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow, class_row

BEAT_SECONDS = 10.0
"""How often a live collector says so; it counts as dead after three missed beats."""


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A registered, enabled device as a collector needs it.

    `sealed_credentials` is a Fernet token or None; `is_on_battery` is the last known state, so
    that a restarted collector keeps the fast rhythm. `observed_at` is the device's time of its
    newest reading; `is_offline` says that its session was told to have ended after that.
    """

    device_id: int
    key: str
    protocol: str
    address: str
    sealed_credentials: bytes | None
    profile: str | None
    poll_seconds: float
    deadline_seconds: float
    is_on_battery: bool
    observed_at: datetime | None = None
    is_offline: bool = False


def known_devices(
    connection: psycopg.Connection[TupleRow],
    *,
    collector_group: str,
    share: int = 0,
    of: int = 1,
) -> list[KnownDevice]:
    """Return the enabled devices of a group that fall to worker `share` of `of`."""
    with connection.cursor(row_factory=class_row(KnownDevice)) as cursor:
        return cursor.execute(
            """
            SELECT d.id AS device_id, d.key, d.protocol, d.address,
                c.sealed AS sealed_credentials, d.profile,
                d.poll_seconds, d.deadline_seconds,
                coalesce(s.status_on_battery, false) AS is_on_battery,
                s.observed_at, coalesce(s.stays_valid_seconds = 0, false) AS is_offline
            FROM device d
            JOIN device_state s ON s.device_id = d.id
            LEFT JOIN credential c ON c.id = d.credential_id
            WHERE d.enabled AND d.collector_group = %s AND d.id %% %s = %s
            ORDER BY d.id
            """,
            (collector_group, of, share),
        ).fetchall()


def begin_collector(
    connection: psycopg.Connection[TupleRow], *, key: str, collector_group: str, now: datetime
) -> int:
    """Record that a collector's life began; returns its id."""
    row = connection.execute(
        """
        INSERT INTO collector (key, collector_group, started_at, beat_at)
        VALUES (%s, %s, %s, %s) RETURNING id
        """,
        (key, collector_group, now, now),
    ).fetchone()
    if row is None:
        raise RuntimeError("the database returned no id for a new collector")
    return int(row[0])


def beat_collector(
    connection: psycopg.Connection[TupleRow], collector_id: int, *, now: datetime
) -> None:
    """Record that a collector is alive; silence counts only while one of the group is."""
    connection.execute(
        "UPDATE collector SET beat_at = greatest(beat_at, %s) WHERE id = %s", (now, collector_id)
    )


def end_collector(
    connection: psycopg.Connection[TupleRow], collector_id: int, *, now: datetime
) -> None:
    """Record that a collector stopped as asked."""
    connection.execute(
        "UPDATE collector SET beat_at = greatest(beat_at, %s), stopped_at = %s WHERE id = %s",
        (now, now, collector_id),
    )
