"""Which days are public holidays and make-up workdays of a country, from the `holidays` package.

How hours are counted on them is in `rules.entitlement`. Nothing here reads the clock or a file.
"""

from collections.abc import Callable
from datetime import date
from enum import Enum
from functools import lru_cache

import holidays


class DayKind(Enum):
    """What a country's calendar says about a day, before a contract's weekdays are asked."""

    ORDINARY = "ordinary"
    HOLIDAY = "holiday"
    MAKE_UP = "make_up"
    """A weekend day worked in exchange for a day of a long holiday, as China announces."""


class UnknownCountry(ValueError):
    """No holidays are known for this country code."""


def every_day_ordinary(_day: date) -> DayKind:
    """Return ORDINARY: the calendar of a contract that knows no holidays."""
    return DayKind.ORDINARY


@lru_cache(maxsize=256)
def _days_of(country: str, year: int) -> tuple[frozenset[date], frozenset[date]]:
    # The exchange for a New Year's holiday is listed with that holiday's year, hence the neighbors.
    found = holidays.country_holidays(country, years=(year - 1, year, year + 1))
    made_up: set[date] = getattr(found, "weekend_workdays", set())
    return (
        frozenset(day for day in found if day.year == year),
        frozenset(day for day in made_up if day.year == year),
    )


def day_kinds(country: str | None) -> Callable[[date], DayKind]:
    """Return the function that tells a country's holidays and make-up workdays from other days.

    `country` is an ISO 3166 code such as CN; None knows no holidays. Raises `UnknownCountry`.
    """
    if country is None:
        return every_day_ordinary
    if country not in holidays.list_supported_countries():
        raise UnknownCountry(f"no public holidays are known for country {country!r}")

    def kind_of(day: date) -> DayKind:
        days_off, made_up = _days_of(country, day.year)
        if day in made_up:
            return DayKind.MAKE_UP
        return DayKind.HOLIDAY if day in days_off else DayKind.ORDINARY

    return kind_of
