"""The unit's own reference curve, and how far its reported runtime has fallen since.

A vendor's runtime table is seldom at hand, so the reference is learnt from the first ninety days
with samples: everything is relative to that baseline and never "percent of rated". How runtime
depends on load is learnt within days, where no ageing can be mistaken for it.
"""

from dataclasses import dataclass

import numpy as np

from rules.battery.facts import Days, Floats, Integers

EXPONENT, EXPONENT_SPREAD = 1.25, 0.2
"""Runtime ∝ load^−k at the rate of minutes: makers' tables lie between 1.1 and 1.6."""
LEARN_DAYS = 90
FEWEST_DAYS = 14
"""Days with samples below which there is no baseline."""
MONTH_DAYS = 28
LEAST_NOISE = 0.025
"""Of the logarithm of a month's median: quantised minutes and the meter's points of load."""
PAIR_NOISE = 0.08
"""Of the difference between a day's two halves (judgement)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Reference: ln runtime = `intercept` − `exponent` · ln load, learnt around `day`.

    `noise` is the standard deviation of a day about it, `log_load` its mean load's logarithm.
    """

    intercept: float
    exponent: float
    exponent_spread: float
    day: float
    noise: float
    log_load: float

    def log_runtime(self, load: float) -> float:
        """Return the logarithm of the seconds that a new baseline battery lasts at a load."""
        return self.intercept - self.exponent * float(np.log(load))


@dataclass(frozen=True, slots=True)
class Fall:
    """Logarithm of runtime against the baseline, a value each four weeks, with its deviation."""

    day: Floats
    log_ratio: Floats
    spread: Floats


def exponent_of(days: Days) -> tuple[float, float]:
    """Return how runtime depends on load, and how sure: learnt within days, else the usual."""
    run = days.log_load_high - days.log_load_low
    fall = days.log_runtime_low - days.log_runtime_high
    known = np.isfinite(run) & np.isfinite(fall)
    weight = (run[known] / PAIR_NOISE) ** 2
    slopes = np.divide(fall[known], run[known], out=np.zeros(known.sum()), where=run[known] > 0)
    usual = 1.0 / EXPONENT_SPREAD**2
    if not weight.sum() > usual:
        return EXPONENT, EXPONENT_SPREAD
    middle = _weighted_median(slopes, weight)
    # Days are alike: the hundredth one adds little. Ten of them at most count in full.
    told = min(float(weight.sum()), 10.0 * usual)
    exponent = (EXPONENT * usual + middle * told) / (usual + told)
    return float(np.clip(exponent, 0.8, 1.8)), float((usual + told) ** -0.5)


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def levels(days: Days, exponent: float) -> tuple[Integers, Floats, Floats]:
    """Return the days with samples, ln runtime brought to a load of 1 %, and ln load."""
    log_load = (days.log_load_low + days.log_load_high) / 2
    log_runtime = (days.log_runtime_low + days.log_runtime_high) / 2
    known = np.isfinite(log_load) & np.isfinite(log_runtime)
    return (
        days.day[known],
        (log_runtime + exponent * log_load)[known],
        log_load[known],
    )


def learn(days: Days) -> tuple[Baseline, Fall] | None:
    """Learn the baseline and what came after it; None while samples are too few."""
    exponent, exponent_spread = exponent_of(days)
    day, level, log_load = levels(days, exponent)
    if len(day) < FEWEST_DAYS:
        return None
    first = day < day[0] + LEARN_DAYS
    if first.sum() < FEWEST_DAYS:
        first = np.arange(len(day)) < FEWEST_DAYS
    intercept = float(np.median(level[first]))
    noise = float(1.4826 * np.median(np.abs(level[first] - intercept)))
    baseline = Baseline(
        intercept=intercept,
        exponent=exponent,
        exponent_spread=exponent_spread,
        day=float(day[first].mean()),
        noise=noise,
        log_load=float(np.median(log_load[first])),
    )
    return baseline, _fall(baseline, day, level, log_load)


def _fall(baseline: Baseline, day: Integers, level: Floats, log_load: Floats) -> Fall:
    month = (day - day[0]) // MONTH_DAYS
    numbers = np.unique(month)
    at, ratio, spread = np.empty(len(numbers)), np.empty(len(numbers)), np.empty(len(numbers))
    for place, number in enumerate(numbers):
        inside = month == number
        at[place] = day[inside].mean()
        ratio[place] = np.median(level[inside]) - baseline.intercept
        away = abs(float(np.median(log_load[inside])) - baseline.log_load)
        # Days of one week are nearly one sample: the noise falls with the weeks.
        weeks = max(1.0, inside.sum() / 7)
        spread[place] = np.sqrt(
            LEAST_NOISE**2 + baseline.noise**2 / weeks + (baseline.exponent_spread * away) ** 2
        )
    return Fall(at, ratio, spread)
