"""Read readings of many devices as columns: what `rules.history` merges.

One row a device comes back, an array a column; so neither the server nor we handle readings one by
one. Readings that came late are left out: they were kept and never judged.
"""

import struct
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from rules.conditions.tree import LARGEST
from rules.history import NOT_TOLD, Rows
from rules.points import BY_COLUMN, Kind, Pace
from rules.windows import ALWAYS, Instants, Numbers

Connection = psycopg.Connection[TupleRow]

TOLD_FAST, TOLD_SLOW, CAME_LATE = 1, 2, 4
"""Bits of `telemetry.told`: which paces a reading told, and that it came after a newer one."""

_BEFORE_THEY_WERE_KEPT = 90.0
"""Seconds that fast points of readings are believed which do not say so: at least three polls."""
_HEADER = 20
"""Bytes before the elements of an array without NULLs in PostgreSQL's binary form."""


def read_rows(
    connection: Connection,
    devices: Sequence[int],
    columns: Sequence[str],
    *,
    since: datetime,
    until: datetime,
    words: dict[str, int],
) -> Rows:
    """Return the readings of `devices`, in their order, after `since` and up to `until`.

    Texts are numbered in `words`, which grows.
    """
    cursor = connection.cursor(binary=True)
    cursor.execute(_reading(tuple(columns)), {"ids": list(devices), "since": since, "until": until})
    result = cursor.pgresult
    assert result is not None  # noqa: S101 - a SELECT has one
    place = {device_id: number for number, device_id in enumerate(devices)}
    of_device: dict[int, list[_Alike]] = {}
    for row in range(result.ntuples):
        device, polls, valid, told, at, *contents = (
            result.get_value(row, column) for column in range(result.nfields)
        )
        paces = _whole(told, otherwise=_NOT_KEPT)
        if paces & CAME_LATE and paces != _NOT_KEPT:
            continue
        seconds = max(_BEFORE_THEY_WERE_KEPT, 3.0 * _whole(polls))
        values = [
            _values(column, content, words)
            for column, content in zip(columns, contents, strict=True)
        ]
        of_device.setdefault(place[_whole(device)], []).append(
            _Alike(
                _array(at, ">i8").astype(np.int64),
                _microseconds(seconds if valid is None else struct.unpack(">f", valid)[0]),
                paces,
                values,
            )
        )
    return _rows(devices, columns, of_device)


class _Alike(NamedTuple):
    """Readings of one device that were told alike: their instants and the columns' values."""

    at: Instants
    valid: int
    told: int
    values: list[Numbers]


def _rows(
    devices: Sequence[int], columns: Sequence[str], of_device: Mapping[int, Sequence[_Alike]]
) -> Rows:
    """Put each device's readings into their order, one device behind the other."""
    counts = np.zeros(len(devices), np.int64)
    parts: list[list[np.ndarray]] = []
    for number in sorted(of_device):
        alike = of_device[number]
        at = np.concatenate([each.at for each in alike])
        lengths = [len(each.at) for each in alike]
        joined = [
            at,
            np.repeat(np.array([each.valid for each in alike], np.int64), lengths),
            np.repeat(np.array([each.told for each in alike], np.int64), lengths),
            *(np.concatenate(each) for each in zip(*(one.values for one in alike), strict=True)),
        ]
        if not np.all(at[1:] > at[:-1]):
            order = np.argsort(at, kind="stable")
            joined = [each[order] for each in joined]
        counts[number] = len(at)
        parts.append(joined)
    if not parts:
        parts = [[np.empty(0, np.int64)] * 3 + [np.empty(0)] * len(columns)]
    at, valid, told, *values = (np.concatenate(each) for each in zip(*parts, strict=True))
    points = dict(zip(columns, values, strict=True))
    slow = [points[column] for column in columns if BY_COLUMN[column].pace is Pace.SLOW]
    is_kept = told != _NOT_KEPT
    tells_slow = np.logical_or.reduce([each != NOT_TOLD for each in slow]) if slow else False
    return Rows(
        np.cumsum(counts),
        at,
        valid,
        ~is_kept | (told & TOLD_FAST != 0),
        np.where(is_kept, told & TOLD_SLOW != 0, tells_slow),
        points,
    )


_NOT_KEPT = -1


def _whole(content: bytes | None, otherwise: int = 0) -> int:
    return otherwise if content is None else int.from_bytes(content, "big", signed=True)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6) if isfinite(seconds) else ALWAYS


def _array(content: bytes | None, form: str) -> Any:  # noqa: ANN401 - an array of that form
    dtype = np.dtype([("length", ">i4"), ("value", form)])
    return np.frombuffer(content or b"", dtype, offset=_HEADER)["value"]


def _values(column: str, content: bytes | None, words: dict[str, int]) -> Numbers:
    """Return a column's values as numbers, `NOT_TOLD` where none was told."""
    match BY_COLUMN[column].kind:
        case Kind.NUMBER:
            values: Numbers = _array(content, ">f8").astype(np.float64)
            values[(np.abs(values) > LARGEST) & (values != NOT_TOLD)] = np.nan
            return values
        case Kind.FLAG:
            flags: Numbers = _FLAGS[_array(content, ">i2")]
            return flags
        case Kind.TEXT:
            return np.array([_code(text, words) for text in _texts(content or b"")])


