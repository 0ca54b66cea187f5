"""The posterior of a battery's life: a grid over life and shape, weighed by all evidence.

Capacity stays about full up to a knee and then falls to 80 % at the end of life (Riello's account
of 10-year blocks: full to 60 % of life). Field batteries differ, so several knees and curvatures
are kept side by side. Age here is equivalent age, in years at the reference temperature.

What a unit reports may not come from its battery at all: a firmware may count years by a table, or
show what it learnt once. So "the report follows the battery" competes with "it follows the
calendar" and "it follows nothing"; a report explained as well by those moves the posterior little.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rules.battery.ageing import AgeCurve
from rules.battery.baseline import EXPONENT, Baseline, Fall
from rules.battery.discharge import Lasted
from rules.battery.facts import DAYS_A_YEAR, Floats
from rules.battery.signs import Signs

END_OF_LIFE = 0.8
"""Of the capacity when new; below it fade accelerates (IEEE 1188, EUROBAT, Riello)."""
LIFE_SPREAD = 0.25
"""Standard deviation of the logarithm of life among alike batteries."""
UNMEASURED_SPREAD = 0.30
"""The same of an age whose temperatures are all assumed: about ±4 K (judgement)."""

_SHAPES = (
    # knee as a share of life, curvature behind it, prior weight (judgement, about Riello's 0.6)
    (0.00, 4.0, 0.12),
    (0.30, 1.0, 0.10),
    (0.30, 3.0, 0.13),
    (0.45, 1.5, 0.13),
    (0.60, 1.0, 0.20),
    (0.60, 2.0, 0.16),
    (0.75, 1.0, 0.16),
)
_LIVES = 120
_LEAST_CAPACITY = 0.02
_FREEDOM = 4.0
"""Degrees of freedom of Student's t: single months may be far off."""
_TEMPER = 0.8
"""Months follow each other: together they tell less than so many independent ones (judgement)."""
_BASELINE_BIASES = np.array([-0.06, -0.03, 0.0, 0.03, 0.06])
_BASELINE_WEIGHTS = np.array([0.06, 0.24, 0.40, 0.24, 0.06])
_DISCHARGE_BIASES = np.array([-0.30, -0.15, 0.0, 0.15, 0.30])
_DISCHARGE_WEIGHTS = np.array([0.06, 0.24, 0.40, 0.24, 0.06])
_FOLLOWS_BATTERY, _FOLLOWS_NOTHING, _FOLLOWS_CALENDAR = 0.78, 0.14, 0.08
"""How often a reported runtime comes from what (judgement; no maker publishes it)."""
_CALENDAR_SLOPES = np.array([0.02, 0.035, 0.05])
"""A table's fall of ln runtime a year."""

_LogCapacity = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Posterior:
    """Weighted lives and capacities: arrays of one length, `weight` sums to one.

    `capacity` is the share of new capacity today, `days_left` calendar days from today to 80 %,
    negative when that is past. `follows` is how surely the reported runtime follows the battery,
    None without one.
    """

    weight: Floats
    capacity: Floats
    days_left: Floats
    follows: float | None

    def capacity_quantile(self, share: float) -> float:
        """Return the capacity that a share of the weight lies below."""
        return _quantile(self.capacity, self.weight, share)

    def days_quantile(self, share: float) -> float:
        """Return the days until 80 % that a share of the weight lies below."""
        return _quantile(self.days_left, self.weight, share)

    def ends_within(self, days: float) -> float:
        """Return the probability that capacity is below 80 % in so many days."""
        return float(self.weight[self.days_left <= days].sum())


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(np.interp(share, reached, values[order]))


