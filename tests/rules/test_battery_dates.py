from datetime import date

import pytest

from rules.battery_dates import installation_date

TODAY = date(2026, 3, 2)
UNIT = date(2020, 5, 1)


@pytest.mark.parametrize(
    ("told", "made", "unit_installed_on", "found"),
    [
        ("2024-06-01", "2019-11-04", UNIT, date(2024, 6, 1)),  # replaced since
        ("2024-06-01", None, None, date(2024, 6, 1)),
        ("2019-11-04", "2019-11-04", UNIT, UNIT),  # the factory's value
        ("2019-11-04", "2019-11-04", None, None),
        ("2020-01-15", None, UNIT, UNIT),  # before the unit came
        ("2027-01-01", None, UNIT, UNIT),  # ahead of today
        ("2001-01-01", None, None, None),  # a clock that began
        ("04/05/24 ?", None, UNIT, UNIT),  # as it came, no date
        (None, None, UNIT, UNIT),
        (None, None, None, None),
    ],
)
def test_a_cards_battery_date_counts_only_where_somebody_must_have_set_it(
    told, made, unit_installed_on, found
):
    assert (
        installation_date(
            None, told=told, made=made, unit_installed_on=unit_installed_on, today=TODAY
        )
        == found
    )


def test_what_people_entered_wins_over_the_card():
    entered = date(2022, 2, 2)
    assert (
        installation_date(
            entered, told="2024-06-01", made=None, unit_installed_on=UNIT, today=TODAY
        )
        == entered
    )
