"""What was learned about cards: the table device_card, and findings about their engine ids.

Written in ingest's transaction from an arrival's `CardNews`, so that it travels the same way as
readings do. What is news is `collector.card`'s to decide.
"""

from collections.abc import Iterable
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from collector.arrival import Arrival

CLONED_ENGINE = "cloned_engine_id"
"""The kind of finding that names the devices which go by one engine id."""


def keep_cards(connection: psycopg.Connection[TupleRow], batch: Iterable[Arrival]) -> None:
    """Write how cards stand now, in the order of their devices; older news changes nothing.

    An engine id and a restart that were told once stay until there are newer ones. A failure that
    goes on keeps its beginning, also over a restart of whoever polls.
    """
    told: dict[int, Arrival] = {}
    for arrival in batch:
        if arrival.card is None or arrival.device_id is None:
            continue
        known = told.get(arrival.device_id)
        if known is None or arrival.received_at >= known.received_at:
            told[arrival.device_id] = arrival
    for device_id, arrival in sorted(told.items()):
        card = arrival.card
        if card is None:
            continue
        connection.execute(
            """
            INSERT INTO device_card AS c (device_id, patience, engine_id, restarted_at,
                failing_since_at, failure, failure_detail, changed_at)
            SELECT id, %s, %s, %s, %s, %s, %s, %s FROM device WHERE id = %s
            ON CONFLICT (device_id) DO UPDATE SET
                patience = excluded.patience,
                engine_id = coalesce(excluded.engine_id, c.engine_id),
                restarted_at = greatest(excluded.restarted_at, c.restarted_at),
                failing_since_at = CASE
                    WHEN excluded.failure IS NOT NULL AND c.failure IS NOT NULL
                    THEN least(excluded.failing_since_at, c.failing_since_at)
                    ELSE excluded.failing_since_at END,
                failure = excluded.failure,
                failure_detail = excluded.failure_detail,
                changed_at = excluded.changed_at
            WHERE excluded.changed_at >= c.changed_at
            """,
            (
                Jsonb(dict(card.patience)),
                card.engine_id,
                card.restarted_at,
                card.failing_since_at,
                card.failure,
                card.failure_detail,
                arrival.received_at,
                device_id,
            ),
        )


def note_cloned_engines(connection: psycopg.Connection[TupleRow], now: datetime) -> int:
    """Raise a finding for each engine id of several devices, close those that are over.

    Two agents with one engine id share their keys' salt and confuse whatever tells agents apart by
    it, informs above all; it comes of cards restored from one backup. Returns how many there are.
    """
    connection.execute(
        """
        WITH cloned AS (
            SELECT encode(c.engine_id, 'hex') AS subject,
                string_agg(d.key, ', ' ORDER BY d.key) AS keys
            FROM device_card c JOIN device d ON d.id = c.device_id
            WHERE c.engine_id IS NOT NULL AND d.enabled
            GROUP BY c.engine_id HAVING count(*) > 1
        ), over AS (
            UPDATE finding SET closed_at = %(now)s
            WHERE kind = %(kind)s AND closed_at IS NULL
                AND NOT EXISTS (SELECT FROM cloned WHERE cloned.subject = finding.subject)
        )
        INSERT INTO finding (at, kind, subject, detail)
        SELECT %(now)s, %(kind)s, subject, 'these devices go by one engine id: ' || keys FROM cloned
        ON CONFLICT (kind, subject) WHERE closed_at IS NULL
        DO UPDATE SET detail = excluded.detail WHERE finding.detail <> excluded.detail
        """,
        {"now": now, "kind": CLONED_ENGINE},
    )
    row = connection.execute(
        "SELECT count(*) FROM finding WHERE kind = %s AND closed_at IS NULL", (CLONED_ENGINE,)
    ).fetchone()
    return 0 if row is None else int(row[0])
