"""The pasts that windows look at, kept while a process lives and rebuilt from telemetry.

A past is used only while its newest reading is the one that the device's locked state row has;
where another process stored one meanwhile, or a transaction was taken back, it is read again. So
a process that was just started judges as one that has run for weeks.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from rules.conditions import Window
from rules.facts import Value
from rules.history import NOT_TOLD, Carried, merge, steps_by_device
from rules.history_store import read_rows
from rules.points import BY_COLUMN, Pace
from rules.windows import Past, longest_spans, usable

Connection = psycopg.Connection[TupleRow]

MOST_DEVICES = 20_000
"""So many pasts are kept in memory; those used longest ago go first."""

_LEAD = timedelta(hours=1)
_SLOW_LEAD = timedelta(days=2)
"""How much earlier than the window readings are taken in, to know what held when it began."""
_TOGETHER = timedelta(hours=6)
"""Devices whose newest readings lie so close are read in one query."""


class Newest(NamedTuple):
    """A device's newest reading and what its state row holds."""

    observed_at: datetime | None
    values: Mapping[str, Value | None]


class WindowMemory:
    """Hands out the pasts of devices whose state rows the caller has locked."""

    def __init__(self) -> None:
        self._spans: dict[str, int] = {}
        self._pasts: dict[int, Past] = {}

    def pasts(
        self, connection: Connection, windows: Sequence[Window], newest: Mapping[int, Newest]
    ) -> dict[int, Past]:
        """Return each device's past up to its newest reading; nothing where no rule looks back."""
        if not windows:
            return {}
        spans = longest_spans(windows)
        if spans != self._spans:
            self._spans, self._pasts = spans, {}
        known = self._pasts
        found: dict[int, Past] = {}
        missing: dict[int, tuple[datetime, Newest]] = {}
        for device_id, state in newest.items():
            past = known.pop(device_id, None)
            if past is not None and past.observed_at == state.observed_at:
                found[device_id] = past
            elif state.observed_at is None:
                found[device_id] = Past(spans)
            else:
                missing[device_id] = state.observed_at, state
        for together in _together(missing):
            found |= _read(connection, spans, {one: missing[one] for one in together})
        known |= found
        while len(known) > MOST_DEVICES:
            del known[next(iter(known))]
        return found


def _together(missing: Mapping[int, tuple[datetime, Newest]]) -> list[list[int]]:
    groups: list[list[int]] = []
    begun: datetime | None = None
    for at, device_id in sorted((at, key) for key, (at, _) in missing.items()):
        if begun is None or at > begun + _TOGETHER:
            groups.append([])
            begun = at
        groups[-1].append(device_id)
    return groups


def _read(
    connection: Connection,
    spans: dict[str, int],
    states: Mapping[int, tuple[datetime, Newest]],
) -> dict[int, Past]:
    """Rebuild the pasts of devices from their readings.

    What a column held when the first of them came is what it holds now, if none of them told it.
    """
    devices, columns = list(states), list(spans)
    instants = [observed_at for observed_at, _ in states.values()]
    looks_slow = any(BY_COLUMN[column].pace is Pace.SLOW for column in columns)
    since = min(instants) - timedelta(seconds=max(spans.values()))
    rows = read_rows(
        connection,
        devices,
        columns,
        since=since - (_SLOW_LEAD if looks_slow else _LEAD),
        until=max(instants),
        words={},
    )
    carried = Carried.nothing(len(devices), columns)
    for number, (begin, end) in enumerate(zip(rows.firsts, rows.ends, strict=True)):
        for column in columns:
            if not (rows.points[column][begin:end] != NOT_TOLD).any():
                carried.held[column][number] = usable(states[devices[number]][1].values.get(column))
    merged = merge(rows, carried, spans)
    return {
        device_id: Past.loaded(
            spans,
            observed_at=states[device_id][0],
            fast_at=int(carried.fast_at[number]),
            slow_at=int(carried.slow_at[number]),
            valid=int(carried.valid[number]),
            held={column: float(carried.held[column][number]) for column in columns},
            steps=steps_by_device(merged.steps, number),
        )
        for number, device_id in enumerate(devices)
    }
