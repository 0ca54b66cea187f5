"""What functions over time mean: one column's past as steps, and what a window makes of it. Pure.

A column's past is a step function: a value holds from the reading that told it until the next one
that tells it, but no longer than it may be believed; after that it is not known. That is the merged
row of `rules.engine`, kept. A window ends in a reading; between readings its value holds as any
other value does. `rules.history` makes steps of many readings at once, `Past` of one at a time, and
`window_values` works both out, so live judging and a back-test cannot differ.

- `avg` is weighed by time over what is known, `min` and `max` are of what was held, also of what
  held when the window began; `share` is how much of the known time a flag was true (0 to 1),
  `count` how often it became true.
- `delta` is the newest value minus the one held when the window began, `rate` that per hour.
- `since` is for how many seconds a flag has been true without a break, counted up to 7 days; 0
  while it is false, so that a condition over it alone is false then and clears.
- Missing is not normal: NULL where the newest value is not known; `avg`, `min`, `max`, `share` and
  `count` also where less than half of the window is. A flag that became true while nobody knew is
  not counted, and `since` begins where it is known again.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from rules.conditions.tree import LARGEST, Aggregate, Window
from rules.facts import Reading
from rules.points import BY_COLUMN, Pace

Instants = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.int64]]

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Instants are whole microseconds from here, as PostgreSQL keeps them."""
NEVER = -(2**62)
ALWAYS = 2**62

LEAST_COVERAGE = 0.5
"""So much of a window has to be known (judgement: a mean of less says little of the rest)."""
DECIMALS = 6
"""Averages are rounded here, so that the order of summing cannot decide against a threshold."""
SLOW_IS_BELIEVED = 2 * 86_400 * 1_000_000
"""As `rules.believed.SLOW_STAYS_VALID`, in microseconds."""

_MICROSECOND = timedelta(microseconds=1)
_SLOW = frozenset(column for column, point in BY_COLUMN.items() if point.pace is Pace.SLOW)


def microseconds(at: datetime) -> int:
    """Return an instant as whole microseconds since `EPOCH`."""
    return (at - EPOCH) // _MICROSECOND


def instant(at: int) -> datetime:
    """Return the instant of so many microseconds since `EPOCH`."""
    return EPOCH + int(at) * _MICROSECOND


class Steps(NamedTuple):
    """One column's past on several devices, device by device: `values` hold from `starts` on.

    NaN is not known. `ends[n]` is the place after the last step of the n-th device.
    """

    starts: Instants
    values: Numbers
    ends: Places


class Past:
    """What one device's columns have been, as far back as windows look; takes readings in order.

    `observed_at` is that of the newest reading taken in.
    """

    __slots__ = ("_fast_at", "_held", "_slow_at", "_spans", "_valid", "at", "observed_at", "steps")

    def __init__(self, spans: Mapping[str, int]) -> None:
        """`spans`: for how many seconds each column's past is wanted."""
        self.observed_at: datetime | None = None
        self.at = NEVER
        self.steps: dict[str, tuple[array[int], array[float]]] = {
            column: (array("q"), array("d")) for column in spans
        }
        self._spans = spans
        self._held: dict[str, float] = dict.fromkeys(spans, np.nan)
        self._fast_at = NEVER
        self._slow_at = NEVER
        self._valid = 0

    @classmethod
    def loaded(
        cls,
        spans: Mapping[str, int],
        *,
        observed_at: datetime,
        fast_at: int,
        slow_at: int,
        valid: int,
        held: Mapping[str, float],
        steps: Mapping[str, tuple[Instants, Numbers]],
    ) -> "Past":
        """Make a past of what `rules.history` worked out of many readings."""
        past = cls(spans)
        past.observed_at, past.at = observed_at, microseconds(observed_at)
        past._fast_at, past._slow_at, past._valid = fast_at, slow_at, valid
        past._held.update(held)
        for column, (starts, values) in steps.items():
            keep = np.ones(len(starts), bool)
            same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
            keep[1:] = ~same
            past.steps[column] = (
                array("q", starts[keep].tobytes()),
                array("d", values[keep].tobytes()),
            )
        return past

    def take(self, reading: Reading) -> None:
        """Merge a newer reading, as `rules.engine.Facts.take` does."""
        at = microseconds(reading.observed_at)
        points = reading.points
        until = self._fast_until
        has_expired = until < at and self._fast_at != NEVER
        slow_until = self._slow_until
        if not _SLOW.issuperset(points):
            self._fast_at = at
        if not _SLOW.isdisjoint(points):
            self._slow_at = at
        stays = reading.stays_valid_seconds
        self._valid = ALWAYS if stays is None else round(stays * 1_000_000)
        fast_is_known = self._fast_at != NEVER and at <= self._fast_until
        slow_is_known = self._slow_at != NEVER and at <= self._slow_until
        for column in self._spans:
            is_slow = column in _SLOW
            if not is_slow and has_expired:
                self._unknown(column, until + 1, at)
                self._held[column] = np.nan
            elif is_slow:
                self._unknown(column, slow_until + 1, at)
            if column in points:
                self._held[column] = usable(points[column])
            elif column in reading.withheld:
                self._held[column] = np.nan
            is_known = slow_is_known if is_slow else fast_is_known
            self._step(column, at, self._held[column] if is_known else np.nan)
        self.at, self.observed_at = at, reading.observed_at

    @property
    def _fast_until(self) -> int:
        return ALWAYS if self._valid >= ALWAYS else self._fast_at + self._valid

    @property
    def _slow_until(self) -> int:
        return ALWAYS if self._slow_at == NEVER else self._slow_at + SLOW_IS_BELIEVED

    def _unknown(self, column: str, since: int, until: int) -> None:
        if since < until:
            self._step(column, since, np.nan)

    def _step(self, column: str, at: int, value: float) -> None:
        starts, values = self.steps[column]
        if values and (values[-1] == value or (values[-1] != values[-1] and value != value)):  # noqa: PLR0124 - NaN
            return
        starts.append(at)
        values.append(value)
        if len(starts) > _TRIM_FROM and len(starts) % _TRIM_FROM == 0:
            self._trim(column, at)

    def _trim(self, column: str, at: int) -> None:
        """Forget steps that were over before the longest window; the one held then stays."""
        starts, values = self.steps[column]
        over = int(np.searchsorted(starts, at - self._spans[column] * 1_000_000, "right")) - 1
        if over > 0:
            del starts[:over]
            del values[:over]


