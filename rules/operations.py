"""What people change on alarms and tickets; each change is a row in its log and can be undone.

Every function runs inside the caller's transaction and sees only what that may see. `NotThere`
means no such row for this user, `OperationRefused` that it cannot be done now, with the reason.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg.types.json import Jsonb

from rules.catalogue import Severity
from rules.entitlement_store import covers_for
from rules.store import tell
from rules.ticket_store import join_or_open, log_ticket
from rules.tickets import Priority, Term, TicketDraft

Connection = psycopg.Connection[TupleRow]

LONGEST_SHELF = timedelta(hours=24)
"""Practice after ISA-18.2: shelve for a shift to a day, with a reason, by itself back."""
LONGEST_CRITICAL_SHELF = timedelta(hours=8)
"""The highest priority is never put aside for longer than a shift."""

CLOSING_CODES: Mapping[str, tuple[str, str]] = {
    "repaired": ("Repaired", "已修复"),
    "part_replaced": ("Part replaced", "已更换备件"),
    "battery_replaced": ("Battery replaced", "已更换电池"),
    "maintenance_done": ("Maintenance done", "维护已完成"),
    "resolved_remotely": ("Resolved remotely", "远程解决"),
    "cleared_by_itself": ("Cleared by itself", "自行恢复"),
    "false_alarm": ("False alarm", "误报"),
    "customer_caused": ("Caused by customer", "客户原因"),
    "duplicate": ("Duplicate", "重复"),
    "withdrawn": ("Withdrawn", "已撤销"),
}
"""Closing codes with their words; back-tests of rules count hits and false alarms by them."""

_PRIORITY_OF: Mapping[Severity, int] = {"critical": 1, "major": 2, "minor": 3, "warning": 4}


class NotThere(Exception):
    """There is no such row, or the user may not see it."""


class OperationRefused(Exception):
    """It cannot be done in this state; the message says why, in one English sentence."""


def _alarm(connection: Connection, alarm_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("SELECT * FROM alarm WHERE id = %s FOR UPDATE", (alarm_id,)).fetchone()
    if row is None:
        raise NotThere(f"there is no alarm {alarm_id}")
    return row


def _alarm_event(
    connection: Connection,
    alarm_id: int,
    kind: str,
    actor: str,
    now: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    connection.execute(
        "INSERT INTO alarm_event (alarm_id, at, kind, actor, detail) VALUES (%s, %s, %s, %s, %s)",
        (alarm_id, now, kind, actor, Jsonb(detail or {})),
    )
    connection.execute("NOTIFY ridethrough, 'change'")


def acknowledge_alarm(connection: Connection, alarm_id: int, *, actor: str, now: datetime) -> None:
    """Acknowledge a standing alarm; it stays acknowledged until it clears."""
    alarm = _alarm(connection, alarm_id)
    if alarm["state"] == "cleared":
        raise OperationRefused("the alarm has cleared already")
    if alarm["acknowledged_at"] is not None:
        raise OperationRefused(f"acknowledged already, by {alarm['acknowledged_by']}")
    connection.execute(
        "UPDATE alarm SET acknowledged_at = %s, acknowledged_by = %s WHERE id = %s",
        (now, actor, alarm_id),
    )
    _alarm_event(connection, alarm_id, "acknowledged", actor, now)


def unacknowledge_alarm(
    connection: Connection, alarm_id: int, *, actor: str, now: datetime
) -> None:
    """Take an acknowledgement back."""
    alarm = _alarm(connection, alarm_id)
    if alarm["acknowledged_at"] is None:
        raise OperationRefused("the alarm is not acknowledged")
    connection.execute(
        "UPDATE alarm SET acknowledged_at = NULL, acknowledged_by = NULL WHERE id = %s",
        (alarm_id,),
    )
    _alarm_event(connection, alarm_id, "unacknowledged", actor, now)


def shelve_alarm(
    connection: Connection,
    alarm_id: int,
    *,
    until_at: datetime,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Put a standing alarm aside until an instant, with a reason: a critical one for a shift."""
    alarm = _alarm(connection, alarm_id)
    if alarm["state"] == "cleared":
        raise OperationRefused("the alarm has cleared already")
    if not reason.strip():
        raise OperationRefused("shelving needs a reason")
    if until_at <= now:
        raise OperationRefused("shelve until a time that lies ahead")
    is_critical = alarm["severity"] == "critical"
    if is_critical and until_at > now + LONGEST_CRITICAL_SHELF:
        raise OperationRefused("a critical alarm can be shelved for 8 hours at most, one shift")
    if until_at > now + LONGEST_SHELF:
        raise OperationRefused("an alarm can be shelved for 24 hours at most")
    connection.execute(
        """
        UPDATE alarm SET shelved_until_at = %s, shelved_by = %s, shelve_reason = %s WHERE id = %s
        """,
        (until_at, actor, reason.strip(), alarm_id),
    )
    detail = {"until_at": until_at.isoformat(), "reason": reason.strip()}
    _alarm_event(connection, alarm_id, "shelved", actor, now, detail)


