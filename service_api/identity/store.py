"""Read who units say they are, against what was confirmed; and keep what people decide."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules.identity import Entry, Mismatch, doubts, is_serial
from rules.operations import NotThere, OperationRefused

Connection = psycopg.Connection[TupleRow]


def doubts_of(
    connection: Connection, device_ids: Sequence[int]
) -> Mapping[int, tuple[Mismatch, int | None]]:
    """Return which of these units are in doubt, and the other entry that it concerns."""
    asked = connection.execute(
        "SELECT serial, serial_confirmed FROM device WHERE id = ANY(%s)", (list(device_ids),)
    ).fetchall()
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        entries = cursor.execute(
            """
            SELECT id, coalesce(manufacturer, '') AS maker, serial_confirmed AS confirmed,
                serial AS told
            FROM device
            WHERE enabled AND (serial = ANY(%(serials)s) OR serial_confirmed = ANY(%(serials)s))
            """,
            {"serials": sorted({one for row in asked for one in row if is_serial(one)})},
        ).fetchall()
    found = doubts(entries)
    return {device_id: found[device_id] for device_id in device_ids if device_id in found}


def confirm(connection: Connection, device_id: int, *, actor: str, now: datetime) -> None:
    """Say that the unit which is told now is the one that stands there."""
    row = connection.execute(
        "SELECT serial, serial_confirmed FROM device WHERE id = %s FOR UPDATE", (device_id,)
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no device {device_id}")
    if row[0] == row[1]:
        raise OperationRefused("it is the unit that the records know")
    connection.execute("UPDATE device SET serial_confirmed = serial WHERE id = %s", (device_id,))
    _log(connection, device_id, "confirmed", actor, now, {"before": row[1], "after": row[0]})


def exchange_addresses(
    connection: Connection, device_id: int, other_id: int, *, actor: str, now: datetime
) -> None:
    """Let two entries change over how they are reached; doing it again takes it back.

    Address, login, profile and what was learned of the card go together; names, sites, contracts
    and history stay. Each tells its own serial number again from its next poll on.
    """
    if device_id == other_id:
        raise OperationRefused("that is the same unit")
    rows = connection.execute(
        "SELECT id, address FROM device WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
        ([device_id, other_id],),
    ).fetchall()
    if len(rows) != 2:
        raise NotThere("there are no two such devices")
    connection.execute(
        """
        UPDATE device d SET address = o.address, protocol = o.protocol, profile = o.profile,
            credential_id = o.credential_id, collector_group = o.collector_group,
            deadline_seconds = o.deadline_seconds, serial = o.serial
        FROM device o WHERE (d.id, o.id) IN ((%(a)s, %(b)s), (%(b)s, %(a)s))
        """,
        {"a": device_id, "b": other_id},
    )
    addresses: dict[int, str] = dict(rows)
    for one, other in ((device_id, other_id), (other_id, device_id)):
        detail = {"with": other, "before": addresses[one], "after": addresses[other]}
        _log(connection, one, "addresses_exchanged", actor, now, detail)


def _log(
    connection: Connection,
    device_id: int,
    kind: str,
    actor: str,
    now: datetime,
    detail: Mapping[str, object],
) -> None:
    connection.execute(
        """
        INSERT INTO identity_decision (device_id, at, kind, actor, detail)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (device_id, now, kind, actor, Jsonb(detail)),
    )
    connection.execute("NOTIFY ridethrough, 'change'")
