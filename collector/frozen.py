"""Frozen units: those whose card repeats the same values for hours although mains feeds the load.

Looked for in the 15-minute rollups, where a bucket holds the least and greatest of each trend. A
frozen unit's values are not withheld, since any of them may be right; it is doubted as a whole.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from rules.points import TREND_NUMBERS

Connection = psycopg.Connection[TupleRow]

FROZEN_FOR = timedelta(hours=6)
"""Mains alone moves by a volt within hours; a card that rounds to volts may stand still for one."""
FEWEST_VALUES = 4
TRUSTED_FOR = timedelta(days=90)
"""How long somebody's word that the unit is well is taken for it."""

_COLUMNS = tuple(
    point.column
    for point in TREND_NUMBERS
    # A full battery's charge and runtime, and mains frequency in tenths, stand still in good units.
    if point.column not in ("battery_charge", "battery_runtime", "input_frequency")
)


class Found(NamedTuple):
    """How many units were newly found frozen, and how many move again."""

    raised: int
    ended: int


def find_frozen(connection: Connection, now: datetime) -> Found:
    """Doubt the units that have frozen, and end the doubts of those that move again."""
    places = [sql.Identifier(f"{column}_min") for column in _COLUMNS]
    tops = [sql.Identifier(f"{column}_max") for column in _COLUMNS]
    known = sql.SQL(" + ").join(sql.SQL("(count({}) > 0)::int").format(place) for place in places)
    stand = sql.SQL(" AND ").join(
        sql.SQL("coalesce(max({}) = min({}), true)").format(top, place)
        for top, place in zip(tops, places, strict=True)
    )
    rows = connection.execute(
        sql.SQL(
            """
            SELECT device_id, {stand}, {known}, max(input_voltage_max) IS NOT NULL
            FROM telemetry_15m WHERE bucket >= %(from_at)s AND bucket < %(now)s
            GROUP BY device_id
            HAVING count(*) >= %(buckets)s AND sum(n) >= 2 * %(buckets)s
                AND NOT coalesce(bool_or(status_on_battery_any), false)
                AND NOT coalesce(bool_or(status_off_any), false)
                AND coalesce(min(input_voltage_min) > 50, max(ups_load_max) > 0, false)
            """
        ).format(stand=stand, known=known),
        {"from_at": now - FROZEN_FOR, "now": now, "buckets": FROZEN_FOR / timedelta(minutes=20)},
    ).fetchall()
    frozen = {
        device_id: (values, has_mains)
        for device_id, stands, values, has_mains in rows
        if stands and values >= FEWEST_VALUES
    }
    moving = [device_id for device_id, stands, *_ in rows if not stands]
    raised = _raise(connection, frozen, now)
    ended = connection.execute(
        """
        UPDATE doubt SET state = 'ended', ended_at = %s
        WHERE kind = 'frozen' AND state = 'open' AND device_id = ANY(%s)
        """,
        (now, moving),
    ).rowcount
    if raised or ended:
        connection.execute("NOTIFY ridethrough, 'change'")
    return Found(raised, ended)


def _raise(connection: Connection, frozen: dict[int, tuple[int, bool]], now: datetime) -> int:
    trusted = {
        device_id
        for (device_id,) in connection.execute(
            """
            SELECT device_id FROM doubt WHERE kind = 'frozen' AND state = 'dismissed'
            AND decided_at > %s AND device_id = ANY(%s)
            """,
            (now - TRUSTED_FOR, list(frozen)),
        )
    }
    raised = 0
    hours = FROZEN_FOR / timedelta(hours=1)
    for device_id, (values, has_mains) in sorted(frozen.items()):
        if device_id in trusted:
            continue
        row = connection.execute(
            """
            INSERT INTO doubt (device_id, point, kind, evidence, proposal, raised_at, seen_at)
            VALUES (%(device)s, %(point)s, 'frozen', %(evidence)s, '{"action": "none"}', %(now)s,
                %(now)s)
            ON CONFLICT (device_id, point, kind) WHERE state = 'open'
                DO UPDATE SET seen_at = excluded.seen_at
            RETURNING xmax = 0
            """,
            {
                "device": device_id,
                "point": "input.voltage" if has_mains else "ups.load",
                "evidence": Jsonb(
                    {
                        "rule": "frozen",
                        "confidence": "medium",
                        "numbers": {"hours": hours, "points": values},
                    }
                ),
                "now": now,
            },
        ).fetchone()
        raised += bool(row and row[0])
    return raised
