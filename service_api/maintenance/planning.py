"""The nightly look at the calendar: what is due at each unit, and a ticket for what may be done.

When something is due is reckoned in `rules.maintenance`; tickets are opened by
`rules.operations`. Looking twice a night changes nothing.
"""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg_pool import ConnectionPool

from rules.maintenance import CountedFrom, Due, MaintenanceState, Plan, next_due
from rules.operations import open_scheduled_ticket
from rules.tickets import REOPEN_WINDOW

Connection = psycopg.Connection[TupleRow]

BATCH = 500
NOT_DONE = frozenset({"withdrawn", "duplicate", "false_alarm"})
"""Closing codes after which the work has not been done and stays due."""

PRIORITY, PRIORITY_WHEN_LATE = 4, 3


@dataclass(frozen=True, slots=True)
class _Row:
    device_id: int
    device_name: str
    installed_on: date | None
    time_zone: str
    plan_id: int
    plan_key: str
    title: str
    title_zh: str
    interval_months: int
    basis: str
    skills: list[str]
    part_kinds: list[str]
    steps_en: list[str]
    steps_zh: list[str]
    due_on: date | None
    last_done_on: date | None
    last_scheduled_on: date | None
    ticket_id: int | None
    ticket_closed_at: datetime | None
    ticket_code: str | None
    ticket_priority: int | None

    @property
    def plan(self) -> Plan:
        return Plan(self.interval_months, CountedFrom(self.basis))


def plan_all(pool: ConnectionPool, now: datetime) -> str:
    """Look at every unit; returns what was done, for the job's log."""
    with pool.connection() as connection, connection.transaction():
        _assign_plans(connection)
    opened, after = 0, 0
    while True:
        with pool.connection() as connection, connection.transaction():
            rows = _rows(connection, after)
            for row in rows:
                opened += _look(connection, row, now)
        if not rows:
            return f"{opened} tickets" if opened else ""
        after = rows[-1].device_id


def _assign_plans(connection: Connection) -> None:
    """Give every unit the plans that fit it: lead-acid battery work not to lithium-ion."""
    connection.execute(
        """
        INSERT INTO maintenance_due (device_id, plan_id)
        SELECT d.id, p.id FROM device d CROSS JOIN maintenance_plan p
        WHERE d.enabled AND NOT (d.battery_chemistry = 'li-ion' AND 'battery' = ANY(p.skills))
        ORDER BY d.id, p.id
        ON CONFLICT DO NOTHING
        """
    )


def _rows(connection: Connection, after_device: int) -> list[_Row]:
    with connection.cursor(row_factory=class_row(_Row)) as cursor:
        return cursor.execute(
            """
            SELECT d.id AS device_id, d.name AS device_name, d.installed_on, s.time_zone,
                p.id AS plan_id, p.key AS plan_key, p.title, p.title_zh, p.interval_months,
                p.basis, p.skills, p.part_kinds, p.steps_en, p.steps_zh, m.due_on,
                m.last_done_on, m.last_scheduled_on, m.ticket_id,
                t.closed_at AS ticket_closed_at, t.closing_code AS ticket_code,
                t.priority AS ticket_priority
            FROM maintenance_due m
            JOIN maintenance_plan p ON p.id = m.plan_id
            JOIN device d ON d.id = m.device_id
            JOIN site s ON s.id = d.site_id
            LEFT JOIN ticket t ON t.id = m.ticket_id
            WHERE d.enabled AND d.id IN (
                SELECT DISTINCT o.device_id FROM maintenance_due o
                JOIN device e ON e.id = o.device_id AND e.enabled
                WHERE o.device_id > %s ORDER BY o.device_id LIMIT %s)
            ORDER BY d.id, p.id FOR UPDATE OF m
            """,
            (after_device, BATCH),
        ).fetchall()


def local_day(now: datetime, time_zone: str) -> date:
    """Return the site's day; UTC's when its zone is unknown."""
    try:
        return now.astimezone(ZoneInfo(time_zone)).date()
    except (ZoneInfoNotFoundError, ValueError):
        return now.date()


def _look(connection: Connection, row: _Row, now: datetime) -> bool:
    """Bring one unit's plan up to date; return whether a ticket was opened."""
    last_done_on, last_scheduled_on = row.last_done_on, row.last_scheduled_on
    ticket_id = row.ticket_id
    if row.ticket_closed_at is not None and row.ticket_code not in NOT_DONE:
        last_done_on = local_day(row.ticket_closed_at, row.time_zone)
        last_scheduled_on = row.due_on
        ticket_id = None
    due = next_due(
        row.plan,
        installed_on=row.installed_on,
        last_done_on=last_done_on,
        last_scheduled_on=last_scheduled_on,
        today=local_day(now, row.time_zone),
    )
    opens = _wants_ticket(row, due, has_ticket=ticket_id is not None, now=now)
    if opens:
        ticket_id = _open(connection, row, due, last_done_on, now)
    connection.execute(
        """
        UPDATE maintenance_due
        SET due_on = %s, last_done_on = %s, last_scheduled_on = %s, ticket_id = %s
        WHERE device_id = %s AND plan_id = %s
        """,
        (due.due_on, last_done_on, last_scheduled_on, ticket_id, row.device_id, row.plan_id),
    )
    return opens


def _wants_ticket(row: _Row, due: Due, *, has_ticket: bool, now: datetime) -> bool:
    if due.state in {MaintenanceState.UNKNOWN, MaintenanceState.FUTURE}:
        return False
    if not has_ticket:
        return True
    if row.ticket_closed_at is not None:
        # Somebody decided against it: not asked again the next night.
        return now - row.ticket_closed_at > REOPEN_WINDOW
    return (
        due.state is MaintenanceState.LATE
        and row.ticket_priority is not None
        and row.ticket_priority > PRIORITY_WHEN_LATE
    )


def _open(
    connection: Connection, row: _Row, due: Due, last_done_on: date | None, now: datetime
) -> int:
    last_en = "never done" if last_done_on is None else f"last done {last_done_on}"
    last_zh = "从未执行" if last_done_on is None else f"上次执行 {last_done_on}"
    late = due.state is MaintenanceState.LATE
    return open_scheduled_ticket(
        connection,
        device_id=row.device_id,
        failure_mode=f"maintenance_{row.plan_key}",
        title=(f"{row.device_name}: {row.title}", f"{row.device_name}：{row.title_zh}"),
        why=(
            f"Due {due.due_on}, {last_en}{'; overdue' if late else ''}.",
            f"应于 {due.due_on} 执行，{last_zh}{'，已逾期' if late else ''}。",
        ),
        priority=PRIORITY_WHEN_LATE if late else PRIORITY,
        skills=tuple(row.skills),
        part_kinds=tuple(row.part_kinds),
        action=(" ".join(row.steps_en), "".join(row.steps_zh)),
        source="schedule",
        now=now,
    )
