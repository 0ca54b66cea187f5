"""Read telemetry of any span in bounded answers: the resolution follows the span.

Rollups keep the points that `rules.points` marks as trend; every other point is in raw readings
alone, for as long as those are kept.
"""

from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import sql

from rules.points import BY_COLUMN, TREND_FLAGS, TREND_NUMBERS, Kind, Point, column_of
from service_api.devices.schemas import Resolution, Series, Telemetry, TelemetryQuery
from service_api.errors import Invalid
from service_api.request import Connection

DRAWN = (
    "input_voltage",
    "output_voltage",
    "battery_charge",
    "battery_voltage",
    "ups_load",
    "battery_temperature",
    "status_on_battery",
)
MOST_POINTS = 12
MOST_STEPS = 3_000
RAW_STEPS = 2_000

STEP: dict[Resolution, timedelta] = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
_FITS: tuple[tuple[timedelta, Resolution], ...] = (
    (timedelta(days=2), "raw"),
    (timedelta(days=31), "15m"),
    (timedelta(days=120), "1h"),
)
_TABLE: dict[Resolution, LiteralString] = {
    "raw": "visible_telemetry",
    "15m": "visible_telemetry_15m",
    "1h": "visible_telemetry_1h",
    "1d": "visible_telemetry_1d",
}
_TREND = {point.column for point in (*TREND_NUMBERS, *TREND_FLAGS)}


def fitting_resolution(span: timedelta, age: timedelta, raw_days: int) -> Resolution:
    """Return the finest resolution that draws `span` well; raw only while it is kept."""
    for longest, resolution in _FITS:
        if span <= longest and not (resolution == "raw" and age > timedelta(days=raw_days)):
            return resolution
    return "1d"


def _points(names: str | None, resolution: Resolution) -> list[Point]:
    wanted = [column_of(name.strip()) for name in names.split(",")] if names else list(DRAWN)
    found = []
    for column in dict.fromkeys(wanted):
        point = BY_COLUMN.get(column)
        if point is None or point.kind is Kind.TEXT:
            raise Invalid(f"points: there is no point {column!r} that can be drawn.")
        if resolution != "raw" and column not in _TREND:
            raise Invalid(f"points: {point.name} is kept in raw readings only; ask resolution=raw.")
        found.append(point)
    if len(found) > MOST_POINTS:
        raise Invalid(f"points: at most {MOST_POINTS} at once.")
    return found


def _span(query: TelemetryQuery, now: datetime) -> tuple[datetime, datetime]:
    try:
        end = query.to or now
        start = query.from_ or end - timedelta(days=1)
    except OverflowError as error:
        raise Invalid("from, to: outside of any calendar.") from error
    if start >= end:
        raise Invalid("from: must lie before `to`.")
    return start, end


def telemetry(
    connection: Connection,
    device_id: int,
    query: TelemetryQuery,
    *,
    now: datetime,
    raw_days: int,
) -> Telemetry:
    """Read some points of one unit between two instants, in at most 3,000 steps."""
    start, end = _span(query, now)
    resolution: Resolution = (
        fitting_resolution(end - start, now - start, raw_days)
        if query.resolution == "auto"
        else query.resolution
    )
    points = _points(query.points, resolution)
    if resolution == "raw":
        step = max(timedelta(seconds=1), (end - start) / RAW_STEPS)
        rows = _raw(connection, device_id, points, start, end, step)
    else:
        step = STEP[resolution]
        if (end - start) / step > MOST_STEPS:
            raise Invalid(f"resolution: {resolution} over this span is too much; take a coarser.")
        rows = _rolled_up(connection, device_id, points, start, end, resolution)
    return Telemetry(
        device_id=device_id,
        start_at=start,
        end_at=end,
        resolution=resolution,
        step_seconds=step.total_seconds(),
        at=[row[0] for row in rows],
        series=[
            Series(
                point=point.name,
                column=point.column,
                unit=point.unit,
                en=point.en,
                zh=point.zh,
                values=[row[1 + 3 * place] for row in rows],
                low=[row[2 + 3 * place] for row in rows],
                high=[row[3 + 3 * place] for row in rows],
            )
            for place, point in enumerate(points)
        ],
    )


def _raw(
    connection: Connection,
    device_id: int,
    points: list[Point],
    start: datetime,
    end: datetime,
    step: timedelta,
) -> list[tuple[Any, ...]]:
    terms = [
        sql.SQL("avg({0}), min({0}), max({0})").format(
            sql.SQL("{}::integer::float8").format(sql.Identifier(point.column))
            if point.kind is Kind.FLAG
            else sql.Identifier(point.column)
        )
        for point in points
    ]
    return connection.execute(
        sql.SQL(
            "SELECT min(observed_at), {} FROM visible_telemetry"
            " WHERE device_id = %(id)s AND observed_at >= %(start)s AND observed_at < %(end)s"
            " GROUP BY date_bin(%(step)s, observed_at, %(start)s) ORDER BY 1"
        ).format(sql.SQL(", ").join(terms)),
        {"id": device_id, "start": start, "end": end, "step": step},
    ).fetchall()


def _rolled_up(
    connection: Connection,
    device_id: int,
    points: list[Point],
    start: datetime,
    end: datetime,
    resolution: Resolution,
) -> list[tuple[Any, ...]]:
    seconds = STEP[resolution].total_seconds()
    terms = [
        sql.SQL("least(1, {0} / {1}), least(1, {0} / {1}), least(1, {0} / {1})").format(
            sql.Identifier(f"{point.column}_seconds"), sql.Literal(seconds)
        )
        if point.kind is Kind.FLAG
        else sql.SQL("{}, {}, {}").format(
            *(sql.Identifier(f"{point.column}_{part}") for part in ("avg", "min", "max"))
        )
        for point in points
    ]
    return connection.execute(
        sql.SQL(
            "SELECT bucket, {} FROM {} WHERE device_id = %(id)s"
            " AND bucket >= %(start)s AND bucket < %(end)s ORDER BY bucket"
        ).format(sql.SQL(", ").join(terms), sql.Identifier(_TABLE[resolution])),
        {"id": device_id, "start": start, "end": end},
    ).fetchall()