def unshelve_alarm(connection: Connection, alarm_id: int, *, actor: str, now: datetime) -> None:
    """Bring a shelved alarm back before its time."""
    if _alarm(connection, alarm_id)["shelved_until_at"] is None:
        raise OperationRefused("the alarm is not shelved")
    _unshelve(connection, alarm_id, actor=actor, now=now)


def _unshelve(connection: Connection, alarm_id: int, *, actor: str, now: datetime) -> None:
    connection.execute(
        """
        UPDATE alarm SET shelved_until_at = NULL, shelved_by = NULL, shelve_reason = NULL
        WHERE id = %s
        """,
        (alarm_id,),
    )
    _alarm_event(connection, alarm_id, "unshelved", actor, now)


def end_shelving(connection: Connection, *, now: datetime) -> int:
    """Bring back every alarm whose shelving time is over; returns how many."""
    over = connection.execute(
        "SELECT id FROM alarm WHERE shelved_until_at <= %s FOR UPDATE SKIP LOCKED", (now,)
    ).fetchall()
    for (alarm_id,) in over:
        _unshelve(connection, alarm_id, actor="clock", now=now)
    return len(over)


def close_stale_alarm(
    connection: Connection, alarm_id: int, *, reason: str, actor: str, now: datetime
) -> None:
    """Close an alarm whose condition has been unknown for a day, by hand and with a reason."""
    # What the rule remembers comes before the alarm in the lock order: its unit may be speaking.
    connection.execute(
        """
        SELECT FROM rule_state r JOIN alarm a USING (device_id, rule_key)
        WHERE a.id = %s FOR UPDATE OF r
        """,
        (alarm_id,),
    )
    alarm = _alarm(connection, alarm_id)
    if alarm["state"] != "stale":
        raise OperationRefused("only a stale alarm is closed by hand; others clear by themselves")
    if not reason.strip():
        raise OperationRefused("closing by hand needs a reason")
    connection.execute(
        "UPDATE alarm SET state = 'cleared', cleared_at = %s, changed_at = %s WHERE id = %s",
        (now, now, alarm_id),
    )
    connection.execute("DELETE FROM rule_state WHERE alarm_id = %s", (alarm_id,))
    _alarm_event(connection, alarm_id, "closed_by_hand", actor, now, {"reason": reason.strip()})
    tell(connection, [("alarm.cleared", alarm["customer_id"], alarm_id, now)])


def reset_alarm(connection: Connection, alarm_id: int, *, actor: str, now: datetime) -> None:
    """Let a latched alarm go, whose condition is over: a person has looked into it."""
    alarm = _alarm(connection, alarm_id)
    if alarm["state"] != "latched":
        raise OperationRefused("only an alarm that is over and latched can be reset")
    _reset(connection, alarm_id, alarm["customer_id"], actor, now)


def _reset(
    connection: Connection, alarm_id: int, customer_id: int, actor: str, now: datetime
) -> None:
    connection.execute(
        "UPDATE alarm SET state = 'cleared', cleared_at = changed_at WHERE id = %s", (alarm_id,)
    )
    _alarm_event(connection, alarm_id, "reset", actor, now)
    tell(connection, [("alarm.cleared", customer_id, alarm_id, now)])


def _ticket(connection: Connection, ticket_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM ticket WHERE id = %s FOR UPDATE", (ticket_id,)
        ).fetchone()
    if row is None:
        raise NotThere(f"there is no ticket {ticket_id}")
    return row


