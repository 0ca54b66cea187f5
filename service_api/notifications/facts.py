"""Read what a notice tells: an incident with its units, a ticket with what has been done."""

from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, dict_row

from rules.deadline_lines import Line
from service_api.notifications.texts import IncidentFacts, TicketFacts, Unit

Connection = psycopg.Connection[TupleRow]

BELIEVED = timedelta(minutes=5)
"""Minutes left that were read longer ago are not told."""


def incident_facts(
    connection: Connection, incident_id: int, *, now: datetime
) -> IncidentFacts | None:
    """Return an incident for telling, None when it strikes no site."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            SELECT i.cause, i.opened_at, i.closed_at, s.name, s.name_zh, s.time_zone
            FROM incident i JOIN site s ON s.id = i.site_id WHERE i.id = %s
            """,
            (incident_id,),
        ).fetchone()
    if row is None:
        return None
    units = connection.execute(
        """
        SELECT d.name, CASE WHEN s.status_on_battery AND s.fast_at > %s
            THEN s.battery_runtime / 60 END
        FROM device d JOIN device_state s ON s.device_id = d.id
        WHERE d.id IN (SELECT device_id FROM alarm WHERE incident_id = %s)
        ORDER BY s.battery_runtime NULLS LAST, d.name
        """,
        (now - BELIEVED, incident_id),
    ).fetchall()
    return IncidentFacts(
        cause=row["cause"],
        site=Line(row["name"], row["name_zh"]),
        time_zone=row["time_zone"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        units=[Unit(name, left) for name, left in units],
    )


def ticket_facts(connection: Connection, ticket_id: int, *, now: datetime) -> TicketFacts | None:
    """Return a ticket for telling, None when there is no such ticket."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            SELECT t.title_en, t.title_zh, s.name, s.name_zh, s.time_zone, d.name AS unit,
                CASE WHEN x.status_on_battery AND x.fast_at > %(since)s
                    THEN x.battery_runtime / 60 END AS minutes_left,
                t.opened_at, t.respond_by_at, t.condition_cleared_at, t.closing_code,
                t.entitlement, c.name AS contract, c.name_zh AS contract_zh,
                t.source, w.id AS order_id, w.candidates
            FROM ticket t
            JOIN site s ON s.id = t.site_id
            LEFT JOIN device d ON d.id = t.device_id
            LEFT JOIN device_state x ON x.device_id = t.device_id
            LEFT JOIN contract c ON c.id = t.contract_id
            LEFT JOIN work_order w ON w.ticket_id = t.id AND w.state NOT IN ('done', 'cancelled')
            WHERE t.id = %(ticket)s
            """,
            {"ticket": ticket_id, "since": now - BELIEVED},
        ).fetchone()
    if row is None:
        return None
    candidates = row["candidates"] or []
    arrives = candidates[0]["arrives_at"] if candidates else None
    return TicketFacts(
        id=ticket_id,
        title=Line(row["title_en"], row["title_zh"]),
        site=Line(row["name"], row["name_zh"]),
        time_zone=row["time_zone"],
        unit=None if row["unit"] is None else Unit(row["unit"], row["minutes_left"]),
        opened_at=row["opened_at"],
        respond_by_at=row["respond_by_at"],
        condition_cleared_at=row["condition_cleared_at"],
        closing_code=row["closing_code"],
        contract=None if row["contract"] is None else Line(row["contract"], row["contract_zh"]),
        covered=bool(row["entitlement"].get("covered")),
        has_order=row["order_id"] is not None,
        first_arrival_at=None if arrives is None else datetime.fromisoformat(arrives),
        part=_reserved_part(connection, row["order_id"]),
        is_planned=row["source"] == "schedule",
    )


def _reserved_part(connection: Connection, order_id: int | None) -> Line | None:
    if order_id is None:
        return None
    row = connection.execute(
        """
        SELECT p.name, p.name_zh FROM stock_move m JOIN part p ON p.id = m.part_id
        WHERE m.work_order_id = %s
        GROUP BY p.id HAVING sum(m.reserved_change) > 0 ORDER BY p.id LIMIT 1
        """,
        (order_id,),
    ).fetchone()
    return None if row is None else Line(row[0], row[1])
