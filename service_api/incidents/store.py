"""Read incidents; what they count is derived from their alarms each time."""

from dataclasses import fields
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.incidents import CAUSES, MAINS_FAILURE, SUPPLY_FAILURE, Extent, statement
from service_api.errors import NotFound
from service_api.incidents.schemas import (
    Decision,
    Evidence,
    Incident,
    IncidentBounds,
    IncidentDetail,
    IncidentEvent,
    IncidentQuery,
)
from service_api.incidents.units import sites_of, units_of
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_SELECT: LiteralString = """
    i.id, i.subject, i.cause, i.site_id, t.name, t.name_zh, t.time_zone,
    i.customer_id, c.name, c.name_zh, i.opened_at, i.closed_at,
    m.severity, m.units, m.units_standing, m.units_on_battery, b.runtime_left, b.device_id,
    b.device, m.unacknowledged, k.id, k.state, k.respond_by_at, k.responded_at, k.owner, k.owner_zh,
    i.parent_id, i.merged_into_id, i.restore_expected_at, m.sites, m.tickets,
    m.units_on_battery >= q.storm_units OR m.sites >= q.regional_sites,
    coalesce(n.name, f.substation), coalesce(n.name_zh, f.substation)
"""

OF_INCIDENT: LiteralString = (
    "ARRAY(SELECT o.id FROM incident o WHERE o.id = i.id OR o.parent_id = i.id)"
)
"""An incident `i` with those of sites that it gathers."""

_FROM: LiteralString = """
    FROM incident i
    LEFT JOIN site t ON t.id = i.site_id
    LEFT JOIN customer c ON c.id = i.customer_id
    LEFT JOIN topology_node n ON i.subject IN ('room:' || n.id, 'path:' || n.id)
        AND n.site_id = i.site_id
    LEFT JOIN LATERAL (
        SELECT o.substation FROM topology_node o WHERE i.cause = 'supply_failure'
        AND 'substation:' || lower(regexp_replace(trim(o.substation), '\\s+', ' ', 'g')) = i.subject
        ORDER BY o.id LIMIT 1
    ) f ON true
    CROSS JOIN incident_bounds q
    CROSS JOIN LATERAL (
        SELECT count(DISTINCT a.device_id) AS units, count(DISTINCT a.site_id) AS sites,
            (SELECT count(*) FROM ticket k WHERE k.incident_id = ANY({all})) AS tickets,
            count(DISTINCT a.device_id) FILTER (WHERE a.cleared_at IS NULL) AS units_standing,
            count(DISTINCT a.device_id) FILTER (WHERE a.cleared_at IS NULL AND s.status_on_battery)
                AS units_on_battery,
            count(*) FILTER (WHERE a.cleared_at IS NULL AND a.acknowledged_at IS NULL)
                AS unacknowledged,
            (array_agg(a.severity ORDER BY array_position(
                ARRAY['critical', 'major', 'minor', 'warning'], a.severity)))[1] AS severity
        FROM alarm a LEFT JOIN visible_device_state s ON s.device_id = a.device_id
        WHERE a.incident_id = ANY({all})
    ) m
    LEFT JOIN LATERAL (
        SELECT a.device_id, d.name AS device, greatest(0, s.battery_runtime
            - extract(epoch FROM %(now)s - s.observed_at)::float8) AS runtime_left
        FROM alarm a JOIN device d ON d.id = a.device_id
        JOIN visible_device_state s ON s.device_id = a.device_id
        WHERE a.incident_id = ANY({all}) AND a.cleared_at IS NULL AND s.status_on_battery
        AND s.battery_runtime IS NOT NULL
        ORDER BY 3 LIMIT 1
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT k.id, k.state, k.respond_by_at, k.responded_at,
            e.name AS owner, e.name_zh AS owner_zh
        FROM ticket k
        LEFT JOIN work_order w ON w.ticket_id = k.id AND w.state NOT IN ('draft', 'cancelled')
        LEFT JOIN engineer e ON e.id = w.engineer_id
        WHERE k.incident_id = ANY({all}) OR k.id IN (
            SELECT x.ticket_id FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
            WHERE a.incident_id = ANY({all}))
        ORDER BY k.closed_at IS NOT NULL, k.priority, k.id LIMIT 1
    ) k ON true
""".replace("{all}", OF_INCIDENT)

_WHERE: LiteralString = """
    WHERE (%(state)s = 'all' OR (i.closed_at IS NULL) = (%(state)s = 'open'))
    AND i.merged_into_id IS NULL
    AND NOT EXISTS (SELECT FROM incident p WHERE p.id = i.parent_id AND %(site_id)s::bigint IS NULL)
    AND (%(site_id)s::bigint IS NULL OR i.site_id = %(site_id)s)
    AND (%(customer_id)s::bigint IS NULL OR i.customer_id = %(customer_id)s)
"""

_OF_MAINS = {MAINS_FAILURE, SUPPLY_FAILURE}

_NEWEST = Order.of(("i.opened_at", "timestamptz", True), ("i.id", "bigint", True))


def _incident(row: tuple[Any, ...]) -> Incident:
    cause = row[2]
    told: tuple[Any, ...] = (*row[:3], *CAUSES.get(cause, (cause, cause)), *row[3:])
    return Incident(*told)


