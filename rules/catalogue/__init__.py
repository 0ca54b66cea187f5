"""The shipped rules: one TOML block each, read once, checked strictly.

A rule says when something is abnormal (`condition`, holding for `raise_after`), when it is over
(`clear`, holding for `clear_after`), why that threshold (`source`), and what follows: an incident
with a cause, a ticket with its skills and parts, what to do.

Devices differ in what they report, so a rule over several flags reads each through COALESCE. That
cannot make missing look normal: where every column of a condition is NULL, the condition is
unknown, whatever the text says of NULL (`rules.engine`).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rules.conditions import ColumnType, Condition, ConditionInvalid, parse
from rules.occasions import FACTS, OccasionsMixed, Subject, subject_of
from rules.points import BY_COLUMN, FACT_COLUMNS, POINTS, Kind

Severity = Literal["critical", "major", "minor", "warning"]
Level = Literal["high", "medium", "low"]
Owner = Literal["dispatcher", "sales", "data", "engineer"]
"""The duty that a reminder falls to: dispatching, contracts, the register of units, the field."""

SEVERITIES: tuple[Severity, ...] = ("critical", "major", "minor", "warning")
"""Worst first: the perceived severities of ITU-T X.733."""

_TYPES = {
    Kind.NUMBER: ColumnType.NUMBER,
    Kind.FLAG: ColumnType.FLAG,
    Kind.TEXT: ColumnType.TEXT,
}

COLUMNS: Mapping[str, ColumnType] = {
    **{point.column: _TYPES[point.kind] for point in POINTS},
    **{name: _TYPES[kind] for name, (kind, *_) in FACT_COLUMNS.items()},
    **{name: _TYPES[fact.kind] for name, fact in FACTS.items()},
}
"""Every word of rule text with its type."""


class RuleInvalid(Exception):
    """A rule's text cannot be used; the message names the rule, the field and the reason."""


@dataclass(frozen=True, slots=True)
class TicketWork:
    """What a rule's ticket asks for: impact and urgency (ITIL), skills, kinds of part, the action.

    `failure_mode` is what a ticket is opened once for; several rules may share one.
    """

    failure_mode: str
    impact: Level
    urgency: Level
    skills: tuple[str, ...]
    part_kinds: tuple[str, ...]
    action_en: str
    action_zh: str


