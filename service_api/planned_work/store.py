"""Read planned work as the asker may see it; `planned_work.operations` writes it."""

from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.planned_work import Repeat, Work, quiet_rules
from rules.version_store import known_rules
from rules.versions import Known
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.planned_work.schemas import PlannedWork, PlannedWorkQuery, WorkTime
from service_api.request import Connection

_TIMES_SHOWN = 12

_SELECT: LiteralString = """
    p.id, p.customer_id, c.name, c.name_zh, p.site_id, t.name, t.name_zh, t.time_zone,
    p.device_ids, (SELECT coalesce(array_agg(d.name ORDER BY d.name), '{}') FROM device d
        WHERE d.id = ANY(p.device_ids)),
    p.work, p.first_on, p.at, p.minutes, p.repeat, p.every, p.until, p.lets_critical_through,
    p.reason, p.created_at, p.created_by, p.ended_at, p.ended_by
"""

_FROM: LiteralString = """
    FROM planned_work p JOIN site t ON t.id = p.site_id JOIN customer c ON c.id = p.customer_id
    LEFT JOIN LATERAL (
        SELECT min(o.begins_at) AS next_at FROM planned_work_occurrence o
        WHERE o.planned_work_id = p.id AND o.ends_at > %(now)s AND o.skipped_at IS NULL
    ) n ON true
"""

_WHERE: LiteralString = """
    WHERE CASE %(state)s
        WHEN 'open' THEN p.ended_at IS NULL AND n.next_at IS NOT NULL
        WHEN 'over' THEN p.ended_at IS NOT NULL OR n.next_at IS NULL
        ELSE true END
    AND (%(site_id)s::bigint IS NULL OR p.site_id = %(site_id)s)
    AND (%(customer_id)s::bigint IS NULL OR p.customer_id = %(customer_id)s)
    AND (%(device_id)s::bigint IS NULL OR %(device_id)s = ANY(p.device_ids)
        OR (cardinality(p.device_ids) = 0
            AND p.site_id = (SELECT x.site_id FROM device x WHERE x.id = %(device_id)s)))
"""

_NEXT = Order.of(
    ("coalesce(n.next_at, '9999-01-01Z')", "timestamptz", False), ("p.id", "bigint", True)
)


def planned_works(
    connection: Connection, query: PlannedWorkQuery, now: datetime
) -> Page[PlannedWork]:
    """Read one part of the list, what comes next first."""
    known = known_rules(connection)
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters={**query.model_dump(exclude={"limit", "cursor"}), "now": now},
        order=_NEXT,
        query=query,
        build=lambda row: _work(connection, known, row, now),
    )


def planned_work(connection: Connection, planned_work_id: int, now: datetime) -> PlannedWork:
    """Read one; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE p.id = %(id)s", {"id": planned_work_id, "now": now}
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no planned work {planned_work_id}.")
    return _work(connection, known_rules(connection), row, now)


def _work(connection: Connection, known: Known, row: tuple[Any, ...], now: datetime) -> PlannedWork:
    work = Work(row[10])
    rules, times = quiet_rules(work, known.rules), _times(connection, row[0], now)
    return PlannedWork(*(*row[:10], work, *row[11:14], Repeat(row[14]), *row[15:], rules, times))


def _times(connection: Connection, planned_work_id: int, now: datetime) -> list[WorkTime]:
    """Read the last times and the next ones, in order."""
    with connection.cursor(row_factory=class_row(WorkTime)) as cursor:
        found = cursor.execute(
            """
            SELECT id, occurs_on, begins_at, ends_at, skipped_at, skipped_by, result
            FROM (SELECT *, row_number() OVER (
                    PARTITION BY ends_at > %(now)s
                    ORDER BY abs(extract(epoch FROM begins_at - %(now)s))) AS turn
                FROM planned_work_occurrence WHERE planned_work_id = %(id)s) x
            WHERE turn <= %(most)s ORDER BY begins_at
            """,
            {"id": planned_work_id, "now": now, "most": _TIMES_SHOWN // 2},
        )
        return found.fetchall()


def sites(connection: Connection) -> list[tuple[int, str, str]]:
    """Read the sites that the asker may announce work at: id, name, name in Chinese."""
    return connection.execute(
        """
        SELECT s.id, s.name || ' · ' || c.name,
            coalesce(nullif(s.name_zh, ''), s.name) || ' · '
                || coalesce(nullif(c.name_zh, ''), c.name)
        FROM site s JOIN customer c ON c.id = s.customer_id
        WHERE EXISTS (SELECT FROM device d WHERE d.site_id = s.id AND d.enabled)
        ORDER BY 2 LIMIT 2000
        """
    ).fetchall()


def units_at(connection: Connection, site_id: int) -> list[tuple[int, str]]:
    """Read the units of a site: id and name."""
    return connection.execute(
        "SELECT id, name FROM device WHERE site_id = %s AND enabled ORDER BY name LIMIT 500",
        (site_id,),
    ).fetchall()


def time_zone_of(connection: Connection, site_id: int) -> str:
    """Return a site's time zone; raise `NotFound`."""
    row = connection.execute("SELECT time_zone FROM site WHERE id = %s", (site_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no site {site_id}.")
    return str(row[0])
