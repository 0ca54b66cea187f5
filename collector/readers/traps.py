"""Receiving SNMP traps and informs, versions 1, 2c and 3, from anybody, at a bounded cost.

Here live the socket, pysnmp's engine and the logins. What a trap means and whose it is stands in
`collector.traps`. An inform is confirmed by the engine. A sender is heard a bounded number of times
a second; what comes beyond that is only counted, since decoding one costs a millisecond.

The keys of a version 3 trap belong to the sender's engine id, which nobody knows beforehand: the
engine is told a login for an engine id when that is heard first, the one known for the sender.
"""

import asyncio
import hashlib
import logging
import socket
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyasn1.codec.ber import decoder
from pyasn1.error import PyAsn1Error
from pysnmp.carrier.asyncio.dgram import udp, udp6
from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import ntfrcv
from pysnmp.proto.mpmod.rfc3412 import SNMPv3Message
from pysnmp.proto.rfc1902 import IpAddress, OctetString
from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters

from collector.address import SnmpAddress
from collector.traps import TOO_MANY, Heard, plain_host

log = logging.getLogger(__name__)

Untyped = Any
"""Whatever pysnmp hands over: it carries no types."""

TRAP_OID = "1.3.6.1.6.3.1.1.4.1.0"
HEARD_A_SECOND = 20.0
"""So many notifications of one sender are decoded a second, in the long run."""
HEARD_AT_ONCE = 60.0

_LARGEST_BYTES = 8_192  # what one sender may make us decode; cards send a few hundred bytes
_MOST_SENDERS = 10_000
_MOST_ENGINES = 20_000
_MOST_VARIABLES = 32
_LONGEST_TEXT = 200
_BUFFER_BYTES = 1 << 20
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

SNMP_AUTH = {
    None: config.USM_AUTH_NONE,
    "md5": config.USM_AUTH_HMAC96_MD5,
    "sha1": config.USM_AUTH_HMAC96_SHA,
    "sha224": config.USM_AUTH_HMAC128_SHA224,
    "sha256": config.USM_AUTH_HMAC192_SHA256,
    "sha384": config.USM_AUTH_HMAC256_SHA384,
    "sha512": config.USM_AUTH_HMAC384_SHA512,
}
SNMP_PRIV = {
    None: config.USM_PRIV_NONE,
    "des": config.USM_PRIV_CBC56_DES,
    "aes128": config.USM_PRIV_CFB128_AES,
    "aes192": config.USM_PRIV_CFB192_AES_BLUMENTHAL,
    "aes192c": config.USM_PRIV_CFB192_AES,
    "aes256": config.USM_PRIV_CFB256_AES_BLUMENTHAL,
    "aes256c": config.USM_PRIV_CFB256_AES,
}


@dataclass(slots=True)
class TrapCounters:
    """What the receiver did since it began, for metrics; datagrams are heard, refused or shed."""

    datagrams: int = 0
    heard: int = 0
    shed: int = 0


