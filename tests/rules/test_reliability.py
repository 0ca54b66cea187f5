"""Figures of reliability, against tables of χ² and values worked out by hand."""

import pytest

from rules.reliability import Range, Times, availability, between_failures, chi_squared, times_of


@pytest.mark.parametrize(
    ("share", "freedom", "table", "within"),
    [
        (0.90, 2, 4.605, 0.015),
        (0.95, 10, 18.307, 0.01),
        (0.05, 10, 3.940, 0.01),
        (0.90, 20, 28.412, 0.005),
        (0.10, 10, 4.865, 0.02),
        (0.10, 2, 0.2107, 0.12),
    ],
)
def test_chi_squared_is_that_of_the_tables(share, freedom, table, within):
    assert chi_squared(share, freedom) == pytest.approx(table, rel=within)


def test_without_a_failure_only_a_least_value_can_be_said():
    told = between_failures(23_000, 0)
    # λ at most 2.30 / T with 90 %: so at least 10,000 h.
    assert told.low == pytest.approx(10_000, rel=0.02)
    assert (told.mean, told.high) == (None, None)


def test_four_failures_in_forty_thousand_hours():
    told = between_failures(40_000, 4)
    assert told.mean == 10_000
    # χ²(0.9; 10) = 15.987 and χ²(0.1; 8) = 3.490.
    assert told.low == pytest.approx(80_000 / 15.987, rel=0.01)
    assert told.high == pytest.approx(80_000 / 3.490, rel=0.03)


def test_no_time_says_nothing():
    assert between_failures(0, 3) == Range(None, None, None)


def test_durations_are_summed_up_with_their_number():
    assert times_of([]) == Times(0, None, None, None)
    assert times_of([60]) == Times(1, 60, 60, 60)
    told = times_of([10, 20, 30, 40, 100])
    assert (told.count, told.mean, told.median) == (5, 40, 30)
    assert told.ninety == pytest.approx(76)


def test_availability_is_unknown_where_either_part_is():
    assert availability(99.0, 3_600.0) == pytest.approx(0.99)
    assert availability(None, 3_600.0) is None
    assert availability(99.0, None) is None
