"""What is really so: a battery's capacity by day, its room, its load, and when it ends."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BEFORE_DAYS, YEAR_DAYS, AFTER_DAYS = 540, 365, 1_500
"""Watched before the scored year, scored, and lived on unseen so that each end is known."""
WATCHED_DAYS = BEFORE_DAYS + YEAR_DAYS
END = 0.8
SERVICE_LIFE_YEARS = 4.0


@dataclass(frozen=True, slots=True)
class Truth:
    """One unit: arrays by day from the first watched one, until `AFTER_DAYS` after the year.

    `capacity` is the share of new, `celsius` of the battery, `load` the day's mean in percent.
    `end_day` is the first day below 80 %, `age_days` the battery's age on day 0. `is_sudden` when
    the end came within days. `swapped_on` is a day before the year on which it was replaced.
    """

    capacity: Floats
    celsius: Floats
    load: Floats
    end_day: int | None
    age_days: int
    is_sudden: bool
    swapped_on: int | None
    family: str


_FAMILIES = {
    "late_knee": 0.24,
    "logistic": 0.18,
    "power": 0.20,
    "dry_out": 0.12,
    "linear": 0.08,
    "two_phase": 0.10,
    "early_death": 0.04,
    "sudden": 0.04,
}


def _fade(family: str, x: Floats, chance: np.random.Generator) -> Floats:
    """Return capacity against the share of life used; 0.8 at 1."""
    match family:
        case "logistic":
            steep = chance.uniform(6, 14)
            middle = 1.0 + np.log(1 / 0.2 - 1) / steep
            return 1.0 - 1.0 / (1.0 + np.exp(-steep * (x - middle)))
        case "power":
            return 1.0 - 0.2 * x ** chance.uniform(2.0, 7.0)
        case "dry_out":
            rate = chance.uniform(1.5, 4.5)
            return 1.0 - 0.2 * np.expm1(rate * x) / np.expm1(rate)
        case "linear" | "early_death":
            return 1.0 - 0.2 * x
        case "two_phase":
            knee = chance.uniform(0.5, 0.8)
            early = chance.uniform(0.03, 0.08)
            late = (0.2 - early) / (1.0 - knee)
            return 1.0 - early * np.minimum(x / knee, 1.0) - late * np.maximum(0.0, x - knee)
        case _:
            knee = chance.uniform(0.55, 0.9)
            return 1.0 - 0.2 * np.maximum(0.0, (x - knee) / (1.0 - knee))


def truth(chance: np.random.Generator) -> Truth:
    """Draw one unit that is alive at the beginning of the watch."""
    while True:
        drawn = _drawn(chance)
        if drawn is not None:
            return drawn


def _drawn(chance: np.random.Generator) -> Truth | None:
    family = str(chance.choice(list(_FAMILIES), p=list(_FAMILIES.values())))
    life = SERVICE_LIFE_YEARS * np.exp(chance.normal(0.0, 0.22))
    if family == "early_death":
        life *= chance.uniform(0.4, 0.6)
    total = WATCHED_DAYS + AFTER_DAYS
    age_days = int(chance.uniform(0, 1.0) * life * 365)
    swapped_on = None
    if chance.random() < 0.08:
        swapped_on = int(chance.integers(60, BEFORE_DAYS - 120))
    day = np.arange(-age_days, total)
    celsius = _room(day, chance)
    rate = np.exp2((celsius - 25.0) / chance.uniform(8.5, 11.0))
    age = np.cumsum(np.maximum(rate, 0.75)) / 365.25
    wander = np.cumsum(chance.normal(0, 0.0004, len(day)))
    capacity = np.clip(_fade(family, age / life, chance) + wander - wander[0], 0.02, 1.02)
    if family == "sudden":
        fails = int(chance.integers(0, total))
        capacity = np.where(day < fails, np.maximum(capacity, 0.9), 0.45)
    capacity = np.minimum.accumulate(capacity)
    watched = day >= 0
    capacity = capacity[watched]
    if swapped_on is not None:
        new = _fade("late_knee", np.cumsum(rate[watched][swapped_on:]) / 365.25 / life, chance)
        capacity[swapped_on:] = np.minimum.accumulate(np.clip(new, 0.02, 1.0))
    below = np.flatnonzero(capacity[swapped_on or 0 :] < END)
    end_day = int(below[0]) + (swapped_on or 0) if len(below) else None
    if end_day is not None and end_day < BEFORE_DAYS and swapped_on is None:
        return None  # somebody would have replaced it long before the year began
    return Truth(
        capacity=capacity,
        celsius=celsius[watched],
        load=_load(total, chance),
        end_day=end_day,
        age_days=age_days,
        is_sudden=family == "sudden",
        swapped_on=swapped_on,
        family=family,
    )


def _room(day: NDArray[np.int64], chance: np.random.Generator) -> Floats:
    mean, swing = {
        "cooled": (chance.uniform(20, 25), 0.5),
        "seasonal": (chance.uniform(21, 27), chance.uniform(3, 8)),
        "hot": (chance.uniform(28, 34), chance.uniform(1, 4)),
    }[str(chance.choice(["cooled", "seasonal", "hot"], p=[0.5, 0.35, 0.15]))]
    season = swing * np.sin(2 * np.pi * (day - chance.integers(0, 365)) / 365.25)
    return mean + season + chance.normal(0, 0.6, len(day))


def _load(days: int, chance: np.random.Generator) -> Floats:
    mean = chance.uniform(18, 65)
    day = np.arange(days)
    match str(chance.choice(["flat", "weekly", "growing", "steps", "seasonal"])):
        case "weekly":
            load = mean * np.where(day % 7 < 5, 1.0, chance.uniform(0.6, 0.9))
        case "growing":
            load = mean * (1 + chance.uniform(0.05, 0.25) * day / 365)
        case "steps":
            load = np.full(days, mean)
            for at in chance.integers(0, days, 4):
                load[at:] = load[at] * chance.uniform(0.75, 1.3)
        case "seasonal":
            load = mean * (1 + 0.15 * np.sin(2 * np.pi * day / 365.25))
        case _:
            load = np.full(days, mean)
    return np.clip(load * np.exp(chance.normal(0, 0.03, days)), 5.0, 95.0)
