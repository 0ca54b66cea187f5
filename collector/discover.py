"""Discovery: which addresses of a network are UPS units, of which family, known or new.

Two steps: a cheap question to every address for each login, at a bounded rate; then a closer look
at what answered. What is done with the findings is the caller's. Nothing here knows a database.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from collector import readers
from collector.address import Address, ModbusAddress, SnmpAddress
from collector.convert import decode
from collector.identify import identify
from collector.marks import decode_identity
from collector.plan import plan_for
from collector.probe import probe
from collector.profile import profiles
from collector.raw import CardMemory, Failure, RawValue, ReadFailed, Walk
from collector.readers.snmp_quick import Exchange, Told, Unheard, knocking
from rules.facts import Identity

MOST_ADDRESSES = 1 << 20
RATE = 1_000.0
"""Questions a second: a /16 with three logins and a repetition takes under seven minutes."""
RETRIES = 1
PATIENCE_SECONDS = 1.0

_DESCRIPTION = "1.3.6.1.2.1.1.1.0"
_OPEN_AT_ONCE = 400
_LOOKS_AT_ONCE = 24
_LOOK_SECONDS = 8.0
_TELLING = 12  # so many values of a family show whether there is a UPS behind the card
_ROOM_SECONDS = 0.01
_TOLD_SECONDS = 0.2
_SAFEST_FIRST = ("3", "2c", "1")


class Kind(Enum):
    """What was found at an address."""

    UPS = "ups"
    OTHER = "other"
    """It answers, and is no UPS that any profile reads."""
    REFUSED = "refused"
    """It answers, and refuses the login."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a UPS is: its family, what speaks for that, and who it says it is."""

    profile: str
    evidence: tuple[str, ...]
    identity: Identity


@dataclass(frozen=True, slots=True)
class Found:
    """An address that answered; `unit` is given of a UPS, `detail` is what else was said."""

    address: Address
    kind: Kind
    unit: Unit | None = None
    detail: str = ""


@dataclass(slots=True)
class Progress:
    """How far it is: questions asked of all, addresses that answered, units found."""

    questions: int
    asked: int = 0
    answered: int = 0
    looked_at: int = 0
    units: int = 0


class RangeInvalid(ValueError):
    """The networks cannot be searched; the message says why and what would do."""


def networks(texts: Sequence[str]) -> list[IPv4Network]:
    """Read networks as 192.0.2.0/24, or single addresses; raise RangeInvalid."""
    found = []
    for text in texts:
        try:
            found.append(IPv4Network(text, strict=False))
        except ValueError as problem:
            raise RangeInvalid(
                f"{text!r} is no IPv4 network: write one as 192.0.2.0/24"
            ) from problem
    count = sum(network.num_addresses for network in found)
    if count > MOST_ADDRESSES:
        raise RangeInvalid(
            f"{count:,} addresses are too many at a time: search a /12 or less, "
            "one part after the other"
        )
    return found


def hosts(searched: Sequence[IPv4Network]) -> Iterator[str]:
    """Yield every host address once, without a network's own and its broadcast address."""
    told: set[IPv4Address] = set()
    for network in searched:
        for host in network.hosts():
            if host not in told:
                told.add(host)
                yield str(host)


async def discover(
    searched: Sequence[IPv4Network],
    logins: Sequence[Address],
    *,
    rate: float = RATE,
    retries: int = RETRIES,
    patience: float = PATIENCE_SECONDS,
    progress: Callable[[Progress], None] = lambda _: None,
) -> list[Found]:
    """Search networks with each of some logins, addresses whose host does not matter.

    Returns what answered, in the order of the addresses, one finding an endpoint: of several logins
    that an agent takes the safest one.
    """
    addresses = list(hosts(searched))
    state = Progress(len(addresses) * len(logins))
    sweep = _Sweep(addresses, _Pace(rate), state, retries=retries, patience=patience)
    telling = asyncio.create_task(_tell(progress, state))
    try:
        await asyncio.gather(*(sweep.ask_all(login) for login in logins))
        found = await _looked_at(sweep.answered, state)
    finally:
        telling.cancel()
    progress(state)
    place = {host: at for at, host in enumerate(addresses)}
    return sorted(found, key=lambda one: (place[_host(one.address)], one.address.public))


class _Pace:
    """Spreads questions evenly, whoever asks them."""

    def __init__(self, rate: float) -> None:
        self._gap = 1.0 / rate
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next turn; those that are due within a moment go together."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next + self._gap, now - self._gap)
        if self._next > now + _ROOM_SECONDS:
            await asyncio.sleep(self._next - now)


