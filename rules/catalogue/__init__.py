"""The shipped rules: one TOML block each, read once, checked strictly.

A rule says when something is abnormal (`condition`, holding for `raise_after`), when it is over
(`clear`, holding for `clear_after`), why that threshold (`source`), and what follows: an incident
with a cause, a ticket with its skills and parts, what to do.

Devices differ in what they report, so a rule over several flags reads each through COALESCE. That
cannot make missing look normal: where every column of a condition is NULL, the condition is
unknown, whatever the text says of NULL (`rules.engine`).
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from rules.catalogue.rule import (
    COLUMNS,
    SEVERITIES,
    Level,
    Owner,
    ReminderWork,
    Rule,
    Severity,
    TicketWork,
)
from rules.catalogue.text import RuleInvalid, read_rules

__all__ = [
    "COLUMNS",
    "SEVERITIES",
    "Level",
    "Owner",
    "ReminderWork",
    "Rule",
    "RuleInvalid",
    "Severity",
    "TicketWork",
    "catalogue",
    "read_rules",
]


@cache
def catalogue() -> Mapping[str, Rule]:
    """Return the shipped rules by key."""
    rules: dict[str, Rule] = {}
    for file in sorted(files(__package__).iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            rules.update(read_rules(file.read_text(encoding="utf-8")))
    for rule in rules.values():
        for inhibitor in rule.inhibited_by:
            if inhibitor not in rules:
                raise RuleInvalid(
                    f"there is no rule {inhibitor}",
                    reason_zh=f"没有规则 {inhibitor}",
                    rule=rule.key,
                    field="inhibited_by",
                )
    return rules
