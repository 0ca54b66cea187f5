"""A rule as it is judged, and the words that its conditions may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from rules.conditions import ColumnType, Condition
from rules.occasions import FACTS
from rules.points import FACT_COLUMNS, POINTS, Kind

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