def _open_ticket_row(connection: Connection, ticket_id: int) -> DictRow:
    ticket = _ticket(connection, ticket_id)
    if ticket["state"] == "closed":
        raise OperationRefused("the ticket is closed; reopen it first")
    return ticket


def open_ticket_by_hand(
    connection: Connection,
    *,
    customer_id: int,
    site_id: int,
    device_id: int | None,
    title: str,
    detail: str,
    severity: Severity,
    actor: str,
    now: datetime,
) -> int:
    """Open a ticket that a person asks for; returns its id."""
    if not title.strip():
        raise OperationRefused("a ticket needs a title")
    entitlement = None
    if device_id is not None:
        cover = covers_for(connection, [device_id]).get(device_id)
        if cover is None:
            raise NotThere(f"there is no device {device_id}")
        entitlement = cover.check(now)
    points = _PRIORITY_OF[severity]
    row = connection.execute(
        """
        INSERT INTO ticket (customer_id, site_id, device_id, failure_mode, source, title_en,
            title_zh, severity, priority, priority_terms, state, reason, entitlement, contract_id,
            opened_at, respond_by_at, restore_by_at, opened_by)
        VALUES (%s, %s, %s, 'request', 'person', %s, %s, %s, %s, %s, 'open', %s, %s, %s, %s, %s,
            %s, %s)
        RETURNING id
        """,
        (
            customer_id,
            site_id,
            device_id,
            title.strip(),
            title.strip(),
            severity,
            points,
            Jsonb([Term(f"Severity {severity}", f"级别 {severity}", points).to_json()]),
            Jsonb({"why_en": detail, "why_zh": detail}),
            Jsonb({} if entitlement is None else entitlement.to_json()),
            None if entitlement is None else entitlement.contract_id,
            now,
            None if entitlement is None else entitlement.respond_by_at,
            None if entitlement is None else entitlement.restore_by_at,
            actor,
        ),
    ).fetchone()
    if row is None:
        raise OperationRefused("the database took no ticket")
    ticket_id = int(row[0])
    log_ticket(connection, ticket_id, "opened", actor, now, {"text": detail})
    tell(connection, [("ticket.opened", customer_id, ticket_id, now)])
    return ticket_id


