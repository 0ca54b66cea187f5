"""The ticket of a maintenance visit: one for all the lines of a trip, kept as they change.

Runs in the transaction of whoever plans. Which work goes together is `rules.maintenance_visits`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from rules.entitlement_store import covers_for
from rules.operations import NotThere, OperationRefused
from rules.store import tell
from rules.ticket_store import log_ticket, open_new
from rules.tickets import Priority, Term, TicketDraft

Connection = psycopg.Connection[TupleRow]

FAILURE_MODE = "maintenance_visit"
SOURCE = "schedule"
PRIORITY, PRIORITY_WHEN_LATE = 4, 3


@dataclass(frozen=True, slots=True)
class VisitText:
    """What a visit's ticket says; pairs are (en, zh). `lines` are its tasks, in order."""

    customer_id: int
    site_id: int
    device_ids: tuple[int, ...]
    title: tuple[str, str]
    why: tuple[str, str]
    action: tuple[str, str]
    skills: tuple[str, ...]
    part_kinds: tuple[str, ...]
    lines: Sequence[dict[str, Any]]
    is_late: bool

    @property
    def reason(self) -> dict[str, Any]:
        """The reason that the ticket keeps."""
        return {"why_en": self.why[0], "why_zh": self.why[1], "lines": list(self.lines)}

    @property
    def priority(self) -> Priority:
        """P4 planned, P3 once something is late."""
        value = PRIORITY_WHEN_LATE if self.is_late else PRIORITY
        return Priority(value, (Term("Planned work", "计划性工作", value),))


def open_visit_ticket(connection: Connection, text: VisitText, *, now: datetime) -> int:
    """Open a visit's ticket; planned work has a date and no response clock.

    It is about a unit where it is about one alone and no other visit to it is open; else about the
    site.
    """
    cover = covers_for(connection, text.device_ids[:1]).get(text.device_ids[0])
    if cover is None:
        raise NotThere(f"there is no device {text.device_ids[0]}")
    verdict = replace(cover.check(now), respond_by_at=None, restore_by_at=None, lines=())
    draft = TicketDraft(
        customer_id=text.customer_id,
        site_id=text.site_id,
        device_id=text.device_ids[0] if len(text.device_ids) == 1 else None,
        incident_id=None,
        failure_mode=FAILURE_MODE,
        source=SOURCE,
        rule_key=None,
        title_en=text.title[0],
        title_zh=text.title[1],
        severity="minor" if text.is_late else "warning",
        priority=text.priority,
        opened_at=now,
        reason=text.reason,
        skills=text.skills,
        part_kinds=text.part_kinds,
        action_en=text.action[0],
        action_zh=text.action[1],
    )
    ticket_id = open_new(connection, draft, verdict, actor=SOURCE)
    if ticket_id is None:
        ticket_id = open_new(connection, replace(draft, device_id=None), verdict, actor=SOURCE)
    if ticket_id is None:
        raise OperationRefused("the database took no ticket")
    return ticket_id


def change_visit_ticket(
    connection: Connection, ticket_id: int, text: VisitText, *, actor: str, now: datetime
) -> bool:
    """Bring an open visit's ticket to its lines; returns whether anything changed.

    Its priority only ever rises by itself.
    """
    row = connection.execute(
        """
        SELECT title_en, skills, part_kinds, reason -> 'lines', priority FROM ticket
        WHERE id = %s AND closed_at IS NULL FOR UPDATE
        """,
        (ticket_id,),
    ).fetchone()
    if row is None:
        return False
    rises = text.priority.value < row[4]
    wanted = (text.title[0], list(text.skills), list(text.part_kinds), list(text.lines))
    if wanted == tuple(row[:4]) and not rises:
        return False
    connection.execute(
        """
        UPDATE ticket SET title_en = %(title_en)s, title_zh = %(title_zh)s, skills = %(skills)s,
            part_kinds = %(parts)s, reason = %(reason)s, action_en = %(action_en)s,
            action_zh = %(action_zh)s, device_id = CASE WHEN %(one)s THEN device_id END,
            priority = least(priority, %(priority)s),
            priority_terms = CASE WHEN %(rises)s THEN %(terms)s ELSE priority_terms END,
            severity = CASE WHEN %(rises)s THEN 'minor' ELSE severity END
        WHERE id = %(id)s
        """,
        {
            "id": ticket_id,
            "title_en": text.title[0],
            "title_zh": text.title[1],
            "skills": list(text.skills),
            "parts": list(text.part_kinds),
            "reason": Jsonb(text.reason),
            "action_en": text.action[0],
            "action_zh": text.action[1],
            "one": len(text.device_ids) == 1,
            "priority": text.priority.value,
            "rises": rises,
            "terms": Jsonb([term.to_json() for term in text.priority.terms]),
        },
    )
    if rises:
        detail = {"from": row[4], "to": text.priority.value}
        log_ticket(connection, ticket_id, "escalated", actor, now, detail)
    if wanted != tuple(row[:4]):
        log_ticket(connection, ticket_id, "lines_changed", actor, now, text.reason)
    tell(connection, [("ticket.changed", text.customer_id, ticket_id, now)])
    return True
