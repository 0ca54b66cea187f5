"""Between a unit and its server: what the unit's network card makes of it, faults included.

A card answers or keeps silent, late, twice or garbled; its values may be frozen, mis-scaled or of
the wrong type. The protocols are the servers' (`snmp_agent`, `modbus_server`, `mqtt_publisher`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum

import numpy as np

from collector.convert import encode
from collector.form import Profile
from collector.plan import Phases
from collector.raw import Encoded, Ref
from device_sims.ups import SimulatedUps
from rules.facts import Identity, Value

CACHE = timedelta(milliseconds=500)
RESTART = timedelta(seconds=30)
"""How long a card keeps silent while it restarts."""

DEFAULT_DELAY_SECONDS = 3.0
DEFAULT_LOSS = 0.4
DEFAULT_JUMP_SECONDS = 7_200.0

_SCALED = ("voltage", "temperature", "frequency")


class WireFault(Enum):
    """What can be wrong with the way a unit reports."""

    SILENT = "silent"
    SLOW = "slow"
    LOSSY = "lossy"
    RESTARTING = "restarting"
    WRONG_TYPE = "wrong_type"
    """Numbers come as text."""
    SCALE_X10 = "scale_x10"
    """Voltages, temperatures and frequencies come ten times too large."""
    FROZEN = "frozen"
    """The values stand still, alive as they may look."""
    DUPLICATE = "duplicate"
    CLOCK_JUMP = "clock_jump"
    """The card's clock runs ahead (a negative amount: behind)."""
    MALFORMED = "malformed"
    """Answers break off in the middle."""


class Wire:
    """A unit with its card. `seen_from` counts the card's uptime; all else follows the unit."""

    def __init__(
        self,
        unit: SimulatedUps,
        profile: Profile,
        *,
        seed: int,
        silent_since: datetime | None = None,
    ) -> None:
        self.unit = unit
        self.profile = profile
        self.faults: dict[WireFault, float | None] = {}
        self._identity = unit.identity()
        self._phases = Phases(*([unit.spec.phases] * 3))
        self._chance = np.random.default_rng((seed, 0x317E))
        # Cards run for weeks between restarts.
        self._up_since = unit.now - timedelta(days=float(self._chance.uniform(3.0, 90.0)))
        self._quiet_until: datetime | None = None
        self._frozen: dict[str, Value] | None = None
        self._cached: tuple[datetime, dict[Ref, Encoded]] | None = None
        self._is_gone = silent_since is not None

    def begin(self, fault: WireFault, now: datetime, amount: float | None = None) -> None:
        """Switch a fault on."""
        self.faults[fault] = amount
        self._cached = None
        if fault is WireFault.FROZEN:
            self._frozen = self.unit.at(now).points()
        elif fault is WireFault.RESTARTING:
            self._up_since = self._quiet_until = now + RESTART

    def end(self, fault: WireFault) -> None:
        """Switch a fault off."""
        self.faults.pop(fault, None)
        self._cached = None
        if fault is WireFault.FROZEN:
            self._frozen = None

    def end_all(self) -> None:
        """Switch every fault of the card off."""
        for fault in list(self.faults):
            self.end(fault)

    def forget(self) -> None:
        """Drop the cached answer, because the unit has just been told something."""
        self._cached = None

    @property
    def identity(self) -> Identity:
        """Who the unit says it is."""
        return self._identity

    def is_alive(self, now: datetime) -> bool:
        """Return whether the card runs and is reachable.

        A card draws its power from its unit: when the battery is empty and mains is still out,
        nothing answers.
        """
        self.unit.at(now)
        if self._is_gone or WireFault.SILENT in self.faults:
            return False
        if self._quiet_until is not None and now < self._quiet_until:
            return False
        return self.unit.mains_is_on or not self.unit.is_off

    def answers(self, now: datetime) -> bool:
        """Return whether a request that came now is answered; each call throws the dice."""
        if not self.is_alive(now):
            return False
        if WireFault.LOSSY in self.faults:
            share = self.faults[WireFault.LOSSY]
            return float(self._chance.random()) >= (DEFAULT_LOSS if share is None else share)
        return True

    @property
    def delay_seconds(self) -> float:
        """How long an answer waits."""
        if WireFault.SLOW not in self.faults:
            return 0.0
        amount = self.faults[WireFault.SLOW]
        return DEFAULT_DELAY_SECONDS if amount is None else amount

    @property
    def copies(self) -> int:
        """How many times an answer is sent."""
        return 2 if WireFault.DUPLICATE in self.faults else 1

    def spoiled(self, message: bytes) -> bytes:
        """Return an answer as it leaves the card: broken off in the middle if that is its fault."""
        if WireFault.MALFORMED in self.faults:
            return message[: max(len(message) * 2 // 3, 1)]
        return message

    def clock(self, now: datetime) -> datetime:
        """Return what the card takes for the time."""
        if WireFault.CLOCK_JUMP not in self.faults:
            return now
        amount = self.faults[WireFault.CLOCK_JUMP]
        return now + timedelta(seconds=DEFAULT_JUMP_SECONDS if amount is None else amount)

    def uptime_ticks(self, now: datetime) -> int:
        """Return the card's uptime in hundredths of a second, as sysUpTime counts it."""
        return max(int((self.clock(now) - self._up_since).total_seconds() * 100), 0) % 2**32

    def points(self, now: datetime) -> Mapping[str, Value]:
        """Return what the unit reports through its card now, keyed by column."""
        row = self._frozen if self._frozen is not None else self.unit.at(now).points()
        if WireFault.SCALE_X10 in self.faults:
            return {column: _ten_times(column, value) for column, value in row.items()}
        return row

    def encoded(self, now: datetime) -> dict[Ref, Encoded]:
        """Return what the card holds now in its family's encoding; kept for half a second."""
        if self._cached is not None and timedelta() <= now - self._cached[0] < CACHE:
            return self._cached[1]
        raw = encode(self.profile, self.points(now), self._identity, self._phases)
        self._cached = (now, raw)
        return raw

    @property
    def has_wrong_types(self) -> bool:
        """Numbers are to be served as something else."""
        return WireFault.WRONG_TYPE in self.faults


def _ten_times(column: str, value: Value) -> Value:
    is_scaled = any(word in column for word in _SCALED) and not column.endswith("nominal")
    if is_scaled and isinstance(value, float):
        return value * 10.0
    return value
