"""Read suppressions as the asker may see them; `rules.suppression_operations` writes them."""

from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.suppression import SuppressionKind
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection
from service_api.suppressions.schemas import Suppression, SuppressionEvent, SuppressionQuery

_SELECT: LiteralString = """
    q.id, q.kind, q.customer_id, c.name, c.name_zh, q.site_id, t.name, t.name_zh, t.time_zone,
    q.device_id, d.name, q.rule_keys, q.lets_critical_through, q.begins_at, q.ends_at, q.reason,
    q.created_at, q.created_by, q.ended_at, q.ended_by, q.end_reason,
    (SELECT count(*) FROM alarm a WHERE a.suppressed_by = q.id)
"""

_FROM: LiteralString = """
    FROM suppression q JOIN site t ON t.id = q.site_id JOIN customer c ON c.id = q.customer_id
    LEFT JOIN device d ON d.id = q.device_id
"""

_WHERE: LiteralString = """
    WHERE CASE %(state)s
        WHEN 'standing' THEN q.ended_at IS NULL AND q.begins_at <= %(now)s
        WHEN 'ahead' THEN q.ended_at IS NULL AND q.begins_at > %(now)s
        WHEN 'over' THEN q.ended_at IS NOT NULL
        ELSE true END
    AND (%(kind)s::text IS NULL OR q.kind = %(kind)s)
    AND (%(device_id)s::bigint IS NULL OR q.device_id = %(device_id)s
        OR (q.device_id IS NULL
            AND q.site_id = (SELECT x.site_id FROM device x WHERE x.id = %(device_id)s)))
    AND (%(site_id)s::bigint IS NULL OR q.site_id = %(site_id)s)
    AND (%(customer_id)s::bigint IS NULL OR q.customer_id = %(customer_id)s)
"""

_NEWEST = Order.of(("q.begins_at", "timestamptz", True), ("q.id", "bigint", True))
_NEXT = Order.of(("q.begins_at", "timestamptz", False), ("q.id", "bigint", False))


def _suppression(row: tuple[Any, ...]) -> Suppression:
    return Suppression(row[0], SuppressionKind(row[1]), *row[2:])


def suppressions(
    connection: Connection, query: SuppressionQuery, now: datetime
) -> Page[Suppression]:
    """Read one part of the list: what is ahead in the order of time, the rest newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters={**query.model_dump(exclude={"limit", "cursor"}), "now": now},
        order=_NEXT if query.state == "ahead" else _NEWEST,
        query=query,
        build=_suppression,
    )


def suppression(connection: Connection, suppression_id: int) -> Suppression:
    """Read one suppression; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE q.id = %s", (suppression_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no suppression {suppression_id}.")
    return _suppression(row)


def suppression_log(connection: Connection, suppression_id: int) -> list[SuppressionEvent]:
    """Read a suppression's log, newest first."""
    with connection.cursor(row_factory=class_row(SuppressionEvent)) as cursor:
        return cursor.execute(
            """
            SELECT at, kind, actor, detail FROM suppression_event
            WHERE suppression_id = %s ORDER BY id DESC
            """,
            (suppression_id,),
        ).fetchall()
