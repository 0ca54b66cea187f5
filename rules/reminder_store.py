"""Reminders: rows of one subject against conditions, remembered, raised, stepped on and closed.

The engine and `alarms.advance` decide as they do for alarms; what they raise is a reminder with a
duty that must act. Runs inside the transaction of whoever worked the rows out. What the words mean
is in `rules.occasions`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules.alarms import Change, Phase, RuleState
from rules.catalogue import Rule
from rules.engine import Engine, Judgement, Key
from rules.facts import Value
from rules.occasions import Subject
from rules.operations import NotThere, OperationRefused
from rules.reminders import is_news, step_reached
from rules.store import tell
from rules.switched_off import switch_off
from rules.tickets import alarm_reason

Connection = psycopg.Connection[TupleRow]
Row = Mapping[str, Value | None]

ENGINE = "engine"
DUE = "reminder.due"
"""The topic under which a reminder and each of its steps is announced, to staff alone."""


@dataclass(frozen=True, slots=True)
class _Place:
    id: int
    customer_id: int
    site_id: int | None
    device_id: int | None


@dataclass(frozen=True, slots=True)
class _Kept:
    id: int
    subject_id: int
    rule_key: str
    state: str
    since_at: datetime
    next_at: datetime | None
    unknown_since_at: datetime | None
    raised_at: datetime | None
    step: float | None

    @property
    def memory(self) -> RuleState:
        is_stale = (
            self.unknown_since_at is not None and self.next_at is None and self.state != "pending"
        )
        return RuleState(
            Phase(self.state), self.since_at, self.next_at, self.unknown_since_at, is_stale
        )


def judge_subjects(
    connection: Connection,
    engine: Engine,
    subject: Subject,
    rows: Mapping[int, Row],
    *,
    now: datetime,
) -> None:
    """Judge one row a subject by the rules that remind; a subject that is gone is left out.

    1. What is remembered of these subjects, held until the transaction ends.
    2. The engine judges; a rule that fails is switched off with a finding.
    3. Reminders are raised, cleared, kept; a step that is reached for the first time is told.
    """
    reminding = engine.part(subject, reminders=True)
    if not reminding.judges or not rows:
        return
    places = _places(connection, subject, sorted(rows))
    kept = _kept(connection, subject, sorted(places))
    judged = reminding.judge_facts(
        {one: row for one, row in rows.items() if one in places},
        {key: one.memory for key, one in kept.items()},
        now,
    )
    for rule_key, reason in judged.failed.items():
        switch_off(connection, rule_key, reason=reason, now=now)
    changed = {(change.device_id, change.rule.key): change for change in judged.changes}
    for key, change in sorted(changed.items()):
        kept_now = _write(
            connection, subject, places[key[0]], kept.get(key), change, judged.states.get(key), now
        )
        kept.pop(key, None)
        if kept_now is not None:
            kept[key] = kept_now
    for key, one in sorted(kept.items()):
        _step_on(connection, one, engine.rules.get(key[1]), rows.get(key[0], {}), now)


def _places(connection: Connection, subject: Subject, ids: Sequence[int]) -> dict[int, _Place]:
    with connection.cursor(row_factory=class_row(_Place)) as cursor:
        cursor.execute(
            """
            SELECT id, customer_id, site_id, id AS device_id FROM device
            WHERE %(subject)s = 'device' AND id = ANY(%(ids)s)
            UNION ALL SELECT id, customer_id, id, NULL FROM site
            WHERE %(subject)s = 'site' AND id = ANY(%(ids)s)
            UNION ALL SELECT id, id, NULL, NULL FROM customer
            WHERE %(subject)s = 'customer' AND id = ANY(%(ids)s)
            UNION ALL SELECT id, customer_id, NULL, NULL FROM contract
            WHERE %(subject)s = 'contract' AND id = ANY(%(ids)s)
            UNION ALL SELECT id, customer_id, site_id, device_id FROM ticket
            WHERE %(subject)s = 'ticket' AND id = ANY(%(ids)s)
            """,
            {"subject": subject.value, "ids": list(ids)},
        )
        return {place.id: place for place in cursor}


def _kept(connection: Connection, subject: Subject, ids: Sequence[int]) -> dict[Key, _Kept]:
    with connection.cursor(row_factory=class_row(_Kept)) as cursor:
        cursor.execute(
            """
            SELECT id, subject_id, rule_key, state, since_at, next_at, unknown_since_at, raised_at,
                step
            FROM reminder
            WHERE subject = %s AND subject_id = ANY(%s) AND closed_at IS NULL
            ORDER BY subject_id, rule_key FOR UPDATE
            """,
            (subject.value, list(ids)),
        )
        return {(one.subject_id, one.rule_key): one for one in cursor}


def _write(
    connection: Connection,
    subject: Subject,
    place: _Place,
    before: _Kept | None,
    change: Judgement,
    after: RuleState | None,
    now: datetime,
) -> _Kept | None:
    """Bring one reminder's row to what was judged; return it while it stands."""
    raised_at = None if before is None else before.raised_at
    for step in change.steps:
        if step.change is Change.RAISED:
            raised_at = step.at
    if after is None:
        if before is not None:
            _end(connection, before, change.steps[-1].at if change.steps else now, ENGINE)
        return None
    work = change.rule.reminder
    if work is None:
        raise ValueError(f"rule {change.rule.key} reminds nobody")
    values: dict[str, Any] = {
        "subject": subject.value,
        "subject_id": place.id,
        "rule": change.rule.key,
        "customer": place.customer_id,
        "site": place.site_id,
        "device": place.device_id,
        "state": after.phase.value,
        "since": after.since_at,
        "next": after.next_at,
        "unknown": after.unknown_since_at,
        "raised": raised_at,
        "owner": work.owner,
        "reason": Jsonb(alarm_reason(change.rule, change.values, change.observed_at)),
    }
    with connection.cursor(row_factory=class_row(_Kept)) as cursor:
        written = cursor.execute(
            """
            INSERT INTO reminder (subject, subject_id, rule_key, customer_id, site_id, device_id,
                state, since_at, next_at, unknown_since_at, raised_at, owner, reason)
            VALUES (%(subject)s, %(subject_id)s, %(rule)s, %(customer)s, %(site)s, %(device)s,
                %(state)s, %(since)s, %(next)s, %(unknown)s, %(raised)s, %(owner)s, %(reason)s)
            ON CONFLICT (subject, subject_id, rule_key) WHERE closed_at IS NULL DO UPDATE SET
                state = excluded.state, since_at = excluded.since_at, next_at = excluded.next_at,
                unknown_since_at = excluded.unknown_since_at, raised_at = excluded.raised_at
            RETURNING id, subject_id, rule_key, state, since_at, next_at, unknown_since_at,
                raised_at, step
            """,
            values,
        ).fetchone()
    if written is None:
        raise OperationRefused("the database took no reminder")
    for step in change.steps:
        _log(connection, written.id, step.change.value, ENGINE, step.at, {})
    if raised_at is not None and (before is None or before.raised_at is None) and not work.steps:
        tell(connection, [(DUE, None, written.id, now)])
    return written


