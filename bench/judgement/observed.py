"""What the product would see of a unit: 15-minute buckets, self-tests, the flag, identity changes.

Three makes of signal quality and several kinds of firmware; the traps that are known from the field
are sown in: flags that chatter or come by age, placeholders, scales that change with a firmware,
sensors that stick or shift, recharging after outages, calibrations, gaps.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bench.judgement.truth import WATCHED_DAYS, Truth

Floats = NDArray[np.float64]

FIRST_DAY = 20_000  # days since 1970
A_DAY = 96
_MAKES = {"rich": 0.3, "middle": 0.4, "poor": 0.3}
_FIRMWARES = {
    "proportional": 0.52,
    "lagging": 0.14,
    "table": 0.10,
    "learns_in_tests": 0.12,
    "blind": 0.06,
    "light_optimist": 0.06,
}


@dataclass(slots=True)
class Observed:
    """A unit as it shows itself; arrays of 15-minute buckets from `FIRST_DAY` on.

    `tests` are (when, outcome, charge before), `flags` (since, until or None).
    `told_swap_on` is the day of a swap that people recorded.
    """

    make: str
    firmware: str
    start: NDArray[np.int64]
    load: Floats
    load_min: Floats
    load_max: Floats
    runtime: Floats
    charge: Floats
    celsius: Floats
    on_battery: Floats
    tests: list[tuple[datetime, str, float]] = field(default_factory=list)
    flags: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    has_flag: bool = True
    firmware_days: list[int] = field(default_factory=list)
    told_swap_on: int | None = None
    outages: int = 0


def instant(day: float) -> datetime:
    """Return the instant of a day of the watch."""
    return datetime.fromtimestamp((FIRST_DAY + day) * 86_400, UTC)


def observe(real: Truth, chance: np.random.Generator) -> Observed:
    """Show a unit for the watched days."""
    make = str(chance.choice(list(_MAKES), p=list(_MAKES.values())))
    firmware = str(chance.choice(list(_FIRMWARES), p=list(_FIRMWARES.values())))
    n = WATCHED_DAYS * A_DAY
    at = np.arange(n) / A_DAY
    load = _within_days(real.load[:WATCHED_DAYS], chance)
    ripple = chance.uniform(0.5, 2.5)
    seen = Observed(
        make=make,
        firmware=firmware,
        start=(FIRST_DAY * 86_400 + np.arange(n) * 900).astype(np.int64),
        load=np.round(load, 0 if make != "rich" else 1),
        load_min=load - ripple,
        load_max=load + ripple,
        runtime=np.empty(n),
        charge=np.full(n, 100.0),
        celsius=_sensor(np.repeat(real.celsius[:WATCHED_DAYS], A_DAY), make, chance),
        on_battery=np.zeros(n),
        has_flag=make != "poor" or chance.random() < 0.7,
    )
    full_load_seconds = chance.uniform(4, 12) * 60
    exponent = chance.uniform(1.05, 1.6)
    capacity = np.repeat(real.capacity[:WATCHED_DAYS], A_DAY)
    _test_itself(seen, real, chance)
    deep = _suffer_outages(seen, real, full_load_seconds, exponent, chance)
    believed = _believed(firmware, capacity, at, real, deep, chance)
    scale = full_load_seconds * (seen.load / 100.0) ** -exponent
    if firmware == "light_optimist":
        scale = scale * np.where(seen.load < 30, 1.4, 1.0)
    seen.runtime = scale * believed * np.exp(_slow_noise(n, chance))
    seen.runtime *= seen.charge / 100.0
    if make != "rich":
        seen.runtime = np.round(seen.runtime / 60) * 60
    _sow_traps(seen, real, chance)
    _raise_flags(seen, real, chance)
    return seen


def _within_days(daily: Floats, chance: np.random.Generator) -> Floats:
    hour = (np.arange(len(daily) * A_DAY) % A_DAY) / 4
    office = np.exp(-(((hour - 13) / 4.5) ** 2))
    depth = chance.uniform(0.0, 0.5)
    return np.repeat(daily, A_DAY) * (1 - depth / 2 + depth * office)


def _slow_noise(n: int, chance: np.random.Generator) -> Floats:
    """Wander over days by a few percent, as estimates do that hang on temperature and gauge."""
    days = n // A_DAY + 2
    steps = chance.normal(0, chance.uniform(0.005, 0.02), days)
    wander = np.empty(days)
    wander[0] = 0.0
    for day in range(1, days):
        wander[day] = 0.85 * wander[day - 1] + steps[day]
    return np.interp(np.arange(n) / A_DAY, np.arange(days), wander) + chance.normal(0, 0.01, n)


def _sensor(celsius: Floats, make: str, chance: np.random.Generator) -> Floats:
    if make == "poor" and chance.random() < 0.6:
        return np.full(len(celsius), np.nan)
    shown = celsius + chance.normal(1.0, 1.5) + chance.normal(0, 0.3, len(celsius))
    kind = chance.random()
    if kind < 0.04:
        shown[chance.integers(0, len(shown)) :] = chance.choice([-1.0, 0.0, 2.2, 293.0])
    elif kind < 0.07:
        first = int(chance.integers(0, len(shown)))
        shown[first : first + 60 * A_DAY] = shown[first]
    return np.round(shown)


def _believed(
    firmware: str,
    capacity: Floats,
    at: Floats,
    real: Truth,
    deep: list[float],
    chance: np.random.Generator,
) -> Floats:
    """Return the share of capacity that the firmware reckons with."""
    match firmware:
        case "table":
            age = real.age_days + at
            if real.swapped_on is not None:
                age = np.where(at < real.swapped_on, age, at - real.swapped_on)
            return np.maximum(0.3, 1.0 - chance.uniform(0.02, 0.06) * age / 365)
        case "blind":
            return np.full(len(at), chance.uniform(0.85, 1.0))
        case "lagging":
            back = int(chance.uniform(20, 75) * A_DAY)
            return np.r_[np.full(back, capacity[0]), capacity[:-back]]
        case "learns_in_tests":
            learnt = np.full(len(at), capacity[0])
            for day in sorted(deep):
                learnt[int(day * A_DAY) :] = capacity[int(day * A_DAY)]
            return learnt
        case _:
            return capacity ** chance.uniform(0.9, 1.3)


def _test_itself(seen: Observed, real: Truth, chance: np.random.Generator) -> None:
    every = {"rich": 28, "middle": 14, "poor": 0}[seen.make]
    if not every or chance.random() < 0.15:
        return
    fails_below = chance.uniform(0.55, 0.78)
    for day in np.arange(chance.uniform(0, every), WATCHED_DAYS - 1, every):
        place = int(day * A_DAY)
        seen.on_battery[place] += 10
        draw = chance.random()
        if draw < 0.02:
            outcome = "aborted"
        elif draw < 0.03:
            outcome = "invalid"
        elif draw < 0.0315 or real.capacity[int(day)] < fails_below:
            outcome = "failed"
        else:
            outcome = "passed"
        seen.tests.append((instant(day), outcome, float(seen.charge[place])))


def _suffer_outages(
    seen: Observed,
    real: Truth,
    full_load_seconds: float,
    exponent: float,
    chance: np.random.Generator,
) -> list[float]:
    """Run outages and calibrations; return the days of those deep enough to learn from."""
    deep: list[float] = []
    per_year = chance.choice([0.5, 2.0, 6.0, 20.0], p=[0.3, 0.4, 0.2, 0.1])
    days = list(chance.uniform(1, WATCHED_DAYS - 2, chance.poisson(per_year * WATCHED_DAYS / 365)))
    if chance.random() < 0.2:
        days += list(np.arange(chance.uniform(30, 300), WATCHED_DAYS - 2, 365))  # calibration
    for day in days:
        place = int(day * A_DAY)
        seconds = float(np.exp(chance.normal(np.log(90), 1.6)))
        lasts = (
            full_load_seconds
            * (seen.load[place] / 100) ** -exponent
            * real.capacity[int(day)]
            * (1 + 0.006 * (real.celsius[int(day)] - 25))
        )
        seconds = min(seconds, lasts)
        depth = seconds / lasts
        seen.outages += 1
        buckets = int(np.ceil(seconds / 900))
        for step in range(buckets):
            held = min(900.0, seconds - 900 * step)
            seen.on_battery[place + step] = held
            gone = depth * min(1.0, (900 * step + held) / seconds)
            seen.charge[place + step] = 100 * (1 - gone)
        recharge = int(chance.uniform(4, 10) * 4 * max(depth, 0.1))
        back = np.linspace(100 * (1 - depth), 100, max(recharge, 1))
        end = min(place + buckets + len(back), len(seen.charge))
        seen.charge[place + buckets : end] = np.round(back[: end - place - buckets])
        if depth > 0.25:
            deep.append(day)
    return deep


def _sow_traps(seen: Observed, real: Truth, chance: np.random.Generator) -> None:
    n = len(seen.start)
    if chance.random() < 0.08:  # a firmware counts otherwise from now on
        day = int(chance.integers(100, WATCHED_DAYS - 60))
        seen.runtime[day * A_DAY :] *= chance.choice([0.1, 10.0, 60.0, 1.25])
        seen.firmware_days.append(FIRST_DAY + day)
    for _ in range(int(chance.poisson(1.0))):  # the card is away for hours, then half awake
        first = int(chance.integers(0, n - A_DAY * 3))
        gone = int(chance.uniform(8, 200))
        for values in (seen.load, seen.runtime, seen.charge, seen.celsius, seen.on_battery):
            values[first : first + gone] = np.nan
        seen.runtime[first + gone : first + gone + 4] = 120.0
    if chance.random() < 0.05:  # a value that sticks
        first = int(chance.integers(0, n - A_DAY * 40))
        seen.runtime[first : first + A_DAY * 40] = seen.runtime[first]
    odd = chance.integers(0, n, 20)
    seen.runtime[odd] = chance.choice([0.0, 65_535 * 60.0], 20)
    if real.swapped_on is not None:
        first = real.swapped_on * A_DAY
        seen.runtime[first : first + A_DAY] = 120.0  # a placeholder until the first test
        if chance.random() < 0.6:
            seen.told_swap_on = FIRST_DAY + real.swapped_on


def _raise_flags(seen: Observed, real: Truth, chance: np.random.Generator) -> None:
    if not seen.has_flag:
        return
    kind = chance.random()
    if kind < 0.15:  # a counter of years
        day = chance.uniform(3.0, 4.5) * 365 - real.age_days
        if 0 <= day < WATCHED_DAYS:
            seen.flags.append((instant(day), None))
    elif kind < 0.75:  # the battery itself, weeks after it fell so far
        below = np.flatnonzero(real.capacity[:WATCHED_DAYS] < chance.uniform(0.6, 0.8))
        if len(below):
            day = below[0] + chance.uniform(0, 30)
            if day < WATCHED_DAYS:
                seen.flags.append((instant(day), None))
    if chance.random() < 0.12:  # chatter: seconds, or a minute once or twice a day
        seconds = chance.choice([2.0, 60.0])
        for day in np.arange(chance.uniform(0, WATCHED_DAYS), WATCHED_DAYS, 0.7):
            since = instant(float(day))
            seen.flags.append((since, since + timedelta(seconds=float(seconds))))
