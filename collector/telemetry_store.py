"""Write readings: telemetry rows, the newest state, identity, quarantine.

Each function is one statement or two inside ingest's transaction. Columns come from the table of
points, values are always parameters.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from collector.arrival import Arrival
from collector.copy_rows import believed_seconds, copied, in_order, told_paces
from collector.partitions import take_turns
from rules.believed import Facts
from rules.facts import Reading, Value
from rules.points import BY_COLUMN, POINTS, Kind, Pace

Connection = psycopg.Connection[TupleRow]

RAW_LIMIT = 4_000
"""Characters kept of a refused message."""

_OWN = ("device_id", "observed_at", "received_at", "believed_seconds", "told")
"""What every row of telemetry has beside points."""
_TYPES = {Kind.NUMBER: "float8", Kind.FLAG: "bool", Kind.TEXT: "text"}
_FAST = tuple(point.column for point in POINTS if point.pace is Pace.FAST)
_SLOW = frozenset(point.column for point in POINTS if point.pace is Pace.SLOW)


def ensure_partition(connection: Connection, at: datetime) -> None:
    """Make the partition that `at` falls into, if this server needs that and lacks it."""
    take_turns(connection)
    connection.execute("SELECT ensure_partition('telemetry', %s)", (at,))


class LockedState:
    """A device's state row, locked until the transaction ends."""

    __slots__ = ("facts", "observed_at")

    def __init__(self, observed_at: datetime | None, facts: Facts) -> None:
        self.observed_at = observed_at
        self.facts = facts


def lock_states(
    connection: Connection, device_ids: Iterable[int], columns: Sequence[str]
) -> dict[int, LockedState]:
    """Lock the state rows of these devices in id order and return what rules need of them."""
    wanted = sorted(set(device_ids))
    return {
        row[0]: LockedState(row[-1], facts_of(row[:-1], columns))
        for row in connection.execute(_locking(tuple(columns)), (wanted,), binary=True)
    }


@lru_cache
def _locking(columns: tuple[str, ...]) -> bytes:
    query = sql.SQL(
        """
        SELECT device_id, fast_at, slow_at, stays_valid_seconds, {columns}, observed_at
        FROM device_state WHERE device_id = ANY(%s) ORDER BY device_id FOR UPDATE
        """
    )
    return query.format(columns=_names(columns)).as_bytes()


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def facts_of(row: Sequence[Any], columns: Sequence[str]) -> Facts:
    """Build facts from (device_id, fast_at, slow_at, stays_valid_seconds, *values)."""
    device_id, fast_at, slow_at, valid, *values = row
    return Facts(
        device_id,
        dict(zip(columns, values, strict=True)),
        fast_at,
        slow_at,
        None if valid is None else timedelta(seconds=valid),
    )


def _union(readings: Iterable[Reading]) -> tuple[str, ...]:
    named = set().union(*(reading.points for reading in readings)) & BY_COLUMN.keys()
    return tuple(sorted(named))


def copy_newer(connection: Connection, readings: Sequence[Reading]) -> None:
    """COPY readings that are newer than their device's state: none of them can exist already."""
    if not readings:
        return
    columns = in_order(_union(readings))
    with connection.cursor() as cursor, cursor.copy(_copying(columns)) as copy:
        for block in copied(readings, columns):
            copy.write(block)


@lru_cache
def _copying(columns: tuple[str, ...]) -> bytes:
    query = sql.SQL("COPY telemetry ({columns}) FROM STDIN (FORMAT BINARY)")
    names = (*_OWN, *columns, "withheld", "extra")
    return query.format(columns=_names(names)).as_bytes()


def insert_late(connection: Connection, readings: Sequence[Reading]) -> int:
    """Insert late and repeated readings where there is no row yet; returns how many were new."""
    new = 0
    for reading in sorted(readings, key=lambda one: (one.device_id, one.observed_at)):
        columns = _union([reading])
        statement = sql.SQL(
            "INSERT INTO telemetry ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING"
        ).format(
            columns=_names((*_OWN, *columns, "withheld", "extra")),
            values=sql.SQL(", ").join([sql.Placeholder()] * (len(_OWN) + len(columns) + 2)),
        )
        new += connection.execute(
            statement,
            (
                reading.device_id,
                reading.observed_at,
                reading.received_at,
                believed_seconds(reading),
                told_paces(reading, came_late=True),
                *map(reading.points.get, columns),
                sorted(reading.withheld) or None,
                Jsonb(reading.extra) if reading.extra else None,
            ),
        ).rowcount
    return new


