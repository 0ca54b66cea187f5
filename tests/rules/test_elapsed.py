"""The share of a promised time that has passed, in the hours of the promise."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from rules.elapsed import elapsed_percent, worked
from rules.working_time import ALWAYS, Calendar, add_working_time

LONDON, SHANGHAI = ZoneInfo("Europe/London"), ZoneInfo("Asia/Shanghai")
OFFICE = Calendar(opens=time(9), closes=time(17))
NIGHT = Calendar(opens=time(22), closes=time(6), weekdays=frozenset(range(1, 8)))


def london(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=LONDON)


@pytest.mark.parametrize(
    ("start", "end", "calendar", "hours"),
    [
        # Friday 16:30 to Monday 09:30: half an hour each.
        ("2026-11-27 16:30", "2026-11-30 09:30", OFFICE, 1.0),
        ("2026-11-28 10:00", "2026-11-29 18:00", OFFICE, 0.0),
        ("2026-11-27 10:00", "2026-11-27 09:00", OFFICE, 0.0),
        # Clocks go back on 25 October 2026: the night has an hour more.
        ("2026-10-24 12:00", "2026-10-25 12:00", ALWAYS, 25.0),
        ("2026-10-24 22:00", "2026-10-25 06:00", NIGHT, 9.0),
        # And forward on 29 March 2026: an hour less.
        ("2026-03-28 22:00", "2026-03-29 06:00", NIGHT, 7.0),
    ],
)
def test_only_the_hours_of_the_calendar_count(start, end, calendar, hours):
    assert worked(london(start), london(end), calendar, LONDON) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("now", "percent"),
    [
        ("2026-11-27 16:30", 0.0),
        ("2026-11-27 17:00", 50.0),
        ("2026-11-29 12:00", 50.0),
        ("2026-11-30 09:15", 75.0),
        ("2026-11-30 09:30", 100.0),
        ("2026-11-30 10:30", 200.0),
        ("2026-11-27 10:00", 0.0),
    ],
)
def test_a_promise_of_an_hour_on_friday_evening_ends_on_monday(now, percent):
    start = london("2026-11-27 16:30")
    due_at = add_working_time(start, 60, OFFICE, "Europe/London")
    assert elapsed_percent(start, due_at, london(now), OFFICE, LONDON) == pytest.approx(percent)


def test_a_deadline_no_later_than_its_start_is_over():
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert elapsed_percent(at, at, at, ALWAYS, SHANGHAI) == 100.0


def test_a_deadline_moved_by_hand_into_closed_hours_is_never_over_before_it():
    start, due_at = london("2026-11-27 16:00"), london("2026-11-28 12:00")
    assert elapsed_percent(start, due_at, london("2026-11-28 11:59"), OFFICE, LONDON) == 100.0
    assert elapsed_percent(start, due_at, london("2026-11-28 12:01"), OFFICE, LONDON) == 100.0
