"""Tickets for alarms: joined, reopened or opened, exactly once; and what settles by itself.

Runs inside the transaction of ingest or of the tick, after incidents and before the outbox.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules.catalogue import Rule
from rules.entitlement import Entitlement
from rules.entitlement_store import DeviceCover, covers_for
from rules.in_force import rule_for
from rules.incident_store import close_finished, explained_by_mains
from rules.store import OpenAlarm, device_places, tell
from rules.tickets import REOPEN_WINDOW, TicketDraft, draft

Connection = psycopg.Connection[TupleRow]

ENGINE = "rules"
"""The actor of what rules do by themselves."""


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    priority: int
    customer_id: int
    closed_at: datetime | None
    incident_id: int | None


def ticket_alarms(
    connection: Connection,
    ready: Sequence[OpenAlarm],
    rules: Mapping[str, Rule],
    now: datetime,
    *,
    even_explained: bool = False,
) -> None:
    """See that each alarm that calls for a ticket has one.

    An open ticket of the same failure mode (or incident) takes the alarm in; one closed within the
    reopen window is opened again; else a new one is opened with its entitlement and deadline. The
    deadlines count from `now`, when it became known, however long ago the device says it began.
    Silence that failing mains explains waits for `rules.storm_store`, unless `even_explained`.
    """
    wanting = [
        alarm
        for alarm in ready
        if rule_for(rules, alarm.device_id, alarm.rule_key).ticket is not None
    ]
    if wanting and not even_explained:
        explained = explained_by_mains(connection, wanting, rules, now)
        wanting = [alarm for alarm in wanting if alarm.id not in explained]
    if not wanting:
        return
    device_ids = {alarm.device_id for alarm in wanting}
    places = device_places(connection, device_ids)
    drafts: list[tuple[TicketDraft, OpenAlarm]] = []
    for alarm in wanting:
        place = places[alarm.device_id]
        drafts.append(
            (
                draft(
                    rule_for(rules, alarm.device_id, alarm.rule_key),
                    device_id=alarm.device_id,
                    device_name=place.name,
                    customer_id=place.customer_id,
                    site_id=place.site_id,
                    criticality=place.criticality,
                    incident_id=alarm.incident_id,
                    alarm_id=alarm.id,
                    opened_at=now,
                    reason=alarm.reason,
                ),
                alarm,
            )
        )
    open_tickets(connection, drafts, covers_for(connection, device_ids), now)


def open_tickets(
    connection: Connection,
    drafts: Sequence[tuple[TicketDraft, OpenAlarm]],
    covers: Mapping[int, DeviceCover],
    now: datetime,
) -> None:
    """Open, join or reopen a ticket for each draft and put its alarm behind it."""
    in_order = sorted(drafts, key=lambda pair: (*_lock_key(pair[0]), pair[1].raised_at, pair[1].id))
    for one, alarm in in_order:
        entitlement = covers[alarm.device_id].check(one.opened_at)
        ticket_id = join_or_open(connection, one, entitlement, now=now)
        connection.execute(
            "INSERT INTO ticket_alarm (ticket_id, alarm_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (ticket_id, alarm.id),
        )


def _lock_key(one: TicketDraft) -> tuple[int, int, str]:
    return (one.incident_id or 0, one.device_id or 0, one.failure_mode)


def join_or_open(
    connection: Connection,
    one: TicketDraft,
    entitlement: Entitlement,
    *,
    now: datetime,
    actor: str = ENGINE,
) -> int:
    """Return the ticket for a draft: the open one, the reopened one or a new one.

    The unique partial index decides between racing workers; the loser finds the winner's ticket.
    A cause that comes back at its site is a new incident but not new work: the ticket of the last
    one follows it, so that flapping mains does not open a ticket a flap.
    """
    while True:
        known = _known_ticket(connection, one, now)
        if known is None:
            ticket_id = open_new(connection, one, entitlement, actor=actor)
            if ticket_id is None:
                continue
            return ticket_id
        if known.incident_id != one.incident_id:
            connection.execute(
                "UPDATE ticket SET incident_id = %s WHERE id = %s", (one.incident_id, known.id)
            )
        if known.closed_at is not None:
            _reopen(connection, known, entitlement, one, actor=actor)
        else:
            _join(connection, known, one, actor=actor)
        return known.id


def open_new(
    connection: Connection, one: TicketDraft, entitlement: Entitlement, *, actor: str = ENGINE
) -> int | None:
    """Open a ticket; None where one for the same need is open already."""
    ticket_id = _insert(connection, one, entitlement)
    if ticket_id is not None:
        log_ticket(connection, ticket_id, "opened", actor, one.opened_at, one.reason)
        tell(connection, [("ticket.opened", one.customer_id, ticket_id, one.opened_at)])
    return ticket_id


def _known_ticket(connection: Connection, one: TicketDraft, now: datetime) -> _Known | None:
    with connection.cursor(row_factory=class_row(_Known)) as cursor:
        if one.incident_id is not None:
            cursor.execute(
                """
                SELECT t.id, t.priority, t.customer_id, t.closed_at, t.incident_id
                FROM ticket t JOIN incident old ON old.id = t.incident_id
                JOIN incident new USING (subject, cause)
                WHERE new.id = %(incident)s AND t.customer_id = %(customer)s AND (
                    t.closed_at IS NULL
                    OR (t.closed_at > %(since)s AND t.device_id = %(device)s))
                ORDER BY t.closed_at IS NULL DESC, t.incident_id = new.id DESC, t.closed_at DESC
                LIMIT 1 FOR UPDATE OF t
                """,
                {
                    "incident": one.incident_id,
                    "customer": one.customer_id,
                    "since": now - REOPEN_WINDOW,
                    "device": one.device_id,
                },
            )
        else:
            cursor.execute(
                """
                SELECT id, priority, customer_id, closed_at, incident_id FROM ticket
                WHERE device_id = %s AND failure_mode = %s AND incident_id IS NULL
                AND customer_id = %s AND source <> 'person'
                AND (closed_at IS NULL OR closed_at > %s)
                ORDER BY closed_at IS NULL DESC, closed_at DESC LIMIT 1 FOR UPDATE
                """,
                (one.device_id, one.failure_mode, one.customer_id, now - REOPEN_WINDOW),
            )
        return cursor.fetchone()


def _insert(connection: Connection, one: TicketDraft, entitlement: Entitlement) -> int | None:
    row = connection.execute(
        """
        INSERT INTO ticket (customer_id, site_id, device_id, incident_id, failure_mode, source,
            rule_key, title_en, title_zh, severity, priority, priority_terms, state, reason,
            entitlement, contract_id, skills, part_kinds, action_en, action_zh, opened_at,
            respond_by_at, restore_by_at, opened_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'open', %s,
            %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        (
            one.customer_id,
            one.site_id,
            one.device_id,
            one.incident_id,
            one.failure_mode,
            one.source,
            one.rule_key,
            one.title_en,
            one.title_zh,
            one.severity,
            one.priority.value,
            Jsonb([term.to_json() for term in one.priority.terms]),
            Jsonb(one.reason),
            Jsonb(entitlement.to_json()),
            entitlement.contract_id,
            list(one.skills),
            list(one.part_kinds),
            one.action_en,
            one.action_zh,
            one.opened_at,
            entitlement.respond_by_at,
            entitlement.restore_by_at,
            ENGINE if one.source == "rule" else one.source,
        ),
    ).fetchone()
    return None if row is None else int(row[0])


