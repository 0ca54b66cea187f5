"""Which devices there are to read, and which collectors are alive, as the database knows them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row

from collector.shards import polling_shard_of

BEAT_SECONDS = 10.0
"""How often a live collector says so; it counts as dead after three missed beats."""
ALIVE_FOR = timedelta(seconds=3 * BEAT_SECONDS)
"""A collector that has not beaten for so long is dead."""
WORKERS = "ingest"
"""The group of workers that take in what others read: they share work and own no device."""


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A registered, enabled device as a collector needs it.

    `sealed_credentials` is a Fernet token or None; `is_on_battery` is the last known state, so
    that a restarted collector keeps the fast rhythm. `observed_at` is the device's time of its
    newest reading; `is_offline` says that its session was told to have ended after that.
    `patience` is what was learned about asking its card, `patience_set` what people fixed of it;
    `is_card_failing` says that it could not be read when it was last heard of.
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
    patience: Mapping[str, object] = field(default_factory=dict)
    patience_set: Mapping[str, object] = field(default_factory=dict)
    is_card_failing: bool = False


def known_devices(
    connection: psycopg.Connection[TupleRow],
    *,
    collector_group: str,
    shards: Collection[int] | None = None,
) -> list[KnownDevice]:
    """Return the enabled devices of a group, those polled with `shards` if told so."""
    with connection.cursor(row_factory=class_row(KnownDevice)) as cursor:
        devices = cursor.execute(
            """
            SELECT d.id AS device_id, d.key, d.protocol, d.address,
                c.sealed AS sealed_credentials, d.profile,
                d.poll_seconds, d.deadline_seconds,
                coalesce(s.status_on_battery, false) AS is_on_battery,
                s.observed_at, coalesce(s.stays_valid_seconds = 0, false) AS is_offline,
                coalesce(k.patience, '{}') AS patience, d.patience AS patience_set,
                k.failure IS NOT NULL AS is_card_failing
            FROM device d
            JOIN device_state s ON s.device_id = d.id
            LEFT JOIN device_card k ON k.device_id = d.id
            LEFT JOIN credential c ON c.id = d.credential_id
            WHERE d.enabled AND d.collector_group = %(group)s
                AND (%(shards)s::smallint[] IS NULL OR d.shard = ANY(%(shards)s)
                    OR d.protocol = 'modbus')
            ORDER BY d.id
            """,
            {"group": collector_group, "shards": None if shards is None else sorted(shards)},
        ).fetchall()
    if shards is None:
        return devices
    # Which Modbus units share an endpoint is read from their addresses.
    return [
        device
        for device in devices
        if device.protocol != "modbus" or polling_shard_of(device.key, device.address) in shards
    ]


def device_numbers(
    connection: psycopg.Connection[TupleRow], *, shards: Collection[int]
) -> dict[str, int]:
    """Return the ids of the enabled devices in some shards by their keys."""
    return dict(
        connection.execute(
            "SELECT key, id FROM device WHERE enabled AND shard = ANY(%s)", (sorted(shards),)
        ).fetchall()
    )


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
) -> bool:
    """Record that a collector is alive; silence counts only while one of the group is.

    False, recording nothing, when its beats were missing for so long that this life is over.
    """
    updated = connection.execute(
        """
        UPDATE collector SET beat_at = greatest(beat_at, %s) WHERE id = %s AND beat_at >= %s
        """,
        (now, collector_id, now - ALIVE_FOR),
    )
    return updated.rowcount > 0


def end_collector(
    connection: psycopg.Connection[TupleRow], collector_id: int, *, now: datetime
) -> None:
    """Record that a collector stopped as asked."""
    connection.execute(
        "UPDATE collector SET beat_at = greatest(beat_at, %s), stopped_at = %s WHERE id = %s",
        (now, now, collector_id),
    )
