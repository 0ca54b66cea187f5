"""Read what dispatch decides from: engineers with their load, the job of a ticket.

How engineers are ranked is in `dispatch.ranking`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import TupleRow, class_row

from rules.entitlement import default_calendar
from rules.working_time import working_stretches
from service_api.dispatch.ranking import Candidate, Engineer, Job, Position, Span, rank

Connection = psycopg.Connection[TupleRow]

URGENT_PRIORITY = 2
"""Up to this priority somebody leaves now; the rest waits for working hours at the site."""
USUAL_MINUTES = 120
"""How long work takes that no plan describes."""
LOOK_AHEAD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class TicketJob:
    """What a ticket asks to be done where."""

    ticket_id: int
    state: str
    customer_id: int
    site_id: int
    device_id: int | None
    model: str | None
    priority: int
    skills: list[str]
    part_kinds: list[str]
    respond_by_at: datetime | None
    minutes: int
    time_zone: str
    latitude: float | None
    longitude: float | None
    service_center_id: int | None

    def job(self, now: datetime) -> Job:
        """Return the job as the ranking wants it."""
        return Job(
            skills=tuple(self.skills),
            position=position_of(self.latitude, self.longitude),
            minutes=self.minutes,
            earliest_at=earliest_start(now, priority=self.priority, time_zone=self.time_zone),
            respond_by_at=self.respond_by_at,
            service_center_id=self.service_center_id,
        )


def position_of(latitude: float | None, longitude: float | None) -> Position | None:
    """Return a position, None when half of it is missing."""
    return None if latitude is None or longitude is None else Position(latitude, longitude)


def earliest_start(now: datetime, *, priority: int, time_zone: str) -> datetime:
    """Return from when on somebody may leave: now, or at the site's next working hour."""
    if priority <= URGENT_PRIORITY:
        return now
    first = next(working_stretches(now, 1, default_calendar(time_zone), ZoneInfo(time_zone)))
    return first.starts_at


def ticket_job(connection: Connection, ticket_id: int) -> TicketJob | None:
    """Return what a ticket asks for, None when there is no such ticket."""
    with connection.cursor(row_factory=class_row(TicketJob)) as cursor:
        return cursor.execute(
            """
            SELECT t.id AS ticket_id, t.state, t.customer_id, t.site_id, t.device_id, d.model,
                t.priority, t.skills, t.part_kinds, t.respond_by_at, s.time_zone,
                s.latitude, s.longitude, s.service_center_id,
                coalesce((
                    SELECT nullif(sum(m.minutes), 0) FROM maintenance_due m
                    WHERE m.ticket_id = t.id
                ), %(usual)s)::int AS minutes
            FROM ticket t
            JOIN site s ON s.id = t.site_id
            LEFT JOIN device d ON d.id = t.device_id
            WHERE t.id = %(ticket)s
            """,
            {"ticket": ticket_id, "usual": USUAL_MINUTES},
        ).fetchone()


@dataclass(frozen=True, slots=True)
class EngineerRow:
    """An engineer as people see one."""

    id: int
    key: str
    name: str
    name_zh: str
    service_center_id: int | None
    user_id: int | None
    skills: list[str]
    phone: str
    latitude: float | None
    longitude: float | None
    active: bool
    open_orders: int


def engineer_rows(connection: Connection) -> list[EngineerRow]:
    """Return every active engineer with the number of open work orders."""
    with connection.cursor(row_factory=class_row(EngineerRow)) as cursor:
        return cursor.execute(
            """
            SELECT e.id, e.key, e.name, e.name_zh, e.service_center_id, e.user_id, e.skills,
                e.phone, e.latitude, e.longitude, e.active,
                (SELECT count(*) FROM work_order w WHERE w.engineer_id = e.id
                AND w.state IN ('assigned', 'accepted', 'on_site'))::int AS open_orders
            FROM engineer e WHERE e.active ORDER BY e.id
            """
        ).fetchall()


def engineers(connection: Connection, *, now: datetime) -> list[Engineer]:
    """Return every active engineer as the ranking wants them."""
    busy: dict[int, list[Span]] = {}
    for engineer_id, starts_at, ends_at in connection.execute(
        """
        SELECT engineer_id, lower(planned), upper(planned) FROM work_order
        WHERE state IN ('assigned', 'accepted', 'on_site')
        AND planned && tstzrange(%s, %s)
        """,
        (now, now + LOOK_AHEAD),
    ):
        busy.setdefault(engineer_id, []).append(Span(starts_at, ends_at))
    return [
        Engineer(
            id=row.id,
            name=row.name,
            name_zh=row.name_zh,
            skills=frozenset(row.skills),
            position=position_of(row.latitude, row.longitude),
            service_center_id=row.service_center_id,
            open_orders=row.open_orders,
            busy=tuple(busy.get(row.id, ())),
        )
        for row in engineer_rows(connection)
    ]


def candidates_for(
    connection: Connection, ticket_id: int, *, now: datetime
) -> tuple[Candidate, ...] | None:
    """Return who could go for a ticket, best first; None when there is no such ticket."""
    found = ticket_job(connection, ticket_id)
    if found is None:
        return None
    return rank(found.job(now), engineers(connection, now=now))
