"""Read work orders with the names that people know them by.

Changes are in `work_orders.operations`, drafting in `work_orders.drafting`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow, class_row

from service_api.paging import ListQuery, Order, Page, read_page

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """A work order on a list."""

    id: int
    state: str
    ticket_id: int
    title_en: str
    title_zh: str
    priority: int
    severity: str
    customer_id: int
    customer_name: str
    customer_name_zh: str
    site_id: int
    site_name: str
    site_name_zh: str
    time_zone: str
    device_id: int | None
    device_name: str | None
    engineer_id: int | None
    engineer_name: str | None
    engineer_name_zh: str | None
    planned_from_at: datetime | None
    planned_until_at: datetime | None
    respond_by_at: datetime | None
    created_at: datetime
    arrived_at: datetime | None
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class OrderPage:
    """All of a work order but its events and parts."""

    line: OrderLine
    skills: list[str]
    estimated_minutes: int
    candidates: list[dict[str, Any]]
    report: str | None
    signed_by: str | None
    action_en: str
    action_zh: str
    address: str
    latitude: float | None
    longitude: float | None
    device_model: str | None
    device_serial: str | None
    ticket_state: str
    ticket_source: str
    entitlement: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One line of an order's log."""

    id: int
    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


LINE = """
    w.id, w.state, w.ticket_id, t.title_en, t.title_zh, t.priority, t.severity,
    w.customer_id, c.name, c.name_zh, w.site_id, s.name, s.name_zh, s.time_zone,
    w.device_id, d.name, w.engineer_id, e.name, e.name_zh,
    lower(w.planned), upper(w.planned), t.respond_by_at, w.created_at, w.arrived_at, w.done_at
"""
FROM = """
    FROM work_order w
    JOIN ticket t ON t.id = w.ticket_id
    JOIN customer c ON c.id = w.customer_id
    JOIN site s ON s.id = w.site_id
    LEFT JOIN device d ON d.id = w.device_id
    LEFT JOIN engineer e ON e.id = w.engineer_id
"""
NEWEST_FIRST = Order.of(("w.id", "bigint", True))


def orders(
    connection: Connection,
    *,
    query: ListQuery,
    state: str | None = None,
    engineer_id: int | None = None,
    ticket_id: int | None = None,
    device_id: int | None = None,
) -> Page[OrderLine]:
    """Return work orders, the newest first; `state` may be "open" for all that are not over."""
    return read_page(
        connection,
        select=LINE,
        from_where=FROM
        + """
        WHERE (%(state)s::text IS NULL OR w.state = %(state)s
            OR %(state)s = 'open' AND w.state NOT IN ('done', 'cancelled'))
        AND (%(engineer)s::bigint IS NULL OR w.engineer_id = %(engineer)s)
        AND (%(ticket)s::bigint IS NULL OR w.ticket_id = %(ticket)s)
        AND (%(device)s::bigint IS NULL OR w.device_id = %(device)s)
        """,
        parameters={
            "state": state,
            "engineer": engineer_id,
            "ticket": ticket_id,
            "device": device_id,
        },
        order=NEWEST_FIRST,
        query=query,
        build=lambda row: OrderLine(*row),
    )


def order_page(connection: Connection, order_id: int) -> OrderPage | None:
    """Return a work order, None when there is none that may be seen."""
    row = connection.execute(
        "SELECT "
        + LINE
        + """, w.skills, w.estimated_minutes, w.candidates, w.report, w.signed_by, t.action_en,
            t.action_zh, s.address, s.latitude, s.longitude, d.model, d.serial, t.state, t.source,
            t.entitlement
        """
        + FROM
        + "WHERE w.id = %s",
        (order_id,),
    ).fetchone()
    if row is None:
        return None
    return OrderPage(OrderLine(*row[:25]), *row[25:])


def events(connection: Connection, order_id: int) -> list[OrderEvent]:
    """Return an order's log, the oldest line first."""
    with connection.cursor(row_factory=class_row(OrderEvent)) as cursor:
        return cursor.execute(
            """
            SELECT id, at, kind, actor, detail FROM work_order_event
            WHERE work_order_id = %s ORDER BY id
            """,
            (order_id,),
        ).fetchall()


def engineer_of_user(connection: Connection, user_id: int) -> int | None:
    """Return which engineer a user is, None for everybody else."""
    row = connection.execute("SELECT id FROM engineer WHERE user_id = %s", (user_id,)).fetchone()
    return None if row is None else int(row[0])
