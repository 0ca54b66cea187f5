"""Each time that a unit lived on its battery, as an episode, and what became of what it promised.

Pure: readings of one unit in, episodes out. The first minute of a discharge proves nothing (the
coup de fouet, and gauges that settle), nor does a discharge that is too short or too shallow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from math import exp, isfinite, log, sqrt

from rules.facts import Value

SETTLED_AFTER = timedelta(seconds=60)
"""A promise counts from here on: before, voltage dips and gauges have not settled."""
PROVES_FROM = timedelta(seconds=120)
"""A discharge shorter than two to five minutes says nothing of runtime."""
PROVES_DEPTH = 15.0
"""Percent of charge; below it the gauge's rounding outweighs what it says."""
STEADY_LOAD = 20.0
"""A load that varies by more points than that fits no single promise (judgement)."""
EMPTY_PERCENT = 10.0
"""Charge at which a battery counts as empty at the end."""
MERGED_WITHIN = timedelta(seconds=60)
"""Mains that comes back for less is the same outage, flapping."""
LOST_AFTER = timedelta(minutes=30)
"""A unit that was silent for so long while on battery: its episode ended when it was last heard."""
Z_80 = 1.2816
"""Half width of the middle 80 % of a normal distribution, in standard deviations."""

COLUMNS = (
    "status_on_battery",
    "status_testing",
    "status_calibrating",
    "status_low_battery",
    "status_off",
    "battery_charge",
    "battery_runtime",
    "battery_voltage",
    "battery_temperature",
    "ambient_temperature",
    "ups_load",
    "ups_l1_load",
    "ups_realpower",
    "ups_realpower_nominal",
    "input_voltage",
    "input_l1_n_voltage",
    "input_transfer_reason",
)
"""What is read of each reading."""


class EventKind(StrEnum):
    """Why a unit lived on its battery."""

    OUTAGE = "outage"
    SELF_TEST = "self_test"
    CALIBRATION = "calibration"


