"""Modbus lines: one connection an endpoint, shared by all units behind it, used by one at a time.

Here live connecting, taking turns, and one exchange of request and answer. Many cards and gateways
serve a single connection, so there is never a second one to the same endpoint. What is asked for is
`collector.readers.modbus`, what the bytes look like `collector.readers.modbus_frames`.
"""

import asyncio
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from pymodbus.transport import CommParams, CommType, ModbusProtocol

from collector.address import Framing, ModbusAddress
from collector.raw import Failure, ReadFailed
from collector.readers.modbus_frames import (
    LONGEST_STREAM,
    BadFrame,
    Request,
    cut_rtu,
    cut_tcp,
    leftover,
)

WAIT_SECONDS = 30.0
"""How long a poll waits for its turn on a line that it shares."""
LINGER_SECONDS = 75.0
"""How long an idle connection is kept while a fleet is polled, longer than the usual interval."""
MOST_WAITING = 256
MOST_KEPT = 1_000
_LARGEST_NUMBER = 0xFFFF
_LARGEST_CHUNK = 1 << 20


class Silent(Exception):
    """No proper answer came in time; the text says what came instead."""


class Closed(Exception):
    """The other side closed the connection."""


class _Link(ModbusProtocol):
    """One connection: collects bytes and hands over the answer to the one request under way."""

    def __init__(self, params: CommParams, *, is_rtu: bool) -> None:
        super().__init__(params, is_server=False)
        # Its own buffer is emptied each time; beyond this it would drop what came unseen.
        self.max_buffer_size = _LARGEST_CHUNK
        self.is_rtu = is_rtu
        self.stream = bytearray()
        self.is_open = True
        self._request: Request | None = None
        self._number = 0
        self._answer: asyncio.Future[bytes] | None = None

    async def open(self) -> None:
        """Connect; OSError says why not."""
        try:
            self.transport, _ = await self.call_create()
        except termios.error as problem:  # a serial device that cannot be set so
            raise OSError(*problem.args) from problem

    async def exchange(self, request: Request, number: int) -> bytes:
        """Send a request and return the answer's message."""
        self.stream.clear()
        self._request, self._number = request, number
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self.send(request.over_rtu() if self.is_rtu else request.over_tcp(number))
            return await self._answer
        finally:
            self._answer = self._request = None

    def callback_connected(self) -> None:
        """Nothing is said before the first request."""

    def callback_new_connection(self) -> ModbusProtocol:
        """Return this link: a client has one connection."""
        return self

    def callback_disconnected(self, exc: Exception | None) -> None:
        """Let the request under way fail at once."""
        self.is_open = False
        self._fail(Closed(str(exc) if exc else "closed by the other side"))

    def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
        """Take all bytes that came; hand over the answer once it is complete."""
        del addr
        if self._answer is None or self._answer.done() or self._request is None:
            return len(data)  # a late answer, whose request was given up
        self.stream += data
        if self.is_rtu and len(self.stream) > LONGEST_STREAM:
            self._fail(BadFrame(f"{len(self.stream)} bytes, none of them an answer"))
            return len(data)
        try:
            if self.is_rtu:
                message = cut_rtu(self.stream, self._request)
            else:
                message = cut_tcp(self.stream, self._request, self._number)
        except BadFrame as bad:
            self._fail(bad)
            return len(data)
        if message is not None:
            self._answer.set_result(message)
        elif len(self.stream) > LONGEST_STREAM:
            self._fail(BadFrame(f"{len(self.stream)} bytes, none of them an answer"))
        return len(data)

    def _fail(self, problem: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem)


