"""Readings of many devices merged at once, as `rules.engine.Facts` merges them one by one. Pure.

Rows go in device by device, ascending; out comes what was believed at each reading, when fast
values had expired before it, and each column's past as steps for `rules.windows`. A span of history
is walked in pieces: `Carried` is what one piece hands to the next.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rules.points import BY_COLUMN, Pace
from rules.windows import (
    ALWAYS,
    NEVER,
    SLOW_IS_BELIEVED,
    Instants,
    Numbers,
    Places,
    Steps,
)

NOT_TOLD = -np.inf
"""Stands for a point that a reading does not tell; NaN is one that it tells and nobody believes."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings, device by device: `ends[n]` is the place after the last one of the n-th device.

    `valid` is for how many microseconds fast points are believed; `fast` and `slow` whether the
    reading told any of that pace. `points` are numbers, flags as 1 and 0, texts as their place in
    a list; `NOT_TOLD` where it tells none.
    """

    ends: Places
    at: Instants
    valid: Instants
    fast: np.ndarray
    slow: np.ndarray
    points: Mapping[str, Numbers]

    @property
    def firsts(self) -> Places:
        """The place of each device's first row, or of the next device's where it has none."""
        return np.concatenate(([0], self.ends[:-1]))


@dataclass(slots=True)
class Carried:
    """What is known of each device where a piece of history ends."""

    at: Instants
    fast_at: Instants
    slow_at: Instants
    valid: Instants
    held: dict[str, Numbers]
    steps: dict[str, Steps]

    @classmethod
    def nothing(cls, devices: int, columns: Iterable[str]) -> "Carried":
        """Return what is known before the first reading."""
        columns = list(columns)
        never = np.full(devices, NEVER, np.int64)
        none = Steps(np.empty(0, np.int64), np.empty(0), np.zeros(devices, np.int64))
        return cls(
            never,
            never,
            never,
            np.zeros(devices, np.int64),
            {column: np.full(devices, np.nan) for column in columns},
            dict.fromkeys(columns, none),
        )

    @property
    def fast_until(self) -> Instants:
        """When the fast points of each device stop being believed."""
        return fast_until(self.fast_at, self.valid)


@dataclass(frozen=True, slots=True)
class Merged:
    """What was believed at each row: NaN is not known.

    `expired_at` is when the fast values had stopped being believed before the row, `NEVER` where
    they had not.
    """

    devices: Places
    expired_at: Instants
    believed: Mapping[str, Numbers]
    steps: Mapping[str, Steps]


def fast_until(fast_at: Instants, valid: Instants) -> Instants:
    """Return until when fast points are believed; ALWAYS where none was told or none expires."""
    endless = (fast_at == NEVER) | (valid >= ALWAYS)
    return np.where(endless, ALWAYS, np.where(endless, 0, fast_at) + np.where(endless, 0, valid))


def _slow_until(slow_at: Instants) -> Instants:
    never = slow_at == NEVER
    return np.where(never, ALWAYS, np.where(never, 0, slow_at) + SLOW_IS_BELIEVED)


def merge(rows: Rows, carried: Carried, spans: Mapping[str, int]) -> Merged:
    """Merge a piece of history that begins where `carried` ends; `carried` goes on to its end.

    `spans` says for how many seconds the steps of a column are wanted.

    1. The newest instants of fast and slow points at each row, hence when what is known expires.
    2. Each column's newest told value; fast ones are forgotten where they had expired.
    3. Steps: a row's value from its instant on, unknown from where it expires to the next row.
    """
    count = len(rows.at)
    firsts = rows.firsts
    lengths = rows.ends - firsts
    devices = np.repeat(np.arange(len(rows.ends)), lengths)
    place = np.arange(count)
    first_of_device = firsts[devices]
    is_first = place == first_of_device

    fast_at = _newest(rows.at, rows.fast, first_of_device, carried.fast_at[devices])
    slow_at = _newest(rows.at, rows.slow, first_of_device, carried.slow_at[devices])
    until, slow_until = fast_until(fast_at, rows.valid), _slow_until(slow_at)
    until_before = _before(until, is_first, carried.fast_until[devices])
    slow_until_before = _before(slow_until, is_first, _slow_until(carried.slow_at)[devices])
    has_expired = until_before < rows.at
    before = _before(rows.at, is_first, carried.at[devices])
    fast_is_known = (fast_at != NEVER) & (rows.at <= until)
    slow_is_known = (slow_at != NEVER) & (rows.at <= slow_until)

    forgotten = np.maximum.accumulate(np.where(has_expired | is_first, place, 0))
    keeps_carried = (forgotten == first_of_device) & ~has_expired[forgotten]
    last = rows.ends[lengths > 0] - 1
    present = devices[last]

    believed: dict[str, Numbers] = {}
    steps: dict[str, Steps] = {}
    for column, values in rows.points.items():
        is_slow = BY_COLUMN[column].pace is Pace.SLOW
        since = first_of_device if is_slow else forgotten
        told = np.maximum.accumulate(np.where(values != NOT_TOLD, place, -1))
        otherwise = carried.held[column][devices]
        if not is_slow:
            otherwise = np.where(keeps_carried, otherwise, np.nan)
        held = np.where(told >= since, values[np.maximum(told, 0)], otherwise)
        believed[column] = np.where(slow_is_known if is_slow else fast_is_known, held, np.nan)
        carried.held[column] = carried.held[column].copy()
        carried.held[column][present] = held[last]
        if column in spans:
            gaps = slow_until_before if is_slow else until_before
            new = _steps(rows, devices, believed[column], np.where(gaps < before, ALWAYS, gaps))
            steps[column] = _behind(carried.steps[column], new)
            ends_at = np.full(len(rows.ends), NEVER, np.int64)
            ends_at[present] = rows.at[last] - spans[column] * 1_000_000
            carried.steps[column] = _tail(steps[column], ends_at)
    carried.at = _set(carried.at, present, rows.at[last])
    carried.fast_at = _set(carried.fast_at, present, fast_at[last])
    carried.slow_at = _set(carried.slow_at, present, slow_at[last])
    carried.valid = _set(carried.valid, present, rows.valid[last])
    return Merged(devices, np.where(has_expired, until_before, NEVER), believed, steps)


def _newest(at: Instants, told: np.ndarray, first: Places, carried: Instants) -> Instants:
    place = np.maximum.accumulate(np.where(told, np.arange(len(at)), -1))
    return np.where(place >= first, at[np.maximum(place, 0)], carried)


def _before(values: Instants, is_first: np.ndarray, carried: Instants) -> Instants:
    return np.where(is_first, carried, np.roll(values, 1))


def _set(values: Instants, places: Places, new: Instants) -> Instants:
    values = values.copy()
    values[places] = new
    return values


def _steps(rows: Rows, devices: Places, believed: Numbers, gaps: Instants) -> Steps:
    """Return the steps of a column's rows, with one of nothing known in each gap before a row.

    `gaps` is when what was believed at the row before had expired, ALWAYS where nothing was.
    """
    unknown_from = np.flatnonzero(gaps + 1 < rows.at)
    starts = np.insert(rows.at, unknown_from, gaps[unknown_from] + 1)
    values = np.insert(believed, unknown_from, np.nan)
    more = np.bincount(devices[unknown_from], minlength=len(rows.ends))
    return Steps(starts, values, rows.ends + np.cumsum(more))


def _behind(before: Steps, after: Steps) -> Steps:
    """Put each device's later steps behind its earlier ones."""
    if len(before.starts) == 0:
        return after
    lengths_before = np.diff(np.concatenate(([0], before.ends)))
    lengths_after = np.diff(np.concatenate(([0], after.ends)))
    to_before = np.arange(len(before.starts)) + np.repeat(
        after.ends - lengths_after, lengths_before
    )
    to_after = np.arange(len(after.starts)) + np.repeat(before.ends, lengths_after)
    starts = np.empty(len(before.starts) + len(after.starts), np.int64)
    values = np.empty(len(starts))
    starts[to_before], starts[to_after] = before.starts, after.starts
    values[to_before], values[to_after] = before.values, after.values
    return Steps(starts, values, before.ends + after.ends)