@dataclass(frozen=True, slots=True)
class ReminderWork:
    """What a rule asks of its owner instead of raising an alarm: a date near, a fact missing.

    `owner` is the duty that must act. `steps_of` is the column whose value passes the `steps`, each
    told once: falling where they fall (180, 90, … days left), rising where they rise (50, 75 %).
    """

    owner: Owner
    action_en: str
    action_zh: str
    steps_of: str | None = None
    steps: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, parsed and ready to judge.

    `cause` names the incident that its alarms of one site share; None: no incident.
    `follows` names causes whose incident takes its alarms in, where one stands at the site.
    `inhibited_by` lists rules whose alarm on the same device explains this one.
    `matures_unseen`: a hold time that began goes on while the device is silent.
    `latches`: its alarm stands on when the condition is over, until a person resets it.
    `reminder`: it raises no alarm but reminds its owner; only of what is worked out on an occasion.
    """

    key: str
    title_en: str
    title_zh: str
    severity: Severity
    condition: Condition
    clear: Condition | None
    raise_after: timedelta
    clear_after: timedelta
    source: str
    cause: str | None
    follows: tuple[str, ...]
    inhibited_by: tuple[str, ...]
    matures_unseen: bool
    ticket: TicketWork | None
    reminder: ReminderWork | None = None
    latches: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """Every column that its conditions read."""
        clear = frozenset[str]() if self.clear is None else self.clear.columns
        return self.condition.columns | clear


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Title(_Strict):
    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class _TicketText(_Strict):
    failure_mode: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    impact: Level
    urgency: Level
    skills: list[str] = []
    part_kinds: list[str] = []
    action: _Title


class _ReminderText(_Strict):
    owner: Owner
    action: _Title
    steps_of: str | None = None
    steps: list[float] = []


class _RuleText(_Strict):
    title: _Title
    severity: Severity
    condition: str
    clear: str | None = None
    raise_after_seconds: int = Field(ge=0, le=30 * 86_400)
    clear_after_seconds: int = Field(ge=0, le=30 * 86_400)
    source: str = Field(min_length=1)
    cause: str | None = None
    follows: list[str] = []
    inhibited_by: list[str] = []
    matures_unseen: bool = False
    latches: bool = False
    ticket: _TicketText | None = None
    reminder: _ReminderText | None = None


def _parsed(key: str, field: str, text: str) -> Condition:
    try:
        return parse(text, COLUMNS, with_past=BY_COLUMN)
    except ConditionInvalid as error:
        raise RuleInvalid(f"rule {key}, {field}: {error}") from error


def _reminder(text: _ReminderText | None) -> ReminderWork | None:
    if text is None:
        return None
    return ReminderWork(
        owner=text.owner,
        action_en=text.action.en,
        action_zh=text.action.zh,
        steps_of=text.steps_of,
        steps=tuple(text.steps),
    )


def _fits(rule: Rule) -> Rule:
    """Return a rule whose columns, ticket and reminder fit each other; raise `RuleInvalid`."""
    try:
        subject = subject_of(rule.columns)
    except OccasionsMixed as error:
        raise RuleInvalid(f"rule {rule.key}, condition: {error}") from error
    if not rule.columns.isdisjoint(FACTS) and rule.condition.windows | (
        frozenset() if rule.clear is None else rule.clear.windows
    ):
        raise RuleInvalid(
            f"rule {rule.key}, condition: functions over time go by readings; they do not go "
            "together with words that no reading brings"
        )
    work = rule.reminder
    if work is None:
        if subject is not Subject.DEVICE:
            raise RuleInvalid(
                f"rule {rule.key}, reminder: only devices have alarms; a rule about a {subject} "
                "needs a reminder with its owner"
            )
        return rule
    return _reminds(rule, work)


def _reminds(rule: Rule, work: ReminderWork) -> Rule:
    """Return a rule that reminds, whose parts fit its reminder; raise `RuleInvalid`."""
    if rule.latches:
        raise RuleInvalid(f"rule {rule.key}, latches: a rule with a reminder has no alarm to latch")
    if rule.ticket is not None:
        raise RuleInvalid(f"rule {rule.key}, ticket: a rule with a reminder opens no tickets")
    if rule.columns.isdisjoint(FACTS):
        raise RuleInvalid(
            f"rule {rule.key}, reminder: what readings alone decide is an alarm; a reminder is "
            f"for columns such as {next(iter(FACTS))}"
        )
    if (work.steps_of is None) != (not work.steps):
        raise RuleInvalid(f"rule {rule.key}, reminder.steps: steps and steps_of go together")
    if work.steps_of is not None and (
        work.steps_of not in rule.columns or COLUMNS[work.steps_of] is not ColumnType.NUMBER
    ):
        raise RuleInvalid(
            f"rule {rule.key}, reminder.steps_of: must be a number that the condition reads"
        )
    if list(work.steps) not in (
        sorted(set(work.steps)),
        sorted(set(work.steps), reverse=True),
    ):
        raise RuleInvalid(f"rule {rule.key}, reminder.steps: all rising or all falling")
    return rule


def _rule(key: str, text: _RuleText) -> Rule:
    ticket = text.ticket
    rule = Rule(
        key=key,
        title_en=text.title.en,
        title_zh=text.title.zh,
        severity=text.severity,
        condition=_parsed(key, "condition", text.condition),
        clear=None if text.clear is None else _parsed(key, "clear", text.clear),
        raise_after=timedelta(seconds=text.raise_after_seconds),
        clear_after=timedelta(seconds=text.clear_after_seconds),
        source=text.source,
        cause=text.cause,
        follows=tuple(text.follows),
        inhibited_by=tuple(text.inhibited_by),
        matures_unseen=text.matures_unseen,
        ticket=None
        if ticket is None
        else TicketWork(
            failure_mode=ticket.failure_mode,
            impact=ticket.impact,
            urgency=ticket.urgency,
            skills=tuple(ticket.skills),
            part_kinds=tuple(ticket.part_kinds),
            action_en=ticket.action.en,
            action_zh=ticket.action.zh,
        ),
        reminder=_reminder(text.reminder),
        latches=text.latches,
    )
    return _fits(rule)


def read_rules(toml_text: str) -> dict[str, Rule]:
    """Read rules from TOML, one table each; raise `RuleInvalid` with rule, field and reason."""
    try:
        tables = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise RuleInvalid(f"not valid TOML: {error}") from error
    rules: dict[str, Rule] = {}
    for key, table in tables.items():
        try:
            rules[key] = _rule(key, _RuleText.model_validate(table))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "table"
            raise RuleInvalid(f"rule {key}, {field}: {first['msg']}") from error
    return rules


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
                raise RuleInvalid(f"rule {rule.key}, inhibited_by: there is no rule {inhibitor}")
    return rules
