"""Read contracts and calendars as the asker may see them; writing is in `operations`."""

from datetime import date
from typing import LiteralString

from psycopg.rows import class_row

from service_api.alarms.store import like
from service_api.contracts.schemas import (
    CalendarLine,
    ContractLine,
    ContractQuery,
    CoveredDevice,
)
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_SELECT: LiteralString = """
    k.id, k.key, k.name, k.name_zh, k.customer_id, c.name, c.name_zh, k.state, k.starts_on,
    k.ends_on, k.calendar_id, z.name, z.name_zh, k.respond_minutes, k.restore_minutes,
    k.covers_parts, k.covers_labor, k.covers_batteries, k.visits_per_year,
    (SELECT count(*) FROM contract_device x WHERE x.contract_id = k.id)
"""
_FROM: LiteralString = """
    FROM contract k JOIN customer c ON c.id = k.customer_id
    JOIN service_calendar z ON z.id = k.calendar_id
"""
_FIRST_TO_END = Order.of(("k.ends_on::text", "text", False), ("k.id", "bigint", False))


def contracts(connection: Connection, query: ContractQuery) -> Page[ContractLine]:
    """Read one part of the list, the first to end first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM
        + """
        WHERE CASE %(show)s
            WHEN 'standing' THEN k.state = 'active'
                AND current_date BETWEEN k.starts_on AND k.ends_on
            WHEN 'ending' THEN k.state = 'active'
                AND k.ends_on BETWEEN current_date AND current_date + 90
            WHEN 'ended' THEN k.state = 'cancelled' OR k.ends_on < current_date
            ELSE true END
        AND (%(customer_id)s::bigint IS NULL OR k.customer_id = %(customer_id)s)
        AND (%(pattern)s::text IS NULL OR concat_ws(' ', k.key, k.name, k.name_zh, c.name,
            c.name_zh) ILIKE %(pattern)s)
        """,
        parameters={
            "show": query.show,
            "customer_id": query.customer_id,
            "pattern": like(query.q),
        },
        order=_FIRST_TO_END,
        query=query,
        build=lambda row: ContractLine(*row),
    )


def contract(connection: Connection, contract_id: int) -> ContractLine:
    """Read one contract."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + "WHERE k.id = %s", (contract_id,)
    ).fetchone()
    if row is None:
        raise NotFound
    return ContractLine(*row)


def covered_devices(connection: Connection, contract_id: int) -> list[CoveredDevice]:
    """Read the units that a contract lists."""
    with connection.cursor(row_factory=class_row(CoveredDevice)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, d.key, d.name, d.model, d.site_id, s.name AS site, s.name_zh AS site_zh
            FROM contract_device x JOIN device d ON d.id = x.device_id
            JOIN site s ON s.id = d.site_id
            WHERE x.contract_id = %s ORDER BY s.name, d.name, d.id
            """,
            (contract_id,),
        ).fetchall()


def calendars(connection: Connection) -> list[CalendarLine]:
    """Read every calendar."""
    with connection.cursor(row_factory=class_row(CalendarLine)) as cursor:
        return cursor.execute(
            """
            SELECT id, key, name, name_zh, always, opens, closes, weekdays, holiday_country
            FROM service_calendar ORDER BY always DESC, name
            """
        ).fetchall()


def standing(line: ContractLine, today: date) -> str:
    """Return how a contract stands on a day, in one word: a badge's."""
    if line.state != "active":
        return line.state
    if today < line.starts_on:
        return "future"
    if today > line.ends_on:
        return "ended"
    return "ending" if (line.ends_on - today).days <= 90 else "standing"
