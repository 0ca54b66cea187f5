"""A first battery figure: how far a battery is worn by age and heat, and how sure that is.

Two steps: `equivalent_age` weighs each day by its temperature; `first_figure` sets that age against
the service life and adds what the unit itself says (replace flag, self-test). It estimates, and its
wording says so; a capacity test measures. Normalised runtime and discharges are not used yet.

Sources of the numbers: life halves for each 8 to 10 K (APC, Eaton, C&D, Victron); service lives
and the end of life at 80 % from Riello and Emerson; capacity about full to 60 % of life, then
falling to 80 %, from Riello's account of 10-year blocks. What is marked "judgement" has no
published source.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Literal

DAYS_A_YEAR = 365.25
ASSUMED_CELSIUS = 25.0
"""For days without a credible temperature: a usual equipment room."""
COLDEST_CREDIBLE, HOTTEST_CREDIBLE = 5.0, 80.0
"""A day's mean outside is a fault of the sensor or its scale (seen: −1, 0, 2.2, 293 °C)."""
STUCK_DAYS = 7
MOST_LIFE_FACTOR = 1.2
"""Cold is credited with at most a fifth more life: more is not proven in service (judgement)."""
RECENT_DAYS = 90
FEWEST_DAYS = 14
"""Days with a temperature below which no figure is given."""

LIFE_SPREAD = 0.25
"""Standard deviation of the logarithm of life among alike batteries."""
UNMEASURED_SPREAD = 0.30
"""The same of an age whose temperatures are all assumed: about ±4 K (judgement)."""
Z_80 = 1.2815515655446004
"""An 80 % range ends this many standard deviations from its middle."""
KNEE, END_OF_LIFE = 0.6, 0.8

WORN = 0.85
"""Share of service life from which age speaks for replacement."""
TEST_SPEAKS_FOR = timedelta(days=70)
"""A passed test older than twice a five-week test interval says nothing any more."""
GOOD_COVERAGE, THIN_COVERAGE = 0.8, 0.5

Confidence = Literal["low", "medium", "high"]


class Chemistry(StrEnum):
    """What a battery is made of, as far as its ageing differs."""

    VRLA = "vrla"
    LITHIUM_ION = "lithium_ion"


SERVICE_LIFE_YEARS = {
    (Chemistry.VRLA, 5): 4.0,
    (Chemistry.VRLA, 10): 7.0,
    (Chemistry.LITHIUM_ION, 10): 10.0,
}
"""Chemistry and design life in years → service life in years at the reference temperature."""