def incidents(connection: Connection, query: IncidentQuery, now: datetime) -> Page[Incident]:
    """Read one part of the list, newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters={**query.model_dump(exclude={"limit", "cursor"}), "now": now},
        order=_NEWEST,
        query=query,
        build=_incident,
    )


def open_incidents(connection: Connection, now: datetime, *, limit: int = 20) -> list[Incident]:
    """Read the open incidents, the one whose battery ends first at the top."""
    page = incidents(connection, IncidentQuery(limit=limit), now)
    return sorted(
        page.items,
        key=lambda one: (
            one.runtime_left_seconds is None,
            one.runtime_left_seconds or 0.0,
            one.opened_at,
        ),
    )


def incident(connection: Connection, incident_id: int, now: datetime) -> Incident:
    """Read one incident; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE i.id = %(id)s", {"id": incident_id, "now": now}
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no incident {incident_id}.")
    return _incident(row)


def incident_detail(connection: Connection, incident_id: int, now: datetime) -> IncidentDetail:
    """Read one incident with its units, sites, evidence and log; raise `NotFound`."""
    one = incident(connection, incident_id, now)
    units = units_of(connection, incident_id, now)
    standing = sum(unit.stage != "back" for unit in units)
    said_en, said_zh = statement(
        Extent(
            one.cause,
            one.subject,
            standing,
            _peers(connection, one),
            back=len(units) - standing,
            sites=one.sites,
            place=None if one.place is None else (one.place, one.place_zh or one.place),
        )
    )
    known = {field.name: getattr(one, field.name) for field in fields(Incident)}
    return IncidentDetail(
        **known,
        statement_en=said_en,
        statement_zh=said_zh,
        members=units,
        places=sites_of(connection, units),
        evidence=_evidence(connection, incident_id),
        timeline=_timeline(connection, incident_id),
        decisions=decisions(connection, incident_id),
    )


def _peers(connection: Connection, one: Incident) -> int | None:
    """Count the units that could be struck: those of the room, behind the path, at the site."""
    row = connection.execute(
        """
        SELECT count(*) FROM device d
        LEFT JOIN topology_unit u ON u.device_id = d.id AND u.site_id = d.site_id
        WHERE d.site_id = %(site)s AND d.enabled AND CASE split_part(%(subject)s, ':', 1)
            WHEN 'room' THEN u.room_id::text = split_part(split_part(%(subject)s, ':', 2), '#', 1)
            WHEN 'path' THEN u.path_id::text = split_part(split_part(%(subject)s, ':', 2), '#', 1)
            ELSE true END
        """,
        {"site": one.site_id, "subject": one.subject},
    ).fetchone()
    return int(row[0]) if row else None


def _evidence(connection: Connection, incident_id: int) -> list[Evidence]:
    with connection.cursor(row_factory=class_row(Evidence)) as cursor:
        return cursor.execute(
            """
            SELECT evidence ->> 'kind' AS kind, count(*) AS members FROM incident_member
            WHERE incident_id = %s AND until_at IS NULL GROUP BY 1 ORDER BY 2 DESC, 1
            """,
            (incident_id,),
        ).fetchall()


def _timeline(connection: Connection, incident_id: int) -> list[IncidentEvent]:
    """Return the log; a customer is not told why, since that may name another."""
    with connection.cursor(row_factory=class_row(IncidentEvent)) as cursor:
        return cursor.execute(
            """
            SELECT at, kind, actor, CASE WHEN (SELECT is_staff()) OR kind = 'restoration'
                THEN detail ELSE '{}' END AS detail FROM incident_event
            WHERE incident_id = %s ORDER BY id DESC LIMIT 200
            """,
            (incident_id,),
        ).fetchall()


def decisions(connection: Connection, incident_id: int) -> list[Decision]:
    """Return what people decided about an incident, the newest first."""
    with connection.cursor(row_factory=class_row(Decision)) as cursor:
        return cursor.execute(
            """
            SELECT DISTINCT d.* FROM incident_decision d
            LEFT JOIN incident_member m ON d.id IN (m.decision_id, m.ended_decision_id)
                AND m.incident_id = %(id)s
            WHERE d.incident_id = %(id)s OR m.id IS NOT NULL ORDER BY d.id DESC
            """,
            {"id": incident_id},
        ).fetchall()


def mergeable(connection: Connection, one: Incident, now: datetime) -> list[Incident]:
    """Return the open incidents that this one could be merged with."""
    page = incidents(connection, IncidentQuery(limit=100), now)
    return [
        other
        for other in page.items
        if other.id != one.id
        and (other.site_id is not None or other.cause == SUPPLY_FAILURE)
        and (other.site_id == one.site_id or {one.cause, other.cause} <= _OF_MAINS)
    ]


def phone_of(connection: Connection, site_id: int) -> tuple[str, str] | None:
    """Return whom to call about a site (name, phone), None when nobody is known."""
    row = connection.execute(
        """
        SELECT c.name, c.phone FROM contact c JOIN site s ON s.customer_id = c.customer_id
        WHERE s.id = %s AND c.phone <> '' AND (c.site_id IS NULL OR c.site_id = s.id)
        ORDER BY c.site_id IS NULL, c.id LIMIT 1
        """,
        (site_id,),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def put_bounds(connection: Connection, new: IncidentBounds, *, actor: str, now: datetime) -> None:
    """Write the bounds, and who did."""
    connection.execute(
        """
        UPDATE incident_bounds SET regional_sites = %(regional_sites)s,
            regional_minutes = %(regional_minutes)s, storm_units = %(storm_units)s,
            back_minutes = %(back_minutes)s, low_seconds = %(low_seconds)s,
            changed_at = %(now)s, changed_by = %(actor)s
        """,
        {**new.model_dump(), "now": now, "actor": actor},
    )
    connection.execute("NOTIFY ridethrough, 'change'")
