"""SNMP agents for many units in one process: v1, v2c and v3, read only.

One engine serves all; each unit has a UDP port of its own, by which a request finds its unit. The
values come from a sorted table computed at request time; nothing of pysnmp's MIB machinery is in
the way. What a card does wrong on purpose is asked of its `Endpoint`.
"""

import asyncio
import hashlib
import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import TracebackType
from typing import Any, Protocol, Self

from pyasn1.error import PyAsn1Error
from pysnmp.carrier.asyncio.dgram.udp import DOMAIN_NAME, UdpTransport
from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.error import PySnmpError
from pysnmp.proto import rfc1902, rfc1905
from pysnmp.proto.api import v2c

from collector.raw import Encoded, Ref, Typed
from device_sims.fleet import V3_AUTH_PASSPHRASE, V3_PRIV_PASSPHRASE, V3_USER
from device_sims.wire import Wire

log = logging.getLogger(__name__)

Oid = tuple[int, ...]
Untyped = Any
"""Whatever pysnmp hands over: it carries no types."""

COMMUNITY = "public"
_SYS_UPTIME: Oid = (1, 3, 6, 1, 2, 1, 1, 3, 0)
_SYS_NAME: Oid = (1, 3, 6, 1, 2, 1, 1, 5, 0)
_VERSION_1 = 1
_MOST_VARBINDS = 64
"""Bound of a GETBULK answer, so that it fits into a datagram."""


_NUMBERS = {
    "integer": (rfc1902.Integer32, -(2**31), 2**31 - 1),
    "gauge": (rfc1902.Gauge32, 0, 2**32 - 1),
    "counter": (rfc1902.Counter32, 0, 2**32 - 1),
    "ticks": (rfc1902.TimeTicks, 0, 2**32 - 1),
}
"""Types of `collector.raw.Typed` with their ranges (RFC 2578 section 7.1)."""


@dataclass(frozen=True, slots=True)
class Table:
    """What an agent holds: OIDs in order, and a pysnmp value for each."""

    oids: Sequence[Oid]
    values: Mapping[Oid, Untyped]

    @classmethod
    def of(cls, values: Mapping[Oid, Untyped]) -> "Table":
        """Build the table of these values."""
        return cls(sorted(values), values)

    def after(self, oid: Oid) -> tuple[Oid, Untyped]:
        """Return the next OID with its value, or the same OID with endOfMibView."""
        place = bisect_right(self.oids, oid)
        if place == len(self.oids):
            return oid, rfc1905.endOfMibView
        following = self.oids[place]
        return following, self.values[following]

    def without_wide(self) -> "Table":
        """Return the table as version 1 sees it: it has no 64-bit counters (RFC 2576, 4.1.2.1)."""
        if not any(isinstance(value, rfc1902.Counter64) for value in self.values.values()):
            return self
        return Table.of(
            {
                oid: value
                for oid, value in self.values.items()
                if not isinstance(value, rfc1902.Counter64)
            }
        )


class Endpoint(Protocol):
    """What stands behind one port."""

    @property
    def delay_seconds(self) -> float:
        """How long an answer waits."""

    @property
    def copies(self) -> int:
        """How many times an answer is sent."""

    def answers(self) -> bool:
        """Return whether a request that has just come is answered."""

    def table(self) -> Table:
        """Return what the agent holds now."""

    def spoiled(self, message: bytes) -> bytes:
        """Return an answer as it goes out."""


class UnitEndpoint:
    """A simulated unit behind a port; `now` is asked for the time of each request."""

    def __init__(self, wire: Wire, key: str, now: Callable[[], datetime]) -> None:
        self._wire = wire
        self._key = key
        self._now = now
        self._source: Mapping[Ref, Encoded] | None = None
        self._table = Table.of({})

    @property
    def delay_seconds(self) -> float:
        """How long an answer waits."""
        return self._wire.delay_seconds

    @property
    def copies(self) -> int:
        """How many times an answer is sent."""
        return self._wire.copies

    def answers(self) -> bool:
        """Return whether a request that has just come is answered."""
        return self._wire.answers(self._now())

    def spoiled(self, message: bytes) -> bytes:
        """Return an answer as it goes out."""
        return self._wire.spoiled(message)

    def table(self) -> Table:
        """Return what the card holds now, built again only when the card's values are new."""
        now = self._now()
        encoded = self._wire.encoded(now)
        if encoded is not self._source:
            wrong = self._wire.has_wrong_types
            values = {
                oid_of(ref): _value(item, is_wrong=wrong)
                for ref, item in encoded.items()
                if isinstance(ref, str) and isinstance(item, Typed)
            }
            values.setdefault(_SYS_NAME, rfc1902.OctetString(self._key))
            values[_SYS_UPTIME] = rfc1902.TimeTicks(self._wire.uptime_ticks(now))
            self._source, self._table = encoded, Table.of(values)
        return self._table


