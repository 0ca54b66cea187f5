"""The rows of collectors away from the center: their lives, clocks and spools, as we heard them.

A life that was not heard of for longer than a dead one's is over: when its beats come again, a new
one begins, so that the silence of its devices meanwhile is not held against them.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow

from collector.store import ALIVE_FOR
from collector.uplink_wire import Beat

Connection = psycopg.Connection[TupleRow]

SKEW_TOLD_SECONDS = 60.0
"""Beyond this a collector's clock is told as a finding."""
_KNOWN_FOR = timedelta(days=1)


def note_beat(connection: Connection, *, name: str, beat: Beat, skew: float, now: datetime) -> None:
    """Keep a sign of life: the row of this life, or a new one; and a finding of its clock."""
    key = f"uplink:{name}:{beat.life}"
    figures = {
        "key": key,
        "name": name,
        "group": beat.group,
        "now": now,
        "skew": skew,
        "spooled": beat.spooled,
        "dropped": beat.dropped,
    }
    # Two workers may hear the same beat while a session moves from one to the other.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('uplink ' || %s))", (name,))
    updated = connection.execute(
        """
        UPDATE collector SET beat_at = greatest(beat_at, %(now)s), skew_seconds = %(skew)s,
            spooled = %(spooled)s, spool_dropped = %(dropped)s
        WHERE key = %(key)s AND collector_group = %(group)s AND stopped_at IS NULL
            AND beat_at >= %(since)s
        """,
        figures | {"since": now - ALIVE_FOR},
    ).rowcount
    if not updated:
        _end(connection, name)
        connection.execute(
            """
            INSERT INTO collector (key, collector_group, started_at, beat_at, name, is_uplink,
                skew_seconds, spooled, spool_dropped)
            VALUES (%(key)s, %(group)s, %(now)s, %(now)s, %(name)s, true,
                %(skew)s, %(spooled)s, %(dropped)s)
            """,
            figures,
        )
    _note_skew(connection, name, skew, now)


def note_end(connection: Connection, *, name: str) -> None:
    """Note that a collector took leave, or that its connection broke: its last will tells."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('uplink ' || %s))", (name,))
    _end(connection, name)


def known_skews(connection: Connection, *, now: datetime) -> Mapping[str, float]:
    """Return by collector how far its clock was ahead of ours when it was last heard of."""
    return dict(
        connection.execute(
            """
            SELECT DISTINCT ON (name) name, skew_seconds FROM collector
            WHERE is_uplink AND skew_seconds IS NOT NULL AND beat_at >= %s
            ORDER BY name, beat_at DESC
            """,
            (now - _KNOWN_FOR,),
        ).fetchall()
    )


def _end(connection: Connection, name: str) -> None:
    connection.execute(
        """
        UPDATE collector SET stopped_at = beat_at
        WHERE name = %s AND is_uplink AND stopped_at IS NULL
        """,
        (name,),
    )


def _note_skew(connection: Connection, name: str, skew: float, now: datetime) -> None:
    subject = f"collector:{name}"
    if abs(skew) > SKEW_TOLD_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        connection.execute(
            """
            INSERT INTO finding (at, kind, subject, detail) VALUES (%s, 'clock_skew', %s, %s)
            ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO NOTHING
            """,
            (now, subject, f"the clock of collector {name} is {abs(skew):.0f} s {way} ours"),
        )
    else:
        connection.execute(
            """
            UPDATE finding SET closed_at = %s
            WHERE kind = 'clock_skew' AND subject = %s AND closed_at IS NULL
            """,
            (now, subject),
        )
