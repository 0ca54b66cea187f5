"""Visits: what goes together, what it takes, and on which day."""

from datetime import date, timedelta

import pytest

from rules.maintenance_forecast import (
    Crew,
    Recurring,
    contract_year,
    forecast,
    occurrences,
    promised_visits,
)
from rules.maintenance_visits import Freeze, Line, merge, visit_day

TODAY = date(2026, 3, 2)
INCLUDES = {"annual": ["semi"], "semi": ["visual"]}


def line(device: int, key: str, days: int, **more) -> Line:
    return Line(device, key, TODAY + timedelta(days=days), 60, **more)


def keys(visits) -> list[list[tuple[int, str]]]:
    return [[(one.device_id, one.key) for one in visit.lines] for visit in visits]


def test_work_within_45_days_of_the_first_is_one_visit_and_no_chain_pulls_more_in():
    lines = [line(1, "a", 0), line(2, "b", 45), line(1, "c", 46), line(3, "d", 91)]
    assert keys(merge(lines, {})) == [[(1, "a"), (2, "b")], [(1, "c"), (3, "d")]]


def test_work_that_another_line_includes_takes_no_time_of_its_own():
    lines = [
        line(1, "annual", 0, skills=("ups",), part_kinds=("filter",)),
        line(1, "visual", 5, skills=("electrician",), part_kinds=("filter",)),
        line(2, "visual", 5, skills=("electrician",)),
    ]
    (visit,) = merge(lines, INCLUDES)
    assert visit.minutes == 120
    assert visit.minutes_of[1, "visual"] == 0
    assert (visit.skills, visit.part_kinds) == (("ups", "electrician"), ("filter",))


def test_what_was_split_off_by_hand_stays_apart():
    lines = [line(1, "a", 0), line(1, "b", 1, apart=7), line(2, "c", 2, apart=7)]
    assert keys(merge(lines, {})) == [[(1, "a")], [(1, "b"), (2, "c")]]


@pytest.mark.parametrize(
    ("due", "freezes", "day"),
    [
        (10, [], 10),
        (-90, [], 0),
        (10, [(5, 12)], 4),
        (10, [(0, 12)], 13),
        (60, [(20, 70)], 71),
        (10, [(0, 12), (13, 20)], 21),
        (-5, [(0, 3)], 4),
        (10, [(20, 30)], 10),
    ],
)
def test_a_visit_never_lies_in_a_freeze_and_rather_before_it(due, freezes, day):
    frozen = [
        Freeze(TODAY + timedelta(days=start), TODAY + timedelta(days=end)) for start, end in freezes
    ]
    found = visit_day(TODAY + timedelta(days=due), TODAY, frozen)
    assert (found - TODAY).days == day


def recurring(**more) -> Recurring:
    values = {
        "device_id": 1,
        "site_id": 1,
        "center_id": 1,
        "key": "semi",
        "next_on": date(2026, 3, 31),
        "every_months": 6.0,
        "minutes": 120,
        "on_site": True,
        "skills": ("ups",),
    }
    return Recurring(**(values | more))


def test_a_task_recurs_on_its_day_of_the_month():
    found = occurrences(recurring(), TODAY, date(2027, 12, 1))
    assert found == [date(2026, 3, 31), date(2026, 9, 30), date(2027, 3, 31), date(2027, 9, 30)]


def test_what_is_overdue_falls_due_today():
    assert occurrences(recurring(next_on=date(2025, 1, 1)), TODAY, date(2026, 6, 1)) == [TODAY]


def test_the_forecast_adds_up_by_month_center_and_skill():
    hours = {date(2026, 3, 1): 120.0, date(2026, 9, 1): 120.0}
    found = forecast(
        [
            recurring(part_kinds=("filter",), model="M"),
            recurring(device_id=2, minutes=180, next_on=date(2026, 4, 10)),
            recurring(device_id=3, site_id=2, key="review", on_site=False, minutes=30,
                      skills=("analyst",), every_months=1.0),
        ],
        [Crew(1, frozenset({"ups"}), hours), Crew(2, frozenset({"ups"}), hours)],
        {},
        today=TODAY,
    )  # fmt: skip
    assert len(found.months) == 12
    ups = [one for one in found.needs if one.skill == "ups"]
    assert [(one.month, one.visits, one.hours, one.follow_up_hours) for one in ups] == [
        (date(2026, 3, 1), 1, 5.0, 1.25),
        (date(2026, 9, 1), 1, 5.0, 1.25),
    ]
    assert [(one.available_hours, one.engineers, one.engineers_needed) for one in ups] == [
        (120.0, 1, 1)
    ] * 2
    review = [one for one in found.needs if one.skill == "analyst"]
    assert [one.hours for one in review] == [0.5] * 12
    assert sum(one.visits for one in review) == 0
    assert review[0].available_hours == 0.0
    assert [(one.month, one.kind, one.model, one.quantity) for one in found.parts] == [
        (date(2026, 3, 1), "filter", "M", 1),
        (date(2026, 9, 1), "filter", "M", 1),
    ]


def test_too_few_people_are_counted():
    (need,) = forecast(
        [recurring(minutes=60 * 200, every_months=24.0)],
        [Crew(1, frozenset({"ups"}), {date(2026, 3, 1): 100.0})],
        {},
        today=TODAY,
    ).needs
    assert need.short_hours == 150.0
    assert need.engineers_needed == 3


@pytest.mark.parametrize(
    ("start", "end", "year"),
    [
        ("2024-06-01", "2027-05-31", ("2025-06-01", "2026-05-31")),
        ("2024-02-29", "2027-05-31", ("2026-02-28", "2027-02-27")),
        ("2025-06-01", "2026-04-30", ("2025-06-01", "2026-04-30")),
        ("2026-04-01", "2027-03-31", None),
        ("2020-01-01", "2026-03-01", None),
    ],
)
def test_the_year_of_a_contract_begins_on_its_anniversary(start, end, year):
    found = contract_year(date.fromisoformat(start), date.fromisoformat(end), TODAY)
    assert found == (None if year is None else tuple(map(date.fromisoformat, year)))


def test_a_short_last_year_owes_its_share():
    assert promised_visits(4, date(2025, 6, 1), date(2026, 5, 31)) == 4
    assert promised_visits(4, date(2026, 1, 1), date(2026, 6, 30)) == 2
    assert promised_visits(1, date(2026, 1, 1), date(2026, 2, 28)) == 0
