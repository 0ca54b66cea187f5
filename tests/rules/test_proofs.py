"""What is proven of a condition: no claim that an evaluation refutes, and those that matter."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.catalogue import COLUMNS, catalogue
from rules.conditions import parse
from rules.conditions.proofs import Possible, always_holds, never_holds
from rules.points import BY_COLUMN
from rules.rule_warnings import PLAUSIBLE
from tests.rules import test_condition_engines as generated

BOUNDS = {"x": (0.0, 100.0), "y": (-5.0, 5.0), "avg_15m(x)": (0.0, 100.0), "since(f)": (0.0, 9e5)}
DOMAIN = {
    **{name: Possible(low=low, high=high) for name, (low, high) in BOUNDS.items()},
    "t": Possible(texts=frozenset({"a", "b", "站点"})),
}


def within(low: float, high: float) -> st.SearchStrategy[float | None]:
    inside = st.floats(low, high)
    return st.one_of(st.none(), inside, inside.map(round).map(float), st.sampled_from([low, high]))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            **{name: within(*bounds) for name, bounds in BOUNDS.items()},
            "z": generated.NUMBERS,
            "f": generated.FLAGS,
            "g": generated.FLAGS,
            "t": st.sampled_from([None, "a", "b", "站点"]),
        }
    ),
    min_size=1,
    max_size=12,
)
BOUNDED = st.builds(
    "{} {} {}".format,
    st.sampled_from(
        ["x", "y", "x - y", "x * y", "x / y", "ABS(y)", "LEAST(x, y)", "COALESCE(y, x)"]
    ),
    st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]),
    st.sampled_from(["0", "5", "100", "-5", "105", "y", "500"]),
)
JOINED = st.lists(BOUNDED, min_size=1, max_size=4).flatmap(
    lambda parts: st.sampled_from([" AND ", " OR ", " AND NOT "]).map(lambda word: word.join(parts))
)


@settings(max_examples=300, deadline=None)
@given(texts=st.one_of(generated.CONDITIONS, st.lists(JOINED, min_size=1, max_size=6)), rows=ROWS)
def test_nothing_is_claimed_that_an_evaluation_refutes(texts, rows):
    for text in texts:
        condition = parse(text, generated.COLUMNS)
        answers = {condition.evaluate(row) for row in rows}
        if never_holds(condition.root, DOMAIN):
            assert True not in answers, text
        if always_holds(condition.root, DOMAIN):
            assert False not in answers, text


@pytest.mark.parametrize(
    "text",
    [
        "ups_load > 80 AND ups_load < 70",
        "ups_load > 80 AND ups_load <= 80",
        "battery_charge > 100",
        "battery_charge < 0",
        "NOT (battery_charge <= 100)",
        "battery_charge BETWEEN 90 AND 20",
        "status_on_battery AND NOT status_on_battery",
        "status_on_battery IS NULL AND status_on_battery",
        "ups_test_result = 'fail'",
        "ups_test_result = 'failed' AND ups_test_result = 'passed'",
        "ups_load IN (400, 500)",
        "ABS(input_frequency) < 0",
        "share_24h(status_bypass) > 1",
        "since(status_on_battery) > 8 * 86400",
        "delta_1h(battery_charge) < -100.5",
        "seconds_since_seen < 0",
        "COALESCE(ups_load, 0) > 300",
        "ups_load > 80 AND (ups_load < 70 OR ups_load < 60)",
        "LEAST(battery_charge, 50) > 50",
        "battery_charge / 2 > 50.5 AND battery_voltage > 3",
    ],
)
def test_a_condition_that_can_never_hold_is_found(text):
    assert never_holds(parse(text, COLUMNS, with_past=BY_COLUMN).root, PLAUSIBLE)


@pytest.mark.parametrize(
    "text",
    [
        "battery_charge <= 100",
        "ups_load >= 0 OR status_off",
        "ups_load < 80 OR ups_load >= 80",
        "NOT (battery_charge < 0)",
        "COALESCE(ups_load, 0) >= 0",
        "ups_test_result IN ('passed', 'warning', 'failed', 'aborted', 'in_progress', 'none')",
        "status_off OR NOT status_off",
    ],
)
def test_a_condition_that_always_holds_is_found(text):
    assert always_holds(parse(text, COLUMNS, with_past=BY_COLUMN).root, PLAUSIBLE)


@pytest.mark.parametrize("rule", catalogue().values(), ids=lambda rule: rule.key)
def test_nothing_is_claimed_of_a_shipped_rule(rule):
    for condition in (rule.condition, rule.clear):
        if condition is not None:
            assert not never_holds(condition.root, PLAUSIBLE)
            assert not always_holds(condition.root, PLAUSIBLE)


def test_every_plausible_span_has_an_order():
    assert all(one.low <= one.high and math.isfinite(one.low) for one in PLAUSIBLE.values())
