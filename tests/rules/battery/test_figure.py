"""The figure as a whole: what it says of batteries whose truth is known, and of every trap."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from rules.battery.facts import (
    Chemistry,
    Discharge,
    FlagTime,
    History,
    TestOutcome,
    TestResult,
    day_number,
    day_of,
)
from rules.battery.figure import Advice, judge_battery
from tests.rules.battery.aging import NOW, TODAY, battery, capacity, days, joined

DAY = timedelta(days=1)
YEAR = 365


def watched_from_new(age_days: int, life_years: float = 4.0, **options) -> History:
    ages = np.arange(age_days) / 365.25
    return History(
        battery(age_days),
        days(age_days, capacities=capacity(ages, life_years), **options),
        flags=(),
    )


@pytest.mark.parametrize("life_years", [3.0, 4.0, 5.0])
@pytest.mark.parametrize("share", [0.85, 0.95])
def test_a_battery_watched_from_new_is_read_rightly_whatever_its_life(life_years, share):
    age_days = round(life_years * share * 365.25)
    figure = judge_battery(watched_from_new(age_days, life_years), NOW)

    true_index = 100 * float(capacity(age_days / 365.25, life_years))
    true_end = TODAY - age_days + life_years * 365.25
    assert figure.low - 1 <= true_index <= figure.high + 1
    assert figure.index_percent == pytest.approx(true_index, abs=3)
    assert day_number(figure.replace_from) <= true_end <= day_number(figure.replace_until)


def test_before_the_knee_nobody_is_told_to_buy():
    figure = judge_battery(watched_from_new(round(0.5 * 4 * 365)), NOW)

    assert figure.advice is Advice.NONE
    assert figure.index_percent > 97
    assert figure.ends_in_365_days < 0.1


def test_near_its_end_a_replacement_is_planned_and_the_words_say_what_it_rests_on():
    figure = judge_battery(watched_from_new(round(0.95 * 4 * 365.25)), NOW)

    assert figure.advice is Advice.PLAN
    assert "relative to its own baseline" in figure.statement_en
    assert "Not a capacity test." in figure.statement_en
    assert "这不是容量测试的结果" in figure.statement_zh


def test_a_worn_battery_that_was_measured_is_replaced():
    figure = judge_battery(watched_from_new(round(1.15 * 4 * 365.25)), NOW)

    assert figure.index_percent < 80
    assert figure.advice is Advice.REPLACE


def test_age_alone_makes_a_plan_and_a_test_first():
    only_warm = replace(
        days(7 * YEAR),
        log_runtime_low=np.full(7 * YEAR, np.nan),
        log_runtime_high=np.full(7 * YEAR, np.nan),
    )
    figure = judge_battery(History(battery(7 * YEAR), only_warm, flags=()), NOW)

    assert figure.advice is Advice.PLAN
    assert "Test its capacity before paying for a new one." in figure.statement_en
    assert "estimated from age and temperature" in figure.statement_en


def test_more_load_does_not_look_like_ageing():
    before, after = days(400, ends_before=TODAY - 300), days(300)
    louder = np.log(1.8)
    heavier = replace(
        after,
        log_load_low=after.log_load_low + louder,
        log_load_high=after.log_load_high + louder,
        log_runtime_low=after.log_runtime_low - 1.25 * louder,
        log_runtime_high=after.log_runtime_high - 1.25 * louder,
    )
    figure = judge_battery(History(battery(700), joined(before, heavier), flags=()), NOW)

    assert figure.advice is Advice.NONE
    assert figure.index_percent > 97


def test_a_report_that_never_moves_says_little():
    """A firmware may show what it learnt once: an old battery is not made young by it."""
    age_days = round(1.3 * 4 * 365.25)
    blind = History(battery(age_days), days(700), flags=())
    silent = replace(
        blind.days,
        log_runtime_low=np.full(700, np.nan),
        log_runtime_high=np.full(700, np.nan),
    )

    told, untold = judge_battery(blind, NOW), judge_battery(replace(blind, days=silent), NOW)

    assert untold.ends_in_90_days > 0.7
    assert told.ends_in_90_days > 0.25


def swapped(step: float, *, firmware: bool = False) -> History:
    worn, new = days(400, ends_before=TODAY - 100), days(100)
    lifted = replace(
        new,
        log_runtime_low=new.log_runtime_low + step,
        log_runtime_high=new.log_runtime_high + step,
    )
    return History(
        battery(1_400),
        joined(worn, lifted),
        flags=(),
        firmware_changed_on=(TODAY - 100,) if firmware else (),
    )


def test_a_step_up_is_a_new_battery_whose_date_people_are_asked_for():
    figure = judge_battery(swapped(np.log(1.3)), NOW)

    assert abs(day_number(figure.swapped_on) - (TODAY - 100)) <= 2
    assert figure.age.calendar_years == pytest.approx(100 / 365.25, abs=0.01)
    assert "enter its date" in figure.statement_en


@pytest.mark.parametrize("step", [np.log(10.0), np.log(0.1), np.log(1.3), np.log(60.0)])
def test_a_step_with_a_new_firmware_is_the_firmwares(step):
    figure = judge_battery(swapped(step, firmware=True), NOW)

    assert figure.swapped_on is None
    assert figure.age.calendar_years == pytest.approx(1_400 / 365.25, abs=0.01)
    assert any(line.startswith("firmware_step=") for line in figure.evidence)


def test_a_swap_that_was_recorded_begins_a_new_battery_without_asking():
    history = replace(swapped(np.log(1.3)), battery=battery(100))
    figure = judge_battery(history, NOW)

    assert figure.swapped_on is None
    assert figure.age.calendar_years == pytest.approx(100 / 365.25, abs=0.01)


def test_a_rise_that_falls_back_is_no_new_battery():
    worn, high, again = (
        days(300, ends_before=TODAY - 140),
        days(40, ends_before=TODAY - 100),
        days(100),
    )
    high = replace(
        high,
        log_runtime_low=high.log_runtime_low + 0.3,
        log_runtime_high=high.log_runtime_high + 0.3,
    )
    figure = judge_battery(
        History(battery(1_400), joined(joined(worn, high), again), flags=()), NOW
    )

    assert figure.swapped_on is None


YOUNG = History(battery(300), days(300), flags=())
OLD = History(battery(1_450), days(700), flags=())


def with_flag(history: History, *, hours_ago: float, minutes: float | None) -> History:
    since = NOW - timedelta(hours=hours_ago)
    until = None if minutes is None else since + timedelta(minutes=minutes)
    return replace(history, flags=(FlagTime(since, until),))


def test_a_flag_for_seconds_or_a_minute_only_counts_as_chatter():
    figure = judge_battery(with_flag(OLD, hours_ago=3, minutes=1), NOW)

    assert "flag_chatter=1" in figure.evidence
    assert "The unit asks for a new battery." not in figure.statement_en


def test_a_flag_that_stands_on_a_young_battery_asks_for_a_test_and_not_for_money():
    figure = judge_battery(with_flag(YOUNG, hours_ago=30, minutes=None), NOW)

    assert figure.advice is Advice.TEST


def test_a_flag_that_the_evidence_supports_asks_for_replacement():
    worn = watched_from_new(round(0.97 * 4 * 365.25))
    assert judge_battery(with_flag(worn, hours_ago=30, minutes=None), NOW).advice is Advice.REPLACE


def test_a_flag_that_stayed_on_from_the_battery_before_is_not_held_against_the_new_one():
    stale = with_flag(replace(YOUNG, battery=battery(20)), hours_ago=24 * 30, minutes=9 * 24 * 60)
    assert judge_battery(stale, NOW).advice is Advice.NONE


def with_tests(history: History, *outcomes: TestOutcome, charge: float | None = None) -> History:
    ended = [NOW - 2 * DAY * (len(outcomes) - place) for place in range(len(outcomes))]
    return replace(
        history,
        tests=tuple(TestResult(o, at, charge) for o, at in zip(outcomes, ended, strict=True)),
        test_interval_days=35.0,
    )


FAILED, PASSED = TestOutcome.FAILED, TestOutcome.PASSED


@pytest.mark.parametrize(
    ("outcomes", "charge", "advice"),
    [
        ((FAILED,), None, Advice.TEST),
        ((FAILED, FAILED), None, Advice.REPLACE),
        ((FAILED, PASSED), None, Advice.NONE),
        ((FAILED, FAILED), 60.0, Advice.NONE),
        ((TestOutcome.ABORTED,) * 3, None, Advice.NONE),
        ((TestOutcome.INVALID,), None, Advice.NONE),
    ],
)
def test_a_failed_test_needs_confirming_and_only_valid_ones_count(outcomes, charge, advice):
    assert judge_battery(with_tests(YOUNG, *outcomes, charge=charge), NOW).advice is advice


def test_tests_that_never_come_to_an_end_are_told():
    figure = judge_battery(with_tests(YOUNG, *[TestOutcome.ABORTED] * 3), NOW)
    assert "Its self-tests do not come to an end." in figure.statement_en
    assert "No valid self-test for more than twice its interval." in figure.statement_en


def test_times_on_battery_bring_the_end_of_a_battery_to_light_that_its_firmware_hides():
    age_days = 1_300
    blind = History(battery(age_days), days(700), flags=())
    short = [
        Discharge(NOW - 30 * DAY * n, 900 * share, 30, 100, 5, 25, 1200, reached_end=True)
        for n, share in ((1, 0.70), (6, 0.82), (12, 0.95), (18, 1.05))
    ]
    before, after = (
        judge_battery(blind, NOW),
        judge_battery(replace(blind, discharges=tuple(short)), NOW),
    )

    assert after.ends_in_180_days > before.ends_in_180_days + 0.15


def test_a_gauge_that_runs_ahead_of_everything_is_no_battery_fault():
    """Seen: charge fell from 100 to 52 % in 90 s while 18 min of runtime were told."""
    fault = Discharge(NOW - 5 * DAY, 150, 30, 100, 20, 25, 1080)
    plain = judge_battery(OLD, NOW)
    assert judge_battery(replace(OLD, discharges=(fault,)), NOW).ends_in_180_days == pytest.approx(
        plain.ends_in_180_days, abs=0.02
    )


def test_lithium_gets_no_figure_of_the_lead_acid_model():
    figure = judge_battery(
        replace(OLD, battery=battery(1_450, chemistry=Chemistry.LITHIUM_ION)), NOW
    )
    assert figure.index_percent is None
    assert figure.confidence == "unknown"
    assert "lead-acid" in figure.statement_en


@pytest.mark.parametrize("age_days", [0, -1, -4_000])
def test_a_battery_date_in_the_future_gives_no_figure(age_days):
    figure = judge_battery(replace(OLD, battery=battery(age_days)), NOW)
    assert figure.index_percent is None
    assert figure.age is None


def test_nothing_known_gives_no_figure_and_says_why():
    nothing = replace(days(5), celsius=np.full(5, np.nan), log_runtime_low=np.full(5, np.nan))
    figure = judge_battery(History(battery(300), nothing, flags=None), NOW)
    assert figure.index_percent is None
    assert "only 0 days" in figure.statement_en


def test_gaps_of_weeks_and_values_that_are_no_numbers_are_lived_with():
    history = watched_from_new(round(0.95 * 4 * 365.25))
    kept = np.ones(len(history.days.day), dtype=bool)
    kept[200:260] = kept[900:1_000] = False
    holed = joined(history.days, days(0))
    holed = type(holed)(*(getattr(holed, name)[kept] for name in type(holed).__dataclass_fields__))
    holed.log_runtime_low[::7] = np.nan
    assert judge_battery(replace(history, days=holed), NOW).advice is Advice.PLAN


def test_a_date_far_away_stays_within_the_calendar():
    assert day_of(1e12).year == 9998
    assert day_of(-1e12).year == 1


def test_a_flag_that_stands_is_believed_where_nothing_else_is_known():
    unknown = replace(OLD, battery=replace(OLD.battery, installed_on=None))
    assert judge_battery(unknown, NOW).advice is Advice.NONE
    flagged = judge_battery(with_flag(unknown, hours_ago=30, minutes=None), NOW)
    assert (flagged.index_percent, flagged.advice) == (None, Advice.REPLACE)
    brief = judge_battery(with_flag(unknown, hours_ago=30, minutes=1), NOW)
    assert brief.advice is Advice.NONE
