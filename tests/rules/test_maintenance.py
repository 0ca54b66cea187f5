"""Next due dates by the calendar, with month ends, leap days and missing records."""

from datetime import date

import pytest

from rules.maintenance import Basis, CountedFrom, MaintenanceState, Plan, months_later, next_due

COMPLETION, SCHEDULE = CountedFrom.COMPLETION, CountedFrom.SCHEDULE
TODAY = date(2026, 3, 2)


@pytest.mark.parametrize(
    ("start", "months", "expected"),
    [
        (date(2026, 1, 15), 6, date(2026, 7, 15)),
        (date(2026, 8, 31), 6, date(2027, 2, 28)),
        (date(2023, 8, 31), 6, date(2024, 2, 29)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 2, 29), 48, date(2028, 2, 29)),
        (date(2026, 12, 1), 1, date(2027, 1, 1)),
        (date(2026, 12, 31), 2, date(2027, 2, 28)),
        (date(2026, 11, 30), 13, date(2027, 12, 30)),
    ],
)
def test_months_later_stays_within_the_month(start: date, months: int, expected: date):
    assert months_later(start, months) == expected


@pytest.mark.parametrize(
    ("counted_from", "months", "installed", "done", "scheduled", "due", "basis"),
    [
        # Work that wear asks for counts from when it was last done.
        (COMPLETION, 6, "2024-01-10", "2025-10-20", "2025-07-10", "2026-04-20", Basis.LAST_DONE),
        (COMPLETION, 6, "2024-01-10", None, "2025-07-10", "2024-07-10", Basis.INSTALLED),
        (COMPLETION, 12, None, "2025-10-20", None, "2026-10-20", Basis.LAST_DONE),
        # What a contract promises keeps its rhythm, however late the last visit was.
        (SCHEDULE, 6, "2024-01-10", "2025-10-20", "2025-07-10", "2026-01-10", Basis.LAST_SCHEDULED),
        (SCHEDULE, 6, "2024-01-10", "2025-10-20", None, "2026-04-20", Basis.LAST_DONE),
        (SCHEDULE, 6, "2024-01-10", None, None, "2024-07-10", Basis.INSTALLED),
        # A short month does not pull the later dates forward.
        (SCHEDULE, 6, "2025-08-31", None, "2026-02-28", "2026-08-31", Basis.LAST_SCHEDULED),
        (SCHEDULE, 1, "2025-12-31", None, "2026-02-28", "2026-03-31", Basis.LAST_SCHEDULED),
        (SCHEDULE, 2, "2025-10-31", None, "2026-02-28", "2026-04-30", Basis.LAST_SCHEDULED),
        (SCHEDULE, 12, "2024-02-29", None, "2027-02-28", "2028-02-29", Basis.LAST_SCHEDULED),
        # A date that somebody moved on purpose stays moved.
        (SCHEDULE, 6, "2025-08-31", None, "2026-02-20", "2026-08-20", Basis.LAST_SCHEDULED),
        (SCHEDULE, 6, "2025-08-10", None, "2026-02-28", "2026-08-28", Basis.LAST_SCHEDULED),
    ],
)
def test_the_next_date_counts_from_what_the_plan_says(
    counted_from: CountedFrom,
    months: int,
    installed: str | None,
    done: str | None,
    scheduled: str | None,
    due: str,
    basis: Basis,
):
    def day(text: str | None) -> date | None:
        return None if text is None else date.fromisoformat(text)

    result = next_due(
        Plan(months, counted_from),
        installed_on=day(installed),
        last_done_on=day(done),
        last_scheduled_on=day(scheduled),
        today=TODAY,
    )

    assert result.due_on == day(due)
    assert result.basis is basis


@pytest.mark.parametrize(
    ("today", "state"),
    [
        (date(2026, 5, 31), MaintenanceState.FUTURE),
        (date(2026, 6, 1), MaintenanceState.OPEN),
        (date(2026, 6, 30), MaintenanceState.OPEN),
        (date(2026, 7, 1), MaintenanceState.DUE),
        (date(2026, 7, 15), MaintenanceState.DUE),
        (date(2026, 7, 16), MaintenanceState.LATE),
        (date(2029, 1, 1), MaintenanceState.LATE),
    ],
)
def test_work_opens_thirty_days_before_and_is_late_fifteen_days_after(
    today: date, state: MaintenanceState
):
    due = next_due(
        Plan(6, COMPLETION),
        installed_on=None,
        last_done_on=date(2026, 1, 1),
        last_scheduled_on=None,
        today=today,
    )

    assert (due.opens_on, due.due_on, due.late_on) == (
        date(2026, 6, 1),
        date(2026, 7, 1),
        date(2026, 7, 16),
    )
    assert due.state is state


@pytest.mark.parametrize("counted_from", list(CountedFrom))
def test_without_any_date_nothing_is_made_up(counted_from: CountedFrom):
    due = next_due(
        Plan(6, counted_from),
        installed_on=None,
        last_done_on=None,
        last_scheduled_on=None,
        today=TODAY,
    )

    assert due.state is MaintenanceState.UNKNOWN
    assert due.basis is Basis.NOTHING
    assert (due.due_on, due.opens_on, due.late_on) == (None, None, None)


def test_a_plan_recurs_at_most_every_month():
    with pytest.raises(ValueError, match="every month"):
        Plan(0, SCHEDULE)
