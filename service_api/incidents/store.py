"""Read incidents; what they count is derived from their alarms each time."""

from datetime import datetime
from typing import Any, LiteralString

from rules.incidents import CAUSES
from service_api.errors import NotFound
from service_api.incidents.schemas import Incident, IncidentQuery
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_SELECT: LiteralString = """
    i.id, i.subject, i.cause, i.site_id, t.name, t.name_zh, t.time_zone,
    i.customer_id, c.name, c.name_zh, i.opened_at, i.closed_at,
    m.severity, m.units, m.units_standing, m.units_on_battery, b.runtime_left, b.device_id,
    b.device, m.unacknowledged, k.id, k.state, k.respond_by_at, k.responded_at, k.owner, k.owner_zh,
    i.parent_id, i.merged_into_id, i.restore_expected_at, m.sites, m.tickets,
    m.units_on_battery >= q.storm_units OR m.sites >= q.regional_sites, n.name, n.name_zh
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

_NEWEST = Order.of(("i.opened_at", "timestamptz", True), ("i.id", "bigint", True))


def _incident(row: tuple[Any, ...]) -> Incident:
    subject, cause = row[1], row[2]
    kind, _, name = subject.partition(":")
    place = (name, name) if kind == "substation" else row[-2:]
    told: tuple[Any, ...] = (
        *row[:3], *CAUSES.get(cause, (cause, cause)), *row[3:-2], *place,
    )  # fmt: skip
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
