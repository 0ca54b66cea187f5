"""Where a history begins anew: a battery was replaced, or a firmware counts otherwise.

A step up of the reported runtime at the same load means a new battery, unless the firmware changed
with it: then what the unit reports is brought back to what it was, whichever way it stepped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rules.battery.baseline import exponent_of, levels
from rules.battery.facts import Days, Floats

STEP = float(np.log(1.15))
"""Up by fifteen percent."""
SIDE_DAYS = 14
"""Days with samples on either side whose medians are compared."""
NOISES = 4.0
"""A step has to stand out of the days' scatter so many times."""
FIRMWARE_DAYS = 10
"""A step so near a change of firmware is the firmware's."""


@dataclass(frozen=True, slots=True)
class Course:
    """The days of the newest battery, steps of firmware taken out.

    `swapped_on` is the day since 1970 on which its runtime stepped up, None where it did not.
    `firmware_steps` are the factors by which a firmware changed the reported runtime.
    """

    days: Days
    swapped_on: int | None = None
    firmware_steps: tuple[float, ...] = ()


def newest_course(days: Days, firmware_changed_on: tuple[int, ...]) -> Course:
    """Take firmware's steps out, then begin with the last step up."""
    factors: list[float] = []
    for changed_on in firmware_changed_on:
        step = _step_at(days, changed_on)
        if step is not None and abs(step) >= STEP:
            days = _scaled(days, changed_on, -step)
            factors.append(float(np.exp(step)))
    swapped_on = _last_step_up(days, firmware_changed_on)
    if swapped_on is not None:
        days = since(days, swapped_on)
    return Course(days, swapped_on, tuple(factors))


def since(days: Days, first: int) -> Days:
    """Return the days from `first` on."""
    kept = days.day >= first
    return Days(
        days.day[kept],
        days.celsius[kept],
        days.samples[kept],
        days.log_load_low[kept],
        days.log_runtime_low[kept],
        days.log_load_high[kept],
        days.log_runtime_high[kept],
    )


def silenced_before(days: Days, first: int) -> Days:
    """Return the days with what was told of runtime before `first` left out."""
    return _silenced(days, days.day >= first)


def told_by(days: Days, serial: str | None, changes: Sequence[tuple[int, str, str]]) -> Days:
    """Return the days with what other units told in this one's place left out.

    Runtimes of another unit say nothing of this one; the room is the same. `serial` None: nobody
    knows which unit it is, so that all counts. `changes` are days on which the serial number that
    was told changed, from what to what, in order; each holds from its day on.
    """
    if not changes or serial is None:
        return days
    own = np.full(len(days.day), changes[0][1] == serial)
    for day, _, after in changes:
        own = np.where(days.day >= day, after == serial, own)
    return _silenced(days, own)


def _silenced(days: Days, heard: NDArray[np.bool_]) -> Days:
    def kept(values: Floats) -> Floats:
        return np.where(heard, values, np.nan)

    return replace(
        days,
        samples=np.where(heard, days.samples, 0),
        log_load_low=kept(days.log_load_low),
        log_runtime_low=kept(days.log_runtime_low),
        log_load_high=kept(days.log_load_high),
        log_runtime_high=kept(days.log_runtime_high),
    )


def _step_at(days: Days, changed_on: int) -> float | None:
    exponent, _ = exponent_of(days)
    day, level, _ = levels(days, exponent)
    place = int(np.searchsorted(day, changed_on))
    before, after = level[max(0, place - SIDE_DAYS) : place], level[place : place + SIDE_DAYS]
    if len(before) < SIDE_DAYS // 2 or len(after) < SIDE_DAYS // 2:
        return None
    return float(np.median(after) - np.median(before))


def _scaled(days: Days, first: int, change: float) -> Days:
    later = np.where(days.day >= first, change, 0.0)
    return replace(
        days,
        log_runtime_low=days.log_runtime_low + later,
        log_runtime_high=days.log_runtime_high + later,
    )


def _last_step_up(days: Days, firmware_changed_on: tuple[int, ...]) -> int | None:
    """Return the day of the last step up that is no firmware's and stays."""
    exponent, _ = exponent_of(days)
    day, level, _ = levels(days, exponent)
    if len(day) < 2 * SIDE_DAYS:
        return None
    sides = np.lib.stride_tricks.sliding_window_view(level, SIDE_DAYS)
    medians = np.median(sides, axis=1)
    steps: Floats = medians[SIDE_DAYS:] - medians[:-SIDE_DAYS]
    scatter = 1.4826 * np.median(np.abs(sides - medians[:, None]), axis=1)
    noise = np.maximum(scatter[SIDE_DAYS:], scatter[:-SIDE_DAYS])
    is_step = steps >= np.maximum(STEP, NOISES * noise)
    found = None
    for place in np.flatnonzero(is_step):
        near = slice(max(0, place - SIDE_DAYS), place + SIDE_DAYS + 1)
        at = int(day[place + SIDE_DAYS])
        is_sharpest = steps[place] >= steps[near].max()
        is_firmware = any(abs(at - changed) <= FIRMWARE_DAYS for changed in firmware_changed_on)
        # What rises and falls back was no new battery.
        stays = np.median(level[place + SIDE_DAYS :]) - medians[place] >= STEP / 2
        if is_sharpest and stays and not is_firmware:
            found = at
    return found
