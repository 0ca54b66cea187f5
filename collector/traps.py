"""What traps mean and whose they are: pure. A trap is a hint to poll, never a truth of its own.

Receiving them is `collector.readers.traps`, what follows from one `collector.trap_ear`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import NamedTuple

from collector.arrival import TrapNews
from collector.form import Trap
from collector.profile import profiles

TRAP_ADDRESS = "1.3.6.1.6.3.18.1.3.0"
"""snmpTrapAddress: who sent it first, told by relays and by version 1 (RFC 3584 section 3.1)."""
TOO_MANY = ""
"""Stands for the OID of traps that came too fast, or in too many kinds, to be told apart."""

MOST_KINDS = 200
"""So many kinds of trap are told apart of one sender."""
MOST_SENDERS = 2_000
"""So many senders are told apart."""
_MOST_SUSPECTS = 16
_ELSEWHERE = "…"


class Heard(NamedTuple):
    """A notification as it came: from where, its OID as version 2 has it, what it carried."""

    host: str
    port: int
    oid: str
    variables: Mapping[str, str]
    times: int = 1


class Sender(NamedTuple):
    """A device that may send: its id and where it is polled, the host as an IP address."""

    device_id: int
    host: str
    port: int


class Senders:
    """Finds the devices behind a notification by the addresses they are polled at."""

    def __init__(self, senders: Iterable[Sender] = ()) -> None:
        self._by_host: defaultdict[str, list[Sender]] = defaultdict(list)
        for sender in senders:
            self._by_host[plain_host(sender.host)].append(sender)

    def behind(self, heard: Heard) -> list[int]:
        """Return the ids of the devices that may have sent it: one, or a few behind one address.

        The address that a relay names counts more than the relay's; of several units behind one
        address, the one polled at the port that it came from is meant.
        """
        told = heard.variables.get(TRAP_ADDRESS, "")
        for host in (told, heard.host):
            found = self._by_host.get(plain_host(host), [])
            exact = [one.device_id for one in found if one.port == heard.port]
            if exact and host == heard.host:
                return exact[:1]
            if found:
                return [one.device_id for one in found[:_MOST_SUSPECTS]]
        return []


@dataclass(slots=True)
class Gathered:
    """Notifications put together until they are written: a row a device, sender and kind.

    What an unknown or hostile sender can make of it is bounded: kinds and senders beyond the bounds
    are counted together.
    """

    news: dict[tuple[int | None, str, str], TrapNews] = field(default_factory=dict)
    kinds: dict[str, set[str]] = field(default_factory=dict)

    def add(self, device_id: int | None, heard: Heard) -> None:
        """Put one in."""
        source, oid = heard.host, heard.oid
        if source not in self.kinds and len(self.kinds) >= MOST_SENDERS:
            source = _ELSEWHERE
        kinds = self.kinds.setdefault(source, set())
        if source == _ELSEWHERE or (oid not in kinds and len(kinds) >= MOST_KINDS):
            oid = TOO_MANY
        kinds.add(oid)
        key = device_id, source, oid
        before = self.news.get(key)
        meaning = meaning_of(oid)
        self.news[key] = TrapNews(
            source=source,
            oid=oid,
            name=None if meaning is None else meaning.name,
            variables=heard.variables if oid != TOO_MANY else {},
            count=heard.times + (before.count if before else 0),
        )

    def take(self) -> list[tuple[int | None, TrapNews]]:
        """Take out what was gathered."""
        news, self.news = self.news, {}
        return [(device_id, one) for (device_id, _, _), one in news.items()]


def plain_host(text: str) -> str:
    """Return an IP address in its one spelling, an IPv4 one out of IPv6; other text as it is."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def meaning_of(oid: str) -> Trap | None:
    """Return what a notification means, None when no profile knows it.

    Cards send those of RFC 1628 with and without the zero arc that version 1 puts in.
    """
    prefix, _, last = oid.rpartition(".")
    return _meanings().get((prefix.removesuffix(".0"), last))


def alarm_named(variables: Mapping[str, str]) -> str | None:
    """Return the flag of the alarm whose object a notification carries, None when none is known."""
    known = _alarms()
    return next((known[value] for value in variables.values() if value in known), None)


@cache
def _alarms() -> Mapping[str, str]:
    return {
        f"{prefix}.{code}": flags[0]
        for profile in profiles().values()
        for table in profile.alarms
        for prefix, codes in table.codes.items()
        for code, flags in codes.items()
        if flags
    }


@cache
def _meanings() -> Mapping[tuple[str, str], Trap]:
    return {
        (prefix, str(arc)): trap
        for profile in profiles().values()
        for prefix, traps in profile.traps.items()
        for arc, trap in traps.items()
    }