def update_states(
    connection: Connection, readings: Mapping[int, Sequence[Reading]], expired: Iterable[int]
) -> None:
    """Merge each device's newer readings, ascending and copied already, into its state row.

    Devices in `expired` had outlived their fast values: those are forgotten first, so that a
    partial reading does not bring them back.
    """
    forgotten = sorted(set(expired))
    if forgotten:
        connection.execute(
            sql.SQL("UPDATE device_state SET {nothing} WHERE device_id = ANY(%s)").format(
                nothing=sql.SQL(", ").join(
                    sql.SQL("{} = NULL").format(sql.Identifier(column)) for column in _FAST
                )
            ),
            (forgotten,),
        )
    in_order = [of_device for _, of_device in sorted(readings.items())]
    _take_over(connection, [of_device[0] for of_device in in_order if len(of_device) == 1])
    _merge(connection, [of_device for of_device in in_order if len(of_device) > 1])


def _take_over(connection: Connection, readings: Sequence[Reading]) -> None:
    """Merge readings, one a device, into the state rows, out of the telemetry rows just copied.

    Their values need not be sent again: sending them as arrays cost more than judging them.
    """
    alike: dict[tuple[bool, bool], list[Reading]] = defaultdict(list)
    for reading in readings:
        points = reading.points
        alike[not _SLOW.issuperset(points), not _SLOW.isdisjoint(points)].append(reading)
    for (is_fast, is_slow), group in alike.items():
        observed = [reading.observed_at for reading in group]
        connection.execute(
            _taking_over(_union(group), is_fast=is_fast, is_slow=is_slow),
            (
                _array(reading.device_id for reading in group),
                _array(reading.stays_valid_seconds for reading in group),
                min(observed),
                max(observed),
            ),
        )


@lru_cache
def _taking_over(columns: tuple[str, ...], *, is_fast: bool, is_slow: bool) -> bytes:
    # A device's newest row between the bounds is the one just copied. The bounds also tell the
    # planner which partitions it need not look into.
    query = sql.SQL(
        """
        UPDATE device_state s SET observed_at = t.observed_at, received_at = t.received_at,
            stays_valid_seconds = x.stays_valid_seconds, silence_check_at = t.received_at
                + make_interval(secs => coalesce(greatest(x.stays_valid_seconds, 5), 60)),
            {merged}
        FROM unnest(%s::bigint[], %s::float8[]) AS x (device_id, stays_valid_seconds)
        CROSS JOIN LATERAL (
            SELECT observed_at, received_at, {columns} FROM telemetry
            WHERE device_id = x.device_id AND observed_at BETWEEN %b AND %b
            ORDER BY observed_at DESC LIMIT 1) AS t
        WHERE s.device_id = x.device_id
        """
    )
    taken = (*columns, "extra")
    ages = [sql.SQL("fast_at = t.observed_at")] if is_fast else []
    ages += [sql.SQL("slow_at = t.observed_at")] if is_slow else []
    merged = sql.SQL(", ").join([*ages, _coalesced(taken, "t")])
    return query.format(merged=merged, columns=_names(taken)).as_bytes()


def _array(values: Iterable[float | bool | str | None]) -> str:
    """Write an array of PostgreSQL of values without spaces, quotes or commas.

    As text: the driver takes six times as long to make a binary one, value by value.
    """
    return f"{{{','.join('NULL' if value is None else str(value) for value in values)}}}"


def _coalesced(columns: Iterable[str], source: str) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{0} = coalesce({1}.{0}, s.{0})").format(
            sql.Identifier(column), sql.Identifier(source)
        )
        for column in columns
    )


def _merge(connection: Connection, readings: Sequence[Sequence[Reading]]) -> None:
    """Merge several readings a device, each list ascending, into the state rows."""
    if not readings:
        return
    columns = _union(reading for of_device in readings for reading in of_device)
    rows = [_merged(of_device, columns) for of_device in readings]
    connection.execute(_merging(columns), [list(column) for column in zip(*rows, strict=True)])


