"""One socket to one agent: a question, and its answer looked at before it is decoded.

Sessions of version 3 are kept between polls with engine id, boots and time, which the library
keeps inside its socket; a bounded number, the longest unused let go. What to ask is the reader's.
"""

import asyncio
import os
import resource
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from gufo.snmp import User
from gufo.snmp._fast import (
    GetIter,
    SnmpV1ClientSocket,
    SnmpV2cClientSocket,
    SnmpV3ClientSocket,
)
from gufo.snmp.user import KeyExpansion

from collector.address import SnmpAddress
from collector.raw import RawValue, Scalar
from collector.readers import snmp_ber
from collector.readers.snmp_usm import NOT_IN_WINDOW, expansion_of, user_of

T = TypeVar("T")

_LARGEST_DATAGRAM = 65_535
_MOST_STRAYS = 100
_LEAST_KEPT = 64
_NOBODY = User.default()


class ReportHeard(Exception):  # control flow, caught by the reader
    """An agent of version 3 reported instead of answering; `report` is the counter it names."""

    def __init__(self, report: str) -> None:
        super().__init__(report)
        self.report = report


class Garbled(Exception):  # control flow, caught by the reader
    """What came is no SNMP message, or answers nothing that was asked."""


class Session:
    """A connected socket; `heard` is the newest datagram, as it came.

    One question at a time. Every call takes the seconds that its answer may take, however much else
    is heard meanwhile, and raises TimeoutError, Garbled, ReportHeard, or what the library raises.
    """

    def __init__(
        self, address: SnmpAddress, host: str, expansion: KeyExpansion | None = None
    ) -> None:
        self.host = host
        self.heard = b""
        self.expansion = expansion or expansion_of(address)
        self.is_discovered = False
        self._is_v3 = address.version == "3"
        at = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket: SnmpV1ClientSocket | SnmpV2cClientSocket | SnmpV3ClientSocket
        community = address.credentials.user
        if self._is_v3:
            self._socket = SnmpV3ClientSocket(at, b"", *_keys(_NOBODY), 0, 0, 0, 0)
            self._user = user_of(address, self.expansion)
        elif address.version == "1":
            self._socket = SnmpV1ClientSocket(at, community, 0, 0, 0, 0)
        else:
            self._socket = SnmpV2cClientSocket(at, community, 0, 0, 0, 0)
        self._fd = self._socket.get_fd()

    @property
    def header(self) -> snmp_ber.Header | None:
        """What the newest datagram, of version 3, said of its engine."""
        if not self._is_v3:
            return None
        with suppress(snmp_ber.BerInvalid):
            return snmp_ber.header_of(self.heard)
        return None

    async def discover(self, seconds: float) -> bytes:
        """Ask an agent of version 3 for its engine id, boots and time (RFC 3414 section 4)."""
        agent = self._socket
        if not isinstance(agent, SnmpV3ClientSocket):
            raise TypeError("only version 3 has engines")
        await self._exchange(agent.send_refresh, agent.recv_refresh, seconds, is_refresh=True)
        agent.set_keys(*_keys(self._user))
        self.is_discovered = True
        return agent.get_engine_id()

    async def get_many(self, oids: Iterable[str], seconds: float) -> dict[str, RawValue]:
        """Return the values that came; what the agent lacks, and any error, leaves no value."""
        asked = list(oids)
        agent = self._socket
        return dict(
            await self._exchange(lambda: agent.send_get_many(asked), agent.recv_get_many, seconds)
        )

    async def next_row(self, cursor: GetIter, seconds: float) -> tuple[str, Scalar] | None:
        """Return the row after the cursor and move it; None at the end, or at a NULL."""
        agent = self._socket
        try:
            return await self._exchange(
                lambda: agent.send_get_next(cursor), lambda: agent.recv_get_next(cursor), seconds
            )
        except StopAsyncIteration:
            return None

    async def next_rows(
        self, cursor: GetIter, seconds: float
    ) -> list[tuple[str, Scalar] | None] | None:
        """Return some rows after the cursor, a None where the table ends; None at its end."""
        agent = self._socket
        if isinstance(agent, SnmpV1ClientSocket):
            raise TypeError("version 1 has no GETBULK")
        bulk = agent
        try:
            return await self._exchange(
                lambda: bulk.send_get_bulk(cursor), lambda: bulk.recv_get_bulk(cursor), seconds
            )
        except StopAsyncIteration:
            return None

    async def _exchange(
        self,
        send: Callable[[], None],
        receive: Callable[[], T],
        seconds: float,
        *,
        is_refresh: bool = False,
    ) -> T:
        async with asyncio.timeout(seconds):
            await self._send(send)
            return await self._receive(receive, is_refresh=is_refresh)

    async def _send(self, send: Callable[[], None]) -> None:
        try:
            send()
        except BlockingIOError:
            loop = asyncio.get_running_loop()
            is_writable = loop.create_future()
            loop.add_writer(self._fd, _settle, is_writable)
            try:
                await is_writable
            finally:
                loop.remove_writer(self._fd)
            send()

    async def _receive(self, receive: Callable[[], T], *, is_refresh: bool) -> T:
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_STRAYS):
            is_readable = loop.create_future()
            loop.add_reader(self._fd, _settle, is_readable)
            try:
                await is_readable
            finally:
                loop.remove_reader(self._fd)
            try:
                self._look()
            except BlockingIOError:
                continue
            if not is_refresh:
                self._refuse_reports()
            try:
                return receive()
            except BlockingIOError:
                continue  # an answer to an earlier question
        raise Garbled("answers to everything save what was asked")

    def _look(self) -> None:
        """Look at what came, leaving it for the library; take away what it must not see."""
        # The socket is the library's: it is only borrowed, and let go without being closed.
        borrowed = socket.socket(self._family, socket.SOCK_DGRAM, 0, self._fd)
        try:
            self.heard = borrowed.recv(_LARGEST_DATAGRAM, socket.MSG_PEEK)
            try:
                snmp_ber.check(self.heard)
            except snmp_ber.BerInvalid as invalid:
                borrowed.recv(1)
                raise Garbled(str(invalid)) from invalid
        finally:
            borrowed.detach()

    def _refuse_reports(self) -> None:
        """Raise ReportHeard for a report; the one about time is given to the library before."""
        header = self.header
        if header is None or header.report is None:
            return
        if header.report != NOT_IN_WINDOW:
            os.read(self._fd, 1)
        else:
            # The library takes boots and time from it, and then calls it a wrong passphrase.
            with suppress(Exception):
                self._socket.recv_get_many()
        raise ReportHeard(header.report)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _keys(user: User) -> tuple[str, int, bytes, int, bytes]:
    return (
        user.name,
        user.get_auth_alg(),
        user.get_auth_key(),
        user.get_priv_alg(),
        user.get_priv_key(),
    )


def is_panic(error: BaseException) -> bool:
    """Tell whether the decoder, written in Rust, gave up on a malformed datagram.

    It panics, which is no Exception and has no name that could be imported, or says so by a plain
    RuntimeError instead of an SnmpError.
    """
    name = type(error).__name__
    return name == "PanicException" or (name == "RuntimeError" and "PySnmp" in str(error))


class KeptSessions:
    """Sessions of version 3 between polls; whoever takes one has it alone."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._sessions: OrderedDict[SnmpAddress, Session] = OrderedDict()

    def take(self, address: SnmpAddress, host: str) -> Session | None:
        """Return the kept session, if there is one to this host, and keep it no longer."""
        session = self._sessions.pop(address, None)
        return session if session is not None and session.host == host else None

    def keep(self, address: SnmpAddress, session: Session) -> None:
        """Keep a session; the longest unused is let go where there are too many."""
        self._sessions[address] = session
        if self._most is None:
            # Each is an open file, and polls, databases and brokers need some too.
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            self._most = max(_LEAST_KEPT, soft // 2)
        while len(self._sessions) > self._most:
            self._sessions.popitem(last=False)


KEPT = KeptSessions()
"""The reader's own; what it holds is lost without harm."""