class TrapReceiver:
    """Hears notifications from `open` until `close`, in the loop's thread.

    `hear` is called once for each; with the OID `TOO_MANY` for those that came too fast.
    `started_at` numbers this life of the receiver, for the senders of informs.
    """

    def __init__(self, hear: Callable[[Heard], None], *, started_at: datetime) -> None:
        self.counters = TrapCounters()
        self._hear = hear
        self._allowances = _Allowances()
        self._logins = _Logins()
        self._engine = SnmpEngine()
        self._dispatcher = AsyncioDispatcher()
        self._engine.register_transport_dispatcher(self._dispatcher)
        _name_engine(self._engine, started_at)
        ntfrcv.NotificationReceiver(self._engine, self._received)
        self._socket: Untyped = None

    async def open(self, host: str, port: int) -> int:
        """Listen on a UDP port, a free one for 0; return it. Raises OSError."""
        loop = asyncio.get_running_loop()
        is_v6 = ":" in host
        bound = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            bound.settimeout(0)
            bound.bind((host, port))
        except OSError:
            bound.close()
            raise
        kind = _Socket6 if is_v6 else _Socket
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: kind(self._let_in, loop), sock=bound
        )
        self._socket = protocol
        self._dispatcher.register_transport(kind.DOMAIN, protocol)
        return int(transport.get_extra_info("sockname")[1])

    def know(self, addresses: Iterable[SnmpAddress]) -> None:
        """Take these logins, communities and version 3 users, for those that are accepted."""
        self._logins.replace(self._engine, addresses)

    async def close(self) -> None:
        """Close the socket and the engine, and wait until that is done."""
        timer = self._dispatcher.loopingcall
        self._engine.close_dispatcher()
        if self._socket is not None:
            await self._socket.closed
        if timer is not None:
            await asyncio.wait([timer])

    def _let_in(self, datagram: bytes, host: str, port: int) -> bool:
        """Tell whether a datagram is to be decoded; tell the engine its login if it is."""
        counters = self.counters
        counters.datagrams += 1
        now = asyncio.get_running_loop().time()
        if len(datagram) > _LARGEST_BYTES or not self._allowances.take(plain_host(host), now):
            counters.shed += 1
            self._hear(Heard(plain_host(host), port, TOO_MANY, {}))
            return False
        self._logins.prepare(self._engine, datagram, plain_host(host))
        return True

    def _received(
        self,
        engine: Untyped,
        _: Untyped,
        __: Untyped,
        ___: Untyped,
        variables: Sequence[tuple[Untyped, Untyped]],
        ____: Untyped,
    ) -> None:
        """Hand on a notification as version 2 has it; pysnmp translates those of version 1."""
        request = engine.observer.get_execution_context("rfc3412.receiveMessage:request")
        host, port = request["transportAddress"][:2]
        told = {str(name): _text(value) for name, value in variables[:_MOST_VARIABLES]}
        oid = told.pop(TRAP_OID, TOO_MANY)
        self.counters.heard += 1
        self._hear(Heard(plain_host(str(host)), int(port), oid, told))