def _join(connection: Connection, known: _Known, one: TicketDraft, *, actor: str) -> None:
    """Take new evidence into an open ticket; its priority only ever rises by itself."""
    rises = one.priority.value < known.priority
    connection.execute(
        """
        UPDATE ticket SET condition_cleared_at = NULL,
            priority = least(priority, %s),
            priority_terms = CASE WHEN %s THEN %s ELSE priority_terms END,
            severity = CASE WHEN %s THEN %s ELSE severity END
        WHERE id = %s
        """,
        (
            one.priority.value,
            rises,
            Jsonb([term.to_json() for term in one.priority.terms]),
            rises,
            one.severity,
            known.id,
        ),
    )
    log_ticket(connection, known.id, "evidence", actor, one.opened_at, one.reason)
    if rises:
        log_ticket(
            connection,
            known.id,
            "escalated",
            actor,
            one.opened_at,
            {"from": known.priority, "to": one.priority.value},
        )


def _reopen(
    connection: Connection,
    known: _Known,
    entitlement: Entitlement,
    one: TicketDraft,
    *,
    actor: str,
) -> None:
    connection.execute(
        """
        UPDATE ticket SET state = 'open', closed_at = NULL, resolved_at = NULL,
            closing_code = NULL, condition_cleared_at = NULL, responded_at = NULL,
            reopened = reopened + 1, reason = %s, entitlement = %s, contract_id = %s,
            respond_by_at = %s, restore_by_at = %s
        WHERE id = %s
        """,
        (
            Jsonb(one.reason),
            Jsonb(entitlement.to_json()),
            entitlement.contract_id,
            entitlement.respond_by_at,
            entitlement.restore_by_at,
            known.id,
        ),
    )
    log_ticket(connection, known.id, "reopened", actor, one.opened_at, one.reason)
    tell(connection, [("ticket.reopened", known.customer_id, known.id, one.opened_at)])


def log_ticket(
    connection: Connection,
    ticket_id: int,
    kind: str,
    actor: str,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append one line to a ticket's log."""
    connection.execute(
        "INSERT INTO ticket_event (ticket_id, at, kind, actor, detail) VALUES (%s, %s, %s, %s, %s)",
        (ticket_id, at, kind, actor, Jsonb(detail or {})),
    )


def settle(connection: Connection, *, now: datetime) -> int:
    """Close incidents that are over, and tell tickets that their condition is gone.

    Each row is locked and looked at again under the lock, since a worker may just be adding an
    alarm to it. Returns how many changed.
    """
    changed = close_finished(connection, now=now)
    for (ticket_id,) in connection.execute(
        """
        SELECT t.id FROM ticket t
        WHERE t.closed_at IS NULL AND t.condition_cleared_at IS NULL
        AND EXISTS (SELECT FROM ticket_alarm x WHERE x.ticket_id = t.id)
        AND NOT EXISTS (
            SELECT FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
            WHERE x.ticket_id = t.id AND a.over_at IS NULL)
        ORDER BY t.incident_id, t.device_id, t.failure_mode FOR UPDATE OF t SKIP LOCKED
        """
    ).fetchall():
        row = connection.execute(
            """
            UPDATE ticket SET condition_cleared_at = (
                SELECT max(a.over_at) FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
                WHERE x.ticket_id = ticket.id)
            WHERE id = %s AND NOT EXISTS (
                SELECT FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
                WHERE x.ticket_id = ticket.id AND a.over_at IS NULL)
            RETURNING customer_id, condition_cleared_at
            """,
            (ticket_id,),
        ).fetchone()
        if row is not None:
            log_ticket(connection, ticket_id, "condition_cleared", ENGINE, row[1])
            tell(connection, [("ticket.condition_cleared", row[0], ticket_id, now)])
            changed += 1
    return changed