def _end(connection: Connection, one: _Kept, at: datetime, actor: str) -> None:
    if one.raised_at is None:
        connection.execute("DELETE FROM reminder WHERE id = %s", (one.id,))
        return
    connection.execute(
        """
        UPDATE reminder SET state = 'closed', closed_at = %s, next_at = NULL,
            put_off_until_at = NULL WHERE id = %s
        """,
        (max(at, one.raised_at), one.id),
    )
    _log(connection, one.id, "cleared", actor, max(at, one.raised_at), {})
    connection.execute("NOTIFY ridethrough, 'change'")


def _step_on(
    connection: Connection, one: _Kept, rule: Rule | None, row: Row, now: datetime
) -> None:
    """Tell the step that a standing reminder has reached, once."""
    work = None if rule is None else rule.reminder
    if one.raised_at is None or work is None or work.steps_of is None:
        return
    value = row.get(work.steps_of)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    reached = step_reached(float(value), work.steps)
    if reached is None or not is_news(reached, one.step, work.steps):
        return
    connection.execute(
        """
        UPDATE reminder SET step = %s, put_off_until_at = NULL, put_off_by = NULL,
            put_off_reason = NULL,
            reason = jsonb_set(reason, ARRAY['values', %s], to_jsonb(%s::double precision), true)
        WHERE id = %s
        """,
        (reached, work.steps_of, float(value), one.id),
    )
    _log(connection, one.id, "step", ENGINE, now, {"step": reached, "value": float(value)})
    tell(connection, [(DUE, None, one.id, now)])


