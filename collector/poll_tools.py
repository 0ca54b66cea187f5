"""What every device is polled with: how it is read and met, whose turn it is, what is counted.

One device's poll is `collector.polled`, the loop over all of them `collector.poll`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from collector.address import Address, SnmpAddress, parse_address
from collector.credentials import parse_credentials
from collector.probe import Met
from collector.raw import CardMemory, Habits, RawReply, Ref
from collector.store import KnownDevice
from collector.turns import Turns


class DeviceMisrecorded(Exception):
    """A device's record cannot be used: its address is wrong or its credentials do not open."""


class Read(Protocol):
    """How a reader is called, see `collector.readers.read`."""

    async def __call__(  # noqa: D102 - the class says it
        self,
        address: Address,
        refs: Iterable[Ref],
        *,
        memory: CardMemory,
        deadline: float,
        habits: Habits | None,
    ) -> RawReply: ...


class Meet(Protocol):
    """How a device is met for the first time, see `collector.probe.meet`."""

    async def __call__(  # noqa: D102 - the class says it
        self, address: Address, profile: str | None, *, memory: CardMemory
    ) -> Met: ...


class Lives(Protocol):
    """How a card that says nothing to a community is asked whether it lives."""

    async def __call__(self, address: SnmpAddress, *, seconds: float) -> bool: ...  # noqa: D102


@dataclass(slots=True)
class PollCounters:
    """What polling did since it started, and how it stands, for metrics."""

    polls: int = 0
    readings: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    skipped_ticks: int = 0
    pokes: int = 0
    queue_full: int = 0
    dropped_at_stop: int = 0
    devices: int = 0
    in_flight: int = 0
    unreachable: int = 0


@dataclass(frozen=True, slots=True)
class Tools:
    """What every device is polled with."""

    read: Read
    meet: Meet
    unseal: Callable[[bytes], str]
    now: Callable[[], datetime]
    counters: PollCounters
    lives: Lives | None = None
    turns: Turns = field(default_factory=Turns)


def address_of(device: KnownDevice, tools: Tools) -> Address:
    """Return where a device is, with its secrets; raise DeviceMisrecorded."""
    try:
        sealed = device.sealed_credentials
        secret = None if sealed is None else parse_credentials(tools.unseal(sealed))
        return parse_address(device.address, secret)
    except ValueError as invalid:
        raise DeviceMisrecorded(str(invalid)) from invalid
