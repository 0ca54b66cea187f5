"""Rules over facts of other occasions: judged on theirs alone, by the same life of alarms."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rules.alarms import Change
from rules.believed import Facts
from rules.catalogue import RuleInvalid, catalogue, read_rules
from rules.engine import Engine
from rules.facts import Reading
from rules.occasions import FACTS, Occasion, OccasionsMixed, Subject, occasions_of, subject_of

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = """
[{key}]
title = {{en = "T", zh = "题"}}
severity = "minor"
condition = "{condition}"
raise_after_seconds = {hold}
clear_after_seconds = 0
source = "test"
{more}
"""
REMINDER = '[{key}.reminder]\nowner = "sales"\naction = {{en = "A", zh = "做"}}\n{steps}'


def rule(condition: str, key: str = "one", hold: int = 0, more: str = "") -> str:
    return RULE.format(key=key, condition=condition, hold=hold, more=more)


def story(judged) -> list:
    return [
        (change.device_id, step.change, (step.at - T0) / DAY)
        for change in judged.changes
        for step in change.steps
    ]


RULES = read_rules(
    rule("days_since_valid_test > 45", "tests")
    + rule("days_since_valid_test > 45 AND ups_load > 80", "loaded")
    + rule("ups_load > 80", "load")
)


def test_a_reading_neither_raises_nor_clears_what_another_occasion_decides():
    calendar, reading = Engine(RULES, Occasion.CALENDAR), Engine(RULES)
    states = calendar.judge_facts({1: {"days_since_valid_test": 50.0}}, {}, T0).states
    assert set(states) == {(1, "tests")}
    fact = Facts(1, dict.fromkeys(reading.columns), None, None, None)
    judged = reading.judge_readings(
        {1: fact}, {1: [Reading(1, T0 + DAY, T0 + DAY, {"ups_load": 10.0})]}, states
    )
    assert judged.changes == []
    assert judged.states == states
    assert reading.judge_time([fact], {1: 0.0}, states, T0 + 9 * DAY).changes == []


def test_each_engine_judges_the_rules_of_its_occasion_and_knows_all_in_force():
    assert Engine(RULES).judges == {"load"}
    assert Engine(RULES, Occasion.CALENDAR).judges == {"tests", "loaded"}
    assert Engine(RULES, Occasion.HEALTH).judges == set()
    assert dict(Engine(RULES, Occasion.CALENDAR).rules) == RULES


@pytest.mark.parametrize(
    ("load", "raised"),
    [
        pytest.param(90.0, {"tests", "loaded"}, id="both hold"),
        pytest.param(None, {"tests"}, id="a point that is not believed raises nothing"),
    ],
)
def test_points_beside_such_words_are_judged_with_their_newest_value(load, raised):
    row = {"days_since_valid_test": 50.0, "ups_load": load}
    judged = Engine(RULES, Occasion.CALENDAR).judge_facts({7: row}, {}, T0)
    assert {change.rule.key for change in judged.changes if change.steps} == raised


def test_what_is_not_known_on_its_occasion_neither_raises_nor_clears():
    engine = Engine(RULES, Occasion.CALENDAR)
    raised = engine.judge_facts({1: {"days_since_valid_test": 46.0}}, {}, T0)
    assert story(raised) == [(1, Change.RAISED, 0)]
    unknown = engine.judge_facts({1: {"days_since_valid_test": None}}, raised.states, T0 + DAY)
    assert story(unknown) == []
    stale = engine.judge_facts({1: {}}, unknown.states, T0 + 3 * DAY)
    assert story(stale) == [(1, Change.STALE, 2)]
    well = engine.judge_facts({1: {"days_since_valid_test": 3.0}}, stale.states, T0 + 4 * DAY)
    assert story(well) == [(1, Change.FRESH, 4), (1, Change.CLEARING, 4), (1, Change.CLEARED, 4)]


def test_a_hold_time_ends_at_its_own_instant_though_nobody_looked_then():
    held = read_rules(rule("missing_serial", hold=7 * 86_400))
    engine = Engine(held, Occasion.CALENDAR)
    states = engine.judge_facts({1: {"missing_serial": True}}, {}, T0).states
    judged = engine.judge_facts({1: {"missing_serial": True}}, states, T0 + 10 * DAY)
    assert story(judged) == [(1, Change.RAISED, 7)]


@pytest.mark.parametrize(
    ("columns", "occasions"),
    [
        ({"ups_load", "seconds_since_seen"}, {Occasion.READING}),
        ({"ups_load", "days_to_warranty_end"}, {Occasion.CALENDAR}),
        (set(), {Occasion.READING}),
    ],
)
def test_the_words_decide_when_a_rule_is_judged(columns, occasions):
    assert occasions_of(columns) == occasions


def test_a_rule_is_about_one_thing():
    assert subject_of({"ups_load", "days_to_warranty_end"}) is Subject.DEVICE
    assert subject_of({"days_to_contract_end"}) is Subject.CONTRACT
    with pytest.raises(OccasionsMixed, match=r"days_to_contract_end \(a contract\)"):
        subject_of({"days_to_contract_end", "ups_load"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (rule("days_to_contract_end < 9 AND ups_load > 1"), "one rule is about one thing"),
        (rule("days_to_contract_end < 9"), "needs a reminder"),
        (
            rule("ups_load > 9", more=REMINDER.format(key="one", steps="")),
            "what readings alone decide is an alarm",
        ),
        (
            rule(
                "days_to_warranty_end < 9",
                more=REMINDER.format(key="one", steps='steps_of = "days_to_warranty_end"'),
            ),
            "steps and steps_of go together",
        ),
        (
            rule(
                "days_to_warranty_end < 9",
                more=REMINDER.format(key="one", steps='steps_of = "ups_load"\nsteps = [1]'),
            ),
            "must be a number that the condition reads",
        ),
        (
            rule(
                "days_to_warranty_end < 9",
                more=REMINDER.format(
                    key="one", steps='steps_of = "days_to_warranty_end"\nsteps = [9, 30, 7]'
                ),
            ),
            "all rising or all falling",
        ),
    ],
)
def test_a_rule_that_does_not_fit_its_words_is_refused_with_the_reason(text, why):
    with pytest.raises(RuleInvalid, match=why):
        read_rules(text)


def test_every_word_speaks_two_languages_and_is_used_or_offered_under_one_name():
    assert all(fact.en and fact.zh for fact in FACTS.values())
    used = {column for one in catalogue().values() for column in one.columns}
    # Words of battery health are offered beyond what shipped rules ask.
    asked = {word for word, fact in FACTS.items() if fact.occasion is not Occasion.HEALTH}
    assert asked <= used


@pytest.mark.parametrize("word", FACTS)
def test_every_word_stands_in_the_document_with_its_meaning(word):
    fact = FACTS[word]
    row = f"| `{word}` | {fact.subject} | {fact.unit or '–'} | {fact.en} {fact.zh} |"
    assert row in Path("docs/rules.md").read_text(encoding="utf-8")
