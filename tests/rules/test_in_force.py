"""Overrides in the engine: each unit is judged as if its form of a rule were the only one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.believed import Facts
from rules.catalogue import RuleInvalid, read_rules
from rules.catalogue.text import overridden, override_of
from rules.engine import Engine
from rules.facts import Reading
from rules.in_force import InForce, rule_for
from rules.occasions import Occasion

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
RULES = read_rules("""
[load]
title = {en = "Load", zh = "负载"}
severity = "minor"
condition = "ups_load > 80"
clear = "ups_load <= 70"
raise_after_seconds = 60
clear_after_seconds = 30
source = "test"
[battery]
title = {en = "On battery", zh = "电池供电"}
severity = "major"
condition = "status_on_battery"
raise_after_seconds = 30
clear_after_seconds = 0
source = "test"
[silent]
title = {en = "Silent", zh = "失联"}
severity = "minor"
condition = "seconds_since_seen > 100"
raise_after_seconds = 0
clear_after_seconds = 0
source = "test"
[index]
title = {en = "Index", zh = "健康度"}
severity = "minor"
condition = "battery_index < 80"
raise_after_seconds = 0
clear_after_seconds = 0
source = "test"
""")


def form(key: str, **changes):
    return overridden(RULES[key], override_of(key, changes))


FORMS = {
    "load": (
        form("load", condition="ups_load > 40", severity="major"),
        form("load", condition="ups_load > 90 OR COALESCE(input_voltage, 230) < 200"),
        form("load", raise_after_seconds=0, clear_after_seconds=0),
    ),
    "battery": (
        form(
            "battery", condition="status_on_battery AND battery_charge < 50", clear="status_on_line"
        ),
    ),
}
IN_FORCE = InForce(RULES, FORMS, {"load": {2: 0, 3: 1, 4: 2}, "battery": {4: 0, 5: 0}})
UNITS = range(1, 6)
POINTS = st.fixed_dictionaries(
    {},
    optional={
        "ups_load": st.sampled_from([10.0, 45.0, 75.0, 85.0, 95.0]),
        "input_voltage": st.sampled_from([190.0, 230.0]),
        "status_on_battery": st.booleans(),
        "status_on_line": st.booleans(),
        "battery_charge": st.sampled_from([20.0, 80.0]),
    },
)
STORY = st.lists(
    st.tuples(st.integers(1, 120), st.lists(POINTS, min_size=5, max_size=5)),
    min_size=1,
    max_size=12,
)


def judged(engine: Engine, units, story):
    facts = {one: Facts(one, dict.fromkeys(engine.columns), None, None, None) for one in units}
    states, told, at = {}, [], T0
    for seconds, points in story:
        at += timedelta(seconds=seconds)
        readings = {
            one: [Reading(one, at, at, points[one - 1], stays_valid_seconds=90.0)] for one in units
        }
        outcome = engine.judge_readings(facts, readings, states)
        told += [(c.device_id, c.rule, c.steps, c.values, c.observed_at) for c in outcome.changes]
        ticked = engine.judge_time(
            facts.values(), dict.fromkeys(units, 101.0), outcome.states, at + timedelta(seconds=1)
        )
        told += [(c.device_id, c.rule, c.steps, c.values, c.observed_at) for c in ticked.changes]
        states = ticked.states
    return states, told


@settings(max_examples=60, deadline=None)
@given(story=STORY)
def test_together_they_are_judged_as_each_would_be_alone(story):
    together, told = judged(Engine(IN_FORCE), UNITS, story)
    for one in UNITS:
        mine = {key: rule_for(IN_FORCE, one, key) for key in RULES}
        alone, told_alone = judged(Engine(mine), [one], story)
        assert {key: state for key, state in together.items() if key[0] == one} == alone
        # A row of all units has the columns of all forms; what is told has those of its own.
        assert [change for change in told if change[0] == one] == told_alone


def test_the_form_of_a_unit_is_what_its_alarm_and_ticket_go_by():
    assert rule_for(IN_FORCE, 2, "load").severity == "major"
    assert rule_for(IN_FORCE, 1, "load") is RULES["load"]
    assert rule_for(RULES, 2, "load") is RULES["load"]
    off = IN_FORCE.without(frozenset({"load"}))
    assert set(off) == {"battery", "silent", "index"}
    assert "load" not in Engine(off).rules


def test_thousands_of_different_limits_are_judged_each_by_its_own():
    """A chain of as many choices would be too deep to work out."""
    forms = tuple(form("load", condition=f"ups_load > {n / 100}") for n in range(2_000))
    engine = Engine(InForce(RULES, {"load": forms}, {"load": {n + 1: n for n in range(2_000)}}))
    told = {
        n: [Reading(n, T0, T0, {"ups_load": 10.0}, stays_valid_seconds=90.0)]
        for n in (1, 999, 1_000, 1_001, 1_002, 2_000, 2_001)
    }
    facts = {n: Facts(n, dict.fromkeys(engine.columns), None, None, None) for n in told}
    seen = engine.judge_readings(facts, told, {})
    assert {device_id for device_id, _ in seen.states} == {1, 999, 1_000}


def test_a_form_is_judged_on_its_rules_occasion():
    rules = InForce(
        RULES, {"index": (form("index", condition="battery_index < 60"),)}, {"index": {2: 0}}
    )
    engine = Engine(rules, Occasion.HEALTH)
    assert engine.judges == {"index"}
    seen = engine.judge_facts({1: {"battery_index": 70.0}, 2: {"battery_index": 70.0}}, {}, T0)
    assert {key for key, _ in seen.states} == {1}


@pytest.mark.parametrize(
    ("key", "condition"),
    [
        ("load", "seconds_since_seen > 5"),
        ("load", "battery_index < 5"),
        ("silent", "ups_load > 5"),
        ("index", "days_to_warranty_end < 5"),
    ],
)
def test_an_override_that_would_change_what_a_rule_is_about_is_refused(key, condition):
    with pytest.raises(RuleInvalid, match="stays with what the rule is about"):
        form(key, condition=condition)


def test_a_condition_brings_its_own_clear_and_the_rest_stays():
    changed = form("load", condition="ups_load > 90")
    assert changed.clear is None
    assert (changed.raise_after, changed.severity) == (timedelta(seconds=60), "minor")
    assert form("load", severity="major").clear == RULES["load"].clear


def test_a_rule_whose_override_fails_live_is_named_and_the_others_go_on(monkeypatch):
    broken = replace(RULES["load"].condition)
    monkeypatch.setattr(
        type(broken),
        "to_polars",
        lambda self: (
            pl.col("no_such_column") > 0
            if self.text == "ups_load > 90"
            else pl.col(next(iter(self.columns))).cast(pl.Float64) > 0
        ),
    )
    rules = InForce(RULES, {"load": (form("load", condition="ups_load > 90"),)}, {"load": {1: 0}})
    engine = Engine(rules)
    facts = {1: Facts(1, dict.fromkeys(engine.columns), None, None, None)}
    seen = engine.judge_readings(
        facts, {1: [Reading(1, T0, T0, {"status_on_battery": True, "ups_load": 99.0})]}, {}
    )
    assert set(seen.failed) == {"load"}
    assert (1, "battery") in seen.states
    assert (1, "load") not in seen.states
