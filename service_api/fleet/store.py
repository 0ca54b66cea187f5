"""Read the fleet: every unit with its newest values and the worst that stands.

A unit is silent when it has not been heard for three polls (15 minutes where it reports by
exception), counted until the product itself last heard anything: when ingest stops, the page says
so once and the fleet does not turn silent.
"""

from datetime import datetime
from functools import partial
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.suppression import SuppressionKind
from rules.version_store import known_rules
from rules.versions import Known
from service_api.alarms.store import LEVEL, like
from service_api.fleet.schemas import FleetQuery, FleetSummary, FleetUnit
from service_api.pages import freshness_of
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

# The badness of a state places a unit among alarms: 10 for each level of severity, 5 more while
# nobody acknowledged. On battery stands like a major alarm from its first second.
_UNITS: LiteralString = (
    """
    SELECT d.id, d.key, d.name, d.manufacturer, d.model, d.criticality,
        d.site_id, t.name AS site, t.name_zh AS site_zh, t.time_zone,
        d.customer_id, c.name AS customer, c.name_zh AS customer_zh, z.state,
        greatest(CASE
                WHEN q.kind IN ('out_of_service', 'work_mode') THEN least(z.badness, 5)
                WHEN q.kind = 'planned_work' AND z.badness < 40 THEN least(z.badness, 5)
                ELSE z.badness END,
            coalesce(a.level, 0) * 10
            + CASE WHEN a.level IS NOT NULL AND a.acknowledged_at IS NULL THEN 5 ELSE 0 END)
            AS badness,
        s.observed_at, s.received_at,
        CASE WHEN s.status_on_battery THEN coalesce(
            s.observed_at - make_interval(secs => nullif(s.battery_runtime_elapsed, 0)),
            (SELECT min(b.raised_at) FROM alarm b WHERE b.device_id = d.id
                AND b.cleared_at IS NULL AND b.rule_key = 'on_battery')) END AS on_battery_since_at,
        CASE WHEN s.status_on_battery THEN greatest(0, s.battery_runtime
            - extract(epoch FROM %(now)s - s.observed_at)::float8)
            ELSE s.battery_runtime END AS runtime_left,
        s.battery_charge, coalesce(s.ups_load, s.ups_l1_load) AS ups_load,
        coalesce(s.input_voltage, s.input_l1_n_voltage, s.input_l1_l2_voltage) AS input_voltage,
        s.input_voltage_nominal,
        coalesce(s.output_voltage, s.output_l1_n_voltage, s.output_l1_l2_voltage)
            AS output_voltage,
        s.battery_temperature, coalesce(a.alarms, 0) AS alarms, a.id AS alarm_id, a.rule_key,
        a.severity, coalesce(a.state = 'stale', false) AS alarm_is_stale, a.acknowledged_at,
        a.raised_at, a.incident_id,
        (SELECT max(x.ticket_id) FROM ticket_alarm x WHERE x.alarm_id = a.id) AS ticket_id,
        coalesce(a.level, 0) AS level, q.kind AS quiet_for
    FROM device d
    JOIN site t ON t.id = d.site_id
    JOIN customer c ON c.id = d.customer_id
    LEFT JOIN visible_device_state s ON s.device_id = d.id
    LEFT JOIN (
        SELECT DISTINCT ON (a.device_id) a.*, """
    + LEVEL
    + """ AS level, count(*) OVER (PARTITION BY a.device_id) AS alarms
        FROM alarm a
        WHERE a.cleared_at IS NULL AND NOT a.is_quiet
        AND (a.shelved_until_at IS NULL OR a.shelved_until_at <= %(now)s)
        ORDER BY a.device_id, """
    + LEVEL
    + """ DESC, a.acknowledged_at IS NOT NULL, a.raised_at
    ) a ON a.device_id = d.id
    LEFT JOIN (
        SELECT DISTINCT ON (x.id) x.id, y.kind
        FROM suppression y JOIN device x ON x.site_id = y.site_id
            AND (y.device_id IS NULL OR y.device_id = x.id)
        WHERE y.ended_at IS NULL AND y.begins_at <= %(now)s AND y.kind <> 'chattering'
        AND (y.kind = 'planned_work' OR y.rule_keys IS NULL)
        ORDER BY x.id, array_position(
            ARRAY['out_of_service', 'work_mode', 'planned_work'], y.kind)
    ) q ON q.id = d.id
    CROSS JOIN LATERAL (
        SELECT state, badness FROM (VALUES
            (s.received_at IS NULL, 'unknown', 20),
            (s.stays_valid_seconds IS NOT NULL
                AND s.received_at < coalesce(%(heard_at)s, %(now)s) - make_interval(secs =>
                greatest(60, 3 * d.poll_seconds, s.stays_valid_seconds)), 'silent', 21),
            (s.status_off, 'off', 44),
            (s.status_on_battery AND s.status_low_battery, 'low_battery', 44),
            (s.status_on_battery AND NOT coalesce(s.status_testing, false)
                AND NOT coalesce(s.status_calibrating, false), 'on_battery', 34),
            (s.status_bypass, 'bypass', 31),
            (s.status_testing OR s.status_calibrating, 'testing', 5),
            (true, 'on_line', 0)
        ) AS stages (holds, state, badness)
        WHERE holds ORDER BY array_position(ARRAY['unknown', 'silent', 'off', 'low_battery',
            'on_battery', 'bypass', 'testing', 'on_line'], state) LIMIT 1
    ) z
    WHERE d.enabled
"""
)