@lru_cache
def _merging(columns: tuple[str, ...]) -> bytes:
    names = (
        "device_id",
        "observed_at",
        "received_at",
        "fast_at",
        "slow_at",
        "stays_valid_seconds",
        "silence_check_at",
        *columns,
        "extra",
    )
    types = (
        "bigint",
        *["timestamptz"] * 4,
        "float8",
        "timestamptz",
        *(_TYPES[BY_COLUMN[column].kind] for column in columns),
        "jsonb",
    )
    query = sql.SQL(
        """
        UPDATE device_state s SET observed_at = x.observed_at, received_at = x.received_at,
            stays_valid_seconds = x.stays_valid_seconds, silence_check_at = x.silence_check_at,
            fast_at = coalesce(x.fast_at, s.fast_at), slow_at = coalesce(x.slow_at, s.slow_at),
            {merged}
        FROM unnest({arrays}) AS x ({names}) WHERE s.device_id = x.device_id
        """
    )
    return query.format(
        merged=_coalesced((*columns, "extra"), "x"),
        arrays=sql.SQL(", ").join(sql.SQL("%b::{}[]").format(sql.SQL(type_)) for type_ in types),
        names=_names(names),
    ).as_bytes()


def _merged(readings: Sequence[Reading], columns: Sequence[str]) -> tuple[Any, ...]:
    """Return the state row that one device's readings, ascending, leave behind."""
    newest = readings[-1]
    points: dict[str, Value] = {}
    extra: dict[str, Value] = {}
    fast_at = slow_at = None
    for reading in readings:
        points.update(reading.points)
        extra.update(reading.extra)
        for column in reading.withheld:
            points.pop(column, None)
        if not _SLOW.issuperset(reading.points):
            fast_at = reading.observed_at
        if not _SLOW.isdisjoint(reading.points):
            slow_at = reading.observed_at
    return (
        newest.device_id,
        newest.observed_at,
        newest.received_at,
        fast_at,
        slow_at,
        newest.stays_valid_seconds,
        newest.received_at + timedelta(seconds=_patience(newest)),
        *map(points.get, columns),
        Jsonb(extra) if extra else None,
    )


def _patience(reading: Reading) -> float:
    """Return after how many seconds without another reading a device is looked at."""
    stays = reading.stays_valid_seconds
    return 60.0 if stays is None else max(stays, 5.0)


def keep_identities(connection: Connection, arrivals: Iterable[Arrival], now: datetime) -> None:
    """Write who devices say they are, where they said it this time."""
    told = {
        arrival.device_id: arrival
        for arrival in arrivals
        if arrival.device_id is not None and (arrival.identity or arrival.profile)
    }
    for device_id, arrival in sorted(told.items()):
        identity = arrival.identity
        connection.execute(
            """
            UPDATE device SET profile = coalesce(%s, profile),
                manufacturer = coalesce(%s, manufacturer), model = coalesce(%s, model),
                serial = coalesce(%s, serial), firmware = coalesce(%s, firmware),
                identity = identity || %s, identified_at = %s
            WHERE id = %s
            """,
            (
                arrival.profile,
                identity and identity.manufacturer,
                identity and identity.model,
                identity and identity.serial,
                identity and identity.firmware,
                Jsonb(dict(identity.details) if identity else {}),
                now,
                device_id,
            ),
        )


def quarantine(
    connection: Connection,
    refused: Sequence[tuple[Arrival, str, str | None, str, str]],
) -> None:
    """Keep refused input: (arrival, reason, point, detail, raw)."""
    if not refused:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO quarantine
                (received_at, device_id, device_key, source, reason, point, detail, raw)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    arrival.received_at,
                    arrival.device_id,
                    _storable(arrival.device_key),
                    arrival.source,
                    reason,
                    None if point is None else _storable(point),
                    _storable(detail),
                    _storable(raw),
                )
                for arrival, reason, point, detail, raw in refused
            ],
        )


def _storable(text: str) -> str:
    """Cut to what is kept and make it storable: PostgreSQL refuses NUL, UTF-8 lone surrogates."""
    kept = text[:RAW_LIMIT].replace("\0", "\N{SYMBOL FOR NULL}")
    return kept.encode("utf-8", "backslashreplace").decode("utf-8")
