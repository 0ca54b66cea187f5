"""Rules and overrides written as TOML again, in one order, so that the same rule is the same text.

What `read_tables` reads and `rule_of` takes, this writes back: fields that say nothing are left
out. Remarks of the text that somebody pasted are not kept; why is in `source` and in the version.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rules.catalogue.rule import Rule, TicketWork
from rules.catalogue.text import OverrideText

Fields = dict[str, Any]


def fields_of(rule: Rule) -> Fields:
    """Return a rule's fields as its TOML table has them."""
    reminder = rule.reminder
    return _said(
        {
            "title": {"en": rule.title_en, "zh": rule.title_zh},
            "severity": rule.severity,
            "condition": rule.condition.text,
            "clear": None if rule.clear is None else rule.clear.text,
            "raise_after_seconds": int(rule.raise_after.total_seconds()),
            "clear_after_seconds": int(rule.clear_after.total_seconds()),
            "source": rule.source,
            "cause": rule.cause,
            "follows": list(rule.follows),
            "inhibited_by": list(rule.inhibited_by),
            "matures_unseen": rule.matures_unseen or None,
            "latches": rule.latches or None,
            "ticket": None if rule.ticket is None else ticket_fields(rule.ticket),
            "reminder": None
            if reminder is None
            else _said(
                {
                    "owner": reminder.owner,
                    "action": {"en": reminder.action_en, "zh": reminder.action_zh},
                    "steps_of": reminder.steps_of,
                    "steps": list(reminder.steps),
                }
            ),
        }
    )


def ticket_fields(work: TicketWork) -> Fields:
    """Return a ticket's fields as its TOML table has them."""
    return _said(
        {
            "failure_mode": work.failure_mode,
            "impact": work.impact,
            "urgency": work.urgency,
            "skills": list(work.skills),
            "part_kinds": list(work.part_kinds),
            "action": {"en": work.action_en, "zh": work.action_zh},
        }
    )


def override_fields(change: OverrideText) -> Fields:
    """Return an override's fields as its TOML table has them."""
    return _said(
        {
            **change.model_dump(exclude={"ticket", "no_ticket"}),
            "ticket": None if change.ticket is None else ticket_fields(change.ticket.work),
            "no_ticket": change.no_ticket or None,
        }
    )


def _said(fields: Mapping[str, Any]) -> Fields:
    return {name: value for name, value in fields.items() if value is not None and value != []}


def table(header: str, fields: Mapping[str, Any]) -> str:
    """Write one table; `header` is what stands in its brackets, such as `high_load`."""
    lines = [header, *_lines("", fields)]
    return "\n".join(lines) + "\n"


def _lines(prefix: str, fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _lines(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name} = {_value(value)}"


def _value(value: Any) -> str:  # noqa: ANN401 - what TOML holds
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A basic string of TOML escapes as JSON does, and DEL besides.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    return f"[{', '.join(_value(one) for one in value)}]"


class Difference(NamedTuple):
    """A field that two versions have differently; None where one lacks it."""

    field: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the fields that differ, in the order of the newer version, then what it dropped."""
    old, new = dict(_flat("", before)), dict(_flat("", after))
    names = [*new, *(name for name in old if name not in new)]
    return [
        Difference(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


def _flat(prefix: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value