_SELECT: LiteralString = """
    id, key, name, manufacturer, model, criticality, site_id, site, site_zh, time_zone,
    customer_id, customer, customer_zh, state, badness, observed_at, received_at,
    on_battery_since_at, runtime_left, battery_charge, ups_load, input_voltage,
    input_voltage_nominal, output_voltage, battery_temperature, alarms, alarm_id, rule_key,
    severity, alarm_is_stale, acknowledged_at, raised_at, incident_id, ticket_id, quiet_for
"""

_FROM: LiteralString = "FROM (" + _UNITS + ") u"

_WHERE: LiteralString = """
    WHERE CASE %(state)s::text
        WHEN 'on_battery' THEN state IN ('on_battery', 'low_battery') AND quiet_for IS NULL
        WHEN 'in_alarm' THEN level > 0
        WHEN 'silent' THEN state IN ('silent', 'unknown') AND quiet_for IS NULL
        WHEN 'bypass' THEN state = 'bypass' AND quiet_for IS NULL
        WHEN 'off' THEN state = 'off' AND quiet_for IS NULL
        WHEN 'quiet' THEN quiet_for IS NOT NULL
        ELSE true END
    AND (%(severity)s::text IS NULL OR severity = %(severity)s)
    AND (%(site_id)s::bigint IS NULL OR site_id = %(site_id)s)
    AND (%(customer_id)s::bigint IS NULL OR customer_id = %(customer_id)s)
    AND (%(incident_id)s::bigint IS NULL OR EXISTS (SELECT FROM alarm b
        WHERE b.device_id = u.id AND b.incident_id = ANY(ARRAY(SELECT o.id FROM incident o
            WHERE o.id = %(incident_id)s OR o.parent_id = %(incident_id)s))))
    AND (%(pattern)s::text IS NULL OR concat_ws(' ', key, name, manufacturer, model, site, site_zh,
        customer, customer_zh) ILIKE %(pattern)s)
"""

_SORTS: dict[str, tuple[tuple[LiteralString, LiteralString, bool], ...]] = {
    "worst": (
        ("badness", "integer", True),
        ("coalesce(runtime_left, 1e12)", "float8", False),
        ("name", "text", False),
    ),
    "name": (("name", "text", False),),
    "-name": (("name", "text", True),),
    "site": (("site", "text", False), ("name", "text", False)),
    "-site": (("site", "text", True), ("name", "text", False)),
    "load": (("coalesce(ups_load, 1e12)", "float8", False),),
    "-load": (("coalesce(ups_load, -1)", "float8", True),),
    "charge": (("coalesce(battery_charge, 1e12)", "float8", False),),
    "-charge": (("coalesce(battery_charge, -1)", "float8", True),),
    "runtime": (("coalesce(runtime_left, 1e12)", "float8", False),),
    "-runtime": (("coalesce(runtime_left, -1)", "float8", True),),
    "seen": (("coalesce(received_at, '1970-01-01Z')", "timestamptz", False),),
    "-seen": (("coalesce(received_at, '1970-01-01Z')", "timestamptz", True),),
}


