"""Server-sent events: pages and programs hear of a change within a second.

One task a process listens on the database's channel and wakes the streams; each stream then reads
the outbox as its own user, so that row-level security decides what it hears. Without a
notification the streams look every five seconds.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool

from service_api.database import request_transaction

log = logging.getLogger(__name__)

CHANNEL = "ridethrough"
LOOK_SECONDS = 5.0
TICK_SECONDS = 1.0
RETRY_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 15.0
AT_MOST = 200
REMEMBERED = 10 * AT_MOST
LOOK_BACK = timedelta(minutes=1)
"""A transaction may commit after another with a higher id: rows this young are looked at again."""


class Hub:
    """Wakes the streams of this process.

    It counts what was notified: `changes`, and `readings` for anything that pages show, since not
    every change (an acknowledgement, a note) has a row in the outbox.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.readings = 0
        self.is_closing = False
        self._woken = asyncio.Event()

    def notice(self, payload: str) -> None:
        """Take one notification's payload."""
        self.readings += 1
        if payload != "readings":
            self.changes += 1
        self.wake()

    def wake(self) -> None:
        """Let every waiting stream look."""
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    def close(self) -> None:
        """End every stream."""
        self.is_closing = True
        self.wake()

    async def wait(self, seconds: float) -> None:
        """Wait for news, or `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)


async def listen(hub: Hub, dsn: str) -> None:
    """Pass notifications on until cancelled; a lost connection is opened again."""
    is_down = False
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                dsn, autocommit=True, application_name="ridethrough-events"
            )
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                if is_down:
                    log.info("listening for events again")
                is_down = False
                hub.notice("change")
                async for notification in connection.notifies():
                    hub.notice(notification.payload)
        except psycopg.OperationalError as error:
            if not is_down:
                log.warning("not listening for events, looking instead: %s", error)
            is_down = True
        await asyncio.sleep(RETRY_SECONDS)


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the outbox, as far as it is anybody's business: what changed, not how."""

    id: int
    at: datetime
    topic: str
    ref: int

    def as_event(self) -> str:
        """Write the row as an event named `change`."""
        data = {
            "id": self.id,
            "at": self.at.isoformat(),
            "topic": self.topic,
            "ref": self.ref,
        }
        return f"id: {self.id}\nevent: change\ndata: {json.dumps(data)}\n\n"


class Position:
    """Where one stream stands in the outbox."""

    def __init__(self, after: int | None) -> None:
        self._after = after
        self._sent: set[int] | None = None

    def read_if_up(self, pool: ConnectionPool, visibility: str, now: datetime) -> list[Change]:
        """Read as `read` does; while the database is away there is nothing to tell."""
        try:
            return self.read(pool, visibility, now)
        except psycopg.OperationalError:
            return []

    def read(self, pool: ConnectionPool, visibility: str, now: datetime) -> list[Change]:
        """Read the rows that this stream has not sent, oldest first."""
        with request_transaction(pool, visibility) as connection:
            if self._after is None:
                newest = connection.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()
                self._after = newest[0] if newest else 0
            if self._sent is None:
                young = connection.execute(
                    "SELECT id FROM outbox WHERE at > %s AND id <= %s",
                    (now - LOOK_BACK, self._after),
                )
                self._sent = {row[0] for row in young}
            rows = connection.execute(
                """
                SELECT id, at, topic, ref FROM outbox
                WHERE (id > %(after)s OR at > %(young)s) AND NOT id = ANY(%(sent)s)
                ORDER BY id LIMIT %(at_most)s
                """,
                {
                    "after": self._after,
                    "young": now - LOOK_BACK,
                    "sent": list(self._sent),
                    "at_most": AT_MOST,
                },
            ).fetchall()
        changes = [Change(*row) for row in rows]
        sent = self._sent | {change.id for change in changes}
        self._sent = set(sorted(sent)[-REMEMBERED:])
        self._after = max([self._after, *(change.id for change in changes)])
        return changes


class _Every:
    """Comes due `seconds` after it was last restarted."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._due = self._clock()

    def left(self) -> float:
        return max(0.0, self._due - self._clock())

    def restart(self) -> None:
        self._due = self._clock() + self._seconds


async def stream(
    hub: Hub,
    pool: ConnectionPool,
    *,
    visibility: str,
    last_id: int | None,
    now: Callable[[], datetime],
    still_allowed: Callable[[], bool],
) -> AsyncIterator[str]:
    """Yield one asker's events until they go away, lose their right to ask, or the server stops."""
    position = Position(last_id)
    look, tick, check = _Every(LOOK_SECONDS), _Every(TICK_SECONDS), _Every(KEEP_ALIVE_SECONDS)
    check.restart()
    changes, readings = hub.changes, hub.readings
    yield "retry: 2000\n\n"
    while not hub.is_closing:
        if hub.changes != changes or not look.left():
            changes = hub.changes
            look.restart()
            found = await run_in_threadpool(position.read_if_up, pool, visibility, now())
            for change in found:
                yield change.as_event()
            if len(found) == AT_MOST:
                changes = -1
        if hub.readings != readings and not tick.left():
            readings = hub.readings
            tick.restart()
            yield "event: fleet\ndata: {}\n\n"
        if not check.left():
            check.restart()
            if not await run_in_threadpool(still_allowed):
                return
            yield ": still here\n\n"
        if hub.changes == changes:
            pause = min(look.left(), check.left())
            await hub.wait(min(pause, tick.left()) if hub.readings != readings else pause)
