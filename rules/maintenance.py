"""When planned maintenance is due by the calendar.

A plan says how often, and from what the next date counts: from completion for work that wear asks
for, from the schedule for visits that a contract promises, so that a late visit does not move all
later ones. Meters, conditions and who goes when are not here.
"""

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

OPENS_BEFORE = timedelta(days=30)
LATE_AFTER = timedelta(days=15)
"""The window in which work counts as done in time: common practice, −30 to +15 days."""


class CountedFrom(StrEnum):
    """What the interval of a plan starts at."""

    COMPLETION = "completion"
    SCHEDULE = "schedule"


class Basis(StrEnum):
    """Which date a due date was reckoned from."""

    LAST_DONE = "last_done"
    LAST_SCHEDULED = "last_scheduled"
    INSTALLED = "installed"
    NOTHING = "nothing"


class MaintenanceState(StrEnum):
    """How a due date stands to today."""

    UNKNOWN = "unknown"
    """No date to reckon from: somebody has to enter when the unit was installed or last served."""
    FUTURE = "future"
    OPEN = "open"
    """May be done already, at best together with other work at the site."""
    DUE = "due"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Plan:
    """Work that recurs every so many months."""

    every_months: int
    counted_from: CountedFrom

    def __post_init__(self) -> None:
        if self.every_months < 1:
            raise ValueError(f"a plan recurs every month or less often, not {self.every_months}")


@dataclass(frozen=True, slots=True)
class Due:
    """The next due date with its window; the dates are None when nothing is known.

    Work may be done from `opens_on`, is due on `due_on` and late from `late_on`, all local days
    of the site.
    """

    due_on: date | None
    opens_on: date | None
    late_on: date | None
    state: MaintenanceState
    basis: Basis


def next_due(
    plan: Plan,
    *,
    installed_on: date | None,
    last_done_on: date | None,
    last_scheduled_on: date | None,
    today: date,
) -> Due:
    """Reckon when a plan's work is due next.

    `last_scheduled_on` is the due date of the last occurrence that was done (or let go), not the
    day of the appointment. An occurrence that was missed stays due until it is done.
    """
    origin, basis = _origin(plan, installed_on, last_done_on, last_scheduled_on)
    if origin is None:
        return Due(None, None, None, MaintenanceState.UNKNOWN, basis)
    due_on = months_later(origin, plan.every_months)
    if basis is Basis.LAST_SCHEDULED and installed_on is not None:
        due_on = _with_first_day(due_on, origin, installed_on.day)
    opens_on, late_on = due_on - OPENS_BEFORE, due_on + LATE_AFTER
    return Due(due_on, opens_on, late_on, state_on(today, due_on), basis)


def _origin(
    plan: Plan, installed_on: date | None, last_done_on: date | None, last_scheduled_on: date | None
) -> tuple[date | None, Basis]:
    """Choose the date to count from: the plan's own, else the other record, else installation."""
    done = (last_done_on, Basis.LAST_DONE)
    scheduled = (last_scheduled_on, Basis.LAST_SCHEDULED)
    records = [scheduled, done] if plan.counted_from is CountedFrom.SCHEDULE else [done]
    for origin, basis in [*records, (installed_on, Basis.INSTALLED)]:
        if origin is not None:
            return origin, basis
    return None, Basis.NOTHING


def months_later(start: date, months: int) -> date:
    """Go some months on, to the last day of a month that is too short."""
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    return date(year, month + 1, min(start.day, _days_in(year, month + 1)))


def _with_first_day(due_on: date, origin: date, first_day: int) -> date:
    """Return to the day of month of the first date after a month that was too short for it.

    31 August → 28 February → 31 August, and not 28 August ever after.
    """
    was_cut = origin.day < first_day and origin.day == _days_in(origin.year, origin.month)
    if not was_cut:
        return due_on
    return due_on.replace(day=min(first_day, _days_in(due_on.year, due_on.month)))


def _days_in(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def state_on(today: date, due_on: date) -> MaintenanceState:
    """Tell how a due date stands to a day."""
    if today < due_on - OPENS_BEFORE:
        return MaintenanceState.FUTURE
    if today < due_on:
        return MaintenanceState.OPEN
    return MaintenanceState.DUE if today < due_on + LATE_AFTER else MaintenanceState.LATE
