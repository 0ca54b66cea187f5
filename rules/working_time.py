"""Working hours of a calendar: which instants count, and when so many minutes have been worked.

Hours are wall-clock times of the site; instants are aware UTC. A window is half-open: its closing
instant no longer counts. What was promised within those hours is in `rules.entitlement`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rules.workdays import DayKind, every_day_ordinary

LONGEST_CLOSED_DAYS = 62
"""A calendar without a working day for so long has none at all."""


class NoWorkingTime(ValueError):
    """The calendar never opens, so no deadline can be counted on it."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a service is owed: around the clock, or in hours of working days.

    `weekdays` are ISO numbers, 1 is Monday. `closes` at or before `opens` lies on the next day.
    `country` names whose holidays `kind_of` knows, None for none.
    """

    always: bool = False
    opens: time = time(8, 30)
    closes: time = time(17, 30)
    weekdays: frozenset[int] = frozenset({1, 2, 3, 4, 5})
    country: str | None = None
    kind_of: Callable[[date], DayKind] = every_day_ordinary

    def is_workday(self, day: date) -> bool:
        """Return whether hours count on `day`: a make-up workday yes, a holiday no."""
        kind = self.kind_of(day)
        if kind is DayKind.MAKE_UP:
            return True
        return kind is DayKind.ORDINARY and day.isoweekday() in self.weekdays

    def window(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return the opening and closing instant of `day`, whether or not it is worked."""
        until = day if self.closes > self.opens else day + timedelta(days=1)
        return (
            datetime.combine(day, self.opens, zone).astimezone(UTC),
            datetime.combine(until, self.closes, zone).astimezone(UTC),
        )


ALWAYS = Calendar(always=True)
"""Around the clock, every day."""


@dataclass(frozen=True, slots=True)
class Worked:
    """A stretch that counts towards a deadline, all of it on one working day."""

    day: date
    starts_at: datetime
    ends_at: datetime

    @property
    def minutes(self) -> float:
        """How long the stretch is, in elapsed minutes."""
        return (self.ends_at - self.starts_at).total_seconds() / 60


def working_stretches(
    start_at: datetime, minutes: float, calendar: Calendar, zone: ZoneInfo
) -> Iterator[Worked]:
    """Yield the stretches from `start_at` that add up to `minutes` of working time.

    Raises `NoWorkingTime` when the calendar does not open for two months.
    """
    left = timedelta(minutes=minutes)
    if calendar.always:
        yield Worked(start_at.astimezone(zone).date(), start_at, start_at + left)
        return
    # Yesterday's hours may reach past midnight.
    day = start_at.astimezone(zone).date() - timedelta(days=1)
    closed = 0
    while left > timedelta():
        opens_at, closes_at = calendar.window(day, zone)
        starts_at = max(start_at, opens_at)
        if calendar.is_workday(day) and starts_at < closes_at:
            ends_at = min(closes_at, starts_at + left)
            yield Worked(day, starts_at, ends_at)
            left -= ends_at - starts_at
            closed = 0
        else:
            closed += 1
        if closed > LONGEST_CLOSED_DAYS:
            raise NoWorkingTime("the calendar has no working hours")
        day += timedelta(days=1)


def add_working_time(
    start_at: datetime, minutes: float, calendar: Calendar, time_zone: str
) -> datetime:
    """Return the UTC instant at which `minutes` of working time after `start_at` are over.

    A target of 1 h raised at 16:30 with hours 09:00–17:00 is due at 09:30 of the next working
    day. Raises `NoWorkingTime`.
    """
    due_at = start_at.astimezone(UTC)
    for stretch in working_stretches(due_at, minutes, calendar, ZoneInfo(time_zone)):
        due_at = stretch.ends_at
    return due_at