class _Allowances:
    """How much each sender may still say: a bucket that fills with time."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, host: str, now: float) -> bool:
        left, at = self._left.pop(host, (HEARD_AT_ONCE, now))
        left = min(left + (now - at) * HEARD_A_SECOND, HEARD_AT_ONCE)
        is_allowed = left >= 1.0
        self._left[host] = (left - 1.0 if is_allowed else left, now)
        if len(self._left) > _MOST_SENDERS:
            self._left.popitem(last=False)
        return is_allowed


class _Logins:
    """The communities and version 3 users that the engine accepts."""

    def __init__(self) -> None:
        self._communities: set[str] = set()
        self._users: defaultdict[str, dict[str, SnmpAddress]] = defaultdict(dict)
        self._told: OrderedDict[tuple[bytes, str], tuple[Untyped, ...]] = OrderedDict()

    def replace(self, engine: Untyped, addresses: Iterable[SnmpAddress]) -> None:
        communities: set[str] = set()
        self._users.clear()
        for address in addresses:
            if address.version == "3":
                self._users[address.credentials.user][plain_host(address.host)] = address
            else:
                communities.add(address.credentials.user)
        for logins in self._users.values():
            # An inform is sent to our engine id: we are the authority there.
            self._tell(engine, bytes(engine.snmpEngineID), next(iter(logins.values())))
        for gone in self._communities - communities:
            config.delete_v1_system(engine, _index(gone))
        for new in communities - self._communities:
            config.add_v1_system(engine, _index(new), new)
        self._communities = communities

    def prepare(self, engine: Untyped, datagram: bytes, host: str) -> None:
        """Tell the engine the login of a version 3 message from an engine id not heard before."""
        if not self._users:
            return
        try:
            message, _ = decoder.decode(datagram, asn1Spec=SNMPv3Message())
            security, _ = decoder.decode(message[2], asn1Spec=UsmSecurityParameters())
            engine_id, user = bytes(security[0]), bytes(security[3]).decode()
        except (PyAsn1Error, UnicodeDecodeError, IndexError, TypeError, ValueError):
            return  # another version, or nothing that the engine could read
        known = self._users.get(user)
        if known and engine_id:
            self._tell(engine, engine_id, known.get(host) or next(iter(known.values())))

    def _tell(self, engine: Untyped, engine_id: bytes, address: SnmpAddress) -> None:
        secret = address.credentials
        login = (
            *(secret.user, SNMP_AUTH[address.auth], secret.password.encode() or None),
            *(SNMP_PRIV[address.priv], secret.private_password.encode() or None),
        )
        key = engine_id, secret.user
        if self._told.get(key) == login:
            return
        is_ours = engine_id == bytes(engine.snmpEngineID)
        config.add_v3_user(
            engine, *login, securityEngineId=None if is_ours else OctetString(engine_id)
        )
        self._told[key] = login
        if len(self._told) > _MOST_ENGINES:
            (old_engine, old_user), _ = self._told.popitem(last=False)
            config.delete_v3_user(engine, old_user, OctetString(old_engine))


class _Heeding:
    """A socket of the engine that asks first whether a datagram is worth decoding."""

    DOMAIN: tuple[int, ...]

    def __init__(
        self, let_in: Callable[[bytes, str, int], bool], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(loop=loop)  # type: ignore[call-arg] # mixed into pysnmp's transports
        self.closed: asyncio.Future[None] = loop.create_future()
        self._let_in = let_in

    def datagram_received(self, datagram: bytes, transportAddress: Untyped) -> None:  # noqa: N803 — pysnmp's name
        callback: Untyped = getattr(self, "_callback_function", None)
        if callback is None:
            return
        try:
            if self._let_in(datagram, str(transportAddress[0]), int(transportAddress[1])):
                callback(self, transportAddress, datagram)
        except Exception:  # the loop's edge: no datagram may end it
            log.debug("dropped a datagram from %s", transportAddress, exc_info=True)

    def connection_lost(self, problem: Exception | None) -> None:
        super().connection_lost(problem)  # type: ignore[misc] # mixed into pysnmp's transports
        if not self.closed.done():
            self.closed.set_result(None)


class _Socket(_Heeding, udp.UdpTransport):  # type: ignore[misc] # pysnmp is untyped
    DOMAIN = udp.DOMAIN_NAME


class _Socket6(_Heeding, udp6.Udp6Transport):  # type: ignore[misc] # pysnmp is untyped
    DOMAIN = udp6.DOMAIN_NAME


def _name_engine(engine: Untyped, started_at: datetime) -> None:
    """Give the engine an id that stays and a count of boots that only rises, for informs.

    Senders of informs refuse an engine whose clock went back (RFC 3414 section 2.3); the minutes
    since 2026 rise with every start and need no file.
    """
    builder = engine.get_mib_builder()
    identifier, boots = builder.import_symbols(
        "__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots"
    )
    digest = hashlib.sha256(f"ridethrough traps {socket.gethostname()}".encode()).digest()
    identifier.syntax = identifier.syntax.clone(b"\x80\x00\x4f\xb8\x05" + digest[:12])
    engine.snmpEngineID = identifier.syntax
    minutes = int((started_at - _EPOCH).total_seconds() // 60)
    boots.syntax = boots.syntax.clone(max(minutes, 1))


def _index(community: str) -> str:
    """Return a name of the engine's own for a community, which may be any text."""
    return hashlib.sha256(community.encode()).hexdigest()[:24]


def _text(value: Untyped) -> str:
    if isinstance(value, OctetString) and not isinstance(value, IpAddress):
        raw = bytes(value)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.hex()
        return (text if text.isprintable() else raw.hex())[:_LONGEST_TEXT]
    return str(value.prettyPrint())[:_LONGEST_TEXT]
