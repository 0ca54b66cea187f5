"""When a task is due: the earliest of calendar, meter, condition and heat, with its reason."""

from datetime import date, timedelta

import pytest

from rules.maintenance import CountedFrom, MaintenanceState
from rules.maintenance_due import Cause, Outcome, UnitFacts, Usage, outcome_of, outlook
from rules.maintenance_tasks import (
    ConditionLimit,
    Meter,
    MeterLimit,
    Selector,
    Task,
    TaskInvalid,
    UnitKind,
    read_tasks,
    shipped_tasks,
)
from rules.wear import LAWS, worn_out

TODAY = date(2026, 3, 2)


def day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def task(months: int = 12, basis: str = "completion", **more) -> Task:
    return Task("t", "T", "题", months, CountedFrom(basis), 60, **more)


@pytest.mark.parametrize(
    ("basis", "months", "installed", "done", "scheduled", "due", "missed"),
    [
        # A promised date is let go once the next one is reached, and is then missed.
        ("schedule", 6, "2024-01-10", None, "2024-07-10", "2026-01-10", 2),
        ("schedule", 6, "2024-01-10", None, "2025-07-10", "2026-01-10", 0),
        ("schedule", 12, "2024-02-29", None, None, "2026-02-28", 1),
        # Work so late that the next could be done already answers that one too.
        ("schedule", 6, "2024-01-10", "2025-12-11", "2025-07-10", "2026-07-10", 0),
        ("schedule", 6, "2024-01-10", "2025-12-10", "2025-07-10", "2026-01-10", 0),
        ("schedule", 1, "2024-01-10", "2026-01-26", "2026-01-10", "2026-03-10", 0),
        ("schedule", 1, "2024-01-10", "2026-01-25", "2026-01-10", "2026-02-10", 0),
        # Work that wear asks for waits until it is done, however late.
        ("completion", 12, "2020-01-10", None, None, "2021-01-10", 0),
        # What was done before the unit stood there was done to the one before.
        ("completion", 12, "2025-12-01", "2025-06-01", "2025-06-01", "2026-12-01", 0),
        ("schedule", 12, "2025-12-01", "2025-06-01", "2025-06-01", "2026-12-01", 0),
        # A unit that will only be installed.
        ("completion", 12, "2026-06-01", None, None, "2027-06-01", 0),
        # 29 February every year and every four years.
        ("completion", 12, "2024-02-29", "2024-02-29", None, "2025-02-28", 0),
        ("completion", 48, "2024-02-29", None, None, "2028-02-29", 0),
    ],
)
def test_the_calendar_lets_promised_dates_go_and_waits_for_wear(
    basis, months, installed, done, scheduled, due, missed
):
    unit = UnitFacts(day(installed), day(done), day(scheduled))
    found = outlook(task(months, basis), unit, TODAY)
    assert found.due.due_on == day(due)
    assert len(found.missed) == missed


def test_dates_before_anybody_watched_the_unit_are_nobodys_fault():
    unit = UnitFacts(day("2020-03-01"), watched_since=day("2025-01-01"))
    found = outlook(task(6, "schedule"), unit, TODAY)
    assert found.missed == (day("2025-03-01"), day("2025-09-01"))
    assert found.due.due_on == day("2026-03-01")
    assert found.due.state is MaintenanceState.DUE


def test_without_a_date_nothing_is_made_up():
    found = outlook(task(), UnitFacts(), TODAY)
    assert found.due.state is MaintenanceState.UNKNOWN
    assert found.reasons == ()


def test_an_exception_of_the_unit_and_a_changed_plan_count_from_the_last_work():
    unit = UnitFacts(day("2024-01-10"), day("2025-10-01"), every_months=3)
    assert outlook(task(12), unit, TODAY).due.due_on == day("2026-01-01")
    unit = UnitFacts(day("2024-01-10"), day("2025-10-01"))
    assert outlook(task(24), unit, TODAY).due.due_on == day("2027-10-01")


FOUR_YEARS = (day("2022-03-02"), 1461)


def temperatures(celsius: float, *, since: date, until: date = TODAY):
    days = (until - since).days
    return [(since + timedelta(days=n), celsius) for n in range(days)]


