"""Read plans, what is due, what was done, visits and freezes; writing is in `operations`."""

from datetime import date, datetime
from typing import LiteralString

from psycopg.rows import class_row, dict_row

from service_api.errors import NotFound
from service_api.maintenance.schemas import (
    Compliance,
    DueLine,
    DueQuery,
    FreezeLine,
    Occurrence,
    OccurrenceQuery,
    PlanLine,
    PlanVersion,
    VisitInfo,
    VisitLine,
)
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_STATE: LiteralString = """
    CASE WHEN e.waived THEN 'waived' WHEN m.due_on IS NULL THEN 'unknown'
        WHEN m.due_on + 15 <= %(today)s THEN 'late' WHEN m.due_on <= %(today)s THEN 'due'
        WHEN m.due_on - 30 <= %(today)s THEN 'soon' ELSE 'future' END
"""
_FIRST_DUE = Order.of(
    ("coalesce(m.due_on, '9999-01-01')::text", "text", False),
    ("m.device_id", "bigint", False),
    ("m.plan_id", "bigint", False),
)


def due(connection: Connection, query: DueQuery, *, today: date) -> Page[DueLine]:
    """Read one part of the calendar, the first due first, unknown dates last."""
    return read_page(
        connection,
        select="""
            m.device_id, d.name, d.site_id, s.name, s.name_zh, c.name, c.name_zh, m.plan_id, p.key,
            p.title, p.title_zh, m.due_on, m.opens_on, m.late_on, m.last_done_on, m.ticket_id,
            m.visit_id, m.reasons, m.held_by, p.on_site,
            CASE WHEN e.device_id IS NOT NULL THEN jsonb_build_object('waived', e.waived,
                'interval_months', e.interval_months, 'reason', e.reason, 'made_by', e.made_by) END,
        """
        + _STATE,
        from_where="""
        FROM maintenance_due m
        JOIN maintenance_plan p ON p.id = m.plan_id AND p.enabled
        JOIN device d ON d.id = m.device_id AND d.enabled
        JOIN site s ON s.id = d.site_id
        JOIN customer c ON c.id = d.customer_id
        LEFT JOIN maintenance_exception e ON e.device_id = m.device_id AND e.plan_id = m.plan_id
        WHERE CASE %(show)s
            WHEN 'late' THEN m.due_on + 15 <= %(today)s
            WHEN 'soon' THEN m.due_on - 30 <= %(today)s AND p.on_site
            WHEN 'on_site' THEN p.on_site
            WHEN 'unknown' THEN m.due_on IS NULL AND NOT coalesce(e.waived, false)
            WHEN 'waived' THEN coalesce(e.waived, false)
            WHEN 'remote' THEN NOT p.on_site
            ELSE true END
        AND (%(device_id)s::bigint IS NULL OR m.device_id = %(device_id)s)
        AND (%(site_id)s::bigint IS NULL OR d.site_id = %(site_id)s)
        AND (%(plan_id)s::bigint IS NULL OR m.plan_id = %(plan_id)s)
        """,
        parameters={**query.model_dump(exclude={"limit", "cursor"}), "today": today},
        order=_FIRST_DUE,
        query=query,
        build=lambda row: DueLine(*row),
    )


def line(connection: Connection, device_id: int, plan_id: int, *, today: date) -> DueLine:
    """Read one line of the calendar."""
    page = due(connection, DueQuery(device_id=device_id, plan_id=plan_id, limit=1), today=today)
    if not page.items:
        raise NotFound
    return page.items[0]


def counts(connection: Connection, *, today: date) -> dict[str, int]:
    """Count dates by what the page's chips ask."""
    row = connection.execute(
        """
        SELECT count(*) FILTER (WHERE p.on_site),
            count(*) FILTER (WHERE m.due_on - 30 <= %(today)s AND p.on_site),
            count(*) FILTER (WHERE m.due_on + 15 <= %(today)s),
            count(*) FILTER (WHERE m.due_on IS NULL AND NOT coalesce(e.waived, false)),
            count(*) FILTER (WHERE coalesce(e.waived, false)),
            count(*) FILTER (WHERE NOT p.on_site)
        FROM maintenance_due m JOIN device d ON d.id = m.device_id AND d.enabled
        JOIN maintenance_plan p ON p.id = m.plan_id AND p.enabled
        LEFT JOIN maintenance_exception e ON e.device_id = m.device_id AND e.plan_id = m.plan_id
        """,
        {"today": today},
    ).fetchone()
    names = ("on_site", "soon", "late", "unknown", "waived", "remote")
    return dict(zip(names, row or (0,) * len(names), strict=True))