def capacity_at(age: Floats, life: Floats, knee: Floats, curve: Floats) -> Floats:
    """Return the share of new capacity: full to the knee, 80 % at the end of life."""
    worn = np.maximum(0.0, (age / life - knee) / (1.0 - knee))
    return np.maximum(_LEAST_CAPACITY, 1.0 - (1.0 - END_OF_LIFE) * worn**curve)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a posterior is made from; `today` counts days from 1970."""

    curve: AgeCurve
    today: float
    mean_rate: float
    coverage: float
    service_life_years: float
    runtime: tuple[Baseline, Fall] | None
    discharges: Sequence[Lasted]
    signs: Signs


def posterior(evidence: Evidence) -> Posterior:
    """Weigh every life and shape of the grid by the evidence."""
    spread = float(np.hypot(LIFE_SPREAD, UNMEASURED_SPREAD * (1.0 - evidence.coverage)))
    steps = np.linspace(-3.2, 3.2, _LIVES)
    lives = evidence.service_life_years * np.exp(steps * spread)
    shapes = np.array(_SHAPES)
    life = np.repeat(lives, len(shapes))
    knee, curve = np.tile(shapes[:, 0], _LIVES), np.tile(shapes[:, 1], _LIVES)
    log_weight = np.repeat(-0.5 * steps**2, len(shapes)) + np.log(np.tile(shapes[:, 2], _LIVES))

    def log_capacity(days: Floats) -> Floats:
        ages = evidence.curve.at(days)
        return np.log(capacity_at(ages[None, :], life[:, None], knee[:, None], curve[:, None]))

    age = float(evidence.curve.at(evidence.today))
    capacity = capacity_at(np.array(age), life, knee, curve)
    log_weight += _of_signs(capacity, evidence.signs)
    if evidence.discharges:
        log_weight += _of_discharges(evidence, log_capacity)
    follows = None
    if evidence.runtime is not None:
        told, follows = _of_runtime(*evidence.runtime, log_capacity, log_weight)
        log_weight += told
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    days_left = (life - age) / evidence.mean_rate * DAYS_A_YEAR
    return Posterior(weight, capacity, days_left, follows)


def _of_signs(capacity: Floats, signs: Signs) -> Floats:
    """Weigh capacities by self-tests and flag; each may be wrong either way."""
    told = np.zeros_like(capacity)
    fails = 0.01 + 0.94 / (1.0 + np.exp((capacity - 0.70) / 0.04))
    flagged = 0.05 + 0.85 / (1.0 + np.exp((capacity - 0.74) / 0.05))
    if signs.failures:
        told += min(signs.failures, 2) * np.log(fails)
    elif signs.has_passed:
        told += np.log1p(-fails)
    if signs.is_flagged:
        told += np.log(flagged)
    elif signs.knows_flag:
        told += np.log1p(-0.6 * flagged)
    return told


def _student(distance: Floats) -> Floats:
    return -0.5 * (_FREEDOM + 1.0) * np.log1p(distance**2 / _FREEDOM)


def _mixed(logs: Floats, weights: Floats) -> Floats:
    """Return the logarithm of a mixture over the last axis."""
    top = logs.max(axis=-1, keepdims=True)
    mixed: Floats = np.log((np.exp(logs - top) * weights).sum(axis=-1)) + top[..., 0]
    return mixed


def _of_runtime(
    baseline: Baseline, fall: Fall, log_capacity: _LogCapacity, prior: Floats
) -> tuple[Floats, float]:
    """Weigh lives by the fall of reported runtime; also how surely it follows the battery."""
    expected = log_capacity(fall.day) - log_capacity(np.array([baseline.day]))
    apart = (fall.log_ratio - expected) / fall.spread
    shift = _BASELINE_BIASES / np.sqrt(np.mean(fall.spread**2))
    follows = _mixed(
        np.stack([_TEMPER * _student(apart - s).sum(axis=1) for s in shift], axis=-1),
        _BASELINE_WEIGHTS,
    )
    still = fall.log_ratio / fall.spread
    nothing = _mixed(
        np.array([_TEMPER * _student(still - s).sum() for s in shift]), _BASELINE_WEIGHTS
    )
    years = (fall.day - baseline.day) / DAYS_A_YEAR
    calendar = _mixed(
        np.array(
            [
                _TEMPER * _student((fall.log_ratio + slope * years) / fall.spread).sum()
                for slope in _CALENDAR_SLOPES
            ]
        ),
        np.full(len(_CALENDAR_SLOPES), 1.0 / len(_CALENDAR_SLOPES)),
    )
    otherwise = _mixed(
        np.array([nothing, calendar]),
        np.array([_FOLLOWS_NOTHING, _FOLLOWS_CALENDAR]),
    )
    told = np.logaddexp(np.log(_FOLLOWS_BATTERY) + follows, otherwise)
    before = np.exp(prior - prior.max())
    before /= before.sum()
    share = np.exp(np.log(_FOLLOWS_BATTERY) + follows - told)
    after = before * np.exp(told - told.max())
    return told, float((after * share).sum() / after.sum())


def _of_discharges(evidence: Evidence, log_capacity: _LogCapacity) -> Floats:
    """Weigh lives by what times on battery lasted, against the baseline or against the first."""
    found = list(evidence.discharges)
    if evidence.runtime is not None:
        baseline = evidence.runtime[0]
        reference_day = baseline.day
        reference = [baseline.log_runtime(one.load) for one in found]
    else:
        first = next((one for one in found if not one.is_least), None)
        if first is None:
            return np.zeros(1)
        reference_day = first.day
        found = [one for one in found if one.day > reference_day]
        if not found:
            return np.zeros(1)
        reference = [
            first.log_seconds - EXPONENT * float(np.log(one.load / first.load)) for one in found
        ]
    days = np.array([one.day for one in found])
    ratio = np.array([one.log_seconds for one in found]) - np.array(reference)
    spread = np.array([one.spread for one in found])
    is_least = np.array([one.is_least for one in found])
    expected = log_capacity(days) - log_capacity(np.array([reference_day]))
    by_bias = []
    for bias in _DISCHARGE_BIASES:
        apart = (ratio - expected - bias) / spread
        # At least so long: only a capacity that could not have lasted is unlikely.
        apart = np.where(is_least, np.maximum(apart, 0.0), apart)
        by_bias.append(_student(apart).sum(axis=1))
    return _mixed(np.stack(by_bias, axis=-1), _DISCHARGE_WEIGHTS)