@pytest.mark.parametrize(
    ("celsius", "due"),
    [
        pytest.param(25.0, "2027-03-02", id="at 25 °C the calendar decides"),
        pytest.param(10.0, "2027-03-02", id="cold is not credited"),
        # (5/3)^(8/25) = 1.17757: 1826 days at 25 °C are 1550.6 at 33 °C.
        pytest.param(33.0, "2026-05-31", id="warmth shortens"),
        # (5/3)^1: 1826 × 3/5 = 1095.6 days, used up on the 1096th.
        pytest.param(50.0, "2025-03-02", id="a life that is used up ended then"),
    ],
)
def test_fans_wear_by_the_makers_slope(celsius, due):
    since = day("2022-03-02")
    unit = UnitFacts(since, celsius=temperatures(celsius, since=since))
    found = outlook(task(60, component="fans"), unit, TODAY)
    assert found.due.due_on == day(due)


def test_the_reason_names_the_mean_and_how_much_earlier():
    since = day("2022-03-02")
    unit = UnitFacts(since, celsius=temperatures(33.0, since=since))
    reason = outlook(task(60, component="fans"), unit, TODAY).reasons[0]
    assert reason.cause is Cause.HEAT
    assert reason.en == "fans: 5 years at 25 °C; mean 33 °C → due 2026-05-31, 9 months earlier"
    assert reason.zh == "风扇：25 °C 时 5 年；平均 33 °C → 2026-05-31 到期，提前 9 个月"


@pytest.mark.parametrize(
    ("component", "celsius", "pace"),
    [
        ("battery", 35.0, 2.0),
        ("battery", 45.0, 4.0),
        ("fans", 50.0, 5 / 3),
        ("capacitors", 50.0, 2.0),
        ("control_board", 50.0, 1.25),
        ("capacitors", 0.0, 1.0),
    ],
)
def test_the_laws_go_through_the_published_points(component, celsius, pace):
    assert LAWS[component].pace(celsius) == pytest.approx(pace)


@pytest.mark.parametrize(
    "measured",
    [
        pytest.param([], id="none"),
        pytest.param(temperatures(60.0, since=TODAY - timedelta(days=29)), id="29 days"),
        pytest.param(temperatures(-1.0, since=day("2022-03-02")), id="no sensor"),
        pytest.param(temperatures(293.0, since=day("2022-03-02")), id="a wrong scale"),
        pytest.param([(day("2022-03-02"), None)] * 90, id="unknown"),
    ],
)
def test_heat_is_not_guessed(measured):
    since = day("2022-03-02")
    assert worn_out("fans", since=since, life_days=1826, measured=measured, today=TODAY) is None


def test_days_without_a_temperature_count_as_25_degrees():
    since = TODAY - timedelta(days=400)
    measured = temperatures(50.0, since=TODAY - timedelta(days=40))
    worn = worn_out("capacitors", since=since, life_days=1000, measured=measured, today=TODAY)
    # 360 days at pace 1 and 40 at pace 2 are 440; the other 560 pass at pace 2 in 280 days.
    assert worn is not None
    assert worn.on == TODAY + timedelta(days=280)


@pytest.mark.parametrize(
    ("limit", "usage", "due"),
    [
        # 4,000 h in 200 days leave 4,760 h, 238 days at 20 h a day.
        ({"meter": "run_hours", "every": 8760}, Usage(4_000, 200), "2026-10-26"),
        ({"meter": "run_hours", "every": 8760}, Usage(9_000, 375), "2026-03-02"),
        ({"meter": "run_hours", "every": 8760}, Usage(0, 200), None),
        ({"meter": "run_hours", "every": 8760}, Usage(-5, 200), None),
        ({"meter": "run_hours", "every": 8760}, None, None),
        # 120 transfers a year: the next visit three months after the last.
        (
            {"meter": "transfers", "per_year": 100, "within_months": 3},
            Usage(120, 365),
            "2025-11-01",
        ),
        ({"meter": "transfers", "per_year": 100, "within_months": 3}, Usage(90, 365), None),
        ({"meter": "transfers", "per_year": 100, "within_months": 3}, Usage(50, 20), None),
        # 25 h a year is half the limit: a quarter of 365 days less, 273.75.
        (
            {"meter": "battery_hours", "per_year": 50, "shortens_by": 0.5},
            Usage(25, 365.25),
            "2026-05-02",
        ),
        # Beyond the limit half the interval and no more: 182.5 days.
        (
            {"meter": "battery_hours", "per_year": 50, "shortens_by": 0.5},
            Usage(500, 365),
            "2026-01-30",
        ),
    ],
)
def test_meters_bring_the_date_forward(limit, usage, due):
    one = MeterLimit.model_validate(limit)
    unit = UnitFacts(
        day("2020-01-01"), day("2025-08-01"), usage={} if usage is None else {one.meter: usage}
    )
    found = outlook(task(12, meters=(one,)), unit, TODAY)
    expected = day(due) or day("2026-08-01")
    assert found.due.due_on == min(expected, day("2026-08-01"))
    assert found.reasons[0].cause is (
        Cause.METER if due and expected < day("2026-08-01") else Cause.CALENDAR
    )


