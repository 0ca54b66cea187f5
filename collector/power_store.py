"""Episodes on battery kept: found soon after they begin, finished when over, again for late rows.

Readings on battery are found by when they came, so late ones are seen as well as live ones. What an
episode is, is decided in `rules.power_events`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, dict_row

from rules.power_events import COLUMNS, LOST_AFTER, PowerEvent, Sample, power_events

Connection = psycopg.Connection[TupleRow]

OVERLAP = timedelta(minutes=2)
"""Looked through again each time: what was being committed while looking was not seen then."""
AGAIN_AFTER = timedelta(minutes=15)
"""An episode that goes on is worked out again so often; its unit's page has the live values."""
AROUND = timedelta(minutes=35)
"""Readings so long before and after are looked at, for what was before and what ended it."""


def find_power_events(connection: Connection, *, now: datetime) -> int:
    """Work the episodes out that need it; returns how many spans of a unit were looked at.

    One caller works at a time; another returns 0.
    """
    row = connection.execute(
        "SELECT until_at FROM power_event_look FOR UPDATE SKIP LOCKED"
    ).fetchone()
    if row is None:
        return 0
    spans = _touched(connection, row[0], now)
    for device_id, first, last in spans:
        _work_out(connection, device_id, first, last, now)
    connection.execute("UPDATE power_event_look SET until_at = %s", (now - OVERLAP,))
    return len(spans)


def _touched(
    connection: Connection, since: datetime, now: datetime
) -> list[tuple[int, datetime, datetime]]:
    """Return unit, from and until when, for each span that is to be worked out, oldest first.

    Spans are of readings on battery that came lately, apart where `AROUND` lies between, and of
    episodes that go on and are due again, over or silent. Readings within one that goes on wait
    for it.
    """
    return connection.execute(
        """
        WITH came AS (
            SELECT device_id, observed_at, observed_at - lag(observed_at) OVER of_unit > %(around)s
                AS is_apart
            FROM telemetry t WHERE status_on_battery
            AND received_at > %(since)s AND received_at <= %(now)s AND NOT EXISTS (
                SELECT FROM power_event e WHERE e.device_id = t.device_id
                AND e.ended_at IS NULL AND e.began_at <= t.observed_at)
            WINDOW of_unit AS (PARTITION BY device_id ORDER BY observed_at)),
        numbered AS (
            SELECT device_id, observed_at, count(*) FILTER (WHERE is_apart)
                OVER (PARTITION BY device_id ORDER BY observed_at) AS span
            FROM came)
        SELECT device_id, min(observed_at) AS first, max(observed_at) AS last FROM numbered
        GROUP BY device_id, span
        UNION ALL
        SELECT e.device_id, e.began_at, %(now)s
        FROM power_event e JOIN device_state s USING (device_id)
        WHERE e.ended_at IS NULL AND (e.looked_at < %(again)s
            OR s.observed_at < %(lost)s OR NOT coalesce(s.status_on_battery, false))
        ORDER BY first, last, device_id
        """,
        {
            "since": since,
            "now": now,
            "around": AROUND,
            "again": now - AGAIN_AFTER,
            "lost": now - LOST_AFTER,
        },
    ).fetchall()


def _work_out(
    connection: Connection, device_id: int, first: datetime, last: datetime, now: datetime
) -> None:
    """Replace the unit's episodes of a span by what its readings say."""
    span = connection.execute(
        """
        SELECT least(%(first)s, min(began_at)), greatest(%(last)s, max(coalesce(ended_at, %(now)s)))
        FROM power_event WHERE device_id = %(id)s
        AND began_at <= %(last)s + %(lost)s::interval
        AND coalesce(ended_at, 'infinity') >= %(first)s - %(lost)s::interval
        """,
        {"id": device_id, "first": first, "last": last, "now": now, "lost": LOST_AFTER},
    ).fetchone()
    begins, ends = (first, last) if span is None else (span[0] or first, span[1] or last)
    samples = _samples(connection, device_id, begins - AROUND, ends + AROUND)
    events = [
        one
        for one in power_events(samples, now)
        if one.began_at >= begins - LOST_AFTER and one.began_at <= ends
    ]
    _keep(connection, device_id, events, begins, ends, now)


