"""What people suppress: take units or rules out of service, announce work, and end it again.

Every function runs inside the caller's transaction and sees only what that may see; `NotThere` and
`OperationRefused` as in `rules.operations`. The next tick lets the alarms follow.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row

from rules.operations import NotThere, OperationRefused
from rules.suppression import SuppressionKind
from rules.suppression_store import log_suppression

Connection = psycopg.Connection[TupleRow]

LONGEST_WORK = timedelta(days=14)
"""Longer than that a unit is out of service, and nobody is waiting for it."""
EARLIEST_BACK = timedelta(days=1)
"""Work that was forgotten can be announced afterwards for so long."""
FURTHEST_AHEAD = timedelta(days=400)


def suppress(
    connection: Connection,
    *,
    kind: SuppressionKind,
    site_id: int,
    device_id: int | None,
    rule_keys: Sequence[str] | None,
    lets_critical_through: bool,
    begins_at: datetime,
    ends_at: datetime | None,
    reason: str,
    actor: str,
    now: datetime,
    occurrence_id: int | None = None,
) -> int:
    """Make alarms of a unit, or of all units of a site, quiet; returns the suppression's id.

    `occurrence_id` names the time of planned work that it is for.
    """
    if not reason.strip():
        raise OperationRefused("a suppression needs a reason")
    if begins_at < now - EARLIEST_BACK or begins_at > now + FURTHEST_AHEAD:
        raise OperationRefused("it may begin a day back at the earliest, and 400 days ahead")
    if ends_at is not None and (ends_at <= begins_at or ends_at <= now):
        raise OperationRefused("it must end after it begins, and lie ahead")
    if kind is SuppressionKind.PLANNED_WORK and (
        ends_at is None or ends_at > begins_at + LONGEST_WORK
    ):
        raise OperationRefused("planned work lasts for 14 days at most; take the unit out instead")
    row = connection.execute(
        """
        SELECT s.customer_id FROM site s WHERE s.id = %(site)s AND (%(device)s::bigint IS NULL
            OR EXISTS (SELECT FROM device d WHERE d.id = %(device)s AND d.site_id = s.id))
        """,
        {"site": site_id, "device": device_id},
    ).fetchone()
    if row is None:
        raise NotThere(
            f"there is no site {site_id}"
            if device_id is None
            else f"there is no device {device_id} at site {site_id}"
        )
    if kind is not SuppressionKind.PLANNED_WORK and _stands(connection, kind, device_id, rule_keys):
        raise OperationRefused(
            "an engineer has checked in at this unit already"
            if kind is SuppressionKind.WORK_MODE
            else "it is out of service already"
        )
    created = connection.execute(
        """
        INSERT INTO suppression (customer_id, site_id, device_id, kind, rule_keys,
            lets_critical_through, begins_at, ends_at, reason, created_at, created_by,
            occurrence_id)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            row[0],
            site_id,
            device_id,
            kind,
            None if rule_keys is None else sorted(set(rule_keys)),
            lets_critical_through,
            begins_at,
            ends_at,
            reason.strip(),
            now,
            actor,
            occurrence_id,
        ),
    ).fetchone()
    if created is None:
        raise OperationRefused("the database took no suppression")
    log_suppression(connection, created[0], "created", actor, now, {"reason": reason.strip()})
    connection.execute("NOTIFY ridethrough, 'change'")
    return int(created[0])


def _stands(
    connection: Connection,
    kind: SuppressionKind,
    device_id: int | None,
    rule_keys: Sequence[str] | None,
) -> bool:
    """Tell whether the same is suppressed already; the unit's row is held against a race."""
    connection.execute("SELECT FROM device WHERE id = %s FOR SHARE", (device_id,))
    return (
        connection.execute(
            """
            SELECT FROM suppression WHERE device_id = %s AND kind = %s AND ended_at IS NULL
            AND rule_keys IS NOT DISTINCT FROM %s::text[]
            """,
            (device_id, kind, None if rule_keys is None else sorted(set(rule_keys))),
        ).fetchone()
        is not None
    )


def _standing(connection: Connection, suppression_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM suppression WHERE id = %s FOR UPDATE", (suppression_id,)
        ).fetchone()
    if row is None:
        raise NotThere(f"there is no suppression {suppression_id}")
    if row["ended_at"] is not None:
        raise OperationRefused("it is over already")
    return row


def end_suppression(
    connection: Connection, suppression_id: int, *, reason: str, actor: str, now: datetime
) -> None:
    """End a suppression before its time, or take it back before it began."""
    _standing(connection, suppression_id)
    connection.execute(
        """
        UPDATE suppression SET ended_at = %s, ended_by = %s, end_reason = %s WHERE id = %s
        """,
        (now, actor, reason.strip(), suppression_id),
    )
    log_suppression(connection, suppression_id, "ended", actor, now, {"reason": reason.strip()})
    connection.execute("NOTIFY ridethrough, 'change'")


def move_end(
    connection: Connection, suppression_id: int, *, ends_at: datetime, actor: str, now: datetime
) -> None:
    """Let it last longer, or shorter; the new end lies ahead."""
    row = _standing(connection, suppression_id)
    if ends_at <= now or ends_at <= row["begins_at"]:
        raise OperationRefused("it must end after it begins, and lie ahead")
    if row["kind"] == "planned_work" and ends_at > row["begins_at"] + LONGEST_WORK:
        raise OperationRefused("planned work lasts for 14 days at most; take the unit out instead")
    connection.execute(
        "UPDATE suppression SET ends_at = %s WHERE id = %s", (ends_at, suppression_id)
    )
    before = None if row["ends_at"] is None else row["ends_at"].isoformat()
    detail = {"from": before, "to": ends_at.isoformat()}
    log_suppression(connection, suppression_id, "changed", actor, now, detail)
    connection.execute("NOTIFY ridethrough, 'change'")
