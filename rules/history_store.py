"""Read readings of many devices as columns: what `rules.history` merges.

One row a device comes back, an array a column; so neither the server nor we handle readings one by
one. Readings that came late are left out: they were kept and never judged.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

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
    counts = np.zeros(len(devices), np.int64)
    parts: dict[str, list[Any]] = {name: [] for name in ("at", "valid", "told", *columns)}
    place = {device_id: number for number, device_id in enumerate(devices)}
    order: list[int] = []
    for row in range(result.ntuples):
        raw = [result.get_value(row, column) for column in range(result.nfields)]
        at = _array(raw[2], ">i8").astype(np.int64)
        number = place[int.from_bytes(raw[0] or b"", "big")]
        polls = int.from_bytes(raw[1] or b"", "big")
        order.append(number)
        counts[number] = len(at)
        valid = _array(raw[3], ">f4").astype(np.float64)
        valid[np.isnan(valid)] = max(_BEFORE_THEY_WERE_KEPT, 3.0 * polls)
        told = _array(raw[4], ">i2").astype(np.int64)
        sorting = None if np.all(at[1:] > at[:-1]) else np.argsort(at, kind="stable")
        found = {"at": at, "valid": valid, "told": told}
        for column, content in zip(columns, raw[5:], strict=True):
            found[column] = _values(column, content, words)
        for name, values in found.items():
            parts[name].append(values if sorting is None else values[sorting])
    in_order = sorted(range(len(order)), key=order.__getitem__)
    joined = {
        name: np.concatenate([each[n] for n in in_order]) if in_order else np.empty(0)
        for name, each in parts.items()
    }
    told = joined["told"].astype(np.int64)
    points = {column: joined[column].astype(np.float64) for column in columns}
    slow = [points[column] for column in columns if BY_COLUMN[column].pace is Pace.SLOW]
    is_marked = told >= 0
    tells_slow = np.logical_or.reduce([each != NOT_TOLD for each in slow]) if slow else False
    return Rows(
        np.cumsum(counts),
        joined["at"].astype(np.int64),
        _microseconds(joined["valid"]),
        np.where(is_marked, told & TOLD_FAST != 0, True),  # noqa: FBT003 - a value
        np.where(is_marked, told & TOLD_SLOW != 0, tells_slow),
        points,
    )


def _microseconds(seconds: Numbers) -> Instants:
    endless = ~np.isfinite(seconds)
    return np.where(endless, ALWAYS, np.rint(np.where(endless, 0, seconds) * 1e6).astype(np.int64))


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
    for number, column in enumerate(columns, start=3):
        kind = BY_COLUMN[column].kind
        form = (
            "CASE t.{0} WHEN true THEN 1::int2 WHEN false THEN 0::int2"
            if kind is Kind.FLAG
            else "CASE WHEN t.{0} IS NOT NULL THEN t.{0}"
        )
        withheld, not_told = _ELSE[kind]
        aggregates.append(
            sql.SQL(
                ", array_agg("
                + form
                + " ELSE CASE WHEN {1} = ANY(t.withheld) THEN "
                + withheld
                + " ELSE "
                + not_told
                + f" END END) AS x{number}"
            ).format(sql.Identifier(column), sql.Literal(column))
        )
    return (
        sql.SQL(
            """
        SELECT x.device_id, d.poll_seconds{names} FROM (
            SELECT t.device_id, array_agg(t.observed_at) AS x0,
                array_agg(coalesce(t.believed_seconds, 'NaN'::real)) AS x1,
                array_agg(coalesce(t.told, -1::int2)) AS x2{aggregates}
            FROM telemetry t
            WHERE t.device_id = ANY(%(ids)s)
            AND t.observed_at > %(since)s AND t.observed_at <= %(until)s
            AND coalesce(t.told, 0) < 4
            GROUP BY t.device_id) AS x
        JOIN device d ON d.id = x.device_id
        """
        )
        .format(
            names=sql.SQL("").join(sql.SQL(f", x.x{number}") for number in range(len(columns) + 3)),
            aggregates=sql.SQL("").join(aggregates),
        )
        .as_bytes()
    )