def _unit(known: Known, row: tuple[Any, ...]) -> FleetUnit:
    quiet_for = None if row[-1] is None else SuppressionKind(row[-1])
    titles = known.title(row[27]) if row[27] else (None, None)
    return FleetUnit(*(*row[:-1], quiet_for, *titles))


def _parameters(connection: Connection, now: datetime) -> dict[str, object]:
    return {"now": now, "heard_at": freshness_of(connection, now).last_at}


def units(connection: Connection, query: FleetQuery, now: datetime) -> Page[FleetUnit]:
    """Read one part of the fleet."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters={
            **query.model_dump(exclude={"limit", "cursor", "q", "sort"}),
            **_parameters(connection, now),
            "pattern": like(query.q),
        },
        order=Order.of(*_SORTS[query.sort], ("id", "bigint", False)),
        query=query,
        build=partial(_unit, known_rules(connection)),
    )


def unit(connection: Connection, device_id: int, now: datetime) -> FleetUnit | None:
    """Read one unit as the fleet shows it, None where it is not watched."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE id = %(id)s",
        {**_parameters(connection, now), "id": device_id},
    ).fetchone()
    return _unit(known_rules(connection), row) if row else None


def summary(
    connection: Connection,
    now: datetime,
    *,
    site_id: int | None = None,
    customer_id: int | None = None,
) -> FleetSummary:
    """Count the fleet, or the part at one site or of one customer."""
    heard = freshness_of(connection, now)
    with connection.cursor(row_factory=class_row(FleetSummary)) as cursor:
        found = cursor.execute(
            """
            SELECT count(*) AS units,
                count(*) FILTER (WHERE state IN ('on_battery', 'low_battery')
                    AND quiet_for IS NULL) AS on_battery,
                count(*) FILTER (WHERE level > 0) AS in_alarm,
                count(*) FILTER (WHERE state IN ('silent', 'unknown')
                    AND quiet_for IS NULL) AS silent,
                count(*) FILTER (WHERE state = 'bypass' AND quiet_for IS NULL) AS bypass,
                count(*) FILTER (WHERE state = 'off' AND quiet_for IS NULL) AS off,
                count(*) FILTER (WHERE quiet_for IS NOT NULL) AS quiet,
                count(*) FILTER (WHERE severity = 'critical') AS critical,
                count(*) FILTER (WHERE severity = 'major') AS major,
                count(*) FILTER (WHERE severity = 'minor') AS minor,
                count(*) FILTER (WHERE severity = 'warning') AS warning,
                (SELECT count(*) FROM incident i WHERE closed_at IS NULL
                    AND NOT EXISTS (SELECT FROM incident p WHERE p.id = i.parent_id)
                    AND (%(site_id)s::bigint IS NULL OR site_id = %(site_id)s)
                    AND (%(customer_id)s::bigint IS NULL OR customer_id = %(customer_id)s))
                    AS open_incidents,
                (SELECT count(*) FROM ticket WHERE closed_at IS NULL
                    AND (%(site_id)s::bigint IS NULL OR site_id = %(site_id)s)
                    AND (%(customer_id)s::bigint IS NULL OR customer_id = %(customer_id)s))
                    AS open_tickets,
                %(heard_at)s::timestamptz AS last_heard_at, %(is_silent)s::boolean AS is_silent
            """
            + _FROM
            + """
            WHERE (%(site_id)s::bigint IS NULL OR site_id = %(site_id)s)
            AND (%(customer_id)s::bigint IS NULL OR customer_id = %(customer_id)s)
            """,
            {
                "now": now,
                "heard_at": heard.last_at,
                "is_silent": heard.is_silent,
                "site_id": site_id,
                "customer_id": customer_id,
            },
        ).fetchone()
    if found is None:
        raise AssertionError("an aggregate always has a row")
    return found
