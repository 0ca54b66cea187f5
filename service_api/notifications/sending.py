"""Send due notices, one at a time, again and again with longer waits until they are taken.

A notice is claimed by moving its next attempt ahead, then sent outside any transaction, then
marked: a crash in between sends it once more rather than never.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg_pool import ConnectionPool

from service_api.notifications.channels import SendFailed
from service_api.notifications.channels import send as send_by_apprise
from service_api.secrets import SealBroken

Connection = psycopg.Connection[TupleRow]

CLAIM = timedelta(minutes=2)
"""Longer than any sending takes: a worker that died in it is taken over."""
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 720, 1_440))
"""After the last wait a notice is given up; its error stays on the page."""

Send = Callable[[str, str, str], None]
"""Address, title, body; raises `SendFailed`."""


@dataclass(frozen=True, slots=True)
class _Due:
    id: int
    title: str
    body: str
    attempts: int
    is_for_staff: bool
    channel_sealed: bytes | None


def deliver_one(
    pool: ConnectionPool,
    *,
    now: datetime,
    unseal: Callable[[bytes], str],
    send: Send = send_by_apprise,
    staff_channel: str | None = None,
) -> bool:
    """Send one due notice; False when there is none.

    `unseal` opens the contact's channel; notices to the service organization itself go to
    `staff_channel`, and without one they stand on the page alone.
    """
    with pool.connection() as connection, connection.transaction():
        due = _claim(connection, now)
    if due is None:
        return False
    error = _try(due, unseal, send, staff_channel)
    with pool.connection() as connection, connection.transaction():
        if error is None:
            connection.execute(
                "UPDATE notice SET sent_at = %s, next_at = NULL, error = NULL WHERE id = %s",
                (now, due.id),
            )
        else:
            connection.execute(
                "UPDATE notice SET next_at = %s, error = %s WHERE id = %s",
                (next_attempt(now, due.attempts), error, due.id),
            )
    return True


def next_attempt(now: datetime, attempts: int) -> datetime | None:
    """Return when to try again after so many failures, None when it is given up."""
    return None if attempts > len(WAITS) else now + WAITS[attempts - 1]


def _claim(connection: Connection, now: datetime) -> _Due | None:
    with connection.cursor(row_factory=class_row(_Due)) as cursor:
        return cursor.execute(
            """
            UPDATE notice SET attempts = attempts + 1, next_at = %s
            WHERE id = (
                SELECT id FROM notice WHERE sent_at IS NULL AND next_at <= %s
                ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING id, title, body, attempts, customer_id IS NULL AS is_for_staff,
                (SELECT channel_sealed FROM contact WHERE id = contact_id)
            """,
            (now + CLAIM, now),
        ).fetchone()


def _try(
    due: _Due, unseal: Callable[[bytes], str], send: Send, staff_channel: str | None
) -> str | None:
    try:
        if due.is_for_staff:
            channel = staff_channel
        else:
            channel = None if due.channel_sealed is None else unseal(due.channel_sealed)
        if channel is None:
            return None  # there is none, or it was taken away since: the page has shown it
        send(channel, due.title, due.body)
    except (SendFailed, SealBroken) as failed:
        return str(failed)
    return None
