"""Traps of simulated cards: when a unit's flags change, its card says so unasked.

Which notification tells of which flag stands in the profile. Versions 1 and 2c; a card with a
version 3 login sends none. The socket is the agent's own, so a unit is known by its port.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from pyasn1.codec.ber import encoder
from pysnmp.proto.api import v1, v2c

from collector.extend import absolute
from collector.form import Profile
from collector.plan import key_of
from device_sims.wire import Wire
from rules.facts import Value

Oid = tuple[int, ...]
Notification = tuple[str, Mapping[str, str]]
"""Its OID as version 2 has it, and OID-valued variables."""

COMMUNITY = "public"
_WITHOUT_ZERO = ("1.3.6.1.2.1.33.2", "1.3.6.1.6.3.1.1.5")
"""Defined as version 2 has it; what comes from version 1 has a zero arc behind the prefix."""


class TrapSender:
    """Watches one unit and sends what its card would; `send` takes a datagram."""

    def __init__(self, wire: Wire, *, is_v1: bool, send: Callable[[bytes], None]) -> None:
        self._wire = wire
        self._is_v1 = is_v1
        self._send = send
        self._up: frozenset[str] | None = None

    def step(self, now: datetime) -> None:
        """Send a notification for each flag that has changed since the last step."""
        if not self._wire.is_alive(now):
            return
        up = raised(self._wire.points(now))
        before, self._up = self._up, up
        if before is None:
            return
        for flag in sorted(up ^ before):
            for told in notifications(self._wire.profile, flag, is_up=flag in up):
                for _ in range(self._wire.copies):
                    self._send(self._encoded(told, self._wire.uptime_ticks(now)))

    def _encoded(self, told: Notification, uptime: int) -> bytes:
        return _version_1(told, uptime) if self._is_v1 else _version_2(told, uptime)


def raised(points: Mapping[str, Value]) -> frozenset[str]:
    """Return the flags that are up."""
    return frozenset(key for key, value in points.items() if value is True)


def notifications(profile: Profile, flag: str, *, is_up: bool) -> Iterator[Notification]:
    """Yield what a card of this family sends when a flag, keyed by column, goes up or down."""
    for prefix, traps in profile.traps.items():
        zero = "" if prefix in _WITHOUT_ZERO else ".0"
        for arc, trap in traps.items():
            if trap.raises is not is_up or trap.flag is None:
                continue
            oid = f"{prefix}{zero}.{arc}"
            if trap.flag != "*":
                if key_of(trap.flag) == flag:
                    yield oid, {}
                    return
            elif (row := _row_of(profile, flag)) is not None:
                yield oid, row
                return


def _row_of(profile: Profile, flag: str) -> dict[str, str] | None:
    """Return the row of an alarm table that a flag puts there, by the object that names it."""
    for table in profile.alarms:
        for prefix, codes in table.codes.items():
            for code, flags in codes.items():
                if flag in map(key_of, flags):
                    return {f"{absolute(table.column, profile.base)}.1": f"{prefix}.{code}"}
    return None


def _version_2(told: Notification, uptime: int) -> bytes:
    oid, variables = told
    pdu = v2c.SNMPv2TrapPDU()
    v2c.apiTrapPDU.set_defaults(pdu)
    v2c.apiTrapPDU.set_varbinds(
        pdu,
        [
            ((1, 3, 6, 1, 2, 1, 1, 3, 0), v2c.TimeTicks(uptime)),
            ((1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0), v2c.ObjectIdentifier(_arcs(oid))),
            *(
                (_arcs(name), v2c.ObjectIdentifier(_arcs(value)))
                for name, value in variables.items()
            ),
        ],
    )
    message = v2c.Message()
    v2c.apiMessage.set_defaults(message)
    v2c.apiMessage.set_community(message, COMMUNITY)
    v2c.apiMessage.set_pdu(message, pdu)
    encoded: bytes = encoder.encode(message)
    return encoded


def _version_1(told: Notification, uptime: int) -> bytes:
    oid, variables = told
    enterprise, _, specific = oid.rpartition(".")
    pdu = v1.TrapPDU()
    v1.apiTrapPDU.set_defaults(pdu)
    v1.apiTrapPDU.set_enterprise(pdu, _arcs(enterprise.removesuffix(".0")))
    v1.apiTrapPDU.set_generic_trap(pdu, "enterpriseSpecific")
    v1.apiTrapPDU.set_specific_trap(pdu, int(specific))
    v1.apiTrapPDU.set_agent_address(pdu, "127.0.0.1")
    v1.apiTrapPDU.set_timestamp(pdu, uptime)
    v1.apiTrapPDU.set_varbinds(
        pdu,
        [(_arcs(name), v1.ObjectIdentifier(_arcs(value))) for name, value in variables.items()],
    )
    message = v1.Message()
    v1.apiMessage.set_defaults(message)
    v1.apiMessage.set_community(message, COMMUNITY)
    v1.apiMessage.set_pdu(message, pdu)
    encoded: bytes = encoder.encode(message)
    return encoded


def _arcs(oid: str) -> Oid:
    return tuple(int(arc) for arc in oid.split("."))
