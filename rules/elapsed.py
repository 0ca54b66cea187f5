"""How much of a promised time has passed, counted in the hours of the promise.

Pure; hours and holidays are in `rules.working_time`. When the time ends was worked out when the
promise was made (`rules.entitlement`) and is not worked out again here.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from rules.working_time import Calendar

LONGEST = timedelta(days=400)
"""Beyond this a promise is counted around the clock: its hours would take long to add up."""


def worked(start_at: datetime, end_at: datetime, calendar: Calendar, zone: ZoneInfo) -> timedelta:
    """Return the working time between two instants; around the clock it is all of it."""
    start_at, end_at = start_at.astimezone(UTC), end_at.astimezone(UTC)
    if end_at <= start_at:
        return timedelta()
    if calendar.always or end_at - start_at > LONGEST:
        return end_at - start_at
    total = timedelta()
    # Yesterday's hours may reach past midnight.
    day = start_at.astimezone(zone).date() - timedelta(days=1)
    last = end_at.astimezone(zone).date()
    while day <= last:
        if calendar.is_workday(day):
            opens_at, closes_at = calendar.window(day, zone)
            total += max(timedelta(), min(closes_at, end_at) - max(opens_at, start_at))
        day += timedelta(days=1)
    return total


def elapsed_percent(
    start_at: datetime, due_at: datetime, now: datetime, calendar: Calendar, zone: ZoneInfo
) -> float:
    """Return the share of the time between a promise and its deadline that has passed, in percent.

    100 exactly at the deadline and more after it, in the same measure; never below 100 once the
    deadline is past, though nobody works then. A deadline that is no later than its start is over.
    """
    whole = worked(start_at, due_at, calendar, zone)
    gone = worked(start_at, now, calendar, zone)
    if now >= due_at:
        return max(100.0, 100.0 * (gone / whole)) if whole else 100.0
    return min(100.0, 100.0 * (gone / whole)) if whole else 100.0
