"""Equivalent age and the first battery figure, against values worked out by hand."""

from datetime import UTC, date, datetime, timedelta

import pytest

from rules.battery import (
    BatteryFigure,
    Chemistry,
    EquivalentAge,
    TestOutcome,
    TestResult,
    capacity,
    equivalent_age,
    first_figure,
)

TODAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def wobbling(celsius: float, days: int) -> list[tuple[date, float | None]]:
    """Days up to yesterday whose sensor moves by a hundredth, as a live one does."""
    return [(TODAY - DAY * ago, celsius + 0.01 * (ago % 2)) for ago in range(1, days + 1)]


def age_of(
    temperatures: list[tuple[date, float | None]], *, days: int, chemistry=Chemistry.VRLA, **options
) -> EquivalentAge:
    age = equivalent_age(temperatures, TODAY - DAY * days, TODAY, chemistry=chemistry, **options)
    assert age is not None
    return age


@pytest.mark.parametrize(
    ("celsius", "options", "rate"),
    [
        # From the table of life factors: 1 / F(T).
        (25.0, {}, 1.0),
        (35.0, {}, 2.0),
        (30.0, {}, 1.4142),
        (40.0, {}, 2.8284),
        (33.0, {"half_life_kelvin": 8.0}, 2.0),
        (25.0, {"reference_celsius": 20.0}, 1.4142),
        # Cold is credited with a fifth more life, not with more.
        (23.0, {}, 0.8706),
        (15.0, {}, 0.8333),
    ],
)
def test_heat_ages_a_battery_by_halving_its_life(celsius: float, options: dict, rate: float):
    age = age_of(wobbling(celsius, 1461), days=1461, **options)

    assert age.calendar_years == 4.0
    assert age.years == pytest.approx(4.0 * rate, rel=0.001)
    assert age.mean_rate == pytest.approx(rate, rel=0.001)
    assert age.coverage == 1.0
    assert not age.sensor_fault


def test_the_rates_are_averaged_and_not_the_temperatures():
    halves = [*wobbling(35.0, 50), *[(TODAY - DAY * ago, 15 + ago / 1e3) for ago in range(51, 101)]]

    age = age_of(halves, days=100)

    # 50 days at rate 2 and 50 at 1/1.2; the mean temperature of 25 °C would give 100 days.
    assert age.years * 365.25 == pytest.approx(100 + 41.67, abs=0.1)
    assert age.mean_rate == pytest.approx((50 * 2 + 40 / 1.2) / 90, abs=0.002)


def test_days_without_a_temperature_count_as_25_degrees():
    age = age_of([*wobbling(35.0, 25), (TODAY - DAY * 30, None)], days=100)

    assert age.years * 365.25 == pytest.approx(25 * 2 + 75, abs=0.1)
    assert age.coverage == 0.25
    assert age.measured_days == 25


def test_days_before_installation_and_after_yesterday_do_not_count():
    age = age_of([*wobbling(35.0, 200), (TODAY, 70.0), (TODAY + DAY, 70.0)], days=100)

    assert age.years * 365.25 == pytest.approx(200, abs=0.2)
    assert age.measured_days == 100


@pytest.mark.parametrize("value", [-1.0, 0.0, 2.2, 293.0, 80.1])
def test_a_value_no_battery_room_has_is_a_sensor_fault_and_ages_as_25_degrees(value: float):
    broken = [(TODAY - DAY * ago, value + 0.001 * (ago % 2)) for ago in range(1, 11)]
    before = wobbling(35.0, 100)[10:]

    age = age_of([*broken, *before], days=100)

    assert age.sensor_fault
    assert age.measured_days == 90
    assert age.years * 365.25 == pytest.approx(90 * 2 + 10, abs=0.2)


def test_a_sensor_that_has_not_moved_for_a_week_is_stuck():
    stuck = [(TODAY - DAY * ago, 35.0) for ago in range(1, 8)]

    assert age_of(stuck, days=7).sensor_fault
    assert age_of(stuck, days=7).measured_days == 0
    assert not age_of(stuck[:6], days=6).sensor_fault


