"""The units of an incident as they are now, the one to care for first at the top; and its sites."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import inf

from psycopg.rows import class_row

from rules.incidents import COMMUNICATION_LOST
from rules.power_events import Trust
from rules.power_trust import trust_of
from rules.predicted_end import Discharge, predicted_end
from rules.storm import CRITICALITY, Stage, rank, stage_of
from rules.version_store import known_rules
from service_api.incidents.schemas import IncidentSite, IncidentUnit
from service_api.request import Connection

MOST = 2_000
"""So many units of one incident are told of."""

_STAGES: tuple[Stage, ...] = ("off", "on_battery", "silent", "back")


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    key: str
    name: str
    criticality: str
    load: str | None
    load_zh: str | None
    load_criticality: str | None
    site_id: int
    incident_id: int
    is_over: bool
    is_silent: bool
    observed_at: datetime | None
    on_battery: bool | None
    is_off: bool | None
    is_low: bool | None
    battery_runtime: float | None
    battery_charge: float | None
    battery_voltage: float | None
    ups_load: float | None
    anchor_at: datetime | None
    anchor_charge: float | None
    anchor_voltage: float | None
    respond_minutes: int | None
    ticket_id: int | None


def units_of(connection: Connection, incident_id: int, now: datetime) -> list[IncidentUnit]:
    """Read the units of an incident and rank them."""
    rules = known_rules(connection).rules
    silent = [rule.key for rule in rules.values() if rule.cause == COMMUNICATION_LOST]
    with connection.cursor(row_factory=class_row(_Row)) as cursor:
        rows = cursor.execute(
            """
            WITH inside AS (
                SELECT a.device_id, max(a.incident_id) AS incident_id,
                    bool_and(a.over_at IS NOT NULL) AS is_over,
                    bool_or(a.over_at IS NULL AND a.rule_key = ANY(%(silent)s)) AS is_silent,
                    max(x.ticket_id) AS ticket_id
                FROM alarm a LEFT JOIN ticket_alarm x ON x.alarm_id = a.id
                WHERE a.incident_id = ANY(ARRAY(
                    SELECT o.id FROM incident o WHERE o.id = %(id)s OR o.parent_id = %(id)s))
                GROUP BY a.device_id LIMIT %(most)s),
            anchor AS (
                SELECT DISTINCT ON (m.device_id) m.device_id, m.anchor_at, m.anchor_charge,
                    m.anchor_voltage
                FROM incident_member m JOIN alarm a ON a.id = m.alarm_id AND a.over_at IS NULL
                WHERE m.until_at IS NULL AND m.anchor_at IS NOT NULL AND m.incident_id = ANY(ARRAY(
                    SELECT o.id FROM incident o WHERE o.id = %(id)s OR o.parent_id = %(id)s))
                ORDER BY m.device_id, m.anchor_at),
            promised AS (
                SELECT cd.device_id, min(c.respond_minutes) AS respond_minutes
                FROM contract_device cd JOIN contract c ON c.id = cd.contract_id
                WHERE cd.device_id IN (SELECT device_id FROM inside) AND c.state = 'active'
                AND %(now)s::date BETWEEN c.starts_on AND c.ends_on
                GROUP BY cd.device_id)
            SELECT d.id, d.key, d.name, d.criticality, n.name AS load, n.name_zh AS load_zh,
                n.criticality AS load_criticality, d.site_id,
                i.incident_id, i.is_over, i.is_silent, i.ticket_id, s.observed_at,
                s.status_on_battery AS on_battery, s.status_off AS is_off,
                s.status_low_battery AS is_low, s.battery_runtime, s.battery_charge,
                s.battery_voltage, coalesce(s.ups_load, s.ups_l1_load) AS ups_load,
                k.anchor_at, k.anchor_charge, k.anchor_voltage, p.respond_minutes
            FROM inside i JOIN device d ON d.id = i.device_id
            LEFT JOIN visible_device_state s ON s.device_id = d.id
            LEFT JOIN anchor k ON k.device_id = d.id
            LEFT JOIN promised p ON p.device_id = d.id
            LEFT JOIN topology_unit u ON u.device_id = d.id AND u.site_id = d.site_id
            LEFT JOIN topology_node n ON n.id = u.load_id
            """,
            {"silent": silent, "id": incident_id, "most": MOST, "now": now},
        ).fetchall()
    trusted = trust_of(connection, [row.id for row in rows if row.on_battery], now)
    ranked = sorted(
        (_ranked(row, trusted.get(row.id), now) for row in rows), key=lambda pair: pair[0]
    )
    return [unit for _, unit in ranked]


def _ranked(
    row: _Row, trusted: Trust | None, now: datetime
) -> tuple[tuple[int, float, str], IncidentUnit]:
    stage = stage_of(
        is_off=row.is_off, on_battery=row.on_battery, is_silent=row.is_silent, is_over=row.is_over
    )
    prediction = None
    if stage in {"on_battery", "silent"} and row.on_battery and row.observed_at is not None:
        prediction = predicted_end(
            Discharge(
                row.observed_at,
                row.battery_runtime,
                row.battery_charge,
                row.battery_voltage,
                row.anchor_at,
                row.anchor_charge,
                row.anchor_voltage,
            ),
            proof=1.0 if trusted is None else trusted.ratio,
        )
    criticality = min(
        (row.criticality, row.load_criticality or "normal"), key=lambda one: CRITICALITY[one]
    )
    place = rank(
        stage=stage,
        prediction=prediction,
        criticality=criticality,
        respond_minutes=row.respond_minutes,
        now=now,
    )
    unit = IncidentUnit(
        id=row.id,
        key=row.key,
        name=row.name,
        site_id=row.site_id,
        incident_id=row.incident_id,
        stage=stage,
        is_low=bool(row.is_low),
        ends_at=None if prediction is None else prediction.end_at,
        early_at=None if prediction is None else prediction.early_at,
        late_at=None if prediction is None else prediction.late_at,
        basis=None if prediction is None else prediction.basis,
        criticality=criticality,
        load=row.load,
        load_zh=row.load_zh,
        respond_minutes=row.respond_minutes,
        battery_charge=row.battery_charge,
        ups_load=row.ups_load,
        heard_at=row.observed_at,
        ticket_id=row.ticket_id,
    )
    return (*place, row.name), unit


def sites_of(connection: Connection, units: Iterable[IncidentUnit]) -> list[IncidentSite]:
    """Return the sites of these units, the one whose battery ends first at the top."""
    there: dict[int, list[IncidentUnit]] = defaultdict(list)
    for unit in units:
        there[unit.site_id].append(unit)
    found = []
    for site_id, name, name_zh, customer, customer_zh, latitude, longitude in connection.execute(
        """
        SELECT s.id, s.name, s.name_zh, c.name, c.name_zh, s.latitude, s.longitude
        FROM site s JOIN customer c ON c.id = s.customer_id WHERE s.id = ANY(%s)
        """,
        (list(there),),
    ).fetchall():
        counts = Counter(unit.stage for unit in there[site_id])
        ends = [unit.ends_at for unit in there[site_id] if unit.ends_at is not None]
        worst = next(stage for stage in _STAGES if counts[stage])
        if worst == "on_battery" and any(unit.is_low for unit in there[site_id]):
            worst = "off"
        found.append(
            IncidentSite(
                id=site_id,
                incident_id=there[site_id][0].incident_id,
                name=name,
                name_zh=name_zh,
                customer=customer,
                customer_zh=customer_zh,
                latitude=latitude,
                longitude=longitude,
                units=len(there[site_id]),
                on_battery=counts["on_battery"],
                off=counts["off"],
                silent=counts["silent"],
                back=counts["back"],
                worst=worst,
                ends_at=min(ends, default=None),
            )
        )
    return sorted(
        found,
        key=lambda one: (
            _STAGES.index(one.worst),
            one.ends_at.timestamp() if one.ends_at is not None else inf,
            one.id,
        ),
    )
