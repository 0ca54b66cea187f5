"""From 15-minute buckets to days: which samples of the reported runtime may be compared at all.

A sample is admitted when the battery is full and has been so, nothing was discharged lately, the
load is steady and neither very light nor near full, and the value is no placeholder.
`docs/battery.md` has the sources of the numbers.
"""

import numpy as np
from numpy.typing import NDArray

from rules.battery.ageing import COLDEST_CREDIBLE, HOTTEST_CREDIBLE
from rules.battery.facts import Buckets, Days, Floats

BUCKET_SECONDS = 900
DAY_SECONDS = 86_400
FULL_PERCENT = 99.0
LIGHTEST_LOAD, HEAVIEST_LOAD = 15.0, 90.0
"""Percent; lighter, the unit's own estimate is unreliable, heavier, near its limit."""
STEADY_POINTS = 10.0
"""Between least and greatest load of half an hour: a standard deviation of some 5 points."""
REST_SECONDS = 24 * 3_600
"""After a discharge, while the gauge settles."""
FULL_FOR_SECONDS = 8 * 3_600
"""Full for so long counts as rested too."""
START_SECONDS = 72 * 3_600
"""After a gap in what is known, or a start: Eaton shows a placeholder until its first test."""
GAP_SECONDS = 2 * 3_600
SHORTEST_RUNTIME, LONGEST_RUNTIME = 30.0, 200_000.0
"""Seconds; 0 and 65,535 min and their like are placeholders."""
FEWEST_SAMPLES = 4
"""An hour a day."""


def days_of(buckets: Buckets) -> Days:
    """Reduce buckets to days of UTC.

    What is admitted depends on up to `START_SECONDS` before: hand over so much more than is wanted.
    """
    start = buckets.start
    day = start // DAY_SECONDS
    numbers, first = np.unique(day, return_index=True)
    if not len(start):
        nothing = np.empty(0)
        none = np.empty(0, dtype=np.int64)
        return Days(none, nothing, none, nothing, nothing, nothing, nothing)
    admitted = admissible(buckets)
    sane = (buckets.celsius >= COLDEST_CREDIBLE) & (buckets.celsius <= HOTTEST_CREDIBLE)
    celsius = _mean_by_day(np.where(sane, buckets.celsius, np.nan), first)
    nothing_sane = ~np.isfinite(celsius)
    # What cannot be right is kept where it is all there is: the sensor's fault has to be told.
    celsius[nothing_sane] = _mean_by_day(buckets.celsius, first)[nothing_sane]
    count = np.add.reduceat(admitted.astype(np.int64), first)
    halves = _halves(buckets, admitted, day, numbers, count)
    return Days(numbers, celsius, np.where(count >= FEWEST_SAMPLES, count, 0), *halves)


def admissible(buckets: Buckets) -> NDArray[np.bool_]:
    """Tell which buckets hold a sample of runtime that may be compared."""
    start = buckets.start
    discharged = buckets.on_battery > 0
    gap = np.r_[False, np.diff(start) > GAP_SECONDS]
    idle = _seconds_since(discharged, start)
    rested = idle >= REST_SECONDS
    # A unit that tells no charge is full two days after it was last on battery.
    tells_charge = np.isfinite(buckets.charge_min)
    full = np.where(tells_charge, buckets.charge_min >= FULL_PERCENT, idle >= 2 * REST_SECONDS)
    full_for = _seconds_since(~full, start) >= FULL_FOR_SECONDS
    settled = _seconds_since(gap, start) >= START_SECONDS
    load_min = np.fmin(buckets.load_min, np.r_[np.nan, buckets.load_min[:-1]])
    load_max = np.fmax(buckets.load_max, np.r_[np.nan, buckets.load_max[:-1]])
    usable: NDArray[np.bool_] = (
        full
        & ~discharged
        & (rested | full_for)
        & settled
        & (load_max - load_min <= STEADY_POINTS)
        & (buckets.load >= LIGHTEST_LOAD)
        & (buckets.load <= HEAVIEST_LOAD)
        & (buckets.runtime >= SHORTEST_RUNTIME)
        & (buckets.runtime <= LONGEST_RUNTIME)
    )
    return usable


def _seconds_since(happened: NDArray[np.bool_], start: NDArray[np.int64]) -> Floats:
    """Return for each bucket how long ago something was last so; infinite where it never was."""
    at = np.where(happened, start, np.iinfo(np.int64).min // 4)
    return (start - np.maximum.accumulate(at)).astype(float)


def _mean_by_day(values: Floats, first: NDArray[np.int64]) -> Floats:
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0), first)
    count = np.add.reduceat(known.astype(np.int64), first)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _halves(
    buckets: Buckets,
    admitted: NDArray[np.bool_],
    day: NDArray[np.int64],
    numbers: NDArray[np.int64],
    count: NDArray[np.int64],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return medians of load and runtime in the lower and the upper half of each day's loads."""
    found = np.full((4, len(numbers)), np.nan)
    at = np.flatnonzero(admitted)
    order = at[np.lexsort((buckets.load[at], day[at]))]
    log_load, log_runtime = np.log(buckets.load[order]), np.log(buckets.runtime[order])
    begin = np.r_[0, np.cumsum(count)]
    for place in np.flatnonzero(count >= FEWEST_SAMPLES):
        low, high = begin[place], begin[place + 1]
        middle = (low + high) // 2
        found[0, place] = np.median(log_load[low:middle])
        found[1, place] = np.median(log_runtime[low:middle])
        found[2, place] = np.median(log_load[middle:high])
        found[3, place] = np.median(log_runtime[middle:high])
    return found[0], found[1], found[2], found[3]
