"""What a raised alarm asks of people: failure mode, priority with its arithmetic, reason, work.

Pure. Whether a ticket is opened, joined or reopened is decided where the rows are
(`rules.ticket_store`); what was promised by when is `rules.entitlement`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rules.catalogue import Level, Rule, Severity
from rules.facts import Value

REOPEN_WINDOW = timedelta(days=14)
"""A relapse within it reopens the closed ticket instead of opening a new one."""

_STEPS: Mapping[Level, int] = {"high": 1, "medium": 2, "low": 3}
_LEVEL_ZH: Mapping[Level, str] = {"high": "高", "medium": "中", "low": "低"}


@dataclass(frozen=True, slots=True)
class Term:
    """One line of the priority's arithmetic."""

    term_en: str
    term_zh: str
    points: int

    def to_json(self) -> dict[str, Any]:
        """Return the form that the ticket keeps."""
        return {"term_en": self.term_en, "term_zh": self.term_zh, "points": self.points}


@dataclass(frozen=True, slots=True)
class Priority:
    """1 (load at risk now) to 4 (next visit), with the terms that add up to it."""

    value: int
    terms: tuple[Term, ...]


def priority(*, impact: Level, urgency: Level, criticality: str) -> Priority:
    """Add up impact and urgency as ITIL's 3 x 3 matrix does: P = impact + urgency - 1, 1 to 4.

    A critical load raises the impact by one step, since the same fault does more harm there.
    """
    terms = [
        Term(f"Impact {impact}", f"影响：{_LEVEL_ZH[impact]}", _STEPS[impact]),
        Term(f"Urgency {urgency}", f"紧急度：{_LEVEL_ZH[urgency]}", _STEPS[urgency]),
        Term("Matrix starts at P1", "矩阵自 P1 起", -1),
    ]
    if criticality == "critical":
        terms.append(Term("Critical load", "关键负载", -1))
    value = min(4, max(1, sum(term.points for term in terms)))
    return Priority(value, tuple(terms))


@dataclass(frozen=True, slots=True)
class TicketDraft:
    """Everything a new ticket holds besides its entitlement.

    `incident_id` set: one ticket for the incident, `device_id` being the unit that decided it.
    """

    customer_id: int
    site_id: int
    device_id: int | None
    incident_id: int | None
    failure_mode: str
    source: str
    rule_key: str | None
    title_en: str
    title_zh: str
    severity: Severity
    priority: Priority
    opened_at: datetime
    reason: Mapping[str, Any] = field(default_factory=dict)
    skills: tuple[str, ...] = ()
    part_kinds: tuple[str, ...] = ()
    action_en: str = ""
    action_zh: str = ""


def draft(
    rule: Rule,
    *,
    device_id: int,
    device_name: str,
    customer_id: int,
    site_id: int,
    criticality: str,
    incident_id: int | None,
    alarm_id: int,
    opened_at: datetime,
    reason: Mapping[str, Any],
) -> TicketDraft:
    """Draft the ticket that `rule` asks for; the rule must have ticket work."""
    work = rule.ticket
    if work is None:
        raise ValueError(f"rule {rule.key} opens no tickets")
    return TicketDraft(
        customer_id=customer_id,
        site_id=site_id,
        device_id=device_id,
        incident_id=incident_id,
        failure_mode=work.failure_mode,
        source="rule",
        rule_key=rule.key,
        title_en=f"{device_name}: {rule.title_en}",
        title_zh=f"{device_name}：{rule.title_zh}",
        severity=rule.severity,
        priority=priority(impact=work.impact, urgency=work.urgency, criticality=criticality),
        opened_at=opened_at,
        reason={**ticket_reason(rule, reason), "alarm_id": alarm_id},
        skills=work.skills,
        part_kinds=work.part_kinds,
        action_en=work.action_en,
        action_zh=work.action_zh,
    )


def alarm_reason(
    rule: Rule, values: Mapping[str, Value | None], observed_at: datetime
) -> dict[str, Any]:
    """Return why an alarm stands: the condition and the values that made it hold."""
    return {
        "rule": rule.key,
        "condition": rule.condition.text,
        "values": dict(values),
        "observed_at": observed_at.isoformat(),
        "held_seconds": rule.raise_after.total_seconds(),
    }


def ticket_reason(rule: Rule, reason: Mapping[str, Any]) -> dict[str, Any]:
    """Return why a ticket was opened: the alarm's reason and the threshold's source."""
    held = rule.raise_after.total_seconds()
    return {
        "rule": rule.key,
        "condition": reason["condition"],
        "readings": reason["values"],
        "observed_at": reason["observed_at"],
        "why_en": f"{rule.title_en}, held for {held:g} s",
        "why_zh": f"{rule.title_zh}，已持续 {held:g} 秒",
        "source": rule.source,
    }
