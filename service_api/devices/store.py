"""Read one unit as the asker may see it; the fleet's line of it comes from `fleet.store`."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, LiteralString

from psycopg.rows import class_row, dict_row

from rules.plausibility import DOUBTFUL
from rules.points import POINTS
from rules.version_store import known_rules
from rules.versions import Known
from service_api.alarms.schemas import AlarmQuery
from service_api.alarms.store import alarms
from service_api.cards.store import card
from service_api.devices.schemas import (
    Device,
    HealthDay,
    HistoryEntry,
    HistoryQuery,
    PointValue,
)
from service_api.devices.sentence import sentence
from service_api.errors import NotFound
from service_api.fleet.store import unit
from service_api.paging import Order, Page, read_page
from service_api.request import Connection
from service_api.tickets.schemas import TicketQuery
from service_api.tickets.store import tickets

_HEALTH: LiteralString = """
    SELECT day, index_percent, low_percent, high_percent, life_used, equivalent_age_years,
        calendar_age_years, replace_battery, replace_from, replace_median, replace_until,
        ends_in_90_days, ends_in_180_days, ends_in_365_days, advice, advice_since, swapped_on,
        confidence, statement_en, statement_zh, evidence
    FROM visible_device_health WHERE device_id = %(id)s
"""


def require_device(connection: Connection, device_id: int) -> None:
    """Raise `NotFound` unless the asker may see this unit."""
    if connection.execute("SELECT FROM device WHERE id = %s", (device_id,)).fetchone() is None:
        raise NotFound(f"There is no device {device_id}.")


def site_of(connection: Connection, device_id: int) -> int:
    """Return where a unit is; raise `NotFound`."""
    row = connection.execute("SELECT site_id FROM device WHERE id = %s", (device_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no device {device_id}.")
    return int(row[0])


def device(connection: Connection, device_id: int, now: datetime) -> Device:
    """Read one unit with its newest values and what is open about it; raise `NotFound`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        ground = cursor.execute(
            """
            SELECT d.id, d.key, d.name, d.customer_id, c.name AS customer, c.name_zh AS customer_zh,
                d.site_id, t.name AS site, t.name_zh AS site_zh, t.time_zone, d.protocol, d.profile,
                d.poll_seconds, d.enabled, d.manufacturer, d.model, d.serial, d.firmware,
                d.identity, d.criticality, d.installed_on, d.warranty_until,
                d.battery_installed_on, d.battery_chemistry, d.battery_life_years
            FROM device d JOIN site t ON t.id = d.site_id JOIN customer c ON c.id = d.customer_id
            WHERE d.id = %s
            """,
            (device_id,),
        ).fetchone()
        state = cursor.execute(
            "SELECT * FROM visible_device_state WHERE device_id = %s", (device_id,)
        ).fetchone()
    if ground is None:
        raise NotFound(f"There is no device {device_id}.")
    state = state or {}
    line = unit(connection, device_id, now)
    return Device(
        **ground,
        state=line.state if line else "unknown",
        sentence_en=sentence("en", line, now) if line else "Not watched: switched off here.",
        sentence_zh=sentence("zh", line, now) if line else "未监控\N{FULLWIDTH COLON}已在此停用。",
        on_battery_since_at=line.on_battery_since_at if line else None,
        runtime_left_seconds=line.runtime_left_seconds if line else None,
        observed_at=state.get("observed_at"),
        received_at=state.get("received_at"),
        points=_point_values(state),
        extra=_current(state),
        alarms=alarms(connection, AlarmQuery(device_id=device_id, limit=100), now).items,
        tickets=tickets(connection, TicketQuery(device_id=device_id, limit=100), now).items,
        health=newest_health(connection, device_id),
        card=card(connection, device_id, now),
    )


def _point_values(state: dict[str, Any]) -> list[PointValue]:
    return [
        PointValue(point.name, point.column, point.unit, point.en, point.zh, state[point.column])
        for point in POINTS
        if state.get(point.column) is not None
    ]


def _current(state: dict[str, Any]) -> dict[str, Any]:
    """Return what has no column, without what was doubted and is known again."""
    extra: dict[str, Any] = state.get("extra") or {}
    return {
        name: value
        for name, value in extra.items()
        if not name.startswith(DOUBTFUL) or state.get(name.removeprefix(DOUBTFUL)) is None
    }


def newest_health(connection: Connection, device_id: int) -> HealthDay | None:
    """Read the newest battery figure."""
    with connection.cursor(row_factory=class_row(HealthDay)) as cursor:
        return cursor.execute(_HEALTH + " ORDER BY day DESC LIMIT 1", {"id": device_id}).fetchone()


def health(connection: Connection, device_id: int, *, days: int, now: datetime) -> list[HealthDay]:
    """Read the battery figures of the last days, newest first."""
    with connection.cursor(row_factory=class_row(HealthDay)) as cursor:
        return cursor.execute(
            _HEALTH + " AND day > %(after)s ORDER BY day DESC",
            {"id": device_id, "after": (now - timedelta(days=days)).date()},
        ).fetchall()


_HISTORY: LiteralString = """
    FROM (
        SELECT e.at, 'alarm' AS about, a.id AS ref, e.id AS event_id, e.kind, e.actor, a.severity,
            a.rule_key, '' AS title_en, '' AS title_zh, e.detail
        FROM alarm_event e JOIN alarm a ON a.id = e.alarm_id
        WHERE a.device_id = %(id)s
        UNION ALL
        SELECT e.at, 'ticket', k.id, e.id, e.kind, e.actor, k.severity,
            NULL, k.title_en, k.title_zh, e.detail
        FROM ticket_event e JOIN ticket k ON k.id = e.ticket_id
        WHERE k.device_id = %(id)s
    ) h
    WHERE (%(from_)s::timestamptz IS NULL OR at >= %(from_)s)
    AND (%(to)s::timestamptz IS NULL OR at < %(to)s)
"""


def _entry(known: Known, row: tuple[Any, ...]) -> HistoryEntry:
    rule_key = row[7]
    titles = known.title(rule_key) if rule_key else (row[8], row[9])
    return HistoryEntry(*(*row[:7], *titles, row[10]))


def history(connection: Connection, device_id: int, query: HistoryQuery) -> Page[HistoryEntry]:
    """Read one part of what happened to a unit, newest first."""
    return read_page(
        connection,
        select="at, about, ref, event_id, kind, actor, severity, rule_key, title_en, title_zh,"
        " detail",
        from_where=_HISTORY,
        parameters={"id": device_id, "from_": query.from_, "to": query.to},
        order=Order.of(
            ("at", "timestamptz", True),
            ("about", "text", True),
            ("event_id", "bigint", True),
        ),
        query=query,
        build=partial(_entry, known_rules(connection)),
    )
