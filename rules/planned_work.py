"""Work that is announced: when it takes place, and which alarms it explains beforehand. Pure.

A series is told in the site's local time, so a test every Monday at ten stays at ten when the
clocks change. Which rules fall quiet is chosen by what is done, not rule by rule.
"""

import calendar
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from rules.catalogue import Rule
from rules.incidents import COMMUNICATION_LOST, MAINS_FAILURE, OVER_TEMPERATURE


class Work(StrEnum):
    """What is done."""

    GENERATOR_TEST = "generator_test"
    MAINS_MAINTENANCE = "mains_maintenance"
    NETWORK_WORK = "network_work"
    BATTERY_WORK = "battery_work"
    COOLING_WORK = "cooling_work"
    OTHER = "other"


class Repeat(StrEnum):
    """How a series goes on after its first day."""

    ONCE = "once"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    """On the same weekday of the month, such as the first Saturday; months without it are left."""


@dataclass(frozen=True, slots=True)
class Series:
    """When work takes place, in local time; `every` counts weeks or months between two times."""

    first_on: date
    at: time
    repeat: Repeat
    every: int = 1
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time of a series: its local day, and its begin as an instant."""

    occurs_on: date
    begins_at: datetime


def occurrences(series: Series, time_zone: str, until: datetime) -> Iterator[Occurrence]:
    """Yield the times of a series that begin before `until`, in order, from its first day on.

    A time that the clocks skip takes place when they have been put forward; one that comes twice
    takes place at the first.
    """
    zone = ZoneInfo(time_zone)
    for day in _days(series):
        if series.until is not None and day > series.until:
            return
        begins_at = datetime.combine(day, series.at, zone).astimezone(UTC)
        if begins_at >= until:
            return
        yield Occurrence(day, begins_at)


def _days(series: Series) -> Iterator[date]:
    day = series.first_on
    if series.repeat is Repeat.ONCE:
        yield day
    elif series.repeat is Repeat.WEEKLY:
        while True:
            yield day
            day += timedelta(weeks=series.every)
    else:
        turn = (day.day - 1) // 7
        year, month = day.year, day.month
        while True:
            found = _weekday_of_month(year, month, day.weekday(), turn)
            if found is not None:
                yield found
            months = year * 12 + month - 1 + series.every
            year, month = months // 12, months % 12 + 1


def _weekday_of_month(year: int, month: int, weekday: int, turn: int) -> date | None:
    """Return the n-th such weekday of a month, None where it has no fifth."""
    first = date(year, month, 1).weekday()
    day = 1 + (weekday - first) % 7 + 7 * turn
    return date(year, month, day) if day <= calendar.monthrange(year, month)[1] else None


def quiet_rules(work: Work, rules: Mapping[str, Rule]) -> list[str] | None:
    """Return which rules fall quiet during such work, None for all of them."""
    if work is Work.OTHER:
        return None
    explains = _EXPLAINS[work]
    return sorted(key for key, rule in rules.items() if rule.reminder is None and explains(rule))


def _of_mains(rule: Rule) -> bool:
    """Tell whether failing mains brings it about, silence apart: that is no part of the work."""
    return rule.cause == MAINS_FAILURE or (
        rule.cause != COMMUNICATION_LOST
        and (MAINS_FAILURE in rule.follows or "on_battery" in rule.inhibited_by)
    )


def _of_network(rule: Rule) -> bool:
    return rule.cause == COMMUNICATION_LOST or "seconds_since_seen" in rule.columns


def _of_battery(rule: Rule) -> bool:
    """Tell whether a battery that is taken out, tested or exchanged would say it."""
    told = ("battery_", "alarm_battery", "alarm_charger", "status_replace_battery", "ups_test")
    return rule.cause is None and any(column.startswith(told) for column in rule.columns)


def _of_cooling(rule: Rule) -> bool:
    return rule.cause == OVER_TEMPERATURE or any("temperature" in column for column in rule.columns)


_EXPLAINS: Mapping[Work, Callable[[Rule], bool]] = {
    Work.GENERATOR_TEST: _of_mains,
    Work.MAINS_MAINTENANCE: _of_mains,
    Work.NETWORK_WORK: _of_network,
    Work.BATTERY_WORK: _of_battery,
    Work.COOLING_WORK: _of_cooling,
}
