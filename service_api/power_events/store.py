"""Read episodes as the asker may see them; `collector.power_store` writes them."""

from datetime import timedelta
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.power_events import EventKind, Unproven
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.power_events.schemas import (
    PowerEvent,
    PowerEventDetail,
    PowerEventQuery,
    TracePoint,
)
from service_api.request import Connection

TRACE_AROUND = timedelta(minutes=2)
MOST_POINTS = 5_000

_SELECT: LiteralString = """
    e.id, e.device_id, d.name, e.site_id, t.name, t.name_zh, t.time_zone, e.customer_id, c.name,
    c.name_zh, e.kind, e.began_at, e.ended_at, e.lost, e.seconds, e.interruptions, e.cause,
    e.load_mean, e.load_max, e.watt_hours, e.energy_from, e.celsius, e.voltage_lowest,
    e.charge_before, e.charge_after, e.promised_seconds, e.reached_end, e.proved_promise,
    e.proved_seconds, e.proved_low, e.proved_high, e.unproven
"""

_FROM: LiteralString = """
    FROM power_event e JOIN device d ON d.id = e.device_id JOIN site t ON t.id = e.site_id
    JOIN customer c ON c.id = e.customer_id
"""

_WHERE: LiteralString = """
    WHERE (%(kind)s::text IS NULL OR e.kind = %(kind)s)
    AND (%(device_id)s::bigint IS NULL OR e.device_id = %(device_id)s)
    AND (%(site_id)s::bigint IS NULL OR e.site_id = %(site_id)s)
    AND (%(customer_id)s::bigint IS NULL OR e.customer_id = %(customer_id)s)
    AND (%(open)s::boolean IS NULL OR (e.ended_at IS NULL) = %(open)s)
    AND (%(proved)s::boolean IS NULL OR (e.proved_seconds IS NOT NULL) = %(proved)s)
    AND (%(since)s::timestamptz IS NULL OR e.began_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR e.began_at < %(until)s)
"""

_NEWEST = Order.of(("e.began_at", "timestamptz", True), ("e.id", "bigint", True))


def _event(row: tuple[Any, ...]) -> PowerEvent:
    unproven = None if row[-1] is None else Unproven(row[-1])
    return PowerEvent(*(*row[:10], EventKind(row[10]), *row[11:-1], unproven))


def power_events(connection: Connection, query: PowerEventQuery) -> Page[PowerEvent]:
    """Read one part of the list, newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=_NEWEST,
        query=query,
        build=_event,
    )


def power_event(connection: Connection, event_id: int) -> PowerEventDetail:
    """Read one with its readings; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE e.id = %s", (event_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no power event {event_id}.")
    event = _event(row)
    until = event.ended_at or event.began_at + timedelta(seconds=event.seconds)
    with connection.cursor(row_factory=class_row(TracePoint)) as cursor:
        trace = cursor.execute(
            """
            SELECT observed_at AS at, status_on_battery AS on_battery, battery_charge AS charge,
                coalesce(ups_load, ups_l1_load) AS load, battery_voltage AS voltage,
                battery_runtime AS promised_seconds
            FROM visible_telemetry WHERE device_id = %s AND observed_at BETWEEN %s AND %s
            AND status_on_battery IS NOT NULL ORDER BY observed_at LIMIT %s
            """,
            (event.device_id, event.began_at - TRACE_AROUND, until + TRACE_AROUND, MOST_POINTS),
        ).fetchall()
    return PowerEventDetail(event, trace)
