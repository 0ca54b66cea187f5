"""Read tickets as the asker may see them; `rules.operations` writes them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row, dict_row

from rules.points import BY_COLUMN
from service_api.alarms.store import like
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection
from service_api.tickets.schemas import (
    Deadline,
    PriorityTerm,
    Ticket,
    TicketEvent,
    TicketQuery,
    TicketSummary,
)

_SELECT: LiteralString = """
    k.id, k.title_en, k.title_zh, k.severity, k.priority, k.state, k.source, k.failure_mode,
    k.customer_id, c.name, c.name_zh, k.site_id, t.name, t.name_zh, t.time_zone,
    k.device_id, d.name, k.incident_id, k.opened_at, k.respond_by_at, k.restore_by_at,
    k.responded_at, k.resolved_at, k.closed_at, k.condition_cleared_at,
    e.name, e.name_zh
"""

_FROM: LiteralString = """
    FROM ticket k JOIN site t ON t.id = k.site_id JOIN customer c ON c.id = k.customer_id
    LEFT JOIN device d ON d.id = k.device_id
    LEFT JOIN LATERAL (
        SELECT w.engineer_id FROM work_order w
        WHERE w.ticket_id = k.id AND w.state NOT IN ('draft', 'cancelled')
        ORDER BY w.id DESC LIMIT 1
    ) w ON true
    LEFT JOIN engineer e ON e.id = w.engineer_id
"""

_LATE: LiteralString = """
    (k.closed_at IS NULL AND (
        (k.responded_at IS NULL AND k.respond_by_at < %(now)s)
        OR (k.resolved_at IS NULL AND k.restore_by_at < %(now)s)))
"""

_WHERE: LiteralString = (
    """
    WHERE CASE %(state)s
        WHEN 'all' THEN true
        WHEN 'unfinished' THEN k.closed_at IS NULL
        WHEN 'late' THEN """
    + _LATE
    + """
        ELSE k.state = %(state)s END
    AND (%(severity)s::text IS NULL OR k.severity = %(severity)s)
    AND (%(priority)s::integer IS NULL OR k.priority = %(priority)s)
    AND (%(device_id)s::bigint IS NULL OR k.device_id = %(device_id)s)
    AND (%(site_id)s::bigint IS NULL OR k.site_id = %(site_id)s)
    AND (%(customer_id)s::bigint IS NULL OR k.customer_id = %(customer_id)s)
    AND (%(incident_id)s::bigint IS NULL OR k.incident_id = %(incident_id)s)
    AND (%(pattern)s::text IS NULL OR concat_ws(' ', k.id, k.title_en, k.title_zh, d.name, d.key,
        t.name, t.name_zh, c.name, c.name_zh) ILIKE %(pattern)s)
"""
)

_PRESSING = Order.of(
    ("k.priority", "integer", False),
    ("coalesce(k.respond_by_at, '9999-01-01Z')", "timestamptz", False),
    ("k.id", "bigint", False),
)
_NEWEST = Order.of(("k.opened_at", "timestamptz", True), ("k.id", "bigint", True))


def tickets(connection: Connection, query: TicketQuery, now: datetime) -> Page[TicketSummary]:
    """Read one part of the list: unfinished ones most pressing first, others newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters={
            **query.model_dump(exclude={"limit", "cursor", "q"}),
            "pattern": like(query.q),
            "now": now,
        },
        order=_PRESSING if query.state in {"unfinished", "late", "open"} else _NEWEST,
        query=query,
        build=lambda row: TicketSummary(*row),
    )


def counts(connection: Connection, now: datetime) -> dict[str, int]:
    """Count tickets by what the page's chips ask."""
    row = connection.execute(
        """
        SELECT count(*), count(*) FILTER (WHERE k.state = 'open'),
            count(*) FILTER (WHERE k.state = 'in_progress'),
            count(*) FILTER (WHERE k.state = 'waiting'),
            count(*) FILTER (WHERE k.state = 'resolved'), count(*) FILTER (WHERE """
        + _LATE
        + """)
        FROM ticket k WHERE k.closed_at IS NULL
        """,
        {"now": now},
    ).fetchone()
    names = ("unfinished", "open", "in_progress", "waiting", "resolved", "late")
    return dict(zip(names, row or (0,) * len(names), strict=True))


