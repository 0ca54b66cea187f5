"""A battery of tests' own making: capacity, runtime and days with a known truth."""

from datetime import UTC, datetime

import numpy as np

from rules.battery.facts import Battery, Chemistry, Days, day_number, day_of

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
TODAY = day_number(NOW.date())


def capacity(age_years, life_years: float, knee: float = 0.6):
    """Full to the knee, 80 % at the end of life."""
    return 1.0 - 0.2 * np.maximum(0.0, (age_years / life_years - knee) / (1.0 - knee))


def days(
    span: int,
    *,
    celsius: float = 25.0,
    capacities=1.0,
    load: float = 30.0,
    exponent: float = 1.25,
    minutes: float = 20.0,
    ends_before: int = TODAY,
    noise: float = 0.01,
    seed: int = 1,
) -> Days:
    """Days up to yesterday of a unit whose reported runtime follows its battery."""
    chance = np.random.default_rng(seed)
    low, high = np.full(span, np.log(load)), np.full(span, np.log(load * 1.3))
    level = np.log(minutes * 60) + np.log(np.full(span, 1.0) * capacities)
    level = level + chance.normal(0, noise, span)
    reference = np.log(load)
    return Days(
        np.arange(ends_before - span, ends_before),
        celsius + chance.normal(0, 0.2, span),
        np.full(span, 40),
        low,
        level - exponent * (low - reference),
        high,
        level - exponent * (high - reference),
    )


def battery(
    age_days: int, *, life_years: float = 4.0, chemistry: Chemistry = Chemistry.VRLA
) -> Battery:
    return Battery(chemistry, life_years, day_of(TODAY - age_days))


def joined(first: Days, second: Days) -> Days:
    fields = (
        "day",
        "celsius",
        "samples",
        "log_load_low",
        "log_runtime_low",
        "log_load_high",
        "log_runtime_high",
    )
    return Days(*(np.r_[getattr(first, name), getattr(second, name)] for name in fields))
