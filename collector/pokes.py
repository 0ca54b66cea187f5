"""Pokes between processes: who hears that a device may have news is seldom who polls it.

A poke is a hint: while the database is away it is lost, and the device is polled in its rhythm.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import psycopg

log = logging.getLogger(__name__)

CHANNEL = "ridethrough_poke"

_RETRY_SECONDS = 2.0
_MOST_IN_A_NOTICE = 500  # PostgreSQL takes 8,000 bytes
_MOST_WAITING = 10_000

Poke = Callable[[int], None]


class PokeTeller:
    """Tells every collector which devices to poll at once, from `run` until it is cancelled."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: set[int] = set()
        self._any = asyncio.Event()

    def tell(self, device_ids: Iterable[int]) -> None:
        """Put devices into the next notice; to be called in the loop's thread."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.update(device_ids)
            self._any.set()

    async def run(self) -> None:
        """Send what waits, as soon as it does."""
        is_down = False
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, application_name="ridethrough-pokes"
                )
                async with connection:
                    is_down = False
                    await self._send(connection)
            except psycopg.OperationalError as error:
                if not is_down:
                    log.warning("devices cannot be polled on a trap's hint: %s", error)
                is_down = True
                self._waiting.clear()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _send(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            await self._any.wait()
            self._any.clear()
            waiting, self._waiting = sorted(self._waiting), set()
            for payload in payloads(waiting):
                await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))


async def hear_pokes(dsn: str, poke: Poke) -> None:
    """Hand on what any process tells, until cancelled; a lost connection is opened again."""
    is_down = False
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                dsn, autocommit=True, application_name="ridethrough-pokes"
            )
            async with connection:
                await connection.execute("LISTEN ridethrough_poke")
                is_down = False
                async for notice in connection.notifies():
                    for device_id in told(notice.payload):
                        poke(device_id)
        except psycopg.OperationalError as error:
            if not is_down:
                log.warning("not listening for hints to poll at once: %s", error)
            is_down = True
        await asyncio.sleep(_RETRY_SECONDS)


def payloads(device_ids: Sequence[int]) -> Iterator[str]:
    """Return notices that name these devices."""
    for at in range(0, len(device_ids), _MOST_IN_A_NOTICE):
        yield ",".join(map(str, device_ids[at : at + _MOST_IN_A_NOTICE]))


def told(payload: str) -> list[int]:
    """Return the devices that a notice names; what is no id is left out."""
    return [int(text) for text in payload.split(",") if text.isascii() and text.isdigit()]
