"""One polled device: what is known of it between polls, and one poll of it.

When it is polled, and what becomes of the result, is `collector.poll`. How to ask is
`collector.readers`, the first meeting `collector.probe`, what values mean `collector.convert`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from collector.address import Address, SnmpAddress
from collector.arrival import Arrival
from collector.blend import Disagreement, contradicted, disagreements, is_outgrown
from collector.card import Card
from collector.convert import Decoded, decode
from collector.marks import decode_identity
from collector.patience import Ground
from collector.plan import Plan
from collector.poll_tools import DeviceMisrecorded, Tools, address_of
from collector.raw import CardMemory, Failure, Habits, RawReply, RawValue, ReadFailed, Ref
from collector.readers.snmp_quick import SettledCard, knocking, settled_card
from collector.schedule import FAST_SECONDS, rhythm, wait_after
from collector.store import KnownDevice
from rules.facts import Identity, Reading, Rejection, Source, Value
from rules.points import POINTS, Pace

log = logging.getLogger(__name__)

FULL_SECONDS = 86_400.0
"""How often slow points and identity are read."""
FULL_AGAIN_SECONDS = 3_600.0
"""When a full read that was cut short is tried again."""
REPEAT_SECONDS = 3_600.0
"""How often a value that is refused on each poll is quarantined; each is counted."""
SILENT_FAILURES = 2
"""A datagram may get lost; when two polls in a row fail, the device cannot be read."""

_UPTIME = "1.3.6.1.2.1.1.3.0"
_FULL_PATIENCE = 3.0  # a full read may take this many deadlines
_QUICK_PATIENCE = 0.5  # the share of the deadline that one of two tries may take
_ODDITIES = 2  # odd answers in a row after which a card is asked with care for an hour
_CAREFUL_SECONDS = 3_600.0
_LIVES_SECONDS = 1.0
_TRY_LONGER_EACH = 4
_TRY_LONGER = 3.0  # each so many failures a silent card is given so many deadlines: it may be slow
_SLOW = frozenset(point.column for point in POINTS if point.pace is Pace.SLOW)
_BAD_INPUT = frozenset({Failure.MALFORMED.value, Failure.AUTH.value, Failure.UNSUPPORTED.value})
"""Failures that are bad input rather than silence: they are quarantined once a streak."""


@dataclass(slots=True, eq=False)
class PolledDevice:
    """A device between its polls; `due`, `full_due` and `poked_at` are the loop's time.

    `poked_at` is when it was, or is to be, polled because it may have news; `is_poked` says that
    there may be more since the poll under way began. `settled` is how to ask it the quick way.
    `is_asked` while it is asked so, `task` while it is asked with care. `card` is what is known of
    its card, `habits` how it is asked with that; `endpoint` is where it stands, once that is known.
    """

    device: KnownDevice
    due: float
    on_battery: bool
    address: Address | None = None
    plan: Plan | None = None
    known_as: Identity | None = None
    memory: CardMemory | None = None
    slow: Mapping[str, Value] = field(default_factory=dict)
    full_due: float = 0.0
    poked_at: float = -inf
    is_poked: bool = False
    uptime: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    quarantined: frozenset[str] = frozenset()
    refused: dict[tuple[str | None, str], float] | None = None
    is_gone: bool = False
    task: asyncio.Task[None] | None = None
    is_asked: bool = False
    settled: SettledCard | None = None
    oddities: int = 0
    careful_until: float = -inf
    is_silent: bool = False
    is_suspect: bool = False
    card: Card = field(init=False)
    habits: Habits | None = None
    endpoint: str | None = None
    read_at: datetime | None = None

    def __post_init__(self) -> None:
        device = self.device
        self.card = Card.of(
            device.patience,
            device.patience_set,
            Ground(deadline_seconds=device.deadline_seconds, interval_seconds=device.poll_seconds),
            is_failing=device.is_card_failing,
        )

    @property
    def is_under_way(self) -> bool:
        """Whether it is being polled."""
        return self.is_asked or self.task is not None

    @property
    def interval(self) -> float:
        """The seconds between two polls as things stand."""
        seconds = rhythm(self.device.poll_seconds, on_battery=self.on_battery)
        return max(seconds, self.card.manner.interval_seconds)

    @property
    def deadline(self) -> float:
        """The seconds that a poll may take as things stand."""
        seconds = self.card.manner.deadline_seconds
        if self.failures % _TRY_LONGER_EACH == _TRY_LONGER_EACH - 1:
            return seconds * _TRY_LONGER
        return seconds

    @property
    def wait(self) -> float:
        """The seconds until the next poll, longer while polls fail."""
        return wait_after(self.failures, self.interval) if self.failures else self.interval

    def hasten(self, now: float) -> bool:
        """Make it due because it may have news; return whether that is sooner than it was."""
        self.is_poked = False
        rest = max(FAST_SECONDS, self.card.manner.interval_seconds)
        at = max(now, self.poked_at + rest)
        if at >= self.due:
            return False
        self.due = self.poked_at = at
        return True

    def change(self, device: KnownDevice) -> None:
        """Take over a changed record; a device that is elsewhere or another is met again."""
        old = self.device
        if device == old:
            return
        self.device = device
        if self.card.change(
            fixed=device.patience_set,
            deadline_seconds=device.deadline_seconds,
            interval_seconds=device.poll_seconds,
        ):
            self._ask_otherwise()
        found = self.plan.profile.name if self.plan is not None else None
        if (
            device.address != old.address
            or device.sealed_credentials != old.sealed_credentials
            or device.profile not in (old.profile, found)
        ):
            self.begin_anew()

    def begin_anew(self) -> None:
        """Forget how the device is to be asked: it is met again on its next poll."""
        self.address = self.plan = self.memory = self.settled = self.habits = None
        self.slow, self.refused = {}, None

    def quick_card(self, tools: Tools, now: float) -> SettledCard | None:
        """Return how to ask the device without care now, None if it has to be asked with care.

        A card that answered everything the last time is asked the same again. Whether one that is
        new or silent answers at all is asked first; only the second poll of a streak that fails is
        a careful one, to tell what is wrong.
        """
        if self.plan is None or self.failures:
            return None if self.failures == 1 else self._knocking(tools)
        card = self.settled
        if card is None or now >= min(self.full_due, card.until) or now < self.careful_until:
            return None
        return card

    def _knocking(self, tools: Tools) -> SettledCard | None:
        if self.failures and not self.is_silent:
            return None
        try:
            address = self.address or address_of(self.device, tools)
        except DeviceMisrecorded:
            return None
        return knocking(address, _UPTIME, patience=self.deadline * _QUICK_PATIENCE)

    def take(self, tools: Tools, values: Mapping[Ref, RawValue]) -> Arrival:
        """Return what a settled card said."""
        tools.counters.polls += 1
        self.oddities = 0
        if self.plan is None:
            raise RuntimeError("a settled card has been met")
        if self.card.read_cleanly():
            self._ask_otherwise()
        return self._understood(tools, self.plan, values, None)

    def note_silence(self, tools: Tools) -> Arrival | None:
        """Note that a device which was asked without care did not answer."""
        tools.counters.polls += 1
        detail = f"no answer from {self.device.address} in {self.deadline:g} s"
        return self.fail(tools, Failure.TIMEOUT.value, detail)

    def wonder(self, now: float) -> None:
        """Note that a settled card said something else than usual."""
        self.settled = None
        self.oddities += 1
        if self.oddities >= _ODDITIES:
            self.careful_until = now + _CAREFUL_SECONDS

    async def poll(self, tools: Tools) -> Arrival:
        """Read the device once; raise ReadFailed or DeviceMisrecorded.

        1. A device not met yet is met.
        2. Fast points are read each time; slow points and identity too, daily and after a restart.

        Several devices behind one endpoint are polled in turn.
        """
        tools.counters.polls += 1
        if self.address is None:
            self.address, self.memory = address_of(self.device, tools), CardMemory()
            self._ask_otherwise()
            self._stand(tools, self.address)
        address = self.address
        try:
            async with tools.turns.turn(self.endpoint or ""):
                return await self._poll(tools, address, self.memory or CardMemory())
        except ReadFailed as failure:
            if await self._is_alive(tools, address, failure.kind):
                detail = f"{address.public} answers version 3's first question, not this community"
                raise ReadFailed(Failure.AUTH, detail) from failure
            raise

    def _stand(self, tools: Tools, address: Address) -> None:
        """Note where the device stands; units on one Modbus line are the reader's to keep apart."""
        if self.endpoint is not None:
            tools.turns.leave(self.endpoint)
            self.endpoint = None
        if isinstance(address, SnmpAddress):
            self.endpoint = f"{address.host}:{address.port}"
            tools.turns.join(self.endpoint)

    async def _is_alive(self, tools: Tools, address: Address, kind: Failure) -> bool:
        """Tell whether a card that ignores a community lives; asked once a streak, and while so."""
        is_asked = self.failures == SILENT_FAILURES - 1 or self.is_suspect
        self.is_suspect = (
            is_asked
            and kind is Failure.TIMEOUT
            and tools.lives is not None
            and isinstance(address, SnmpAddress)
            and address.version != "3"
            and await tools.lives(address, seconds=_LIVES_SECONDS)
        )
        return self.is_suspect

    def _ask_otherwise(self) -> None:
        """Take over how the card is asked from now on."""
        if self.memory is not None:
            self.memory.request_size = self.card.manner.objects
        self.habits = None if self.plan is None else self.card.habits(self.plan.habits)
        self.settled = None

    def _settle(
        self,
        tools: Tools,
        address: Address,
        refs: tuple[Ref, ...],
        reply: RawReply,
        memory: CardMemory,
    ) -> None:
        """Note how to ask the quick way from now on; it makes no pauses and knows no turns."""
        habits = self.habits
        if habits is None or habits.gap_seconds or tools.turns.is_shared(self.endpoint or ""):
            self.settled = None
            return
        self.settled = settled_card(
            address,
            refs,
            reply,
            memory=memory,
            habits=habits,
            patience=self.card.manner.deadline_seconds * _QUICK_PATIENCE,
        )

    def _learn(self, tools: Tools, memory: CardMemory, reply: RawReply, *, seconds: float) -> None:
        """Learn from a careful poll, which took so long, how the card wants to be asked."""
        if memory is self.memory and memory.engine_id is not None:
            self.card.note_engine(memory, tools.now())
        is_blip = self.is_silent and 0 < self.failures <= SILENT_FAILURES
        if self.card.read_with_care(reply.seen, seconds=seconds, is_blip=is_blip):
            self._ask_otherwise()

    async def _poll(self, tools: Tools, address: Address, memory: CardMemory) -> Arrival:
        device, plan = self.device, self.plan
        if plan is None:
            return await self._first_poll(tools, address, memory)
        if self.habits is None:
            self.card.change(objects=plan.habits.varbinds, wanted=len(plan.fast_refs) + 1)
            self._ask_otherwise()
        habits = self.habits or plan.habits
        loop = asyncio.get_running_loop()
        now = loop.time()
        is_full = now >= self.full_due
        refs: tuple[Ref, ...] = plan.fast_refs
        deadline = self.deadline
        if is_full:
            refs = (*refs, *plan.slow_refs, *plan.check_refs, *plan.identity_refs)
            deadline *= _FULL_PATIENCE
        if isinstance(address, SnmpAddress):
            refs = (*refs, _UPTIME)
        reply = await tools.read(
            address,
            refs,
            memory=memory,
            deadline=deadline,
            habits=habits,
        )
        values = reply.values
        if not values:
            self.begin_anew()
            raise ReadFailed(
                Failure.UNSUPPORTED, f"{device.address} has nothing of profile {plan.profile.name}"
            )
        identity = None
        if is_full:
            self.full_due = now + (FULL_AGAIN_SECONDS if reply.problems else FULL_SECONDS)
            identity = decode_identity(plan, values)
            if is_outgrown(plan, values, self.known_as, identity) and not reply.problems:
                self.begin_anew()  # another unit or other firmware
            self.known_as = identity
        else:
            self._settle(tools, address, refs, reply, memory)
        shares = _FULL_PATIENCE if is_full else 1.0
        self._learn(tools, memory, reply, seconds=(loop.time() - now) / shares)
        return self._understood(tools, plan, values, identity)

    def _understood(
        self,
        tools: Tools,
        plan: Plan,
        values: Mapping[Ref, RawValue],
        identity: Identity | None,
    ) -> Arrival:
        uptime = values.get(_UPTIME)
        if isinstance(uptime, int):
            if uptime < self.uptime:
                self._note_restart(tools, uptime)
            self.uptime = uptime
        found = disagreements(plan, values) if identity is not None else ()
        return self._arrival(tools, decode(plan, values, self.slow), identity, found)

    def _note_restart(self, tools: Tools, uptime: int) -> None:
        at = tools.now()
        passed = 0.0 if self.read_at is None else (at - self.read_at).total_seconds()
        if self.card.note_uptime(self.uptime, uptime, at, passed_seconds=passed):
            self.full_due = 0.0  # it may be another unit, or have other firmware

    async def _first_poll(self, tools: Tools, address: Address, memory: CardMemory) -> Arrival:
        device = self.device
        if isinstance(address, SnmpAddress):
            # One short question first: a dead device must not hold a place for a whole meeting.
            await tools.read(
                address, (_UPTIME,), memory=memory, deadline=self.deadline, habits=None
            )
        met = await tools.meet(address, device.profile, memory=memory)
        if self.address is address:  # else its record changed meanwhile
            self.plan = met.plan
            self.known_as = met.identity
            self.full_due = asyncio.get_running_loop().time() + FULL_SECONDS
            self.uptime = 0
            self.habits = None
            if memory.engine_id is not None:
                self.card.note_engine(memory, tools.now())
        name = met.identified.profile_name
        profile = None if name == device.profile else name
        return self._arrival(tools, met.decoded, met.identity, met.disagreements, profile)

    def _arrival(
        self,
        tools: Tools,
        decoded: Decoded,
        identity: Identity | None,
        found: Sequence[Disagreement] = (),
        profile: str | None = None,
    ) -> Arrival:
        points = decoded.points
        on_battery = points.get("status_on_battery")
        if isinstance(on_battery, bool):
            self.on_battery = on_battery
        if not _SLOW.isdisjoint(points):
            slow = {column: value for column, value in points.items() if column in _SLOW}
            self.slow = {**self.slow, **slow}
        device = self.device
        at = self.read_at = tools.now()
        reading = Reading(
            device_id=device.device_id,
            observed_at=at,
            received_at=at,
            points=points,
            extra={**decoded.extra, **contradicted(found)} if found else decoded.extra,
            source=Source.POLL,
            stays_valid_seconds=3 * self.interval + self.card.manner.deadline_seconds,
        )
        tools.counters.readings += 1
        return Arrival(
            device_key=device.key,
            received_at=at,
            source=device.protocol,
            device_id=device.device_id,
            reading=reading,
            rejections=self._news(tools, decoded.rejections) if decoded.rejections else (),
            identity=identity,
            profile=profile,
            card=self.card.read(),
        )

    def _news(self, tools: Tools, rejections: Sequence[Rejection]) -> tuple[Rejection, ...]:
        """Count refused values and return those not quarantined within the hour."""
        now = asyncio.get_running_loop().time()
        told = self.refused = self.refused or {}
        news = []
        for rejection in rejections:
            tools.counters.rejections[rejection.reason] += 1
            key = (rejection.point, rejection.reason)
            if now >= told.get(key, 0.0):
                told[key] = now + REPEAT_SECONDS
                news.append(rejection)
        return tuple(news)

    def fail(self, tools: Tools, kind: str, detail: str) -> Arrival | None:
        """Note a failed poll, told once a streak; return what is to be quarantined or is news."""
        tools.counters.failures[kind] += 1
        self.failures += 1
        self.is_silent = kind == Failure.TIMEOUT.value
        at = tools.now()
        self.failing_since = self.failing_since or at
        if self.failures == SILENT_FAILURES and not self.is_gone:
            tools.counters.unreachable += 1
            since = self.failing_since.isoformat(timespec="seconds")
            log.warning("device %s cannot be read since %s: %s", self.device.key, since, detail)
        is_streak = self.failures >= SILENT_FAILURES
        card = self.card.fail(kind, detail, self.failing_since, is_streak=is_streak)
        is_bad_input = kind in _BAD_INPUT and kind not in self.quarantined
        if not is_bad_input and card is None:
            return None
        if is_bad_input:
            self.quarantined |= {kind}
        return Arrival(
            device_key=self.device.key,
            received_at=at,
            source=self.device.protocol,
            device_id=self.device.device_id,
            rejections=(Rejection(None, "", kind, detail),) if is_bad_input else (),
            card=card,
        )

    def succeed(self, tools: Tools) -> None:
        """Note that the device was read; told when it could not be before."""
        if not self.failures:
            return
        if self.failures >= SILENT_FAILURES and self.failing_since is not None:
            since = self.failing_since.isoformat(timespec="seconds")
            log.info(
                "device %s can be read again, for the first time since %s", self.device.key, since
            )
        self._count_out(tools)
        self.failures, self.failing_since, self.quarantined = 0, None, frozenset()
        self.is_silent = self.is_suspect = False

    def leave(self, tools: Tools) -> None:
        """Note that the device is no longer polled."""
        self._count_out(tools)
        self.is_gone = True
        if self.endpoint is not None:
            tools.turns.leave(self.endpoint)
            self.endpoint = None

    def _count_out(self, tools: Tools) -> None:
        if self.failures >= SILENT_FAILURES and not self.is_gone:
            tools.counters.unreachable -= 1
