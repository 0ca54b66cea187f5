"""Equivalent age, against values worked out by hand from the table of life factors."""

from dataclasses import replace

import numpy as np
import pytest

from rules.battery.ageing import credible, equivalent_age, rate_at
from rules.battery.facts import Chemistry
from tests.rules.battery.aging import TODAY, days

YEARS_4 = 1461


def age_of(told, *, age_days: int, chemistry=Chemistry.VRLA):
    found = equivalent_age(told, TODAY - age_days, TODAY, chemistry)
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("celsius", "rate"),
    [(25.0, 1.0), (35.0, 2.0), (30.0, 1.4142), (40.0, 2.8284), (23.0, 0.8706), (15.0, 0.8333)],
)
def test_heat_ages_a_battery_by_halving_its_life_and_cold_helps_by_a_fifth_at_most(celsius, rate):
    assert rate_at(np.array([celsius]), Chemistry.VRLA)[0] == pytest.approx(rate, rel=1e-3)


def test_the_rates_are_averaged_and_not_the_temperatures():
    told = days(100, celsius=25.0)
    told = replace(told, celsius=np.r_[15 + np.arange(50) / 1e3, 35 + np.arange(50) % 2 / 1e3])

    # 50 days at 1/1.2 and 50 at rate 2; the mean temperature of 25 °C would give 100 days.
    assert age_of(told, age_days=100).years * 365.25 == pytest.approx(41.67 + 100, abs=0.1)


def test_days_before_the_watch_count_as_the_room_was_since():
    told = replace(days(365), celsius=35 + np.arange(365) % 2 / 1e3)

    age = age_of(told, age_days=2 * 365)

    assert age.years == pytest.approx(2 * 2 * 365 / 365.25, rel=0.001)
    assert age.coverage == pytest.approx(0.5)


def test_days_of_a_unit_that_measures_nothing_count_as_25_degrees():
    told = replace(days(365), celsius=np.full(365, np.nan))

    age = age_of(told, age_days=YEARS_4)

    assert age.years == pytest.approx(4.0)
    assert (age.coverage, age.measured_days, age.sensor_fault) == (0.0, 0, False)


def test_lithium_ages_by_the_calendar():
    told = days(YEARS_4, celsius=35.0)
    assert age_of(told, age_days=YEARS_4, chemistry=Chemistry.LITHIUM_ION).years == pytest.approx(4)


@pytest.mark.parametrize("wrong", [-1.0, 0.0, 2.2, 293.0])
def test_a_temperature_that_no_room_has_is_left_out_and_told(wrong):
    told = days(365)
    told = replace(told, celsius=np.r_[told.celsius[:-1], wrong])

    age = age_of(told, age_days=365)

    assert age.sensor_fault
    assert age.measured_days == 364


def test_a_sensor_that_does_not_move_for_a_week_is_stuck():
    moving = np.array([25.0, 25.1] * 5)
    stuck = np.r_[moving, np.full(7, 31.0), moving]

    kept = credible(stuck)

    assert np.isnan(kept[10:17]).all()
    assert np.isfinite(np.r_[kept[:10], kept[17:]]).all()


@pytest.mark.parametrize("ahead", [0, 1, 4_000])
def test_a_battery_date_in_the_future_gives_no_age(ahead):
    assert equivalent_age(days(100), TODAY + ahead, TODAY, Chemistry.VRLA) is None


def test_a_clock_that_went_back_gives_days_in_order_all_the_same():
    # Days before the installation are no days of this battery.
    assert age_of(days(500), age_days=100).years == pytest.approx(100 / 365.25, rel=0.01)