def end_reminders(
    connection: Connection, subject: Subject, *, except_for: Collection[int], now: datetime
) -> int:
    """Close what reminds of subjects that are over, such as closed tickets; returns how many."""
    with connection.cursor(row_factory=class_row(_Kept)) as cursor:
        over = cursor.execute(
            """
            SELECT id, subject_id, rule_key, state, since_at, next_at, unknown_since_at, raised_at,
                step
            FROM reminder
            WHERE subject = %s AND closed_at IS NULL AND NOT subject_id = ANY(%s)
            ORDER BY subject_id, rule_key FOR UPDATE
            """,
            (subject.value, sorted(except_for)),
        ).fetchall()
    for one in over:
        _end(connection, one, now, ENGINE)
    return len(over)


def take_reminder(connection: Connection, reminder_id: int, *, actor: str, now: datetime) -> None:
    """Say that somebody sees to it."""
    _standing(connection, reminder_id)
    connection.execute("UPDATE reminder SET taken_by = %s WHERE id = %s", (actor, reminder_id))
    _log(connection, reminder_id, "taken", actor, now, {})
    connection.execute("NOTIFY ridethrough, 'change'")


def give_reminder_back(
    connection: Connection, reminder_id: int, *, actor: str, now: datetime
) -> None:
    """Leave it to its duty again."""
    if _standing(connection, reminder_id)[0] is None:
        raise OperationRefused("nobody has taken this reminder")
    connection.execute("UPDATE reminder SET taken_by = NULL WHERE id = %s", (reminder_id,))
    _log(connection, reminder_id, "given_back", actor, now, {})
    connection.execute("NOTIFY ridethrough, 'change'")


def put_reminder_off(
    connection: Connection,
    reminder_id: int,
    *,
    until_at: datetime,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Hide a reminder until an instant, with a reason; the next step brings it back before."""
    _standing(connection, reminder_id)
    if not reason.strip():
        raise OperationRefused("putting a reminder off needs a reason")
    if until_at <= now:
        raise OperationRefused("put it off until a time that lies ahead")
    connection.execute(
        """
        UPDATE reminder SET put_off_until_at = %s, put_off_by = %s, put_off_reason = %s
        WHERE id = %s
        """,
        (until_at, actor, reason.strip(), reminder_id),
    )
    detail = {"until_at": until_at.isoformat(), "reason": reason.strip()}
    _log(connection, reminder_id, "put_off", actor, now, detail)
    connection.execute("NOTIFY ridethrough, 'change'")


def bring_reminder_back(
    connection: Connection, reminder_id: int, *, actor: str, now: datetime
) -> None:
    """Show a reminder again that was put off."""
    if _standing(connection, reminder_id)[1] is None:
        raise OperationRefused("the reminder was not put off")
    connection.execute(
        """
        UPDATE reminder SET put_off_until_at = NULL, put_off_by = NULL, put_off_reason = NULL
        WHERE id = %s
        """,
        (reminder_id,),
    )
    _log(connection, reminder_id, "brought_back", actor, now, {})
    connection.execute("NOTIFY ridethrough, 'change'")


def _standing(connection: Connection, reminder_id: int) -> tuple[str | None, datetime | None]:
    row = connection.execute(
        """
        SELECT taken_by, put_off_until_at, closed_at FROM reminder
        WHERE id = %s AND raised_at IS NOT NULL FOR UPDATE
        """,
        (reminder_id,),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no reminder {reminder_id}")
    if row[2] is not None:
        raise OperationRefused("the reminder is over")
    return row[0], row[1]


def _log(
    connection: Connection,
    reminder_id: int,
    kind: str,
    actor: str,
    at: datetime,
    detail: Mapping[str, Any],
) -> None:
    connection.execute(
        """
        INSERT INTO reminder_event (reminder_id, at, kind, actor, detail)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (reminder_id, at, kind, actor, Jsonb(dict(detail))),
    )
