"""What traps were heard of each device: the table trap_seen, written in ingest's transaction."""

import json
from collections.abc import Iterable

import psycopg
from psycopg.rows import TupleRow

from collector.arrival import Arrival


def keep_traps(connection: psycopg.Connection[TupleRow], batch: Iterable[Arrival]) -> None:
    """Count what was heard, a row a device, sender and kind; the newest one's contents are kept."""
    rows = sorted(
        ((arrival, arrival.trap) for arrival in batch if arrival.trap is not None),
        key=lambda row: (row[0].device_id or 0, row[1].source, row[1].oid),
    )
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO trap_seen
                (device_id, source, oid, name, count, first_at, last_at, variables)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (device_id, source, oid) DO UPDATE SET
                name = excluded.name,
                count = trap_seen.count + excluded.count,
                last_at = greatest(trap_seen.last_at, excluded.last_at),
                variables = excluded.variables
            """,
            [
                (
                    *(arrival.device_id, trap.source, trap.oid, trap.name, trap.count),
                    *(arrival.received_at, arrival.received_at),
                    json.dumps(dict(trap.variables)).replace("\\u0000", ""),
                )
                for arrival, trap in rows
            ],
        )