class SnmpAgents:
    """The engine and its ports; an async context manager that closes every socket.

    `name` makes the engine's id its own, as every card of version 3 has one.
    """

    def __init__(self, name: str = "simulators") -> None:
        self._engine = SnmpEngine()
        _name_engine(self._engine, name)
        self._dispatcher = AsyncioDispatcher()
        self._engine.register_transport_dispatcher(self._dispatcher)
        config.add_v1_system(self._engine, "read", COMMUNITY)
        config.add_v3_user(
            self._engine,
            V3_USER,
            config.USM_AUTH_HMAC192_SHA256,
            V3_AUTH_PASSPHRASE,
            config.USM_PRIV_CFB128_AES,
            V3_PRIV_PASSPHRASE,
        )
        self._endpoints: dict[Oid, Endpoint] = {}
        self._ports: list[_Port] = []
        whole = context.SnmpContext(self._engine)
        for responder in (_Get, _Next, _Bulk):
            responder(self._engine, whole, self._endpoints)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def add(self, endpoint: Endpoint, *, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve an endpoint on a port, a free one for 0, and return the port."""
        loop = asyncio.get_running_loop()
        domain = (*DOMAIN_NAME, len(self._ports))
        _, protocol = await loop.create_datagram_endpoint(
            lambda: _Port(endpoint, loop), local_addr=(host, port)
        )
        self._endpoints[domain] = endpoint
        self._dispatcher.register_transport(domain, protocol)
        self._ports.append(protocol)
        return int(protocol.transport.get_extra_info("sockname")[1])

    def send(self, port: int, datagram: bytes, target: tuple[str, int]) -> None:
        """Send a datagram from the socket of a port, as a card sends its traps."""
        for protocol in self._ports:
            if protocol.transport.get_extra_info("sockname")[1] == port:
                protocol.transport.sendto(datagram, target)

    async def close(self) -> None:
        """Close every socket and the engine, and wait until that is done."""
        timer = self._dispatcher.loopingcall
        self._engine.close_dispatcher()
        for port in self._ports:
            await port.closed
        self._ports.clear()
        if timer is not None:
            await asyncio.wait([timer])


class _Port(UdpTransport):  # type: ignore[misc]  # pysnmp is untyped
    """A socket that does to datagrams what its endpoint's card does."""

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.closed: asyncio.Future[None] = loop.create_future()
        self._endpoint = endpoint
        self._late: set[asyncio.TimerHandle] = set()

    def datagram_received(self, datagram: bytes, transportAddress: Untyped) -> None:  # noqa: N803 — pysnmp's name
        if not self._endpoint.answers():
            return
        delay = self._endpoint.delay_seconds
        if delay == 0.0:
            self._deliver(datagram, transportAddress)
            return
        self._late = {handle for handle in self._late if handle.when() > self.loop.time()}
        self._late.add(self.loop.call_later(delay, self._deliver, datagram, transportAddress))

    def send_message(self, outgoingMessage: bytes, transportAddress: Untyped) -> None:  # noqa: N803 — pysnmp's names
        message = self._endpoint.spoiled(outgoingMessage)
        for _ in range(self._endpoint.copies):
            super().send_message(message, transportAddress)

    def close_transport(self) -> None:
        for handle in self._late:
            handle.cancel()
        super().close_transport()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)

    def _deliver(self, datagram: bytes, address: Untyped) -> None:
        if self._callback_function is None:
            return
        try:
            self._callback_function(self, address, datagram)
        except (PySnmpError, PyAsn1Error):
            # A request that the engine cannot read; a real card drops it too.
            log.debug("dropped a datagram from %s", address, exc_info=True)


