"""What is to be tried: a rule by its key or its text, a span, some units. No database here."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from rules.backtest import Refusal
from rules.backtest_store import LONGEST
from rules.catalogue import Rule, RuleInvalid, read_rules

MOST_RULES = 2
"""So many are tried side by side: as it is, and as it might be."""


class AskedWrongly(Exception):
    """A back-test cannot be asked for like this; the reason in both languages."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.en)
        self.reason = reason


def chosen(known: Mapping[str, Rule], *, key: str | None = None, text: str | None = None) -> Rule:
    """Return the rule of a key, or the one that a text in TOML holds.

    Where a text holds several, `key` says which. Raises AskedWrongly.
    """
    rules = known
    if text is not None:
        try:
            rules = read_rules(text)
        except RuleInvalid as error:
            raise AskedWrongly(Refusal(str(error), f"规则文本有误：{error.reason_zh}")) from error
        if key is None and len(rules) == 1:
            return next(iter(rules.values()))
    if key is None:
        names = ", ".join(rules) or "-"
        raise AskedWrongly(Refusal(f"say which rule: {names}", f"请指明规则：{names}"))
    if key not in rules:
        raise AskedWrongly(Refusal(f"there is no rule {key}", f"没有规则 {key}"))
    return rules[key]


def told_apart(rules: list[Rule]) -> tuple[Rule, ...]:
    """Give a rule that bears the same key as another a name of its own."""
    seen: set[str] = set()
    found = []
    for rule in rules:
        key = rule.key
        while key in seen:
            key += "_proposed"
        seen.add(key)
        found.append(rule if key == rule.key else replace(rule, key=key))
    return tuple(found)


def check_span(since: datetime, until: datetime) -> None:
    """Refuse a span that is none, or longer than what is ever kept; raises AskedWrongly."""
    if since >= until:
        raise AskedWrongly(Refusal("the span ends before it begins", "结束时间早于开始时间"))
    if until - since > LONGEST:
        raise AskedWrongly(Refusal("a span is 5 years at most", "时间跨度最多 5 年"))