_TRIM_FROM = 128


def usable(value: object) -> float:
    """Return a told value as a number: flags are 1 and 0, what counts as unknown is NaN."""
    if isinstance(value, float | int):
        number = float(value)
        return number if abs(number) <= LARGEST else np.nan
    return np.nan


def longest_spans(windows: Iterable[Window]) -> dict[str, int]:
    """Return for how many seconds the past of each column is wanted."""
    spans: dict[str, int] = {}
    for window in windows:
        spans[window.column.name] = max(spans.get(window.column.name, 0), window.seconds)
    return spans


def values_of(
    windows: Sequence[Window],
    pasts: Sequence[Past],
    looks: Sequence[tuple[int, int]],
) -> dict[str, list[float | None]]:
    """Work windows out at looks (place in `pasts`, instant); the answers by the windows' names."""
    places = np.array([place for place, _ in looks], np.int64)
    at = np.array([instant for _, instant in looks], np.int64)
    by_column: dict[str, Steps] = {}
    answers: dict[str, list[float | None]] = {}
    for window in windows:
        column = window.column.name
        if column not in by_column:
            by_column[column] = _joined([past.steps[column] for past in pasts])
        found = window_values(window, by_column[column], places, at)
        answers[window.name] = [None if number != number else number for number in found.tolist()]  # noqa: PLR0124 - NaN
    return answers


def _joined(steps: Sequence[tuple["array[int]", "array[float]"]]) -> Steps:
    starts = b"".join(each.tobytes() for each, _ in steps)
    values = b"".join(each.tobytes() for _, each in steps)
    return Steps(
        np.frombuffer(starts, np.int64),
        np.frombuffer(values, np.float64),
        np.cumsum([len(each) for each, _ in steps], dtype=np.int64),
    )


