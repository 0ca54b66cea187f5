"""The site's day: planned work counts in days, and a day begins where the unit stands."""

from datetime import date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def local_day(now: datetime, time_zone: str) -> date:
    """Return the site's day; UTC's when its zone is unknown."""
    try:
        return now.astimezone(ZoneInfo(time_zone)).date()
    except (ZoneInfoNotFoundError, ValueError):
        return now.date()
