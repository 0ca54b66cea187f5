"""What can be said of a battery today: index, window, advice, and the words for them.

The index is estimated capacity in percent of new, relative to the unit's own baseline. It is no
capacity test and says so.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Literal

from rules.battery.ageing import EquivalentAge, equivalent_age
from rules.battery.baseline import learn
from rules.battery.discharge import Lasted, lasted
from rules.battery.facts import Chemistry, History, day_number, day_of
from rules.battery.life import END_OF_LIFE, Evidence, Posterior, posterior
from rules.battery.signs import ABORTED_IN_A_ROW, Signs, signs_at
from rules.battery.swaps import Course, newest_course, silenced_before

FEWEST_DAYS = 14
"""Days of any evidence below which no figure is given."""
SETTLES_DAYS = 3
"""After installation, while units show a placeholder runtime until their first test."""
GOOD_COVERAGE, THIN_COVERAGE = 0.8, 0.5

Confidence = Literal["unknown", "low", "medium", "high"]


class Advice(StrEnum):
    """What to do about a battery, the mildest first."""

    NONE = "none"
    WATCH = "watch"
    TEST = "test"
    """Measure its capacity before anybody pays for a new one."""
    PLAN = "plan"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class BatteryFigure:
    """What can be said of a battery today.

    `index_percent` with its 80 % range `low` to `high`; `replace_from` and `replace_until` are the
    80 % range of the day it falls to 80 %, `replace_median` its middle; `ends_in_90_days` and the
    others are probabilities. None is unknown. `swapped_on` is a replacement that the readings show.
    `evidence` lists what it stands on as `key=value`.
    """

    index_percent: float | None
    low: float | None
    high: float | None
    life_used: float | None
    replace_from: date | None
    replace_median: date | None
    replace_until: date | None
    ends_in_90_days: float | None
    ends_in_180_days: float | None
    ends_in_365_days: float | None
    advice: Advice
    confidence: Confidence
    swapped_on: date | None
    age: EquivalentAge | None
    evidence: tuple[str, ...]
    statement_en: str
    statement_zh: str


def judge_battery(history: History, now: datetime) -> BatteryFigure:
    """Say what all evidence about a battery is worth at `now`.

    1. Find the course of the newest battery: replaced ones and firmware's steps taken out.
    2. Learn its baseline, read its discharges, tests and flag.
    3. Weigh every life and shape; put the posterior into index, window, advice and words.
    """
    today = day_number(now.date())
    battery = history.battery
    installed_on = None if battery.installed_on is None else day_number(battery.installed_on)
    days = history.days
    if installed_on is not None:
        days = silenced_before(days, installed_on + SETTLES_DAYS)
    course = newest_course(days, history.firmware_changed_on)
    if course.swapped_on is not None and (
        installed_on is None or installed_on < course.swapped_on - FEWEST_DAYS
    ):
        installed_on = course.swapped_on
    swapped_on = course.swapped_on if installed_on == course.swapped_on else None
    since = (
        None if installed_on is None else datetime.combine(day_of(installed_on), time(), tzinfo=UTC)
    )
    signs = signs_at(
        now,
        history.tests,
        history.flags,
        since=since,
        test_interval_days=history.test_interval_days,
    )
    aged = None
    if installed_on is not None:
        aged = equivalent_age(history.days, installed_on, today, battery.chemistry)
    if aged is None or battery.chemistry is not Chemistry.VRLA:
        reason = _NOT_LEAD if battery.chemistry is not Chemistry.VRLA else _NO_DATE
        return _unknown(reason, None if aged is None else aged[0], signs, history)
    age, curve = aged
    runtime = learn(course.days)
    discharges = tuple(
        told
        for one in history.discharges
        if since is not None and since <= one.ended_at <= now and (told := lasted(one)) is not None
    )
    if age.measured_days < FEWEST_DAYS and runtime is None and not discharges:
        return _unknown(_thin(age.measured_days), age, signs, history)
    weighed = posterior(
        Evidence(
            curve=curve,
            today=float(today),
            mean_rate=age.mean_rate,
            coverage=age.coverage,
            service_life_years=battery.service_life_years,
            runtime=runtime,
            discharges=discharges,
            signs=signs,
        )
    )
    months = 0 if runtime is None else len(runtime[1].day)
    return _known(history, age, signs, weighed, course, months, discharges, swapped_on, today)


def _known(
    history: History,
    age: EquivalentAge,
    signs: Signs,
    weighed: Posterior,
    course: Course,
    months: int,
    discharges: tuple[Lasted, ...],
    swapped_on: int | None,
    today: int,
) -> BatteryFigure:
    life_used = age.years / history.battery.service_life_years
    index = 100.0 * min(1.0, weighed.capacity_quantile(0.5))
    low = 100.0 * min(1.0, weighed.capacity_quantile(0.1))
    high = 100.0 * min(1.0, weighed.capacity_quantile(0.9))
    begin, middle, end = (today + weighed.days_quantile(share) for share in (0.1, 0.5, 0.9))
    p90, p180, p365 = (weighed.ends_within(days) for days in (90, 180, 365))
    is_measured = months > 0 or any(not one.is_least for one in discharges)
    advice = advise(index, p90, p365, signs, is_measured=is_measured)
    evidence = _evidence(age, life_used, signs, weighed, course, months, discharges)
    window = (day_of(begin), day_of(middle), day_of(end))
    figure = (index, low, high)
    said = _signs(signs, advice, swapped_on, is_measured=is_measured)
    return BatteryFigure(
        index_percent=index,
        low=low,
        high=high,
        life_used=life_used,
        replace_from=window[0],
        replace_median=window[1],
        replace_until=window[2],
        ends_in_90_days=p90,
        ends_in_180_days=p180,
        ends_in_365_days=p365,
        advice=advice,
        confidence=_confidence(age, signs, weighed, months, discharges),
        swapped_on=None if swapped_on is None else day_of(swapped_on),
        age=age,
        evidence=evidence,
        statement_en=" ".join(
            [
                _figure_en(figure, window, day_of(today), months, len(discharges)),
                *(en for en, _ in said),
            ]
        ),
        statement_zh="".join(
            [
                _figure_zh(figure, window, day_of(today), months, len(discharges)),
                *(zh for _, zh in said),
            ]
        ),
    )


def advise(
    index: float | None, p90: float | None, p365: float | None, signs: Signs, *, is_measured: bool
) -> Advice:
    """Choose what to do (judgement throughout; the bench shows what it costs and catches).

    A replacement is planned once the end is all but sure to come within a year: earlier it would
    often be early by more than that, later there is no time to order.

    The unit's own flag alone asks for a test: some firmware raises it by age. A failed test, or a
    flag that the evidence supports, asks for replacement, and so does either where nothing else is
    known (`p365` None); so does a low index, but only where something was measured (`is_measured`):
    age alone makes a plan, and a test first.
    """
    soon = 0.0 if p365 is None else p365
    if signs.failures >= 2 or (signs.failures and signs.is_flagged):
        return Advice.REPLACE
    if signs.failures and (p365 is None or soon >= _SUPPORTED):
        return Advice.REPLACE
    if signs.is_flagged and (p365 is None or soon >= _SUPPORTED):
        return Advice.REPLACE
    is_low = index is not None and index < 100 * END_OF_LIFE
    if is_measured and is_low and p90 is not None and p90 >= _LIKELY:
        return Advice.REPLACE
    if soon >= _SURE:
        return Advice.PLAN
    if signs.failures or signs.is_flagged:
        return Advice.TEST
    if soon >= _POSSIBLE:
        return Advice.WATCH
    return Advice.NONE


_LIKELY, _SURE, _SUPPORTED, _POSSIBLE = 0.5, 0.85, 0.7, 0.3

Reason = tuple[str, str]
_NO_DATE = ("no usable installation date", "没有可用的安装日期")
_NOT_LEAD = (
    "the model is for lead-acid; ask the battery's own management system",
    "该模型只适用于铅酸电池，请以电池管理系统的数据为准",
)


def _thin(days: int) -> Reason:
    return (
        f"only {days} days with a credible temperature, and no comparable runtime or discharge",
        f"可信的温度数据只有 {days} 天，也没有可比较的后备时间或放电记录",
    )


def _unknown(
    reason: Reason, age: EquivalentAge | None, signs: Signs, history: History
) -> BatteryFigure:
    advice = advise(None, None, None, signs, is_measured=False)
    life_used = None if age is None else age.years / history.battery.service_life_years
    said = _signs(signs, advice, None, is_measured=False)
    return BatteryFigure(
        index_percent=None,
        low=None,
        high=None,
        life_used=life_used,
        replace_from=None,
        replace_median=None,
        replace_until=None,
        ends_in_90_days=None,
        ends_in_180_days=None,
        ends_in_365_days=None,
        advice=advice,
        confidence="unknown",
        swapped_on=None,
        age=age,
        evidence=_of_age(age, life_used) + _of_signs(signs),
        statement_en=" ".join([f"Capacity index unknown: {reason[0]}.", *(en for en, _ in said)]),
        statement_zh="".join([f"容量指数未知：{reason[1]}。", *(zh for _, zh in said)]),
    )


def _confidence(
    age: EquivalentAge,
    signs: Signs,
    weighed: Posterior,
    months: int,
    discharges: tuple[Lasted, ...],
) -> Confidence:
    """Say how far to trust the figure; age alone is never more than medium."""
    contradicts = signs.has_passed and signs.is_flagged
    if age.sensor_fault or contradicts:
        return "low"
    measured = any(not one.is_least for one in discharges)
    follows = weighed.follows is not None and weighed.follows >= 0.8 and months >= 6
    if follows or measured:
        return "high" if age.coverage >= GOOD_COVERAGE else "medium"
    return "medium" if age.coverage >= THIN_COVERAGE else "low"


def _of_age(age: EquivalentAge | None, life_used: float | None) -> tuple[str, ...]:
    if age is None or life_used is None:
        return ()
    return (
        f"calendar_age_years={age.calendar_years:.2f}",
        f"equivalent_age_years={age.years:.2f}",
        f"life_used={life_used:.2f}",
        f"mean_rate={age.mean_rate:.2f}",
        f"temperature_coverage={age.coverage:.2f}",
        f"sensor_fault={str(age.sensor_fault).lower()}",
    )


def _of_signs(signs: Signs) -> tuple[str, ...]:
    last = signs.last_valid
    return (
        f"replace_flag={str(signs.is_flagged).lower() if signs.knows_flag else 'unknown'}",
        f"flag_chatter={signs.chatter}",
        f"last_test={'none' if last is None else f'{last.outcome} {last.ended_at:%Y-%m-%d}'}",
        f"failed_tests={signs.failures}",
        f"tests_overdue={str(signs.overdue).lower()}",
    )


def _evidence(
    age: EquivalentAge,
    life_used: float,
    signs: Signs,
    weighed: Posterior,
    course: Course,
    months: int,
    discharges: tuple[Lasted, ...],
) -> tuple[str, ...]:
    lines = [*_of_age(age, life_used), f"runtime_months={months}"]
    if weighed.follows is not None:
        lines.append(f"runtime_follows_battery={weighed.follows:.2f}")
    lines.append(f"discharges={sum(not one.is_least for one in discharges)}")
    lines += [f"firmware_step={factor:.2f}" for factor in course.firmware_steps]
    return (*lines, *_of_signs(signs))


def _month(day: date, today: date) -> date:
    """Count a day that is past as today: nothing can be planned for it."""
    return max(day, today)


def _figure_en(
    figure: tuple[float, float, float],
    window: tuple[date, date, date],
    today: date,
    months: int,
    discharges: int,
) -> str:
    index, low, high = figure
    begin, end = _month(window[0], today), _month(window[2], today)
    told = [f"{months} months of normalized runtime"] if months else []
    told += [f"{discharges} times on battery"] if discharges else []
    basis = (
        f"relative to its own baseline, from age, temperature, {' and '.join(told)}"
        if told
        else "estimated from age and temperature"
    )
    return (
        f"Capacity index {index:.0f} (80 % range {low:.0f}–{high:.0f}), {basis};"
        f" replacement window {begin:%Y-%m} to {end:%Y-%m} (80 %). Not a capacity test."
    )


def _figure_zh(
    figure: tuple[float, float, float],
    window: tuple[date, date, date],
    today: date,
    months: int,
    discharges: int,
) -> str:
    index, low, high = figure
    begin, end = _month(window[0], today), _month(window[2], today)
    told = [f"{months} 个月的折算后备时间"] if months else []
    told += [f"{discharges} 次电池放电"] if discharges else []
    basis = (
        f"相对于自身基线，由使用年限、温度、{'和'.join(told)}得出"
        if told
        else "由使用年限和温度估算"
    )
    return (
        f"容量指数 {index:.0f}（80% 区间 {low:.0f}–{high:.0f}），{basis}；预计更换时间"
        f" {begin:%Y-%m} 至 {end:%Y-%m}（80%）。这不是容量测试的结果。"
    )


def _signs(
    signs: Signs, advice: Advice, swapped_on: int | None, *, is_measured: bool
) -> list[Reason]:
    """Return what the signs say, each line in English and Chinese."""
    tests_first = advice is Advice.TEST or (advice is Advice.PLAN and not is_measured)
    failures = signs.failures
    lines = {
        ("The unit asks for a new battery.", "设备提示更换电池。"): signs.is_flagged,
        ("Its last self-test failed.", "最近一次自检未通过。"): failures == 1,
        (
            f"Its last {failures} self-tests failed.",
            f"最近 {failures} 次自检均未通过。",
        ): failures > 1,
        ("Its last self-test passed.", "最近一次自检通过。"): signs.has_passed,
        (
            "No valid self-test for more than twice its interval.",
            "超过两个自检周期没有有效自检。",
        ): signs.overdue,
        (
            "Its self-tests do not come to an end.",
            "自检多次中止，未能完成。",
        ): signs.aborted_in_a_row >= ABORTED_IN_A_ROW,
        (
            "The readings show a new battery: enter its date.",
            "读数表明电池已更换，请录入更换日期。",
        ): swapped_on is not None,
        ("Replace it.", "建议更换。"): advice is Advice.REPLACE,
        ("Plan its replacement.", "建议安排更换计划。"): advice is Advice.PLAN,
        (
            "Test its capacity before paying for a new one.",
            "更换前请先做容量测试。",
        ): tests_first,
    }
    return [line for line, holds in lines.items() if holds]
