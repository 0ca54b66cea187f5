"""The work order of a ticket, as the ticket's page shows it; the order itself is work_orders'."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from service_api.request import Connection


@dataclass(frozen=True, slots=True)
class OrderLine:
    """What a ticket's page says about its work order."""

    id: int
    state: str
    engineer: str | None
    engineer_zh: str | None
    planned_from_at: datetime | None
    planned_to_at: datetime | None
    candidates: list[dict[str, Any]]


def order_of(connection: Connection, ticket_id: int) -> OrderLine | None:
    """Read the newest work order of a ticket."""
    with connection.cursor(row_factory=class_row(OrderLine)) as cursor:
        return cursor.execute(
            """
            SELECT w.id, w.state, e.name AS engineer, e.name_zh AS engineer_zh,
                lower(w.planned) AS planned_from_at, upper(w.planned) AS planned_to_at, w.candidates
            FROM work_order w LEFT JOIN engineer e ON e.id = w.engineer_id
            WHERE w.ticket_id = %s ORDER BY (w.state = 'cancelled'), w.id DESC LIMIT 1
            """,
            (ticket_id,),
        ).fetchone()