def test_a_sensor_fault_of_long_ago_is_no_fault_now():
    age = age_of([(TODAY - DAY * 90, 293.0), *wobbling(25.0, 50)], days=100)

    assert not age.sensor_fault
    assert age.measured_days == 50


def test_lithium_ion_ages_by_the_calendar():
    age = age_of(wobbling(40.0, 1461), days=1461, chemistry=Chemistry.LITHIUM_ION)

    assert age.years == 4.0
    assert age.mean_rate == 1.0


@pytest.mark.parametrize("installed_on", [None, TODAY, TODAY + DAY])
def test_without_a_usable_installation_date_there_is_no_age(installed_on: date | None):
    assert equivalent_age([], installed_on, TODAY, chemistry=Chemistry.VRLA) is None


@pytest.mark.parametrize(
    ("age", "life", "expected"),
    [(0.0, 4.0, 1.0), (2.4, 4.0, 1.0), (3.2, 4.0, 0.9), (4.0, 4.0, 0.8), (6.0, 4.0, 0.55)],
)
def test_capacity_holds_to_six_tenths_of_life_and_falls_to_80_percent(
    age: float, life: float, expected: float
):
    assert capacity(age, life) == pytest.approx(expected)
    assert capacity(100.0, life) == 0.0


def aged(years: float, *, coverage: float = 1.0, **changes) -> EquivalentAge:
    values = {
        "years": years,
        "calendar_years": years,
        "mean_rate": 1.0,
        "coverage": coverage,
        "measured_days": round(coverage * years * 365.25),
        "sensor_fault": False,
        "chemistry": Chemistry.VRLA,
    }
    return EquivalentAge(**(values | changes))


def figure(
    age: EquivalentAge | None, *, flag: bool | None = False, test: TestResult | None = None
) -> BatteryFigure:
    return first_figure(age, service_life_years=4.0, replace_flag=flag, last_test=test, now=NOW)


FAILED = TestResult(TestOutcome.FAILED, NOW - DAY)
PASSED = TestResult(TestOutcome.PASSED, NOW - DAY)


@pytest.mark.parametrize(
    ("years", "coverage", "index", "low", "high"),
    [
        # Life 4 a, its 80 % range 4 · exp(∓1.2816 · 0.25) = 2.9035 … 5.5106 a.
        (1.0, 1.0, 100.0, 100.0, 100.0),
        (3.2, 1.0, 90.0, 74.89, 100.0),
        (4.0, 1.0, 80.0, 61.12, 93.71),
        # Half of the temperatures assumed: spread √(0.25² + 0.15²) = 0.29155, 2.7530 … 5.8118 a.
        (4.0, 0.5, 80.0, 57.35, 95.59),
    ],
)
def test_the_index_follows_age_with_an_80_percent_range(
    years: float, coverage: float, index: float, low: float, high: float
):
    result = figure(aged(years, coverage=coverage))

    assert result.index_percent == pytest.approx(index, abs=0.01)
    assert result.low == pytest.approx(low, abs=0.02)
    assert result.high == pytest.approx(high, abs=0.02)
    assert result.life_used == pytest.approx(years / 4)


def test_the_replacement_window_looks_ahead_at_the_recent_rate():
    result = figure(aged(2.0, mean_rate=2.0))

    # (2.9035 − 2) / 2 = 0.4518 a = 165 days, (5.5106 − 2) / 2 = 1.7553 a = 641 days.
    assert result.replace_from == TODAY + DAY * 165
    assert result.replace_until == TODAY + DAY * 641
    assert "2026-08 to 2027-12" in result.statement_en
    assert "2026-08 至 2027-12" in result.statement_zh