@dataclass(slots=True, eq=False)
class Line:
    """One endpoint: its connection, and who waits for it."""

    address: ModbusAddress
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    link: _Link | None = None
    number: int = 0
    spoke_at: float = 0.0
    owing: set[int] = field(default_factory=set)
    heard: str | None = None
    closing: asyncio.TimerHandle | None = None

    @property
    def is_rtu(self) -> bool:
        """Frames carry a checksum and no number."""
        return self.address.framing is not Framing.TCP

    async def exchange(self, request: Request, *, patience: float, gap: float) -> bytes:
        """Send a request and return the answer's message.

        Raises Silent after `patience` seconds, BadFrame, Closed, or OSError when there is no
        connection. `gap` seconds are kept since whatever was last said on the line. `heard`
        is afterwards what came instead of an answer.
        """
        loop = asyncio.get_running_loop()
        if self.is_rtu and request.unit in self.owing:
            self.close()  # RTU answers carry no number: a late one would pass for the next
        link = await self._connected()
        pause = self.spoke_at + gap - loop.time()
        if gap and pause > 0:
            await asyncio.sleep(pause)
        self.number = self.number % _LARGEST_NUMBER + 1
        is_sound, self.heard = False, None
        try:
            async with asyncio.timeout(patience):
                message = await link.exchange(request, self.number)
            is_sound = True
        except TimeoutError:
            raise Silent(self._leftover(link) or "no answer") from None
        finally:
            self.spoke_at = loop.time()
            self.heard = None if is_sound else self._leftover(link)
            if is_sound:
                self.owing.discard(request.unit)
            else:
                self.owing.add(request.unit)
                if not link.is_open or (link.stream and not self.is_rtu):
                    self.close()
        return message

    def _leftover(self, link: _Link) -> str | None:
        return leftover(bytes(link.stream), is_rtu=self.is_rtu)

    async def _connected(self) -> _Link:
        if self.link is not None and self.link.is_open:
            return self.link
        self.close()
        link = _Link(_params(self.address), is_rtu=self.is_rtu)
        await link.open()
        self.link = link
        return link

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.closing is not None:
            self.closing.cancel()
            self.closing = None
        if self.link is not None:
            self.link.is_open = False
            self.link.close()
            self.link = None
        self.owing.clear()


@dataclass(slots=True, eq=False)
class _Lines:
    """All lines of one event loop; `keepers` are those who poll a fleet."""

    by_endpoint: dict[str, Line] = field(default_factory=dict)
    keepers: int = 0

    def release(self, line: Line) -> None:
        """Close or keep a line that nobody waits for."""
        if line.users:
            return
        if self.keepers and line.link is not None and len(self.by_endpoint) <= MOST_KEPT:
            loop = asyncio.get_running_loop()
            line.closing = loop.call_later(LINGER_SECONDS, self.drop, line)
        else:
            self.drop(line)

    def drop(self, line: Line) -> None:
        """Close a line and forget it."""
        line.close()
        if self.by_endpoint.get(line.address.endpoint) is line:
            del self.by_endpoint[line.address.endpoint]


# A socket belongs to the event loop that opened it, and each loop has its own lines.
_LINES: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lines] = WeakKeyDictionary()


def _lines() -> _Lines:
    return _LINES.setdefault(asyncio.get_running_loop(), _Lines())


@contextmanager
def lines_kept() -> Iterator[None]:
    """Keep connections between polls while this lasts, and close them all at its end.

    Without it a connection is closed as soon as nobody waits for it.
    """
    lines = _lines()
    lines.keepers += 1
    try:
        yield
    finally:
        lines.keepers -= 1
        if not lines.keepers:
            for line in list(lines.by_endpoint.values()):
                if not line.users:
                    lines.drop(line)


@asynccontextmanager
async def turn_on(address: ModbusAddress) -> AsyncIterator[Line]:
    """Wait for this unit's turn on its line and hold it; ReadFailed when it does not come."""
    lines = _lines()
    line = lines.by_endpoint.get(address.endpoint)
    if line is None or (not line.users and _differ(line, address)):
        if line is not None:
            lines.drop(line)
        line = lines.by_endpoint[address.endpoint] = Line(address)
    elif _differ(line, address):
        raise ReadFailed(
            Failure.UNSUPPORTED,
            f"{address.public}: another unit at {address.endpoint} speaks "
            f"{line.address.public.partition('?')[0]} just now; their settings must agree",
        )
    if line.users >= MOST_WAITING:
        raise ReadFailed(Failure.BUSY, f"{MOST_WAITING} polls wait for {address.endpoint} already")
    if line.closing is not None:
        line.closing.cancel()
        line.closing = None
    line.users += 1
    try:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await line.turn.acquire()
        except TimeoutError:
            detail = f"{address.public}: the line was busy with other units for {WAIT_SECONDS:g} s"
            raise ReadFailed(Failure.BUSY, detail) from None
        try:
            yield line
        finally:
            line.turn.release()
    finally:
        line.users -= 1
        lines.release(line)


def _differ(line: Line, address: ModbusAddress) -> bool:
    return (line.address.framing, line.address.line) != (address.framing, address.line)


def _params(address: ModbusAddress) -> CommParams:
    params = CommParams(
        comm_name="reader",
        comm_type=CommType.TCP,
        reconnect_delay=0.0,
        host=address.host,
        port=address.port,
    )
    if address.line is not None:
        params.comm_type = CommType.SERIAL
        params.baudrate = address.line.baud
        params.bytesize = 8
        params.parity = address.line.parity
        params.stopbits = address.line.stop_bits
    return params