def deadlines(summary: TicketSummary, now: datetime) -> list[Deadline]:
    """Return each promise of a ticket with how it stands."""
    found: list[Deadline] = []
    for promise, due_at, met_at in (
        ("respond", summary.respond_by_at, summary.responded_at),
        ("restore", summary.restore_by_at, summary.resolved_at or summary.closed_at),
    ):
        if due_at is None:
            continue
        in_time = (met_at or now) <= due_at
        state = ("met" if met_at else "running") if in_time else "missed"
        found.append(Deadline(promise, due_at, summary.opened_at, met_at, state))  # type: ignore[arg-type]
    return found


def _readings_now(
    connection: Connection, device_id: int | None, reason: Mapping[str, Any]
) -> tuple[dict[str, Any], datetime | None]:
    columns = [column for column in reason.get("readings", {}) if column in BY_COLUMN]
    if device_id is None or not columns:
        return {}, None
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM visible_device_state WHERE device_id = %s", (device_id,)
        ).fetchone()
    if row is None:
        return {}, None
    return {column: row[column] for column in columns}, row["observed_at"]


def ticket(connection: Connection, ticket_id: int, now: datetime) -> Ticket:
    """Read one ticket with everything about it; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE k.id = %s", (ticket_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no ticket {ticket_id}.")
    summary = TicketSummary(*row)
    with connection.cursor(row_factory=dict_row) as cursor:
        more = cursor.execute(
            """
            SELECT reason, entitlement, priority_terms, contract_id, skills, part_kinds, action_en,
                action_zh, closing_code, reopened, opened_by,
                ARRAY(SELECT alarm_id FROM ticket_alarm WHERE ticket_id = k.id ORDER BY alarm_id)
                    AS alarm_ids
            FROM ticket k WHERE id = %s
            """,
            (ticket_id,),
        ).fetchone()
    if more is None:
        raise NotFound(f"There is no ticket {ticket_id}.")
    terms = [PriorityTerm(**term) for term in more.pop("priority_terms")]
    readings_now, readings_now_at = _readings_now(connection, summary.device_id, more["reason"])
    return Ticket(
        **{field.name: getattr(summary, field.name) for field in fields(TicketSummary)},
        readings_now=readings_now,
        readings_now_at=readings_now_at,
        priority_terms=terms,
        deadlines=deadlines(summary, now),
        log=ticket_log(connection, ticket_id),
        **more,
    )


def ticket_log(connection: Connection, ticket_id: int) -> list[TicketEvent]:
    """Read a ticket's log, newest first."""
    with connection.cursor(row_factory=class_row(TicketEvent)) as cursor:
        return cursor.execute(
            "SELECT at, kind, actor, detail FROM ticket_event WHERE ticket_id = %s"
            " ORDER BY id DESC",
            (ticket_id,),
        ).fetchall()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ticket is about."""

    customer_id: int
    site_id: int
    device_id: int | None


def place(connection: Connection, *, site_id: int | None, device_id: int | None) -> Place:
    """Return the customer and site of a ticket to open, as far as the asker may see them.

    Foreign keys look past row-level security, so this look is what keeps others' sites out.
    """
    if device_id is not None:
        row = connection.execute(
            "SELECT customer_id, site_id, id FROM device WHERE id = %s"
            " AND (%s::bigint IS NULL OR site_id = %s)",
            (device_id, site_id, site_id),
        ).fetchone()
    else:
        row = connection.execute(
            "SELECT customer_id, id, NULL::bigint FROM site WHERE id = %s", (site_id,)
        ).fetchone()
    if row is None:
        raise NotFound("There is no such site or unit.")
    return Place(*row)


@dataclass(frozen=True, slots=True)
class Choice:
    """A site or unit that a new ticket can be about."""

    value: str
    name: str
    name_zh: str


def choices(connection: Connection) -> list[Choice]:
    """Read what a new ticket can be about: each site, then its units."""
    with connection.cursor(row_factory=class_row(Choice)) as cursor:
        return cursor.execute(
            """
            SELECT 'site:' || t.id AS value, c.name || ' · ' || t.name AS name,
                c.name_zh || ' · ' || t.name_zh AS name_zh
            FROM site t JOIN customer c ON c.id = t.customer_id
            UNION ALL
            SELECT 'device:' || d.id, c.name || ' · ' || t.name || ' · ' || d.name,
                c.name_zh || ' · ' || t.name_zh || ' · ' || d.name
            FROM device d JOIN site t ON t.id = d.site_id JOIN customer c ON c.id = d.customer_id
            ORDER BY name LIMIT 2000
            """
        ).fetchall()