_PLAN: LiteralString = """
    SELECT p.id, p.key, p.title, p.title_zh, p.enabled, p.interval_months, p.basis, p.on_site,
        p.opens_tickets, p.duration_minutes, p.duration_minutes_three_phase, p.skills,
        p.part_kinds, p.component, p.includes, p.selector, p.meters, p.conditions, p.steps_en,
        p.steps_zh, p.source, p.version, p.changed_at, p.changed_by,
        (SELECT count(*) FROM maintenance_due m WHERE m.plan_id = p.id)::int AS units
    FROM maintenance_plan p
"""


def plans(connection: Connection) -> list[PlanLine]:
    """Read every plan with the number of its units."""
    with connection.cursor(row_factory=class_row(PlanLine)) as cursor:
        return cursor.execute(
            _PLAN + " ORDER BY p.enabled DESC, p.interval_months, p.id"
        ).fetchall()


def plan(connection: Connection, plan_id: int) -> PlanLine:
    """Read one plan."""
    with connection.cursor(row_factory=class_row(PlanLine)) as cursor:
        found = cursor.execute(_PLAN + " WHERE p.id = %s", (plan_id,)).fetchone()
    if found is None:
        raise NotFound
    return found


def versions(connection: Connection, plan_id: int) -> list[PlanVersion]:
    """Read what a plan was before, the newest first."""
    with connection.cursor(row_factory=class_row(PlanVersion)) as cursor:
        return cursor.execute(
            """
            SELECT version, at, actor, why, body FROM maintenance_plan_version
            WHERE plan_id = %s ORDER BY version DESC
            """,
            (plan_id,),
        ).fetchall()


_NEWEST = Order.of(("o.at", "timestamptz", True), ("o.id", "bigint", True))


def occurrences(connection: Connection, query: OccurrenceQuery) -> Page[Occurrence]:
    """Read what was done or missed, the newest entry first."""
    return read_page(
        connection,
        select="""
            o.id, o.device_id, d.name, o.plan_id, p.title, p.title_zh, o.due_on, o.done_on,
            o.outcome, o.ticket_id, o.remark, o.actor, o.at, o.undone_at, o.undone_by
        """,
        from_where="""
        FROM maintenance_occurrence o JOIN device d ON d.id = o.device_id
        JOIN maintenance_plan p ON p.id = o.plan_id
        WHERE (%(device_id)s::bigint IS NULL OR o.device_id = %(device_id)s)
        AND (%(plan_id)s::bigint IS NULL OR o.plan_id = %(plan_id)s)
        """,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=_NEWEST,
        query=query,
        build=lambda row: Occurrence(*row),
    )


def visits(connection: Connection, visit_id: int | None = None) -> list[VisitInfo]:
    """Read the visits that are open, the first first; or one, whatever became of it."""
    with connection.cursor(row_factory=dict_row) as cursor:
        heads = cursor.execute(
            """
            SELECT v.id, v.site_id, s.name AS site, s.name_zh AS site_zh, c.name AS customer,
                c.name_zh AS customer_zh, v.visit_on, v.ticket_id, t.state AS ticket_state,
                w.id AS order_id, w.state AS order_state, lower(w.planned) AS planned_at,
                coalesce(t.skills, '{}') AS skills, coalesce(t.part_kinds, '{}') AS part_kinds
            FROM maintenance_visit v JOIN site s ON s.id = v.site_id
            JOIN customer c ON c.id = v.customer_id
            LEFT JOIN ticket t ON t.id = v.ticket_id
            LEFT JOIN work_order w ON w.ticket_id = v.ticket_id AND w.state <> 'cancelled'
            WHERE CASE WHEN %(id)s::bigint IS NULL THEN v.ended_at IS NULL ELSE v.id = %(id)s END
            ORDER BY v.visit_on, v.id LIMIT 500
            """,
            {"id": visit_id},
        ).fetchall()
    lines: dict[int, list[VisitLine]] = {}
    for belongs, *rest in connection.execute(
        """
        SELECT m.visit_id, m.device_id, d.name, m.plan_id, p.title, p.title_zh, m.due_on, m.minutes
        FROM maintenance_due m JOIN device d ON d.id = m.device_id
        JOIN maintenance_plan p ON p.id = m.plan_id
        WHERE m.visit_id = ANY(%s) ORDER BY m.due_on, d.name, p.id
        """,
        ([head["id"] for head in heads],),
    ):
        lines.setdefault(belongs, []).append(VisitLine(*rest))
    return [
        VisitInfo(
            **head,
            lines=lines.get(head["id"], []),
            minutes=sum(one.minutes for one in lines.get(head["id"], [])),
        )
        for head in heads
    ]