def window_values(window: Window, steps: Steps, devices: Places, at: Instants) -> Numbers:
    """Work one window out, ending `at` instants on devices (places in `steps.ends`); NaN is NULL.

    The steps of a device ascend. Looks before its first step are NULL.
    """
    span = window.seconds * 1_000_000
    answers = np.full(len(at), np.nan)
    if len(steps.starts) == 0 or len(at) == 0:
        return answers
    firsts = np.concatenate(([0], steps.ends[:-1]))
    last = _place_at(steps, firsts, devices, at)
    known_now = last >= firsts[devices]
    known_now[known_now] = ~np.isnan(steps.values[last[known_now]])
    if not known_now.any():
        return answers
    devices, at, last = devices[known_now], at[known_now], last[known_now]
    begin = _place_at(steps, firsts, devices, at - span)
    is_inside = begin >= firsts[devices]
    if window.aggregate in {Aggregate.DELTA, Aggregate.RATE}:
        before = np.where(is_inside, steps.values[np.maximum(begin, 0)], np.nan)
        change = steps.values[last] - before
        per = window.seconds / 3600 if window.aggregate is Aggregate.RATE else 1.0
        answers[known_now] = np.round(change / per, DECIMALS)
        return answers
    if window.aggregate is Aggregate.SINCE:
        since = (at - _began(steps, firsts)[last]) / 1e6
        is_true = steps.values[last] == 1.0
        answers[known_now] = np.where(is_true, np.minimum(since, float(window.seconds)), 0.0)
        return answers
    first = np.where(is_inside, begin, firsts[devices])
    lengths = _lengths(steps, firsts)
    is_known = ~np.isnan(steps.values)
    covered = _integral(np.where(is_known, 1.0, 0.0), lengths, steps, first, last, at, at - span)
    found: Numbers
    match window.aggregate:
        case Aggregate.AVERAGE | Aggregate.SHARE:
            held = np.where(is_known, steps.values, 0.0)
            total = _integral(held, lengths, steps, first, last, at, at - span)
            with np.errstate(invalid="ignore", divide="ignore"):
                found = np.round(total / covered, DECIMALS)
        case Aggregate.LEAST:
            found = _least(np.where(is_known, steps.values, np.inf), first, last)
        case Aggregate.GREATEST:
            found = -_least(np.where(is_known, -steps.values, np.inf), first, last)
        case _:
            rises = np.concatenate(([0], np.cumsum(_rises(steps, firsts))))
            found = (rises[last + 1] - rises[first + 1]).astype(np.float64)
            # A first step is never a rise; one that is where the window began lies before it.
    answers[known_now] = np.where(covered >= LEAST_COVERAGE * window.seconds, found, np.nan)
    return answers


def _place_at(steps: Steps, firsts: Places, devices: Places, at: Instants) -> Places:
    """Return the step that each look falls into; below the device's first where there is none."""
    # Devices are laid one behind the other on one axis, so that a single search finds all.
    origin = min(int(steps.starts.min()), int(at.min()))
    width = max(int(steps.starts.max()), int(at.max())) - origin + 1
    counts = np.diff(np.concatenate(([0], steps.ends)))
    axis = np.repeat(np.arange(len(steps.ends)), counts) * width + (steps.starts - origin)
    found: Places = np.searchsorted(axis, devices * width + (at - origin), "right") - 1
    return np.where(found < firsts[devices], firsts[devices] - 1, found)


def _lengths(steps: Steps, firsts: Places) -> Numbers:
    """Return for how many seconds each step held; the last of a device for none yet."""
    lengths = np.zeros(len(steps.starts))
    lengths[:-1] = np.diff(steps.starts) / 1e6
    last = steps.ends[steps.ends > firsts] - 1
    lengths[last] = 0.0
    return lengths


def _integral(
    held: Numbers,
    lengths: Numbers,
    steps: Steps,
    first: Places,
    last: Places,
    at: Instants,
    since: Instants,
) -> Numbers:
    """Sum `held` over time from `since`, which falls into step `first`, to `at` in `last`."""
    sums = np.concatenate(([0.0], np.cumsum(held * lengths)))
    begun = np.maximum(since - steps.starts[first], 0) / 1e6
    rest = (at - steps.starts[last]) / 1e6
    found: Numbers = sums[last] + held[last] * rest - sums[first] - held[first] * begun
    return found


def _least(values: Numbers, first: Places, last: Places) -> Numbers:
    """Return the least of `values` from place `first` to `last`, for each pair.

    Level by level of a sparse table: two overlapping runs of a power of two cover each range.
    """
    found = np.empty(len(first))
    levels = np.frexp(last - first + 1)[1] - 1
    runs, length = values, 1
    for level in range(int(levels.max(initial=0)) + 1):
        mine = levels == level
        if mine.any():
            found[mine] = np.minimum(runs[first[mine]], runs[last[mine] - length + 1])
        runs = np.minimum(runs[:-length], runs[length:]) if len(runs) > length else runs
        length *= 2
    return found


def _rises(steps: Steps, firsts: Places) -> Places:
    """Mark the steps that become true straight after false."""
    rises = np.zeros(len(steps.values), np.int64)
    rises[1:] = (steps.values[1:] == 1.0) & (steps.values[:-1] == 0.0)
    rises[firsts[firsts < len(rises)]] = 0
    return rises


def _began(steps: Steps, firsts: Places) -> Instants:
    """Return for each step when its value began to hold without a break."""
    is_new = np.ones(len(steps.values), bool)
    is_new[1:] = steps.values[1:] != steps.values[:-1]
    is_new[firsts[firsts < len(is_new)]] = True
    place = np.maximum.accumulate(np.where(is_new, np.arange(len(is_new)), 0))
    began: Instants = steps.starts[place]
    return began