class Unproven(StrEnum):
    """Why an episode says nothing of the promise."""

    OPEN = "open"
    NO_PROMISE = "no_promise"
    TOO_SHORT = "too_short"
    TOO_SHALLOW = "too_shallow"
    NO_CHARGE = "no_charge"
    LOAD_CHANGED = "load_changed"


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: what it told by column; what it did not tell is absent or None."""

    at: datetime
    values: Mapping[str, Value | None]

    def number(self, *columns: str) -> float | None:
        """Return the first of these that is a number."""
        for column in columns:
            value = self.values.get(column)
            if isinstance(value, float | int) and not isinstance(value, bool) and isfinite(value):
                return float(value)
        return None

    def holds(self, column: str) -> bool:
        """Tell whether a flag is told and set."""
        return self.values.get(column) is True


@dataclass(frozen=True, slots=True)
class Proof:
    """What a promise was worth: `promised` and `lasted` in seconds from the settled reading on.

    `lasted` is what the battery gave, or would have given at that load; `low` and `high` are its
    80 % range.
    """

    promised: float
    lasted: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """Delivered by promised; 1 is a promise that was kept."""
        return self.lasted / self.promised


@dataclass(frozen=True, slots=True)
class PowerEvent:
    """One time on battery.

    `ended_at` None: it goes on. `lost`: its end was not seen; it ended when the unit was last
    heard. `interruptions` counts returns of mains that were too short to end it. Load in percent,
    energy in Wh (`energy_from` says of what it was worked out), charge in percent, volts, °C.
    """

    kind: EventKind
    began_at: datetime
    ended_at: datetime | None
    lost: bool
    seconds: float
    interruptions: int
    cause: str | None
    load_mean: float | None
    load_max: float | None
    watt_hours: float | None
    energy_from: str | None
    celsius: float | None
    voltage_lowest: float | None
    charge_before: float | None
    charge_after: float | None
    promised_seconds: float | None
    reached_end: bool
    proof: Proof | None
    unproven: Unproven | None

    @property
    def depth(self) -> float | None:
        """Percent of charge that it took."""
        if self.charge_before is None or self.charge_after is None:
            return None
        return self.charge_before - self.charge_after


def power_events(samples: Sequence[Sample], now: datetime) -> list[PowerEvent]:
    """Return the episodes in readings of one unit, oldest first.

    Readings may come in any order and more than once; at one instant the last one counts.
    """
    in_order = sorted({one.at: one for one in samples}.values(), key=lambda one: one.at)
    told = [one for one in in_order if isinstance(one.values.get("status_on_battery"), bool)]
    return [_event(told, stretch, now) for stretch in _stretches(told)]


@dataclass(slots=True)
class _Stretch:
    """Places of the first and last reading on battery, and how often mains was back between."""

    first: int
    last: int
    interruptions: int = 0


def _stretches(told: Sequence[Sample]) -> Iterator[_Stretch]:
    current: _Stretch | None = None
    for place, sample in enumerate(told):
        if not sample.holds("status_on_battery"):
            continue
        if current is None:
            current = _Stretch(place, place)
            continue
        gap = sample.at - told[current.last].at
        was_back = place - current.last > 1
        if gap <= (MERGED_WITHIN if was_back else LOST_AFTER):
            current.last = place
            current.interruptions += was_back
        else:
            yield current
            current = _Stretch(place, place)
    if current is not None:
        yield current


def _event(told: Sequence[Sample], stretch: _Stretch, now: datetime) -> PowerEvent:
    inside = told[stretch.first : stretch.last + 1]
    on_battery = [one for one in inside if one.holds("status_on_battery")]
    first, last = on_battery[0], on_battery[-1]
    behind = told[stretch.last + 1] if stretch.last + 1 < len(told) else None
    ended_at, lost = _end(last, behind, now)
    until = ended_at or now
    before = told[stretch.first - 1] if stretch.first else None
    is_near = before is not None and first.at - before.at <= LOST_AFTER
    charges = [value for one in on_battery if (value := one.number("battery_charge")) is not None]
    charge_before = before.number("battery_charge") if before is not None and is_near else None
    if charge_before is None:
        charge_before = charges[0] if charges else None
    charge_after = charges[-1] if charges else None
    loads = [value for one in on_battery if (value := _load(one)) is not None]
    watt_hours, energy_from = _energy(on_battery, until)
    reached_end = (charge_after is not None and charge_after <= EMPTY_PERCENT) or (
        lost and (last.holds("status_low_battery") or last.holds("status_off"))
    )
    settled = next((one for one in on_battery if one.at - first.at >= SETTLED_AFTER), None)
    proof, unproven = _proof(on_battery, settled, ended_at, loads, reached_end=reached_end)
    return PowerEvent(
        kind=_kind(on_battery),
        began_at=first.at,
        ended_at=ended_at,
        lost=lost,
        seconds=(until - first.at).total_seconds(),
        interruptions=stretch.interruptions,
        cause=_cause(inside, behind),
        load_mean=sum(loads) / len(loads) if loads else None,
        load_max=max(loads, default=None),
        watt_hours=watt_hours,
        energy_from=energy_from,
        celsius=_mean(
            [one.number("battery_temperature", "ambient_temperature") for one in on_battery]
        ),
        voltage_lowest=min(
            (value for one in on_battery if (value := one.number("battery_voltage")) is not None),
            default=None,
        ),
        charge_before=charge_before,
        charge_after=charge_after,
        promised_seconds=_promise(settled or first),
        reached_end=reached_end,
        proof=proof,
        unproven=unproven,
    )


def _end(last: Sample, behind: Sample | None, now: datetime) -> tuple[datetime | None, bool]:
    """Return when it ended, and whether that was only lost from sight."""
    if behind is not None and behind.at - last.at <= LOST_AFTER:
        return behind.at, False
    if behind is None and now - last.at <= LOST_AFTER:
        return None, False
    return last.at, True


def _kind(on_battery: Sequence[Sample]) -> EventKind:
    """Tell a test from an outage: a test that mains failed under is an outage."""
    if any(one.holds("status_calibrating") for one in on_battery):
        return EventKind.CALIBRATION
    testing = sum(one.holds("status_testing") for one in on_battery)
    gone = any(
        volts < _NO_VOLTS
        for one in on_battery
        if (volts := one.number("input_voltage", "input_l1_n_voltage")) is not None
    )
    return EventKind.SELF_TEST if 2 * testing > len(on_battery) and not gone else EventKind.OUTAGE


_NO_VOLTS = 20.0


def _cause(inside: Sequence[Sample], behind: Sample | None) -> str | None:
    """Return the transfer cause that the unit told, where it tells one."""
    for one in (*inside, *(() if behind is None else (behind,))):
        told = one.values.get("input_transfer_reason")
        if isinstance(told, str) and told:
            return told
    return None


def _load(sample: Sample) -> float | None:
    load = sample.number("ups_load", "ups_l1_load")
    return load if load is not None and 0 <= load <= _MOST_LOAD else None


_MOST_LOAD = 200.0


def _promise(sample: Sample) -> float | None:
    promised = sample.number("battery_runtime")
    return promised if promised is not None and promised > 0 else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _energy(on_battery: Sequence[Sample], until: datetime) -> tuple[float | None, str | None]:
    """Add watts up over time, each held until the next reading; from load where none are told."""
    nominal = next(
        (v for one in on_battery if (v := one.number("ups_realpower_nominal")) is not None), None
    )
    told = [(one.at, one.number("ups_realpower")) for one in on_battery]
    source = "watts"
    if all(value is None for _, value in told):
        if nominal is None:
            return None, None
        source = "load"
        told = [
            (one.at, None if (load := _load(one)) is None else load / 100 * nominal)
            for one in on_battery
        ]
    known = [(at, value) for at, value in told if value is not None and value >= 0]
    if not known:
        return None, None
    joules = sum(
        value * (later - at).total_seconds()
        for (at, value), (later, _) in pairwise([*known, (until, 0.0)])
    )
    return joules / 3_600, source


def _proof(
    on_battery: Sequence[Sample],
    settled: Sample | None,
    ended_at: datetime | None,
    loads: Sequence[float],
    *,
    reached_end: bool,
) -> tuple[Proof | None, Unproven | None]:
    """Hold what was promised once settled against what came, or say why it cannot be.

    Where the battery's end was not reached, the charge that went tells how long it would have
    lasted: the deeper, the surer (0.08 and 0.06 by the depth's share, as in
    `rules.battery.discharge`).
    """
    if ended_at is None:
        return None, Unproven.OPEN
    if settled is None or ended_at - settled.at < PROVES_FROM:
        return None, Unproven.TOO_SHORT
    promised = _promise(settled)
    if promised is None:
        return None, Unproven.NO_PROMISE
    if loads and max(loads) - min(loads) > STEADY_LOAD:
        return None, Unproven.LOAD_CHANGED
    came = (ended_at - settled.at).total_seconds()
    if reached_end:
        return _ranged(promised, came, 0.10), None
    begin = settled.number("battery_charge")
    end = next((v for one in reversed(on_battery) if (v := one.number("battery_charge"))), None)
    if begin is None or end is None:
        return None, Unproven.NO_CHARGE
    taken = begin - end
    if taken < PROVES_DEPTH:
        return None, Unproven.TOO_SHALLOW
    share = taken / begin
    return _ranged(promised, came / share, 0.08 + 0.06 / share), None


def _ranged(promised: float, lasted: float, spread: float) -> Proof:
    half = exp(Z_80 * spread)
    return Proof(promised, lasted, lasted / half, lasted * half)


@dataclass(frozen=True, slots=True)
class Trust:
    """How far promises can be trusted: delivered by promised, its 80 % range, of how many."""

    ratio: float
    low: float
    high: float
    episodes: int


_EXPECTED_SPREAD = 0.20
"""How far promises are off before anything is known (error budget of reported runtimes)."""


def trust(proofs: Sequence[Proof]) -> Trust | None:
    """Put a unit's proofs together, the surer ones weighing more; None without any.

    A promise that was never tried is right on average and off by a fifth: that is the prior, so one
    shallow discharge does not move it far.
    """
    if not proofs:
        return None
    weight, total = 1 / _EXPECTED_SPREAD**2, 0.0
    for proof in proofs:
        spread = log(proof.high / proof.lasted) / Z_80
        own = 1 / (spread**2 + _BETWEEN**2)
        total += own * log(proof.ratio)
        weight += own
    mean, half = total / weight, Z_80 / sqrt(weight)
    return Trust(exp(mean), exp(mean - half), exp(mean + half), len(proofs))


_BETWEEN = 0.10
"""How much one unit's discharges differ among themselves (judgement)."""