class TestOutcome(StrEnum):
    """How a self-test of the battery ended; only the first two say something about it."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    PASSED = "passed"
    FAILED = "failed"
    ABORTED = "aborted"
    INVALID = "invalid"
    """Did not count, for example because the battery was not full."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """The last self-test, and when it ended."""

    __test__ = False

    outcome: TestOutcome
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class EquivalentAge:
    """Age as if spent at the reference temperature.

    `mean_rate` is years of age a year over the last 90 days. `coverage` is the share of days
    since installation with a credible temperature. `sensor_fault` is about the newest value.
    """

    years: float
    calendar_years: float
    mean_rate: float
    coverage: float
    measured_days: int
    sensor_fault: bool
    chemistry: Chemistry


@dataclass(frozen=True, slots=True)
class BatteryFigure:
    """What can be said of a battery today.

    `index_percent` is an estimated capacity in percent of new, `low` and `high` its 80 % range,
    `replace_from` and `replace_until` the 80 % range of the day it falls to 80 %; None is unknown.
    `replace` means that two of flag, failed test and age agree.
    """

    index_percent: float | None
    low: float | None
    high: float | None
    life_used: float | None
    replace_from: date | None
    replace_until: date | None
    replace: bool
    confidence: Confidence
    evidence: tuple[str, ...]
    statement_en: str
    statement_zh: str


def equivalent_age(
    daily_temperatures: Sequence[tuple[date, float | None]],
    installed_on: date | None,
    today: date,
    *,
    chemistry: Chemistry,
    half_life_kelvin: float = 10.0,
    reference_celsius: float = 25.0,
) -> EquivalentAge | None:
    """Weigh each day since installation by its temperature; None when that date is no use.

    Temperatures are daily means in °C. Days without one, or with one that no battery room has,
    count as 25 °C. Lithium-ion ages by the calendar: halving by 10 K is a rule for lead-acid.
    """
    if installed_on is None or installed_on >= today:
        return None
    days = (today - installed_on).days
    measured = {
        day: value
        for day, value in sorted(daily_temperatures, key=lambda each: each[0])
        if value is not None and installed_on <= day < today
    }
    credible = _credible(measured)

    def rate(days_ago: int) -> float:
        if chemistry is not Chemistry.VRLA:
            return 1.0
        celsius = credible.get(today - timedelta(days=days_ago), ASSUMED_CELSIUS)
        factor = math.exp2((reference_celsius - celsius) / half_life_kelvin)
        return 1.0 / min(factor, MOST_LIFE_FACTOR)

    rates = [rate(days_ago) for days_ago in range(1, days + 1)]
    recent = rates[:RECENT_DAYS]
    return EquivalentAge(
        years=math.fsum(rates) / DAYS_A_YEAR,
        calendar_years=days / DAYS_A_YEAR,
        mean_rate=math.fsum(recent) / len(recent),
        coverage=len(credible) / days,
        measured_days=len(credible),
        sensor_fault=bool(measured) and max(measured) not in credible,
        chemistry=chemistry,
    )


def _credible(measured: dict[date, float]) -> dict[date, float]:
    """Leave out what the sensor cannot have measured, and runs in which it did not move."""
    credible: dict[date, float] = {}
    for value, run in groupby(measured.items(), key=lambda each: each[1]):
        alike = dict(run)
        if COLDEST_CREDIBLE <= value <= HOTTEST_CREDIBLE and len(alike) < STUCK_DAYS:
            credible |= alike
    return credible


def capacity(age_years: float, life_years: float) -> float:
    """Return the share of new capacity left: full to 60 % of life, 80 % at its end."""
    worn = age_years / life_years - KNEE
    return min(1.0, max(0.0, 1.0 - worn * (1.0 - END_OF_LIFE) / (1.0 - KNEE)))


@dataclass(frozen=True, slots=True)
class _Signs:
    """What the unit and the calendar say for or against a new battery."""

    is_flagged: bool
    has_failed: bool
    has_passed: bool
    is_worn: bool

    @property
    def are_agreed(self) -> bool:
        return [self.is_flagged, self.has_failed, self.is_worn].count(True) >= 2

    @property
    def is_alone(self) -> bool:
        return [self.is_flagged, self.has_failed, self.is_worn].count(True) == 1


def first_figure(
    age: EquivalentAge | None,
    *,
    service_life_years: float,
    replace_flag: bool | None,
    last_test: TestResult | None,
    now: datetime,
) -> BatteryFigure:
    """Say what age, flag and self-test together are worth.

    Index and range come from age alone; flag and test decide on replacement and on confidence.
    A test from before the battery was installed is left out.
    """
    test = last_test if _is_of_this_battery(last_test, age, now) else None
    life_used = None if age is None else age.years / service_life_years
    signs = _Signs(
        is_flagged=replace_flag is True,
        has_failed=test is not None and test.outcome is TestOutcome.FAILED,
        has_passed=test is not None
        and test.outcome is TestOutcome.PASSED
        and now - test.ended_at <= TEST_SPEAKS_FOR,
        is_worn=life_used is not None and life_used >= WORN,
    )
    estimate = _estimate(age, service_life_years, now)
    reason_en, reason_zh = _why_unknown(age)
    return BatteryFigure(
        index_percent=estimate.index if estimate else None,
        low=estimate.low if estimate else None,
        high=estimate.high if estimate else None,
        life_used=life_used,
        replace_from=estimate.replace_from if estimate else None,
        replace_until=estimate.replace_until if estimate else None,
        replace=signs.are_agreed,
        confidence=_confidence(age if estimate else None, signs),
        evidence=_evidence(age, life_used, test, replace_flag=replace_flag),
        statement_en=" ".join([_index_en(estimate, reason_en), *_signs_en(estimate, signs)]),
        statement_zh="".join([_index_zh(estimate, reason_zh), *_signs_zh(estimate, signs)]),
    )


def _is_of_this_battery(test: TestResult | None, age: EquivalentAge | None, now: datetime) -> bool:
    if test is None or age is None:
        return True
    return (now - test.ended_at).days <= round(age.calendar_years * DAYS_A_YEAR)


@dataclass(frozen=True, slots=True)
class _Estimate:
    index: float
    low: float
    high: float
    replace_from: date
    replace_until: date


def _estimate(age: EquivalentAge | None, life_years: float, now: datetime) -> _Estimate | None:
    """Work out index, range and window from ln life ~ N(ln service life, spread).

    Capacity only grows with life, so the ends of life's 80 % range give those of the index.
    """
    if age is None or _why_unknown(age) != KNOWN:
        return None
    spread = math.hypot(LIFE_SPREAD, UNMEASURED_SPREAD * (1.0 - age.coverage))
    short, long = life_years * math.exp(-Z_80 * spread), life_years * math.exp(Z_80 * spread)

    def reached_on(life: float) -> date:
        years_left = max(0.0, life - age.years) / age.mean_rate
        return now.date() + timedelta(days=round(years_left * DAYS_A_YEAR))

    return _Estimate(
        index=100.0 * capacity(age.years, life_years),
        low=100.0 * capacity(age.years, short),
        high=100.0 * capacity(age.years, long),
        replace_from=reached_on(short),
        replace_until=reached_on(long),
    )


KNOWN = ("", "")


def _why_unknown(age: EquivalentAge | None) -> tuple[str, str]:
    if age is None:
        return ("no usable installation date", "没有可用的安装日期")
    if age.chemistry is not Chemistry.VRLA:
        return (
            "the model is for lead-acid; ask the battery's own management system",
            "该模型只适用于铅酸电池，请以电池管理系统的数据为准",
        )
    if age.measured_days < FEWEST_DAYS:
        return (
            f"only {age.measured_days} days with a credible temperature",
            f"可信的温度数据只有 {age.measured_days} 天",
        )
    return KNOWN


def _confidence(age: EquivalentAge | None, signs: _Signs) -> Confidence:
    """Say how far to trust the figure; age alone is never more than medium."""
    if age is None:
        # Without an age, what the unit says is all there is.
        return "medium" if signs.is_flagged and signs.has_failed else "low"
    contradicts = signs.has_passed and (signs.is_flagged or signs.is_worn)
    if age.coverage < THIN_COVERAGE or age.sensor_fault or contradicts:
        return "low"
    return "high" if signs.are_agreed and age.coverage >= GOOD_COVERAGE else "medium"


def _evidence(
    age: EquivalentAge | None,
    life_used: float | None,
    test: TestResult | None,
    *,
    replace_flag: bool | None,
) -> tuple[str, ...]:
    """List what the figure stands on, as `key=value`."""
    lines = []
    if age is not None and life_used is not None:
        lines = [
            f"calendar_age_years={age.calendar_years:.2f}",
            f"equivalent_age_years={age.years:.2f}",
            f"life_used={life_used:.2f}",
            f"mean_rate={age.mean_rate:.2f}",
            f"temperature_coverage={age.coverage:.2f}",
            f"sensor_fault={str(age.sensor_fault).lower()}",
        ]
    flag = "unknown" if replace_flag is None else str(replace_flag).lower()
    said = "none" if test is None else f"{test.outcome} {test.ended_at:%Y-%m-%d}"
    return (*lines, f"replace_flag={flag}", f"last_test={said}")


def _index_en(estimate: _Estimate | None, reason: str) -> str:
    if estimate is None:
        return f"Capacity index unknown: {reason}."
    return (
        f"Capacity index {estimate.index:.0f} (80 % range {estimate.low:.0f}–{estimate.high:.0f}),"
        " estimated from age and temperature; replacement window"
        f" {estimate.replace_from:%Y-%m} to {estimate.replace_until:%Y-%m} (80 %)."
        " Not a capacity test."
    )


def _index_zh(estimate: _Estimate | None, reason: str) -> str:
    if estimate is None:
        return f"容量指数未知：{reason}。"
    return (
        f"容量指数 {estimate.index:.0f}（80% 区间 {estimate.low:.0f}–{estimate.high:.0f}），"
        f"由使用年限和温度估算；预计更换时间 {estimate.replace_from:%Y-%m} 至"
        f" {estimate.replace_until:%Y-%m}（80%）。这不是容量测试的结果。"
    )


def _needs_test(estimate: _Estimate | None, signs: _Signs) -> bool:
    is_low = estimate is not None and estimate.index < 100 * END_OF_LIFE
    return not signs.are_agreed and (signs.is_alone or is_low)


def _signs_en(estimate: _Estimate | None, signs: _Signs) -> list[str]:
    lines = {
        "The unit asks for a new battery.": signs.is_flagged,
        "Its last self-test failed.": signs.has_failed,
        "Its last self-test passed.": signs.has_passed,
        "Most of its service life is used.": signs.is_worn,
        "These signs agree: replace it.": signs.are_agreed,
        "Test its capacity before paying for a new one.": _needs_test(estimate, signs),
    }
    return [line for line, holds in lines.items() if holds]


def _signs_zh(estimate: _Estimate | None, signs: _Signs) -> list[str]:
    lines = {
        "设备提示更换电池。": signs.is_flagged,
        "最近一次自检未通过。": signs.has_failed,
        "最近一次自检通过。": signs.has_passed,
        "使用寿命已用去大半。": signs.is_worn,
        "以上迹象一致：建议更换。": signs.are_agreed,
        "更换前请先做容量测试。": _needs_test(estimate, signs),
    }
    return [line for line, holds in lines.items() if holds]