@pytest.mark.parametrize(
    ("age", "reason_en", "reason_zh"),
    [
        (None, "no usable installation date", "安装日期"),
        (aged(2.0, measured_days=13), "only 13 days", "只有 13 天"),
        (aged(2.0, chemistry=Chemistry.LITHIUM_ION), "lead-acid", "铅酸"),
    ],
)
def test_what_is_not_known_is_called_unknown(
    age: EquivalentAge | None, reason_en: str, reason_zh: str
):
    result = figure(age)

    assert (result.index_percent, result.low, result.high) == (None, None, None)
    assert (result.replace_from, result.replace_until) == (None, None)
    assert result.confidence == "low"
    assert result.statement_en.startswith("Capacity index unknown: ")
    assert reason_en in result.statement_en
    assert result.statement_zh.startswith("容量指数未知：")
    assert reason_zh in result.statement_zh


@pytest.mark.parametrize(
    ("age", "flag", "test", "replace", "confidence"),
    [
        # One sign alone does not buy a battery; two do.
        (aged(1.0), True, None, False, "medium"),
        (aged(1.0), False, FAILED, False, "medium"),
        (aged(3.5), False, None, False, "medium"),
        (aged(1.0), True, FAILED, True, "high"),
        (aged(3.5), True, None, True, "high"),
        (aged(3.5), None, FAILED, True, "high"),
        (aged(3.3), True, None, False, "medium"),
        (None, True, FAILED, True, "medium"),
        (None, True, None, False, "low"),
        # Contradiction, thin data or a broken sensor: not to be trusted.
        (aged(1.0), True, PASSED, False, "low"),
        (aged(3.5), False, PASSED, False, "low"),
        (aged(1.0, coverage=0.4), False, PASSED, False, "low"),
        (aged(1.0, sensor_fault=True), False, PASSED, False, "low"),
        (aged(3.5, coverage=0.7), True, None, True, "medium"),
        # Age alone is never sure.
        (aged(1.0), False, PASSED, False, "medium"),
        # A test that did not count is no test, and an old pass says nothing.
        (aged(1.0), True, TestResult(TestOutcome.ABORTED, NOW - DAY), False, "medium"),
        (aged(1.0), True, TestResult(TestOutcome.INVALID, NOW - DAY), False, "medium"),
        (aged(1.0), True, TestResult(TestOutcome.PASSED, NOW - 71 * DAY), False, "medium"),
        # The old battery's failure is not the new one's.
        (aged(0.1), True, TestResult(TestOutcome.FAILED, NOW - 60 * DAY), False, "medium"),
    ],
)
def test_two_signs_that_agree_call_for_replacement(
    age: EquivalentAge | None,
    flag: bool | None,
    test: TestResult | None,
    replace: bool,
    confidence: str,
):
    result = figure(age, flag=flag, test=test)

    assert result.replace is replace
    assert result.confidence == confidence
    assert ("replace it" in result.statement_en) is replace
    assert ("建议更换" in result.statement_zh) is replace


@pytest.mark.parametrize(
    ("age", "flag", "needs_test"),
    [
        (aged(1.0), False, False),
        (aged(1.0), True, True),
        (aged(4.1), False, True),
        (aged(4.1), True, False),
    ],
)
def test_a_capacity_test_comes_before_a_paid_replacement_on_one_sign(
    age: EquivalentAge, flag: bool, needs_test: bool
):
    result = figure(age, flag=flag)

    assert ("Test its capacity" in result.statement_en) is needs_test
    assert ("容量测试。" in result.statement_zh.replace("这不是容量测试的结果。", "")) is needs_test


def test_a_figure_says_what_it_stands_on():
    result = figure(aged(3.2, coverage=0.75), flag=None, test=PASSED)

    assert result.evidence == (
        "calendar_age_years=3.20",
        "equivalent_age_years=3.20",
        "life_used=0.80",
        "mean_rate=1.00",
        "temperature_coverage=0.75",
        "sensor_fault=false",
        "replace_flag=unknown",
        "last_test=passed 2026-03-01",
    )
    assert "Not a capacity test." in result.statement_en
    assert "这不是容量测试的结果" in result.statement_zh
    assert figure(None, flag=True).evidence == ("replace_flag=true", "last_test=none")
