"""Planned work that was done or missed: written by closed tickets, by hand and by the unit itself.

When a task is due next counts from these rows; what is undone counts no more.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row

from rules.maintenance_due import Outcome, outcome_of
from rules.operations import NotThere, OperationRefused
from service_api.maintenance.days import local_day

Connection = psycopg.Connection[TupleRow]

NOT_DONE = ("withdrawn", "duplicate", "false_alarm")
"""Closing codes after which the work has not been done and stays due."""
SAME_OCCURRENCE = timedelta(days=92)
"""Work entered by hand at most so long before its date counts as that occurrence (judgement)."""


@dataclass(frozen=True, slots=True)
class _Done:
    device_id: int
    plan_id: int
    due_on: date | None
    ticket_id: int
    closed_at: datetime
    time_zone: str


def settle_tickets(connection: Connection, *, now: datetime) -> int:
    """Take over what closed tickets say, and back what reopened ones said; returns how much.

    1. A ticket that was closed as done completes every line of its visit, on the site's day.
    2. A ticket that is open again has not been done after all: its lines are due as before.
    """
    with connection.cursor(row_factory=class_row(_Done)) as cursor:
        done = cursor.execute(
            """
            SELECT m.device_id, m.plan_id, m.due_on, t.id AS ticket_id, t.closed_at, s.time_zone
            FROM maintenance_due m JOIN ticket t ON t.id = m.ticket_id
            JOIN device d ON d.id = m.device_id JOIN site s ON s.id = d.site_id
            WHERE t.closed_at IS NOT NULL AND NOT coalesce(t.closing_code, '') = ANY(%s)
            ORDER BY m.device_id, m.plan_id FOR UPDATE OF m
            """,
            (list(NOT_DONE),),
        ).fetchall()
    for one in done:
        done_on = local_day(one.closed_at, one.time_zone)
        _insert(
            connection,
            one.device_id,
            one.plan_id,
            due_on=one.due_on,
            done_on=done_on,
            ticket_id=one.ticket_id,
            actor="ticket",
            at=now,
        )
        _count_again(connection, one.device_id, one.plan_id)
        connection.execute(
            """
            UPDATE maintenance_due SET ticket_id = NULL, visit_id = NULL
            WHERE device_id = %s AND plan_id = %s
            """,
            (one.device_id, one.plan_id),
        )
    undone = connection.execute(
        """
        UPDATE maintenance_occurrence o SET undone_at = %s, undone_by = 'ticket'
        FROM ticket t WHERE t.id = o.ticket_id AND t.closed_at IS NULL AND o.undone_at IS NULL
        RETURNING o.device_id, o.plan_id, o.ticket_id
        """,
        (now,),
    ).fetchall()
    for device_id, plan_id, ticket_id in undone:
        _count_again(connection, device_id, plan_id)
        connection.execute(
            """
            UPDATE maintenance_due SET ticket_id = %(ticket)s,
                visit_id = (SELECT id FROM maintenance_visit WHERE ticket_id = %(ticket)s)
            WHERE device_id = %(device)s AND plan_id = %(plan)s
            """,
            {"ticket": ticket_id, "device": device_id, "plan": plan_id},
        )
    connection.execute(
        """
        UPDATE maintenance_visit v SET ended_at = CASE WHEN t.closed_at IS NULL THEN NULL ELSE
            t.closed_at END
        FROM ticket t WHERE t.id = v.ticket_id AND (v.ended_at IS NULL) <> (t.closed_at IS NULL)
        """
    )
    return len(done) + len(undone)


def enter_done(
    connection: Connection,
    device_id: int,
    plan_id: int,
    *,
    done_on: date,
    remark: str,
    actor: str,
    now: datetime,
) -> int:
    """Enter by hand that work was done on a day; returns the occurrence.

    Not long before the date that stands or after it, it counts as that occurrence and leaves the
    visit that it was on; else it counts as one of its own.
    """
    row = connection.execute(
        """
        SELECT m.due_on, s.time_zone, d.installed_on FROM maintenance_due m
        JOIN device d ON d.id = m.device_id JOIN site s ON s.id = d.site_id
        WHERE m.device_id = %s AND m.plan_id = %s FOR UPDATE OF m
        """,
        (device_id, plan_id),
    ).fetchone()
    if row is None:
        raise NotThere("this plan does not apply to this unit")
    due_on, time_zone, installed_on = row
    if done_on > local_day(now, time_zone):
        raise OperationRefused("the day lies ahead; enter work when it has been done")
    if installed_on is not None and done_on < installed_on:
        raise OperationRefused(f"the unit was installed on {installed_on}, after that day")
    is_that_one = due_on is not None and due_on - done_on <= SAME_OCCURRENCE
    occurrence_id = _insert(
        connection,
        device_id,
        plan_id,
        due_on=due_on if is_that_one else done_on,
        done_on=done_on,
        ticket_id=None,
        actor=actor,
        at=now,
        remark=remark,
    )
    _count_again(connection, device_id, plan_id)
    if is_that_one:
        connection.execute(
            """
            UPDATE maintenance_due SET ticket_id = NULL, visit_id = NULL
            WHERE device_id = %s AND plan_id = %s
            """,
            (device_id, plan_id),
        )
    return occurrence_id


def undo(connection: Connection, occurrence_id: int, *, actor: str, now: datetime) -> None:
    """Take an entry back; the date is reckoned from what was done before."""
    row = connection.execute(
        """
        SELECT device_id, plan_id, undone_at, ticket_id FROM maintenance_occurrence
        WHERE id = %s FOR UPDATE
        """,
        (occurrence_id,),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no entry {occurrence_id}")
    if row[2] is not None:
        raise OperationRefused("the entry was taken back already")
    if row[3] is not None:
        raise OperationRefused("a closed ticket says so: reopen the ticket")
    connection.execute(
        "UPDATE maintenance_occurrence SET undone_at = %s, undone_by = %s WHERE id = %s",
        (now, actor, occurrence_id),
    )
    _count_again(connection, row[0], row[1])


def enter_missed(
    connection: Connection, device_id: int, plan_id: int, *, due_on: date, now: datetime
) -> None:
    """Write down that a promised date passed without the work; once."""
    connection.execute(
        """
        INSERT INTO maintenance_occurrence (device_id, plan_id, due_on, outcome, actor, at)
        VALUES (%s, %s, %s, 'missed', 'calendar', %s) ON CONFLICT DO NOTHING
        """,
        (device_id, plan_id, due_on, now),
    )


def enter_by_unit(
    connection: Connection, device_id: int, plan_id: int, *, due_on: date | None, done_on: date,
    now: datetime,
) -> None:  # fmt: skip
    """Write down what the unit itself did, such as a self-test."""
    _insert(
        connection,
        device_id,
        plan_id,
        due_on=due_on,
        done_on=done_on,
        ticket_id=None,
        actor="unit",
        at=now,
    )
    _count_again(connection, device_id, plan_id)


def _insert(
    connection: Connection,
    device_id: int,
    plan_id: int,
    *,
    due_on: date | None,
    done_on: date,
    ticket_id: int | None,
    actor: str,
    at: datetime,
    remark: str = "",
) -> int:
    outcome: Outcome = outcome_of(due_on, done_on)
    row = connection.execute(
        """
        INSERT INTO maintenance_occurrence (device_id, plan_id, due_on, done_on, outcome, ticket_id,
            remark, actor, at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (device_id, plan_id, due_on, done_on, outcome.value, ticket_id, remark, actor, at),
    ).fetchone()
    if row is None:
        raise OperationRefused("the database took no row")
    return int(row[0])


def _count_again(connection: Connection, device_id: int, plan_id: int) -> None:
    """Let the newest work that stands decide from when the next date counts."""
    connection.execute(
        """
        UPDATE maintenance_due m SET (last_done_on, last_scheduled_on) = (
            SELECT max(o.done_on), coalesce(max(o.due_on), max(o.done_on))
            FROM maintenance_occurrence o WHERE o.device_id = m.device_id
            AND o.plan_id = m.plan_id AND o.undone_at IS NULL AND o.done_on IS NOT NULL)
        WHERE m.device_id = %s AND m.plan_id = %s
        """,
        (device_id, plan_id),
    )