class _Sweep:
    """Asks all addresses with one login after the other; remembers what answered."""

    def __init__(
        self,
        addresses: Sequence[str],
        pace: _Pace,
        state: Progress,
        *,
        retries: int,
        patience: float,
    ) -> None:
        self.answered: dict[tuple[str, int], list[tuple[Address, Kind, str]]] = {}
        self._addresses = addresses
        self._pace = pace
        self._state = state
        self._retries = retries
        self._patience = patience

    async def ask_all(self, login: Address) -> None:
        """Ask each address, and those that kept silent once more."""
        silent = self._addresses
        for turn in range(1 + self._retries):
            if turn:
                self._state.questions += len(silent)
            if isinstance(login, SnmpAddress) and login.version != "3":
                silent = await self._ask_quickly(login, silent)
            else:
                silent = await self._ask_carefully(login, silent)

    def _note(self, address: Address, kind: Kind, detail: str) -> None:
        key = _host(address), _port(address)
        if key not in self.answered:
            self.answered[key] = []
            self._state.answered += 1
        self.answered[key].append((address, kind, detail))

    async def _ask_quickly(self, login: SnmpAddress, addresses: Sequence[str]) -> list[str]:
        """Ask agents that need no session, all through a few sockets."""
        exchange = Exchange(tries=1)  # it is asked again when all others were
        silent: list[str] = []
        left = len(addresses)
        done = asyncio.Event()

        def hear(address: SnmpAddress, told: Told) -> None:
            nonlocal left
            left -= 1
            if told is Unheard.SILENCE:
                silent.append(address.host)
            else:
                values = () if isinstance(told, Unheard) else tuple(told.values())
                self._note(address, Kind.OTHER, _shown(values[0] if values else None))
            if not left:
                done.set()

        try:
            for host in addresses:
                await self._pace.turn()
                address = replace(login, host=host)
                card = knocking(address, _DESCRIPTION, patience=self._patience)
                if card is None:
                    raise RangeInvalid(f"{host} cannot be asked with {login.public}")
                while not exchange.ask(card, partial(hear, address)):  # noqa: ASYNC110 - room has no event
                    await asyncio.sleep(_ROOM_SECONDS)
                self._state.asked += 1
            if addresses:
                await done.wait()
        finally:
            exchange.close()
        return silent

    async def _ask_carefully(self, login: Address, addresses: Sequence[str]) -> list[str]:
        """Ask endpoints that need a session or a connection each, a bounded number at once."""
        silent: list[str] = []
        waiting = iter(addresses)

        async def worker() -> None:
            for host in waiting:
                await self._pace.turn()
                self._state.asked += 1
                if not await self._answers(_at(login, host)):
                    silent.append(host)

        await asyncio.gather(*(worker() for _ in range(_OPEN_AT_ONCE)))
        return silent

    async def _answers(self, address: Address) -> bool:
        if isinstance(address, ModbusAddress):
            return await self._accepts(address)
        try:
            reply = await readers.read(
                address,
                (_DESCRIPTION,),
                memory=CardMemory(),
                deadline=self._patience,
            )
        except ReadFailed as failure:
            if failure.kind is not Failure.AUTH:
                return False
            self._note(address, Kind.REFUSED, failure.detail)
            return True
        self._note(address, Kind.OTHER, _shown(reply.values.get(_DESCRIPTION)))
        return True

    async def _accepts(self, address: ModbusAddress) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                _, writer = await asyncio.open_connection(address.host, address.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        self._note(address, Kind.OTHER, "")
        return True


async def _looked_at(
    answered: Mapping[tuple[str, int], list[tuple[Address, Kind, str]]], state: Progress
) -> list[Found]:
    """Look at every endpoint that answered, with the safest of the logins that it took."""
    found: list[Found] = []
    waiting = iter(list(answered.values()))

    async def worker() -> None:
        for attempts in waiting:
            one = await _best(attempts)
            state.looked_at += 1
            state.units += one.kind is Kind.UPS
            found.append(one)

    await asyncio.gather(*(worker() for _ in range(_LOOKS_AT_ONCE)))
    return found


async def _best(attempts: list[tuple[Address, Kind, str]]) -> Found:
    attempts.sort(key=lambda attempt: (attempt[1] is Kind.REFUSED, _safety(attempt[0])))
    first, kind, detail = attempts[0]
    if kind is Kind.REFUSED:
        return Found(first, kind, detail=detail)
    why = detail
    for address, kind, _ in attempts:
        if kind is Kind.REFUSED:
            continue
        try:
            return Found(address, Kind.UPS, await _recognized(address), detail)
        except ReadFailed as failure:
            why = why or failure.detail
    return Found(first, Kind.OTHER, detail=why)


async def _recognized(address: Address) -> Unit:
    """Return what an endpoint is, by a few questions; raise ReadFailed when it is no UPS."""
    memory = CardMemory()
    found = await identify(address, memory=memory, deadline=_LOOK_SECONDS)
    plan = plan_for(profiles()[found.profile_name])
    plain = [ref for ref in plan.fast_refs if not isinstance(ref, Walk)]
    reply = await readers.read(
        address,
        (*plan.identity_refs, *plain[:_TELLING]),
        memory=memory,
        deadline=_LOOK_SECONDS,
        habits=plan.habits,
    )
    if decode(plan, reply.values).points:
        return Unit(found.profile_name, found.evidence, decode_identity(plan, reply.values))
    result = await probe(address)  # it may still tell what comes later in its profile
    return Unit(result.profile, result.evidence, result.identity)


async def _tell(progress: Callable[[Progress], None], state: Progress) -> None:
    while True:
        progress(state)
        await asyncio.sleep(_TOLD_SECONDS)


def _safety(address: Address) -> int:
    return _SAFEST_FIRST.index(address.version) if isinstance(address, SnmpAddress) else 0


def _at(login: Address, host: str) -> Address:
    return replace(login, host=host)


def _host(address: Address) -> str:
    return address.host


def _port(address: Address) -> int:
    return address.port


def _shown(value: RawValue) -> str:
    """Return a system's description as one line."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return " ".join(text.split())[:120]