_FLAGS = np.array([0.0, 1.0, np.nan, NOT_TOLD])
"""What the numbers that stand for flags in the query mean."""
_NOT_TOLD_TEXT, _NOT_BELIEVED_TEXT = b"\x01", b"\x02"


def _texts(content: bytes) -> list[bytes]:
    texts, at = [], _HEADER
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        texts.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return texts


def _code(text: bytes, words: dict[str, int]) -> float:
    if text == _NOT_TOLD_TEXT:
        return NOT_TOLD
    if text == _NOT_BELIEVED_TEXT:
        return np.nan
    return float(words.setdefault(text.decode(), len(words)))


_ELSE = {
    Kind.NUMBER: ("'NaN'::float8", "'-Infinity'::float8"),
    Kind.FLAG: ("2::int2", "3::int2"),
    Kind.TEXT: ("chr(2)", "chr(1)"),
}


@lru_cache
def _reading(columns: tuple[str, ...]) -> bytes:
    """Return the query; a column that a reading withheld is told and not believed."""
    aggregates = []
    for column in columns:
        kind = BY_COLUMN[column].kind
        withheld, not_told = _ELSE[kind]
        otherwise = f"CASE WHEN {{1}} = ANY(t.withheld) THEN {withheld} ELSE {not_told} END"
        if kind is Kind.FLAG:
            value = (
                f"CASE t.{{0}} WHEN true THEN 1::int2 WHEN false THEN 0::int2 ELSE {otherwise} END"
            )
        else:
            value = f"coalesce(t.{{0}}, {otherwise})"
        aggregates.append(
            sql.SQL(f", array_agg({value})").format(sql.Identifier(column), sql.Literal(column))
        )
    # Readings told alike go together: an array of what is always the same would cost as much as
    # one of values.
    return (
        sql.SQL(
            """
            SELECT x.device_id, d.poll_seconds::int4, {names} FROM (
                SELECT t.device_id, t.believed_seconds, t.told, array_agg(t.observed_at){aggregates}
                FROM telemetry t
                WHERE t.device_id = ANY(%(ids)s)
                AND t.observed_at > %(since)s AND t.observed_at <= %(until)s
                GROUP BY t.device_id, t.believed_seconds, t.told) AS x ({plain}, {names})
            JOIN device d ON d.id = x.device_id
            """
        )
        .format(
            names=sql.SQL(", ").join(
                sql.SQL(name)
                for name in ("believed", "told", *(f"x{n}" for n in range(len(columns) + 1)))
            ),
            plain=sql.SQL("device_id"),
            aggregates=sql.SQL("").join(aggregates),
        )
        .as_bytes()
    )


def read_rollups(
    connection: Connection,
    devices: Sequence[int],
    columns: Sequence[str],
    *,
    since: datetime,
    until: datetime,
    words: dict[str, int],
) -> Rows:
    """Return averages of 15 minutes as if they were readings, told where each quarter ends.

    A flag held that did so for half of the time. `words` is of no use: rollups keep no texts.
    """
    del words
    cursor = connection.cursor(binary=True)
    cursor.execute(
        _reading_rollups(tuple(columns)),
        {"ids": list(devices), "since": since, "until": until, "length": _QUARTER},
    )
    result = cursor.pgresult
    assert result is not None  # noqa: S101 - a SELECT has one
    counts = np.zeros(len(devices), np.int64)
    place = {device_id: number for number, device_id in enumerate(devices)}
    by_device: dict[int, list[Any]] = {}
    for row in range(result.ntuples):
        raw = [result.get_value(row, column) for column in range(result.nfields)]
        number = place[int.from_bytes(raw[0] or b"", "big")]
        by_device[number] = [
            _array(raw[1], ">i8").astype(np.int64),
            *(_array(content, ">f8").astype(np.float64) for content in raw[2:]),
        ]
        counts[number] = len(by_device[number][0])
    parts = [by_device[number] for number in sorted(by_device)]
    joined = [np.concatenate(each) for each in zip(*parts, strict=True)]
    if not joined:
        joined = [np.empty(0) for _ in range(len(columns) + 1)]
    count = len(joined[0])
    return Rows(
        np.cumsum(counts),
        joined[0].astype(np.int64),
        np.full(count, _microseconds(2 * _QUARTER.total_seconds())),
        np.ones(count, bool),
        np.zeros(count, bool),
        dict(zip(columns, joined[1:], strict=True)),
    )


_QUARTER = timedelta(minutes=15)


@lru_cache
def _reading_rollups(columns: tuple[str, ...]) -> bytes:
    aggregates = []
    for column in columns:
        if BY_COLUMN[column].kind is Kind.FLAG:
            told: sql.Composable = sql.SQL("({} >= 450)::int::float8").format(
                sql.Identifier(f"{column}_seconds")
            )
        else:
            told = sql.Identifier(f"{column}_avg")
        aggregates.append(
            sql.SQL(", array_agg(coalesce({}, '-Infinity'::float8) ORDER BY bucket)").format(told)
        )
    return (
        sql.SQL(
            """
            SELECT device_id, array_agg(bucket + %(length)s ORDER BY bucket){}
            FROM telemetry_15m WHERE device_id = ANY(%(ids)s)
            AND bucket > %(since)s - %(length)s AND bucket <= %(until)s - %(length)s
            GROUP BY device_id
            """
        )
        .format(sql.SQL("").join(aggregates))
        .as_bytes()
    )