def open_scheduled_ticket(
    connection: Connection,
    *,
    device_id: int,
    failure_mode: str,
    title: tuple[str, str],
    why: tuple[str, str],
    priority: int,
    skills: tuple[str, ...],
    part_kinds: tuple[str, ...],
    action: tuple[str, str],
    source: str,
    now: datetime,
) -> int:
    """Open, join or reopen the ticket of a calendar or health fact; pairs are (en, zh).

    Planned work has a date and no response clock: its due date stands with the plan.
    """
    cover = covers_for(connection, [device_id])[device_id]
    row = connection.execute(
        "SELECT site_id, customer_id FROM device WHERE id = %s", (device_id,)
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no device {device_id}")
    severity: Severity = "minor" if priority <= 3 else "warning"
    draft = TicketDraft(
        customer_id=row[1],
        site_id=row[0],
        device_id=device_id,
        incident_id=None,
        failure_mode=failure_mode,
        source=source,
        rule_key=None,
        title_en=title[0],
        title_zh=title[1],
        severity=severity,
        priority=Priority(priority, (Term("Planned work", "计划性工作", priority),)),
        opened_at=now,
        reason={"why_en": why[0], "why_zh": why[1]},
        skills=skills,
        part_kinds=part_kinds,
        action_en=action[0],
        action_zh=action[1],
    )
    verdict = cover.check(now)
    if source == "schedule":
        verdict = replace(verdict, respond_by_at=None, restore_by_at=None, lines=())
    return join_or_open(connection, draft, verdict, now=now, actor=source)


def add_ticket_note(
    connection: Connection, ticket_id: int, *, text: str, actor: str, now: datetime
) -> None:
    """Append a note to a ticket's log."""
    _ticket(connection, ticket_id)
    if not text.strip():
        raise OperationRefused("a note needs a text")
    log_ticket(connection, ticket_id, "note", actor, now, {"text": text.strip()})
    connection.execute("NOTIFY ridethrough, 'change'")


def start_ticket(connection: Connection, ticket_id: int, *, actor: str, now: datetime) -> None:
    """Take a ticket in hand; the response clock stops the first time."""
    ticket = _open_ticket_row(connection, ticket_id)
    if ticket["state"] == "in_progress":
        raise OperationRefused("the ticket is in progress already")
    connection.execute(
        """
        UPDATE ticket SET state = 'in_progress', responded_at = coalesce(responded_at, %s),
            resolved_at = NULL
        WHERE id = %s
        """,
        (now, ticket_id),
    )
    log_ticket(connection, ticket_id, "started", actor, now)
    connection.execute("NOTIFY ridethrough, 'change'")


def _closing_code(code: str) -> str:
    if code not in CLOSING_CODES:
        raise OperationRefused(f"unknown closing code {code}: one of {', '.join(CLOSING_CODES)}")
    return code


def resolve_ticket(
    connection: Connection,
    ticket_id: int,
    *,
    closing_code: str,
    text: str,
    actor: str,
    now: datetime,
) -> None:
    """Say that the work is done; the ticket waits to be closed."""
    ticket = _open_ticket_row(connection, ticket_id)
    if ticket["state"] == "resolved":
        raise OperationRefused("the ticket is resolved already")
    connection.execute(
        """
        UPDATE ticket SET state = 'resolved', resolved_at = %s, closing_code = %s,
            responded_at = coalesce(responded_at, %s)
        WHERE id = %s
        """,
        (now, _closing_code(closing_code), now, ticket_id),
    )
    detail = {"closing_code": closing_code, "text": text.strip()}
    log_ticket(connection, ticket_id, "resolved", actor, now, detail)
    tell(connection, [("ticket.resolved", ticket["customer_id"], ticket_id, now)])


def close_ticket(
    connection: Connection,
    ticket_id: int,
    *,
    closing_code: str,
    text: str,
    actor: str,
    now: datetime,
) -> None:
    """Close a ticket with its code; refused while an alarm behind it still stands.

    Alarms that are over and latched are reset: whoever closes has looked into them.
    """
    ticket = _open_ticket_row(connection, ticket_id)
    code = _closing_code(closing_code)
    row = connection.execute(
        """
        SELECT count(*) FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
        WHERE x.ticket_id = %s AND a.over_at IS NULL AND a.state <> 'stale'
        """,
        (ticket_id,),
    ).fetchone()
    if row is not None and row[0] and code not in {"false_alarm", "duplicate", "withdrawn"}:
        raise OperationRefused(
            "an alarm behind this ticket still stands: it closes when the unit agrees, "
            "or as false alarm, duplicate or withdrawn"
        )
    for alarm_id, customer_id in connection.execute(
        """
        SELECT a.id, a.customer_id FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
        WHERE x.ticket_id = %s AND a.state = 'latched' ORDER BY a.id FOR UPDATE OF a
        """,
        (ticket_id,),
    ).fetchall():
        _reset(connection, alarm_id, customer_id, actor, now)
    connection.execute(
        """
        UPDATE ticket SET state = 'closed', closed_at = %s, closing_code = %s,
            resolved_at = coalesce(resolved_at, %s), responded_at = coalesce(responded_at, %s)
        WHERE id = %s
        """,
        (now, code, now, now, ticket_id),
    )
    detail = {"closing_code": code, "text": text.strip()}
    log_ticket(connection, ticket_id, "closed", actor, now, detail)
    tell(connection, [("ticket.closed", ticket["customer_id"], ticket_id, now)])


def reopen_ticket(
    connection: Connection, ticket_id: int, *, reason: str, actor: str, now: datetime
) -> None:
    """Open a closed or resolved ticket again, with a reason."""
    ticket = _ticket(connection, ticket_id)
    if ticket["state"] not in {"closed", "resolved"}:
        raise OperationRefused("the ticket is open")
    if not reason.strip():
        raise OperationRefused("reopening needs a reason")
    try:
        with connection.transaction():
            connection.execute(
                """
                UPDATE ticket SET state = 'open', closed_at = NULL, resolved_at = NULL,
                    closing_code = NULL, reopened = reopened + 1
                WHERE id = %s
                """,
                (ticket_id,),
            )
    except psycopg.errors.UniqueViolation as error:
        raise OperationRefused(
            "a newer ticket for the same failure is open; work on that one"
        ) from error
    log_ticket(connection, ticket_id, "reopened", actor, now, {"text": reason.strip()})
    tell(connection, [("ticket.reopened", ticket["customer_id"], ticket_id, now)])