HOT = ConditionLimit(
    text="battery_temperature > 30", within_days=60, en="warmer than 30 °C", zh="高于 30 °C"
)


@pytest.mark.parametrize(
    ("celsius", "since", "due"),
    [
        pytest.param(31.0, None, "2026-05-01", id="holds from today"),
        pytest.param(31.0, "2026-02-01", "2026-04-02", id="has held for a month"),
        pytest.param(29.0, "2026-02-01", "2026-08-01", id="holds no more"),
        pytest.param(None, "2026-02-01", "2026-04-02", id="what is unknown stays as it was"),
        pytest.param(None, None, "2026-08-01", id="what is unknown raises nothing"),
    ],
)
def test_a_condition_makes_work_due_from_the_day_it_was_seen(celsius, since, due):
    unit = UnitFacts(
        day("2020-01-01"),
        day("2025-08-01"),
        row={"battery_temperature": celsius},
        holding_since={} if since is None else {HOT.text: day(since)},
    )
    assert outlook(task(12, conditions=(HOT,)), unit, TODAY).due.due_on == day(due)


@pytest.mark.parametrize(
    ("done", "outcome"),
    [
        ("2026-01-30", Outcome.EARLY),
        ("2026-01-31", Outcome.IN_TIME),
        ("2026-03-16", Outcome.IN_TIME),
        ("2026-03-17", Outcome.LATE),
    ],
)
def test_the_window_is_30_days_before_to_15_after(done, outcome):
    assert outcome_of(TODAY, day(done)) is outcome


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({}, True),
        ({"models": ["smart-ups*"]}, True),
        ({"models": ["9PX*"]}, False),
        ({"chemistry": "li-ion"}, False),
        ({"three_phase": False}, True),
        ({"three_phase": True}, False),
        ({"least_va": 1000, "most_va": 3000}, True),
        ({"least_va": 3000}, False),
        ({"profiles": ["apc_*"]}, False),
    ],
)
def test_a_selector_takes_the_units_that_it_names_and_none_of_which_too_little_is_known(
    selector, fits
):
    unit = UnitKind(model="Smart-UPS 1500", chemistry="vrla", three_phase=False, va=1500)
    assert Selector.model_validate(selector).matches(unit) is fits


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("every_months = 0", "every_months"),
        ("unknown = 1", "unknown"),
        ("selector = {phase = 3}", "selector.phase"),
        ('meters = [{meter = "run_hours"}]', "say `every`"),
        ('meters = [{meter = "steps", every = 5}]', "meters.0.meter"),
        (
            'conditions = [{text = "bogus > 1", within_days = 3, en = "x", zh = "x"}]',
            "unknown column",
        ),
        ('includes = ["nothing"]', "there is no task nothing"),
    ],
)
def test_a_wrong_task_is_refused_with_its_place(more, why):
    text = "\n".join(
        line
        for line in (
            "[one]",
            'title = {en = "T", zh = "题"}',
            "" if more.startswith("every_months") else "every_months = 12",
            'counted_from = "completion"',
            "minutes = 30",
            'steps = {en = ["a"], zh = ["甲"]}',
            'source = "test"',
            more,
        )
    )
    with pytest.raises(TaskInvalid, match=why):
        read_tasks(text)


def test_every_shipped_task_has_its_steps_in_both_languages_and_a_source():
    assert len(shipped_tasks()) == 16
    for one in shipped_tasks().values():
        assert one.source
        assert len(one.steps_en) == len(one.steps_zh) > 0


def test_meters_are_named_in_the_reason():
    one = MeterLimit(meter=Meter.RUN_HOURS, every=8760)
    unit = UnitFacts(
        day("2020-01-01"), day("2025-08-01"), usage={Meter.RUN_HOURS: Usage(9000, 375)}
    )
    reason = outlook(task(24, meters=(one,)), unit, TODAY).reasons[0]
    assert reason.en == "every 8,760 h of running; 9,000 so far → due 2026-03-02"
