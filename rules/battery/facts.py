"""What a battery figure is made from: the unit, its days, discharges, tests, its flag.

Frozen records and NumPy arrays, no behavior. Days are those of UTC; instants aware UTC.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DAYS_A_YEAR = 365.25


class Chemistry(StrEnum):
    """What a battery is made of, as far as its ageing differs."""

    VRLA = "vrla"
    LITHIUM_ION = "lithium_ion"


class TestOutcome(StrEnum):
    """How a self-test of the battery ended; only the first two say something about it."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    PASSED = "passed"
    FAILED = "failed"
    ABORTED = "aborted"
    INVALID = "invalid"
    """Did not count, for example because the battery was not full."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """A self-test and when it ended; `charge_before` in percent where it was seen."""

    __test__ = False

    outcome: TestOutcome
    ended_at: datetime
    charge_before: float | None = None


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery as the records know it.

    `service_life_years` is at the reference temperature. `installed_on` None: nobody knows.
    """

    chemistry: Chemistry
    service_life_years: float
    installed_on: date | None


@dataclass(frozen=True, slots=True)
class Buckets:
    """15-minute buckets of one unit, ascending; arrays of one length, NaN where nothing is known.

    `start` is in seconds since 1970 (UTC). `load` and its extremes, `charge_min` in percent;
    `runtime` in seconds as the unit reports it; `celsius` of the battery, else of the room;
    `on_battery` seconds of the bucket.
    """

    start: Integers
    load: Floats
    load_min: Floats
    load_max: Floats
    runtime: Floats
    charge_min: Floats
    celsius: Floats
    on_battery: Floats


@dataclass(frozen=True, slots=True)
class Days:
    """What each day tells, ascending; `day` counts from 1970-01-01.

    `celsius` is the mean, NaN where nothing credible was measured. A day's admitted samples are
    split at their median load: `log_load_low`, `log_runtime_low` are the medians of the lower half,
    `…_high` of the upper, natural logarithms of percent and of seconds; NaN without samples.
    """

    day: Integers
    celsius: Floats
    samples: Integers
    log_load_low: Floats
    log_runtime_low: Floats
    log_load_high: Floats
    log_runtime_high: Floats


@dataclass(frozen=True, slots=True)
class Discharge:
    """One time on battery, from an outage or a test.

    `seconds` lasted from full or nearly; `load` is its mean in percent; `charge_before` and
    `charge_after` in percent; `reached_end` when the battery was empty at its end.
    `expected_seconds` is what the unit said it had at the start, None where it did not say.
    """

    ended_at: datetime
    seconds: float
    load: float
    charge_before: float | None
    charge_after: float | None
    celsius: float | None = None
    expected_seconds: float | None = None
    reached_end: bool = False


@dataclass(frozen=True, slots=True)
class FlagTime:
    """A stretch in which the unit asked for a new battery; `until_at` None: it still does."""

    since_at: datetime
    until_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of one battery.

    `days` begins with the battery or with our watch, whichever is later. `flags` is None for a unit
    that has no such flag. `firmware_changed_on` are days since 1970 on which the card told another
    firmware. `test_interval_days` None: it is not known to test itself.
    """

    battery: Battery
    days: Days
    discharges: tuple[Discharge, ...] = ()
    tests: tuple[TestResult, ...] = ()
    flags: tuple[FlagTime, ...] | None = ()
    firmware_changed_on: tuple[int, ...] = ()
    test_interval_days: float | None = None


def day_number(day: date) -> int:
    """Count days from 1970-01-01."""
    return day.toordinal() - _EPOCH


def day_of(number: float) -> date:
    """Return the date that `day_number` counts, within what a calendar holds."""
    return date.fromordinal(max(1, min(_LAST, round(number) + _EPOCH)))


_EPOCH = date(1970, 1, 1).toordinal()
_LAST = date(9998, 12, 31).toordinal()
