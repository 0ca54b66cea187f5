"""Take what was announced and do what follows: one row, its handlers, once.

The row is claimed, its handlers run and it is marked done in one transaction, each handler behind
a savepoint: a handler that fails leaves nothing behind and its error with the row, which comes up
again later; the others have done their work and do it again without effect. What the handlers do
is in the nouns; which there are is said by the composition root.
"""

import contextlib
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg_pool import ConnectionPool

Connection = psycopg.Connection[TupleRow]

log = logging.getLogger(__name__)

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)
MOST_SKIPPED = 1_000
_REST_SECONDS = 2.0

LET_SETTLE: Mapping[str, timedelta] = {"incident.opened": timedelta(seconds=15)}
"""Topics that are looked at only so long after they happened: an outage reaches the other units of
a site within seconds, and who is told of one unit and then of five is told too much."""


@dataclass(frozen=True, slots=True)
class Message:
    """A row of the outbox: `ref` is the id of what the topic names."""

    id: int
    at: datetime
    topic: str
    customer_id: int | None
    ref: int
    attempts: int


Handler = Callable[[Connection, Message, datetime], None]
"""Does one thing about a message, inside the given transaction; doing it twice does it once."""

Handlers = Mapping[str, Sequence[Handler]]
"""Topic → what follows, in order."""


def wait_after(attempts: int) -> timedelta:
    """Return how long a message rests after so many failures."""
    doublings = min(attempts - 1, 16)
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << doublings))


def take_one(pool: ConnectionPool, *, now: datetime, handlers: Handlers) -> bool:
    """Take the oldest message that is due and that nobody else has; False when there is none.

    Raises OperationalError when the connection was lost; the message rests then, so that others
    have their turn should it have been the reason.
    """
    message = None
    try:
        with pool.connection() as connection, connection.transaction():
            message = _claim(connection, now)
            return message is not None and _follow(connection, message, now, handlers)
    except psycopg.OperationalError as lost:
        if message is not None:
            _let_rest(pool, message, lost, now)
        raise


def _follow(connection: Connection, message: Message, now: datetime, handlers: Handlers) -> bool:
    """Do what follows from a message; returns that there was one."""
    todo = handlers.get(message.topic)
    if todo is None:
        _skip(connection, list(handlers), now)
        return True
    failures = [
        failure
        for handler in todo
        if (failure := _handle(connection, handler, message, now)) is not None
    ]
    if failures:
        attempts = message.attempts + 1
        connection.execute(
            "UPDATE outbox SET attempts = %s, next_at = %s, error = %s WHERE id = %s",
            (attempts, now + wait_after(attempts), "; ".join(failures), message.id),
        )
    else:
        connection.execute(
            "UPDATE outbox SET done_at = %s, error = NULL WHERE id = %s", (now, message.id)
        )
    return True


def _let_rest(pool: ConnectionPool, message: Message, lost: Exception, now: datetime) -> None:
    with (
        contextlib.suppress(psycopg.OperationalError),  # the whole database is away
        pool.connection(_REST_SECONDS) as connection,
    ):
        connection.execute(
            "UPDATE outbox SET next_at = %s, error = %s WHERE id = %s AND done_at IS NULL",
            (now + FIRST_WAIT, f"the connection was lost: {lost}", message.id),
        )


def _claim(connection: Connection, now: datetime) -> Message | None:
    with connection.cursor(row_factory=class_row(Message)) as cursor:
        return cursor.execute(
            """
            SELECT id, at, topic, customer_id, ref, attempts FROM outbox
            WHERE done_at IS NULL AND (next_at IS NULL OR next_at <= %(now)s)
            AND NOT EXISTS (
                SELECT FROM unnest(%(topics)s::text[], %(settled)s::timestamptz[])
                    AS settling (topic, since)
                WHERE settling.topic = outbox.topic AND outbox.at > settling.since)
            ORDER BY id LIMIT 1 FOR UPDATE OF outbox SKIP LOCKED
            """,
            {
                "now": now,
                "topics": list(LET_SETTLE),
                "settled": [now - pause for pause in LET_SETTLE.values()],
            },
        ).fetchone()


def _skip(connection: Connection, handled: Sequence[str], now: datetime) -> None:
    # An outage announces hundreds of alarms that nothing follows from: all of them at once.
    connection.execute(
        """
        UPDATE outbox SET done_at = %s WHERE id IN (
            SELECT id FROM outbox WHERE done_at IS NULL AND NOT topic = ANY(%s)
            ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
        """,
        (now, list(handled), MOST_SKIPPED),
    )


def _handle(
    connection: Connection, handler: Handler, message: Message, now: datetime
) -> str | None:
    name = getattr(handler, "__name__", repr(handler))
    try:
        with connection.transaction():
            handler(connection, message, now)
    except Exception as error:
        if connection.closed or connection.broken:
            raise  # nothing can be recorded
        log.warning(
            "handler %s failed on %s %s: %s",
            name,
            message.topic,
            message.ref,
            traceback.format_exc(),
        )
        return f"{name}: {type(error).__name__}: {error}"
    return None