def _samples(
    connection: Connection, device_id: int, since: datetime, until: datetime
) -> list[Sample]:
    query = sql.SQL(
        "SELECT observed_at, {columns} FROM telemetry WHERE device_id = %s AND observed_at >= %s"
        " AND observed_at <= %s AND status_on_battery IS NOT NULL ORDER BY observed_at"
    ).format(columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query, (device_id, since, until), binary=True)
        return [Sample(row.pop("observed_at"), row) for row in cursor]


def _keep(
    connection: Connection,
    device_id: int,
    events: Sequence[PowerEvent],
    begins: datetime,
    ends: datetime,
    now: datetime,
) -> None:
    connection.execute(
        """
        DELETE FROM power_event WHERE device_id = %s AND began_at >= %s AND began_at <= %s
        AND NOT began_at = ANY(%s)
        """,
        (device_id, begins, ends, [one.began_at for one in events]),
    )
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, [_row(device_id, one, now) for one in events])


_UPSERT = """
    INSERT INTO power_event (device_id, customer_id, site_id, kind, began_at, ended_at, lost,
        seconds, interruptions, cause, load_mean, load_max, watt_hours, energy_from, celsius,
        voltage_lowest, charge_before, charge_after, promised_seconds, reached_end, proved_promise,
        proved_seconds, proved_low, proved_high, unproven, looked_at)
    SELECT d.id, o.customer_id, d.site_id, %(kind)s, %(began_at)s, %(ended_at)s, %(lost)s,
        %(seconds)s, %(interruptions)s, %(cause)s, %(load_mean)s, %(load_max)s, %(watt_hours)s,
        %(energy_from)s, %(celsius)s, %(voltage_lowest)s, %(charge_before)s, %(charge_after)s,
        %(promised_seconds)s, %(reached_end)s, %(proved_promise)s, %(proved_seconds)s,
        %(proved_low)s, %(proved_high)s, %(unproven)s, %(now)s
    FROM device d JOIN device_owner o ON o.device_id = d.id AND o.during @> %(began_at)s
    WHERE d.id = %(device_id)s
    ON CONFLICT (device_id, began_at) DO UPDATE SET
        kind = excluded.kind, ended_at = excluded.ended_at, lost = excluded.lost,
        seconds = excluded.seconds, interruptions = excluded.interruptions, cause = excluded.cause,
        load_mean = excluded.load_mean, load_max = excluded.load_max,
        watt_hours = excluded.watt_hours, energy_from = excluded.energy_from,
        celsius = excluded.celsius, voltage_lowest = excluded.voltage_lowest,
        charge_before = excluded.charge_before, charge_after = excluded.charge_after,
        promised_seconds = excluded.promised_seconds, reached_end = excluded.reached_end,
        proved_promise = excluded.proved_promise, proved_seconds = excluded.proved_seconds,
        proved_low = excluded.proved_low, proved_high = excluded.proved_high,
        unproven = excluded.unproven, looked_at = excluded.looked_at
"""


def _row(device_id: int, one: PowerEvent, now: datetime) -> dict[str, object]:
    proof = one.proof
    return {
        "device_id": device_id,
        "now": now,
        "kind": one.kind,
        "began_at": one.began_at,
        "ended_at": one.ended_at,
        "lost": one.lost,
        "seconds": one.seconds,
        "interruptions": one.interruptions,
        "cause": one.cause,
        "load_mean": one.load_mean,
        "load_max": one.load_max,
        "watt_hours": one.watt_hours,
        "energy_from": one.energy_from,
        "celsius": one.celsius,
        "voltage_lowest": one.voltage_lowest,
        "charge_before": one.charge_before,
        "charge_after": one.charge_after,
        "promised_seconds": one.promised_seconds,
        "reached_end": one.reached_end,
        "proved_promise": None if proof is None else proof.promised,
        "proved_seconds": None if proof is None else proof.lasted,
        "proved_low": None if proof is None else proof.low,
        "proved_high": None if proof is None else proof.high,
        "unproven": one.unproven,
    }
