"""Which faults come back: units, sites, flapping alarms, and models against the rest."""

from datetime import UTC, datetime, timedelta
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.problems import (
    NEXT,
    OPEN_STATES,
    Occurrence,
    ProblemKind,
    ProblemState,
    chance,
    of_models,
    recurring,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def failed(unit: int, *days_ago: float, failure: str = "fan_fault", **more: object) -> list:
    asked = {"site_id": 7, "model": "Maker A"} | more
    return [
        Occurrence(unit * 1_000 + n, NOW - timedelta(days=ago), failure, unit, **asked)
        for n, ago in enumerate(days_ago)
    ]


def test_the_third_time_in_half_a_year_comes_back():
    twice = failed(1, 100, 10)
    assert recurring(ProblemKind.UNIT, twice, {}, NOW) == []
    (found,) = recurring(ProblemKind.UNIT, failed(1, 170, 100, 10), {}, NOW)
    assert (found.subject, found.failure, len(found.occurrences)) == ("1", "fan_fault", 3)
    assert found.last_at == NOW - timedelta(days=10)
    assert recurring(ProblemKind.UNIT, failed(1, 181, 100, 10), {}, NOW) == []


def test_other_failures_and_other_units_are_other_faults():
    mixed = failed(1, 3, 2) + failed(2, 1) + failed(1, 1, failure="overload")
    assert recurring(ProblemKind.UNIT, mixed, {}, NOW) == []


def test_what_was_settled_counts_anew_from_then_on():
    since = {(ProblemKind.UNIT, "1", "fan_fault"): NOW - timedelta(days=50)}
    assert recurring(ProblemKind.UNIT, failed(1, 170, 100, 40, 10), since, NOW) == []
    assert len(recurring(ProblemKind.UNIT, failed(1, 170, 40, 20, 10), since, NOW)) == 1


def test_a_site_s_cause_counts_within_a_quarter_whatever_the_unit():
    mains = [
        Occurrence(n, NOW - timedelta(days=ago), "mains_failure", None, 7)
        for n, ago in enumerate((80, 40, 1))
    ]
    (found,) = recurring(ProblemKind.SITE, mains, {}, NOW)
    assert (found.kind, found.subject) == (ProblemKind.SITE, "7")


def test_a_model_that_fails_far_more_often_than_the_rest_stands_out():
    bad = [one for unit in range(10) for one in failed(unit, 5)]
    rest = [one for unit in range(100, 105) for one in failed(unit, 5, model="Maker B")]
    units = {"Maker A": 50, "Maker B": 450}
    (found,) = of_models(bad + rest, units, {}, NOW)
    assert (found.kind, found.subject, len(found.occurrences)) == (
        ProblemKind.MODEL,
        "Maker A",
        10,
    )


def test_small_numbers_and_one_bad_unit_do_not_make_a_bad_model():
    units = {"Maker A": 50, "Maker B": 450}
    few = [one for unit in range(2) for one in failed(unit, 5)]
    assert of_models(few, units, {}, NOW) == []
    one_bad_unit = failed(1, *range(1, 30))
    assert of_models(one_bad_unit, units, {}, NOW) == []
    alike = [one for unit in range(5) for one in failed(unit, 5)]
    others = [one for unit in range(100, 145) for one in failed(unit, 5, model="Maker B")]
    assert of_models(alike + others, units, {}, NOW) == []
    assert of_models(alike, {"Maker A": 50}, {}, NOW) == [], "nothing to compare with"


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9))
def test_the_chance_is_the_binomial_s_tail(hits, misses, tenths):
    trials, share = hits + misses, tenths / 10
    exact = sum(
        comb(trials, n) * share**n * (1 - share) ** (trials - n) for n in range(hits, trials + 1)
    )
    assert chance(hits, trials, share) == pytest.approx(exact, abs=1e-9)


def test_every_open_state_leads_on_and_settled_ones_end():
    for state in ProblemState:
        assert bool(NEXT[state]) is (state in OPEN_STATES)
