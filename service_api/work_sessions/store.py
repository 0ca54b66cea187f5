"""Read work sessions as the asker may see them; `work_sessions.operations` writes them."""

from functools import partial
from typing import Any, LiteralString

from rules.version_store import known_rules
from rules.versions import Known
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection
from service_api.work_sessions.schemas import FoundCheck, WorkLine, WorkSession, WorkSessionQuery

_SELECT: LiteralString = """
    w.id, w.device_id, d.name, t.id, t.name, t.name_zh, t.time_zone, w.customer_id,
    w.work_order_id, w.reason, w.checked_in_at, w.checked_in_by, q.ends_at,
    q.ended_at IS NOT NULL, w.checked_out_at, w.checked_out_by, w.checks, w.exception,
    w.suppression_id
"""

_FROM: LiteralString = """
    FROM work_session w JOIN device d ON d.id = w.device_id JOIN site t ON t.id = d.site_id
    JOIN suppression q ON q.id = w.suppression_id
"""

_WHERE: LiteralString = """
    WHERE CASE %(state)s WHEN 'open' THEN w.checked_out_at IS NULL
        WHEN 'over' THEN w.checked_out_at IS NOT NULL ELSE true END
    AND (%(device_id)s::bigint IS NULL OR w.device_id = %(device_id)s)
    AND (%(work_order_id)s::bigint IS NULL OR w.work_order_id = %(work_order_id)s)
"""

_NEWEST = Order.of(("w.checked_in_at", "timestamptz", True), ("w.id", "bigint", True))


def sessions(connection: Connection, query: WorkSessionQuery) -> Page[WorkSession]:
    """Read one part of the list, newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=_NEWEST,
        query=query,
        build=partial(_session, connection, known_rules(connection)),
    )


def session(connection: Connection, session_id: int) -> WorkSession:
    """Read one; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE w.id = %s", (session_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no work session {session_id}.")
    return _session(connection, known_rules(connection), row)


def _session(connection: Connection, rules: Known, row: tuple[Any, ...]) -> WorkSession:
    *known, checks, exception, suppression_id = row[:19]
    found = None if checks is None else [FoundCheck(**one) for one in checks]
    return WorkSession(*(*known, found, exception, _lines(connection, rules, suppression_id)))


def _lines(connection: Connection, rules: Known, suppression_id: int) -> list[WorkLine]:
    return [
        WorkLine(alarm_id, rule, *rules.title(rule), severity, raised_at, cleared_at)
        for alarm_id, rule, severity, raised_at, cleared_at in connection.execute(
            """
            SELECT a.id, a.rule_key, a.severity, a.raised_at, a.cleared_at FROM alarm a
            WHERE EXISTS (SELECT FROM alarm_event e WHERE e.alarm_id = a.id
                AND e.kind = 'suppressed'
                AND (e.detail ->> 'suppression_id')::bigint = %(id)s)
            AND a.device_id = (SELECT device_id FROM suppression WHERE id = %(id)s)
            ORDER BY a.raised_at LIMIT 200
            """,
            {"id": suppression_id},
        )
    ]
