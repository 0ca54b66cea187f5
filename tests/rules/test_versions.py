"""Texts of rules: written and read again they are the same; differences; who overrides whom."""

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.catalogue import RuleInvalid, TicketWork, catalogue
from rules.catalogue.writing import Difference, differences, table
from rules.rule_exchange import exported, planned, read_exchange
from rules.versions import (
    ALL,
    RULE,
    Scope,
    Version,
    check_own,
    forms_of,
    known,
    read_own,
    rule_text,
)

AT = datetime(2026, 3, 2, tzinfo=UTC)
WRITTEN = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=30)
HOLDS = st.integers(0, 30 * 86_400).map(lambda seconds: timedelta(seconds=seconds))
WORK = st.builds(
    TicketWork,
    failure_mode=st.just("mode_1"),
    impact=st.sampled_from(["high", "medium", "low"]),
    urgency=st.sampled_from(["high", "medium", "low"]),
    skills=st.lists(st.sampled_from(["ups", "battery"]), unique=True).map(tuple),
    part_kinds=st.just(()),
    action_en=WRITTEN,
    action_zh=WRITTEN,
)
ANY_RULE = st.builds(
    replace,
    st.just(replace(catalogue()["overload"], key="mine")),
    title_en=WRITTEN,
    title_zh=WRITTEN,
    source=WRITTEN,
    severity=st.sampled_from(["critical", "major", "minor", "warning"]),
    raise_after=HOLDS,
    clear_after=HOLDS,
    matures_unseen=st.booleans(),
    latches=st.booleans(),
    ticket=st.none() | WORK,
    inhibited_by=st.lists(st.sampled_from(["on_battery", "high_load"]), unique=True).map(tuple),
)


def version(key: str, scope: Scope, text: str | None, number: int = 1) -> Version:
    return Version(number, key, scope, 1, text, AT, "anna", "test")


@given(rule=ANY_RULE)
def test_a_rule_that_is_written_and_read_again_is_the_same(rule):
    text = rule_text(rule)
    assert read_own("mine", text) == rule
    assert exported([version("mine", RULE, text)]) == text
    assert read_exchange(text) == {("mine", RULE): text}
    assert planned({("mine", RULE): text}, {("mine", RULE): text}, replace=True) == []


@given(text=st.text(st.characters(blacklist_categories=["Cs"]), max_size=40))
def test_any_text_is_written_as_toml(text):
    assert tomllib.loads(table("[x]", {"a": text}))["x"]["a"] == text


def test_differences_name_fields_in_the_newer_ones_order():
    before = {"severity": "minor", "clear": "x", "ticket": {"impact": "low", "urgency": "low"}}
    after = {"severity": "major", "ticket": {"impact": "low", "urgency": "high"}, "cause": "c"}
    assert differences(before, after) == [
        Difference("severity", "minor", "major"),
        Difference("ticket.urgency", "low", "high"),
        Difference("cause", None, "c"),
        Difference("clear", "x", None),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("override = 3", "written [[override]]"),
        ("[[override]]\nseverity = 'minor'", "needs `rule`"),
        ("[[override]]\nrule = 'overload'\ndevice = 3\nseverity = 'minor'", "needs `rule`"),
        ("[[override]]\nrule = 'overload'\nmaker = 'A'\nseverity = 'minor'", "maker only beside"),
        (
            "[[override]]\nrule = 'overload'\nsite = 'a'\ndevice = 'b'\nseverity = 'minor'",
            "one of device, site and model",
        ),
        (
            "[[override]]\nrule = 'overload'\ndevice = \"a\\u0000\"\nno_ticket = true",
            "needs `rule`",
        ),
        ("[[override]]\nrule = 'overload'\nno_ticket = true\n" * 2, "has one already"),
        ("[[override]]\nrule = 'overload'\n", "changes something"),
    ],
)
def test_an_override_that_is_written_wrongly_is_refused(text, said):
    with pytest.raises(RuleInvalid) as refused:
        read_exchange(text)
    assert said in refused.value.reason
    assert refused.value.reason_zh


def test_an_override_for_all_is_the_ground_of_more_specific_ones():
    found = known(
        catalogue(),
        [
            version("overload", Scope("device", "a"), "[overload]\nraise_after_seconds = 5\n"),
            version("overload", ALL, '[overload]\nseverity = "warning"\n'),
        ],
    )
    assert found.rules["overload"].severity == "warning"
    ((_, form),) = found.overrides
    assert (form.severity, form.raise_after) == ("warning", timedelta(seconds=5))


def test_overrides_that_say_the_same_share_a_form_and_the_last_one_wins():
    texts = ["severity = 'major'", "severity = 'minor'", "severity = 'major'"]
    found = known(
        catalogue(),
        [
            version("high_load", Scope("device", str(n)), f"[high_load]\n{text}\n", n)
            for n, text in enumerate(texts)
        ],
    )
    forms, places = forms_of(found.overrides, {0: [7, 8], 1: [8], 2: [9]})
    assert [one.severity for one in forms["high_load"]] == ["major", "minor"]
    assert places == {"high_load": {7: 0, 8: 1, 9: 0}}


def test_a_shipped_key_is_never_taken_over():
    mine = replace(catalogue()["overload"], severity="warning")
    found = known(catalogue(), [version("overload", RULE, rule_text(mine))])
    assert found.rules["overload"] == catalogue()["overload"]
    assert [error.field for _, error in found.unusable] == ["key"]
    with pytest.raises(RuleInvalid):
        check_own(mine, catalogue(), found.rules)
