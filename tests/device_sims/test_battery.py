import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sims.battery import Battery, ageing_rate, capacity_index, warmth_factor
from device_sims.spec import BatterySpec, Chemistry
from device_sims.surroundings import YEAR

NEW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3_600.0


def battery(age_years=0.0, **changes):
    spec = BatterySpec(
        **{"capacity_ah": 9.0, "cells": 36, "installed_at": NEW, "peukert": 1.2, **changes}
    )
    return Battery(spec, age_years=age_years)


def test_a_full_battery_at_its_rated_current_lasts_its_rated_hours():
    # 9 Ah over 20 h is 0.45 A.
    assert battery().seconds_to_empty(0.45) == pytest.approx(20 * HOUR)


def test_twice_the_current_costs_two_to_the_peukert_exponent():
    fresh = battery()
    ratio = fresh.seconds_to_empty(9.0) / fresh.seconds_to_empty(18.0)
    assert ratio == pytest.approx(2**1.2)


def test_runtime_at_a_high_rate_follows_peukert_by_hand():
    # t = 20 h · (9 Ah / (27 A · 20 h))^1.2 = 20 h · (1/60)^1.2 = 529 s.
    assert battery().seconds_to_empty(27.0) == pytest.approx(529.0, abs=1.0)


def test_below_the_rated_current_no_more_than_the_rated_capacity_comes_out():
    assert battery().seconds_to_empty(0.09) == pytest.approx(100 * HOUR)


def test_a_discharge_ends_at_zero_and_takes_the_time_that_peukert_gives():
    drained = battery()
    seconds = 0
    while drained.charge > 0.0:
        drained.discharge(27.0, 1.0)
        seconds += 1
    assert seconds == pytest.approx(529, abs=1)
    drained.discharge(27.0, 60.0)
    assert drained.charge == 0.0


def test_a_lost_part_of_capacity_costs_more_than_that_part_of_runtime():
    # Life used 100 %: index 0.8, and runtime at a constant current 0.8^1.2 = 0.765.
    worn = battery(age_years=4.0, service_life_years=4.0)
    assert worn.index == pytest.approx(0.8)
    assert worn.seconds_to_empty(27.0) / battery().seconds_to_empty(27.0) == pytest.approx(
        0.765, abs=1e-3
    )


@pytest.mark.parametrize("hours", [8.0, 10.0, 24.0])
def test_recharge_from_empty_reaches_99_percent_in_its_nominal_time(hours):
    empty = battery(recharge_hours=hours)
    empty.charge = 0.0
    empty.recharge(hours * HOUR)
    assert empty.charge == pytest.approx(0.99, abs=0.002)


@given(st.lists(st.floats(1.0, 7_200.0), min_size=1, max_size=20))
def test_recharging_in_any_steps_comes_to_the_same(steps):
    whole, pieces = battery(), battery()
    whole.charge = pieces.charge = 0.1
    whole.recharge(sum(steps))
    for step in steps:
        pieces.recharge(step)
    assert pieces.charge == pytest.approx(whole.charge, abs=1e-3)


def test_recharge_puts_back_110_percent_of_the_ampere_hours():
    empty = battery()
    empty.charge = 0.0
    back = 0.0
    for _ in range(30 * 60):
        back += empty.charging_amperes / 60.0
        empty.recharge(60.0)
    assert back == pytest.approx(9.0 * 1.1, rel=0.01)


def test_a_battery_ten_degrees_warmer_ages_twice_as_fast():
    assert ageing_rate(Chemistry.VRLA, 25.0) == 1.0
    assert ageing_rate(Chemistry.VRLA, 35.0) == pytest.approx(2.0)
    assert ageing_rate(Chemistry.VRLA, 15.0) == pytest.approx(0.5)
    warm = battery()
    warm.celsius = 35.0
    warm.age(YEAR)
    assert warm.age_years == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("life_used", "index"),
    [(0.0, 1.0), (0.6, 1.0), (0.8, 0.9), (1.0, 0.8), (1.2, 0.6), (9.0, 0.15)],
)
def test_lead_acid_capacity_keeps_until_a_knee_and_falls_to_80_percent_at_its_end(life_used, index):
    assert capacity_index(Chemistry.VRLA, life_used) == pytest.approx(index)


def test_lithium_capacity_falls_with_the_square_root_of_time():
    assert capacity_index(Chemistry.LI_ION, 1.0) == pytest.approx(0.8)
    assert capacity_index(Chemistry.LI_ION, 0.25) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("celsius", "factor"), [(10.0, 0.86), (21.1, 0.96), (25.0, 1.0), (35.0, 1.05)]
)
def test_cold_takes_capacity_as_the_15_minute_table_says(celsius, factor):
    assert warmth_factor(celsius) == pytest.approx(factor, abs=0.01)


def test_the_current_at_a_power_delivers_that_power_behind_the_resistance():
    fresh = battery()
    amperes = fresh.current_at(1_500.0)
    assert amperes * (fresh.rest_volts - amperes * fresh.ohms) == pytest.approx(1_500.0)


def test_a_power_that_the_battery_cannot_deliver_is_an_infinite_current():
    assert math.isinf(battery().current_at(1e6))


def test_float_voltage_is_2_25_volts_a_cell_and_falls_3_millivolts_a_degree():
    cool, warm = battery(), battery()
    warm.celsius = 35.0
    assert cool.float_volts == pytest.approx(36 * 2.25)
    assert cool.float_volts - warm.float_volts == pytest.approx(36 * 0.030)


def test_a_resting_battery_loses_two_and_a_half_percent_a_month_at_20_degrees():
    resting = battery()
    resting.celsius = 20.0
    resting.rest(30 * 24 * HOUR)
    assert resting.charge == pytest.approx(math.exp(-0.025))