def _tail(steps: Steps, since: Instants) -> Steps:
    """Leave out steps that another one replaced by the device's instant in `since`."""
    lengths = np.diff(np.concatenate(([0], steps.ends)))
    devices = np.repeat(np.arange(len(lengths)), lengths)
    replaced_at = np.full(len(steps.starts), ALWAYS, np.int64)
    replaced_at[:-1] = steps.starts[1:]
    replaced_at[steps.ends[lengths > 0] - 1] = ALWAYS
    keeps = replaced_at > since[devices]
    kept = np.bincount(devices[keeps], minlength=len(lengths))
    return Steps(steps.starts[keeps], steps.values[keeps], np.cumsum(kept))


def steps_by_device(steps: Mapping[str, Steps], device: int) -> dict[str, tuple[Instants, Numbers]]:
    """Return the steps of one device."""
    found = {}
    for column, each in steps.items():
        begin = int(each.ends[device - 1]) if device else 0
        end = int(each.ends[device])
        found[column] = (each.starts[begin:end], each.values[begin:end])
    return found


def texts_of(codes: Numbers, words: Sequence[str]) -> list[str | None]:
    """Return the texts behind codes; None where none is known."""
    return [None if code != code else words[int(code)] for code in codes.tolist()]  # noqa: PLR0124 - NaN
