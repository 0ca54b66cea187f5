"""How often units fail and how long it takes: MTBF with its range, times to restore. Pure.

Failures come at a constant rate in the model behind the ranges (chi-squared bounds of a Poisson
process); units wear out in truth, so read them over spans of a year or so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

NOT_FAILURES = ("communication_lost", "battery_end_of_life", "self_test_overdue")
"""Failure modes that are no failure of the unit: not seen, worn but working, not tested."""
NOT_COUNTED = ("false_alarm", "duplicate", "withdrawn")
"""Closing codes after which there was no failure."""
SIDE = 0.10
"""Each end of an 80 % range leaves out so much."""


@dataclass(frozen=True, slots=True)
class Range:
    """A mean time between failures in hours with its 80 % range.

    `mean` and `high` are None without a failure: then only "at least `low`" can be said.
    """

    mean: float | None
    low: float | None
    high: float | None


def between_failures(hours: float, failures: int) -> Range:
    """Return the mean time between failures of so many operating hours.

    The range is 2T/χ²(0.9; 2n+2) to 2T/χ²(0.1; 2n); without a failure its low end is T/2.30.
    """
    if hours <= 0:
        return Range(None, None, None)
    low = 2 * hours / chi_squared(1 - SIDE, 2 * failures + 2)
    if not failures:
        return Range(None, low, None)
    return Range(hours / failures, low, 2 * hours / chi_squared(SIDE, 2 * failures))


def chi_squared(share: float, freedom: int) -> float:
    """Return a quantile of χ² by Wilson and Hilferty's cube.

    Within 1.5 % at 90 %; at 10 % within 12 % for 2 degrees of freedom and 2 % for 10.
    """
    spread = 2 / (9 * freedom)
    cube: float = (1 - spread + NormalDist().inv_cdf(share) * spread**0.5) ** 3
    return freedom * cube


@dataclass(frozen=True, slots=True)
class Times:
    """So many durations in seconds: their mean, median and ninetieth percentile."""

    count: int
    mean: float | None
    median: float | None
    ninety: float | None


def times_of(seconds: Sequence[float]) -> Times:
    """Sum durations up; percentiles lie between the two nearest values."""
    if not seconds:
        return Times(0, None, None, None)
    ordered = sorted(seconds)
    return Times(
        len(ordered),
        sum(ordered) / len(ordered),
        _percentile(ordered, 0.5),
        _percentile(ordered, 0.9),
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def availability(mean_between: float | None, mean_restore_seconds: float | None) -> float | None:
    """Return MTBF / (MTBF + mean time to restoration), None where either is unknown."""
    if mean_between is None or mean_restore_seconds is None:
        return None
    return mean_between / (mean_between + mean_restore_seconds / 3_600)