class _Responder(cmdrsp.CommandResponderBase):  # type: ignore[misc]  # pysnmp is untyped
    """Answers from the table behind the port at which the request came; views are not needed."""

    def __init__(
        self,
        engine: Untyped,
        whole: Untyped,
        endpoints: Mapping[Oid, Endpoint],
    ) -> None:
        super().__init__(engine, whole)
        self._endpoints = endpoints

    def handle_management_operation(
        self,
        snmpEngine: Untyped,  # noqa: N803 — pysnmp's names
        stateReference: Untyped,  # noqa: N803
        contextName: Untyped,  # noqa: ARG002, N803
        PDU: Untyped,  # noqa: N803
    ) -> None:
        request = snmpEngine.observer.get_execution_context("rfc3412.receiveMessage:request")
        table = self._endpoints[tuple(request["transportDomain"])].table()
        if int(request["securityModel"]) == _VERSION_1:
            table = table.without_wide()
        answer = self.answer(table, PDU)
        self.send_varbinds(snmpEngine, stateReference, 0, 0, answer)
        self.release_state_information(stateReference)

    def answer(self, table: Table, pdu: Untyped) -> list[tuple[Oid, Untyped]]:
        raise NotImplementedError


class _Get(_Responder):
    SUPPORTED_PDU_TYPES = (rfc1905.GetRequestPDU.tagSet,)

    def answer(self, table: Table, pdu: Untyped) -> list[tuple[Oid, Untyped]]:
        return [
            (name, table.values.get(tuple(name), rfc1905.noSuchInstance))
            for name, _ in v2c.apiPDU.get_varbinds(pdu)
        ]


class _Next(_Responder):
    SUPPORTED_PDU_TYPES = (rfc1905.GetNextRequestPDU.tagSet,)

    def answer(self, table: Table, pdu: Untyped) -> list[tuple[Oid, Untyped]]:
        return [table.after(tuple(name)) for name, _ in v2c.apiPDU.get_varbinds(pdu)]


class _Bulk(_Responder):
    """GETBULK as RFC 3416 section 4.2.3 has it."""

    SUPPORTED_PDU_TYPES = (rfc1905.GetBulkRequestPDU.tagSet,)

    def answer(self, table: Table, pdu: Untyped) -> list[tuple[Oid, Untyped]]:
        names = [tuple(name) for name, _ in v2c.apiBulkPDU.get_varbinds(pdu)]
        single = min(max(int(v2c.apiBulkPDU.get_non_repeaters(pdu)), 0), len(names))
        rounds = max(int(v2c.apiBulkPDU.get_max_repetitions(pdu)), 0)
        answer = [table.after(name) for name in names[:single]]
        row = names[single:]
        for _ in range(min(rounds, _MOST_VARBINDS // len(row)) if row else 0):
            found = [table.after(name) for name in row]
            answer += found
            row = [name for name, _ in found]
            if all(value is rfc1905.endOfMibView for _, value in found):
                break
        return answer


def _name_engine(engine: Untyped, name: str) -> None:
    """Set an engine's id (RFC 3411 section 5): pysnmp's own enterprise, then eight octets."""
    (identifier,) = engine.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineID")
    digest = hashlib.sha256(name.encode()).digest()[:8]
    identifier.syntax = identifier.syntax.clone(b"\x80\x00\x4f\xb8\x05" + digest)
    engine.snmpEngineID = identifier.syntax


@cache
def oid_of(text: str) -> Oid:
    """Return a dotted OID as numbers."""
    return tuple(int(arc) for arc in text.strip(".").split("."))


def _value(item: Typed, *, is_wrong: bool) -> Untyped:
    if item.type == "oid":
        return rfc1902.ObjectIdentifier(oid_of(str(item.value)))
    if item.type == "string":
        return rfc1902.OctetString(str(item.value).encode())
    if is_wrong:
        return rfc1902.OctetString(b"--")
    kind, low, high = _NUMBERS[item.type]
    return kind(min(max(int(item.value), low), high))
