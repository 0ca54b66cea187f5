"""Read work orders with the names that people know them by.

Changes are in `work_orders.operations`, drafting in `work_orders.drafting`.
"""

from typing import LiteralString

from psycopg.rows import class_row

from service_api.errors import NotFound
from service_api.paging import Order as Sorting
from service_api.paging import Page, read_page
from service_api.request import Connection
from service_api.spares.store import parts_of_order
from service_api.work_orders.schemas import Order, OrderEvent, OrderLine, OrderPart, OrderQuery
from service_api.work_orders.states import next_step

_LINE: LiteralString = """
    w.id, w.state, w.ticket_id, t.title_en, t.title_zh, t.priority, t.severity,
    w.customer_id, c.name, c.name_zh, w.site_id, s.name, s.name_zh, s.time_zone,
    w.device_id, d.name, w.engineer_id, e.name, e.name_zh,
    lower(w.planned), upper(w.planned), t.respond_by_at, w.created_at, w.arrived_at, w.done_at
"""
_LINE_COLUMNS = 25
_FROM: LiteralString = """
    FROM work_order w
    JOIN ticket t ON t.id = w.ticket_id
    JOIN customer c ON c.id = w.customer_id
    JOIN site s ON s.id = w.site_id
    LEFT JOIN device d ON d.id = w.device_id
    LEFT JOIN engineer e ON e.id = w.engineer_id
"""
_NEWEST = Sorting.of(("w.id", "bigint", True))
_NEXT = Sorting.of(
    ("coalesce(lower(w.planned), t.respond_by_at, '9999-01-01Z')", "timestamptz", False),
    ("t.priority", "integer", False),
    ("w.id", "bigint", False),
)


def orders(
    connection: Connection, query: OrderQuery, *, mine: int | None = None
) -> Page[OrderLine]:
    """Read one part of the list: open ones in the order of time, others newest first.

    `mine` is the engineer that the asker is, for `query.mine`.
    """
    return read_page(
        connection,
        select=_LINE,
        from_where=_FROM
        + """
        WHERE CASE %(state)s
            WHEN 'all' THEN true
            WHEN 'open' THEN w.state NOT IN ('done', 'cancelled')
            ELSE w.state = %(state)s END
        AND (NOT %(mine)s OR w.engineer_id = %(me)s)
        AND (%(engineer_id)s::bigint IS NULL OR w.engineer_id = %(engineer_id)s)
        AND (%(ticket_id)s::bigint IS NULL OR w.ticket_id = %(ticket_id)s)
        AND (%(device_id)s::bigint IS NULL OR w.device_id = %(device_id)s)
        AND (%(site_id)s::bigint IS NULL OR w.site_id = %(site_id)s)
        """,
        parameters={**query.model_dump(exclude={"limit", "cursor"}), "me": mine},
        order=_NEWEST if query.state in {"all", "done", "cancelled"} else _NEXT,
        query=query,
        build=lambda row: OrderLine(*row),
    )


def counts(connection: Connection, *, mine: int | None) -> dict[str, int]:
    """Count orders by what the page's chips ask."""
    row = connection.execute(
        """
        SELECT count(*), count(*) FILTER (WHERE state = 'draft'),
            count(*) FILTER (WHERE state = 'assigned'),
            count(*) FILTER (WHERE state = 'accepted'),
            count(*) FILTER (WHERE state = 'on_site'),
            count(*) FILTER (WHERE engineer_id = %s)
        FROM work_order WHERE state NOT IN ('done', 'cancelled')
        """,
        (mine,),
    ).fetchone()
    names = ("open", "draft", "assigned", "accepted", "on_site", "mine")
    return dict(zip(names, row or (0,) * len(names), strict=True))


def order(connection: Connection, order_id: int) -> Order:
    """Read a work order."""
    row = connection.execute(
        "SELECT "
        + _LINE
        + """, w.skills, w.estimated_minutes, w.candidates, w.report, w.signed_by, t.action_en,
            t.action_zh, s.address, s.latitude, s.longitude, d.model, d.serial, t.state, t.source,
            t.entitlement
        """
        + _FROM
        + "WHERE w.id = %s",
        (order_id,),
    ).fetchone()
    if row is None:
        raise NotFound
    line = OrderLine(*row[:_LINE_COLUMNS])
    skills, minutes, candidates, *rest = row[_LINE_COLUMNS:]
    step = next_step(line.state)
    return Order(
        line,
        None if step is None else step.name.lower(),
        skills,
        minutes,
        candidates,
        [
            OrderPart(
                part.part_id,
                part.sku,
                part.name,
                part.name_zh,
                part.warehouse_id,
                part.warehouse_name,
                part.warehouse_name_zh,
                part.reserved,
                part.issued,
            )
            for part in parts_of_order(connection, order_id)
        ],
        *rest,
    )


def events(connection: Connection, order_id: int) -> list[OrderEvent]:
    """Read an order's log, the newest line first."""
    with connection.cursor(row_factory=class_row(OrderEvent)) as cursor:
        return cursor.execute(
            """
            SELECT id, at, kind, actor, detail FROM work_order_event
            WHERE work_order_id = %s ORDER BY id DESC
            """,
            (order_id,),
        ).fetchall()


def engineer_of_user(connection: Connection, user_id: int) -> int | None:
    """Return which engineer a user is, None for everybody else."""
    row = connection.execute("SELECT id FROM engineer WHERE user_id = %s", (user_id,)).fetchone()
    return None if row is None else int(row[0])


def part_kinds(connection: Connection, ticket_id: int) -> list[str]:
    """Return the kinds of part that a ticket's work will probably need."""
    row = connection.execute("SELECT part_kinds FROM ticket WHERE id = %s", (ticket_id,)).fetchone()
    return [] if row is None else list(row[0])
