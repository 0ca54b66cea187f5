"""Rows of a binary COPY, put together by column instead of value by value. No database here.

Readings that tell the same points have rows of the same form: numbers and flags of all of them are
written as one array, and what varies in length, texts and `extra`, is put behind each row.
The form is that of COPY in PostgreSQL's documentation: fields, each its length and its bytes.
"""

import json
import struct
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import numpy as np

from rules.facts import Reading
from rules.history_store import CAME_LATE, TOLD_FAST, TOLD_SLOW
from rules.points import BY_COLUMN, Kind, Pace

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_NULL = b"\xff\xff\xff\xff"
_JSONB_VERSION = b"\x01"
_SLOW = frozenset(column for column, point in BY_COLUMN.items() if point.pace is Pace.SLOW)
_OWN = ("device_id", "observed_at", "received_at", "believed_seconds", "told")
"""What every row begins with; `withheld` and `extra` end it."""
_TEXT_OID = 25
_Values = np.ndarray[Any, np.dtype[Any]]


def in_order(columns: Sequence[str]) -> tuple[str, ...]:
    """Return columns of points in the order of the rows: texts last, since their length varies."""
    return tuple(sorted(columns, key=lambda column: (BY_COLUMN[column].kind is Kind.TEXT, column)))


def copied(readings: Sequence[Reading], columns: Sequence[str]) -> Iterator[bytes]:
    """Return the whole COPY: its own columns, `columns` as `in_order` has them, what ends a row."""
    fixed = [column for column in columns if BY_COLUMN[column].kind is not Kind.TEXT]
    texts = columns[len(fixed) :]
    alike: dict[tuple[str, ...], list[Reading]] = defaultdict(list)
    for reading in readings:
        alike[tuple(reading.points)].append(reading)
    yield SIGNATURE
    for group in alike.values():
        rows = _rows(group, fixed, len(columns) + len(_OWN) + 2)
        size = len(rows) // len(group)
        tails = _tails(group, texts)
        yield b"".join(
            part
            for number, tail in enumerate(tails)
            for part in (rows[number * size : (number + 1) * size], tail)
        )
    yield TRAILER


def believed_seconds(reading: Reading) -> float:
    """Return how long a reading's fast points are believed; infinity: until replaced."""
    stays = reading.stays_valid_seconds
    return inf if stays is None else stays


def told_paces(reading: Reading, *, came_late: bool = False) -> int:
    """Return the bits of column `told`: what back-tests must know and no value says."""
    points = reading.points
    return (
        TOLD_FAST * (not _SLOW.issuperset(points))
        | TOLD_SLOW * (not _SLOW.isdisjoint(points))
        | CAME_LATE * came_late
    )


def _rows(group: Sequence[Reading], fixed: Sequence[str], fields: int) -> bytes:
    """Return the beginnings of the rows, all of one length, of readings with the same points."""
    known = group[0].points
    values: dict[str, _Values] = {
        "device_id": np.array([one.device_id for one in group], ">i8"),
        "observed_at": _microseconds([one.observed_at for one in group]),
        "received_at": _microseconds([one.received_at for one in group]),
        "believed_seconds": np.array([believed_seconds(one) for one in group], ">f4"),
        "told": np.full(len(group), told_paces(group[0]), ">i2"),
    }
    for column in fixed:
        if column in known:
            told: list[Any] = [one.points[column] for one in group]
            # What is no flag, or no number, raises: its row would not be what was read.
            is_flag = BY_COLUMN[column].kind is Kind.FLAG
            plain = bytes(told) if is_flag else array("d", told)
            values[column] = np.frombuffer(plain, "u1" if is_flag else "f8")
    form = [("fields", ">i2")]
    for column in (*_OWN, *fixed):
        form.append((f"length of {column}", ">i4"))
        if column in values:
            form.append((column, values[column].dtype.newbyteorder(">").str))
    rows = np.empty(len(group), form)
    rows["fields"] = fields
    for column in (*_OWN, *fixed):
        told_here = values.get(column)
        rows[f"length of {column}"] = -1 if told_here is None else told_here.itemsize
        if told_here is not None:
            rows[column] = told_here
    return rows.tobytes()


def _microseconds(instants: Sequence[datetime]) -> _Values:
    seconds = np.array([at.timestamp() for at in instants])
    return np.rint((seconds - _EPOCH) * 1e6).astype(">i8")


def _tails(group: Sequence[Reading], texts: Sequence[str]) -> Iterator[bytes]:
    for reading in group:
        points = reading.points
        tail = b"".join([_text(points.get(column)) for column in texts])
        tail += _texts(sorted(reading.withheld)) if reading.withheld else _NULL
        yield tail + (_json(reading) if reading.extra else _NULL)


def _texts(texts: Sequence[str]) -> bytes:
    header = struct.pack("!5i", 1, 0, _TEXT_OID, len(texts), 1)
    return _sized(header + b"".join(_text(text) for text in texts))


def _text(value: object) -> bytes:
    if value is None:
        return _NULL
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return _sized(value.encode())


def _json(reading: Reading) -> bytes:
    return _sized(_JSONB_VERSION + json.dumps(dict(reading.extra)).encode())


def _sized(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content
