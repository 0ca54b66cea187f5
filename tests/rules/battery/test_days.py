"""Which samples of the reported runtime are admitted: the traps, one by one."""

from dataclasses import replace

import numpy as np
import pytest

from rules.battery.days import DAY_SECONDS, days_of
from rules.battery.facts import Buckets

DAY = 20_500
A_DAY = 96


def buckets(count: int = 6) -> Buckets:
    """Calm days: full, 40 % load by night and 50 % by day, 20 and 15 min."""
    n = count * A_DAY
    start = DAY * DAY_SECONDS + 900 * np.arange(n)
    by_day = np.arange(n) % A_DAY >= 48
    load = np.where(by_day, 50.0, 40.0)
    return Buckets(
        start=start,
        load=load,
        load_min=load - 1,
        load_max=load + 1,
        runtime=np.where(by_day, 900.0, 1200.0),
        charge_min=np.full(n, 100.0),
        celsius=np.full(n, 24.0),
        on_battery=np.zeros(n),
    )


def changed(calm: Buckets, first: int, last: int, **values: float) -> Buckets:
    arrays = {name: getattr(calm, name).copy() for name in values}
    for name, value in values.items():
        arrays[name][first:last] = value
    return replace(calm, **arrays)


def test_a_calm_day_gives_its_lower_and_its_upper_half():
    told = days_of(buckets(2))

    assert list(told.day) == [DAY, DAY + 1]
    assert np.exp(told.log_load_low[1]) == pytest.approx(40)
    assert np.exp(told.log_runtime_low[1]) == pytest.approx(1200)
    assert np.exp(told.log_load_high[1]) == pytest.approx(50)
    assert np.exp(told.log_runtime_high[1]) == pytest.approx(900)
    assert list(told.celsius) == [24.0, 24.0]


LAST = slice(5 * A_DAY, 6 * A_DAY)
TRAPS = {
    "charge below full after an outage": {"charge_min": 98.0},
    "very light load": {"load": 8.0},
    "load near its limit": {"load": 95.0},
    "runtime of zero at full charge": {"runtime": 0.0},
    "runtime of 65,535 minutes": {"runtime": 65_535 * 60.0},
    "on battery": {"on_battery": 30.0},
    "nothing known": {"runtime": np.nan, "load": np.nan},
}


@pytest.mark.parametrize("values", TRAPS.values(), ids=TRAPS.keys())
def test_a_day_of_such_samples_tells_nothing(values):
    told = days_of(changed(buckets(), LAST.start, LAST.stop, **values))

    assert told.samples[5] == 0
    assert np.isnan(told.log_runtime_low[5])
    assert told.samples[4] > 0


def test_after_a_discharge_nothing_is_admitted_until_it_has_been_full_for_eight_hours():
    told = days_of(changed(buckets(), 5 * A_DAY, 5 * A_DAY + 1, on_battery=600.0, charge_min=70.0))

    # Full again at once here: eight hours are 32 buckets. The one in which the load steps is left
    # out on every day.
    assert told.samples[5] == A_DAY - 32 - 1


def test_a_placeholder_after_a_start_is_passed_over_for_three_days():
    calm = buckets()
    gap = 2 * A_DAY
    kept = np.r_[0:gap, gap + 12 : len(calm.start)]
    told = days_of(Buckets(*(getattr(calm, name)[kept] for name in Buckets.__dataclass_fields__)))

    assert told.samples[1] > 0
    assert list(told.samples[2:5]) == [0, 0, 0]
    assert told.samples[5] > 0


def test_a_load_that_jumps_within_the_half_hour_is_not_admitted():
    calm = buckets()
    jumping = replace(
        calm, load_max=np.where(np.arange(len(calm.start)) % 4 == 0, 80.0, calm.load_max)
    )

    assert days_of(jumping).samples[4] == A_DAY / 2


def test_a_unit_that_tells_no_charge_counts_as_full_two_days_after_a_discharge():
    calm = changed(buckets(), 0, 6 * A_DAY, charge_min=np.nan)
    told = days_of(changed(calm, A_DAY, A_DAY + 1, on_battery=300.0))

    assert told.samples[0] > 0
    assert told.samples[2] == 0
    assert told.samples[4] > 0


def test_nothing_gives_no_days():
    empty = np.empty(0)
    nothing = days_of(Buckets(np.empty(0, np.int64), *(empty for _ in range(7))))
    assert len(nothing.day) == 0