def visit(connection: Connection, visit_id: int) -> VisitInfo:
    """Read one visit."""
    found = visits(connection, visit_id)
    if not found:
        raise NotFound
    return found[0]


def freezes(connection: Connection, *, today: date) -> list[FreezeLine]:
    """Read the freezes that are not over, the first first."""
    with connection.cursor(row_factory=class_row(FreezeLine)) as cursor:
        return cursor.execute(
            """
            SELECT f.id, f.site_id, s.name AS site, s.name_zh AS site_zh, f.starts_on, f.ends_on,
                f.reason, f.made_by, f.made_at
            FROM change_freeze f JOIN site s ON s.id = f.site_id
            WHERE f.ended_at IS NULL AND f.ends_on >= %s ORDER BY f.starts_on, f.id
            """,
            (today,),
        ).fetchall()


def sites(connection: Connection) -> list[tuple[int, str, str]]:
    """Read the sites that a freeze can be for."""
    return [
        (site_id, name, name_zh)
        for site_id, name, name_zh in connection.execute(
            "SELECT id, name, name_zh FROM site ORDER BY name, id"
        )
    ]


def compliance(connection: Connection, *, since: date, until: date, now: datetime) -> Compliance:
    """Count how planned work was kept to between two days, `until` included.

    What fell due and was done, or missed, in the span; what stands and is late by now; and of the
    work orders done in it, how many were planned.
    """
    row = connection.execute(
        """
        SELECT count(*) FILTER (WHERE outcome IN ('early', 'in_time')),
            count(*) FILTER (WHERE outcome = 'late'), count(*) FILTER (WHERE outcome = 'missed')
        FROM maintenance_occurrence
        WHERE undone_at IS NULL AND coalesce(due_on, done_on) BETWEEN %s AND %s
        """,
        (since, until),
    ).fetchone()
    in_time, late, missed = row or (0, 0, 0)
    row = connection.execute(
        """
        SELECT count(*) FROM maintenance_due m JOIN device d ON d.id = m.device_id AND d.enabled
        JOIN maintenance_plan p ON p.id = m.plan_id AND p.enabled
        WHERE m.late_on <= %s AND m.due_on BETWEEN %s AND %s
        """,
        (now.date(), since, until),
    ).fetchone()
    standing = 0 if row is None else row[0]
    row = connection.execute(
        """
        SELECT count(*) FILTER (WHERE t.source = 'schedule'),
            count(*) FILTER (WHERE t.source <> 'schedule')
        FROM work_order w JOIN ticket t ON t.id = w.ticket_id
        WHERE w.state = 'done' AND w.done_at >= %s AND w.done_at < %s::date + 1
        """,
        (since, until),
    ).fetchone()
    planned, other = row or (0, 0)
    fell_due = in_time + late + missed + standing
    return Compliance(
        since=since,
        until=until,
        due=fell_due,
        in_time=in_time,
        late=late,
        missed=missed,
        standing_late=standing,
        compliance_percent=None if not fell_due else round(100 * in_time / fell_due, 1),
        planned_orders=planned,
        other_orders=other,
        planned_work_percent=None
        if not planned + other
        else round(100 * planned / (planned + other), 1),
    )
