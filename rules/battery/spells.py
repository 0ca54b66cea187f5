"""Stretches of 15-minute buckets in which something held: times on battery, and the unit's flag.

Coarse: a stretch begins and ends with a bucket, its seconds are those that the flag held. What a
bucket cannot show (two outages in one) counts as one.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from rules.battery.days import BUCKET_SECONDS
from rules.battery.facts import Buckets, Discharge, FlagTime, Floats, Integers

EMPTY_PERCENT = 10.0
"""Charge at which a battery counts as empty at the end of a discharge."""
_APART_SECONDS = 2 * BUCKET_SECONDS


def discharges_of(buckets: Buckets) -> list[Discharge]:
    """Return the times on battery, oldest first; a time still going on is left for later."""
    found = []
    for first, last in _stretches(buckets.on_battery > 0, buckets.start):
        if last == len(buckets.start) - 1:
            continue
        inside = slice(first, last + 1)
        load = _mean(buckets.load[inside])
        if load is None:
            continue
        before = first - 1 if first and _follows(buckets.start, first) else None
        after = _least(buckets.charge_min[inside])
        found.append(
            Discharge(
                ended_at=_instant(int(buckets.start[last]) + BUCKET_SECONDS),
                seconds=float(buckets.on_battery[inside].sum()),
                load=load,
                charge_before=None if before is None else _known(buckets.charge_min[before]),
                charge_after=after,
                celsius=_mean(buckets.celsius[inside]),
                expected_seconds=None if before is None else _known(buckets.runtime[before]),
                reached_end=after is not None and after <= EMPTY_PERCENT,
            )
        )
    return found


def flag_times(start: Integers, seconds: Floats, now: datetime) -> tuple[FlagTime, ...]:
    """Return the stretches of buckets (their starts and the flag's seconds in each) it stood in."""
    times = []
    for first, last in _stretches(seconds > 0, start):
        held = timedelta(seconds=float(seconds[first : last + 1].sum()))
        until = _instant(int(start[last]) + BUCKET_SECONDS)
        # Its true begin within the first bucket is not known; how long it held is.
        times.append(FlagTime(min(until, now) - held, min(until, now)))
    return tuple(times)


def _stretches(holds: NDArray[np.bool_], start: Integers) -> list[tuple[int, int]]:
    """Return first and last place of each run of buckets that follow each other."""
    places = np.flatnonzero(holds)
    if not len(places):
        return []
    breaks = np.flatnonzero((np.diff(places) > 1) | (np.diff(start[places]) >= _APART_SECONDS))
    firsts = np.r_[places[0], places[breaks + 1]]
    lasts = np.r_[places[breaks], places[-1]]
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


def _follows(start: Integers, place: int) -> bool:
    return int(start[place] - start[place - 1]) < _APART_SECONDS


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _least(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.min()) if len(known) else None


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
