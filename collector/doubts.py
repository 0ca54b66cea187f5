"""Doubts at work: readings are corrected, odd values withheld, and doubts raised and ended.

Stands between arrivals and the one transaction of ingest. An odd value is kept out of rules at
once: it goes into the reading's `extra` and its column is unknown. A doubt is raised when some of
the last readings were odd. What is remembered between readings is only how often a value was odd
lately, lost without harm; open doubts are rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import isnan

import numpy as np
import psycopg
from psycopg.rows import TupleRow

from collector.arrival import Arrival
from collector.corrections import Corrections, KnownCorrections, correct
from collector.doubt_store import Ground, end_doubts, forget_values, grounds, raise_doubts
from rules.dwell import Dwell, Turn, step
from rules.facts import Reading, Value
from rules.plausibility import (
    COLUMNS,
    DOUBTFUL,
    NOMINALS,
    Outcome,
    Proposal,
    Suspicion,
    Table,
    check,
    explained,
    out_of_range,
)
from rules.points import BY_COLUMN

Connection = psycopg.Connection[TupleRow]

KNOWN_FOR = timedelta(minutes=10)
SEEN_EVERY = timedelta(minutes=5)
FURTHEST_AHEAD = timedelta(minutes=5)

Key = tuple[str, str]
"""Column and kind of a doubt."""

_CHECKED = frozenset(COLUMNS)
_NOMINAL = frozenset(NOMINALS)
_PLACE = {column: place for place, column in enumerate(NOMINALS)}


@dataclass(slots=True)
class _Known:
    """One device between its readings."""

    ground: Ground
    corrections: Corrections
    until: datetime
    dwells: dict[Key, Dwell] = field(default_factory=dict)
    columns: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    seen_at: dict[Key, datetime] = field(default_factory=dict)
    last: dict[str, Value] = field(default_factory=dict)
    """The newest values of a device that reports only what changes."""


@dataclass(slots=True)
class Examined:
    """A batch as it may be believed, and what to write of its doubts; nothing is kept before."""

    batch: list[Arrival]
    raised: list[tuple[int, datetime, Suspicion]] = field(default_factory=list)
    ended: list[tuple[int, str, str, datetime]] = field(default_factory=list)
    news: bool = False
    dwells: dict[int, dict[Key, Dwell]] = field(default_factory=dict)
    seen: dict[int, dict[Key, datetime]] = field(default_factory=dict)
    columns: dict[int, dict[Key, tuple[str, ...]]] = field(default_factory=dict)

    def forget(self, connection: Connection, newer: Mapping[int, Sequence[Reading]]) -> None:
        """Take values that newer readings withhold out of the locked states."""
        withheld = [
            (device_id, frozenset().union(*(reading.withheld for reading in readings)))
            for device_id, readings in newer.items()
            if any(reading.withheld for reading in readings)
        ]
        if withheld:
            forget_values(connection, withheld)

    def record(self, connection: Connection) -> None:
        """Write the doubts that were raised, seen again and ended."""
        if self.raised:
            raise_doubts(connection, self.raised)
        if self.ended:
            end_doubts(connection, self.ended)
        if self.news:
            connection.execute("NOTIFY ridethrough, 'change'")


class Watch:
    """Examines batches; remembers devices for a while. For one thread."""

    def __init__(self) -> None:
        self._corrections = KnownCorrections()
        self._version = 0
        self._known: dict[int, _Known] = {}

    def examine(self, connection: Connection, batch: Sequence[Arrival], now: datetime) -> Examined:
        """Correct a batch and withhold what is odd; reads only, `keep` after the commit.

        1. Decisions of people are applied.
        2. All readings are checked at once.
        3. Those with something odd, and those of devices under doubt, are looked at one by one.
        """
        self._look(connection, batch, now)
        examined = Examined(list(batch))
        arrivals = examined.batch
        places: list[int] = []
        rows: list[Mapping[str, Value]] = []
        nominals: list[Sequence[float]] = []
        left_out: dict[int, set[str]] = {}
        for place, arrival in enumerate(batch):
            reading = arrival.reading
            known = None if reading is None else self._known.get(reading.device_id)
            if reading is None or known is None:
                continue
            if known.corrections:
                reading, out = _corrected(reading, known.corrections)
                arrivals[place] = replace(arrival, reading=reading)
                left_out[place] = out
            if not _NOMINAL.isdisjoint(reading.points):
                _take_nominals(known.ground, reading.points)
            places.append(place)
            rows.append(_row(known, reading))
            nominals.append(known.ground.nominals)
        if not rows:
            return examined
        outcomes = check(Table(rows, nominals))
        odd = np.logical_or.reduce([one.odd for one in outcomes]) if outcomes else None
        look = [
            index
            for index, place in enumerate(places)
            if (odd is not None and odd[index])
            or place in left_out
            or self._needs_a_look(arrivals[place].reading)
        ]
        look.sort(key=lambda index: _observed(arrivals[places[index]]))
        for index in look:
            place = places[index]
            is_odd = odd is not None and bool(odd[index])
            arrivals[place] = self._judge(
                examined,
                arrivals[place],
                left_out.get(place, set()),
                explained(outcomes, index) if is_odd else {},
                [(one, bool(one.tells[index]) and not bool(one.odd[index])) for one in outcomes],
                now,
            )
        return examined

    def keep(self, examined: Examined) -> None:
        """Remember what a batch said, once it is committed."""
        for device_id, dwells in examined.dwells.items():
            known = self._known.get(device_id)
            if known is None:
                continue
            known.columns |= examined.columns.get(device_id, {})
            known.seen_at |= examined.seen.get(device_id, {})
            known.dwells = {key: one for key, one in dwells.items() if not one.is_quiet}
            known.columns = {
                key: known.columns[key] for key in known.dwells if key in known.columns
            }

    def _look(self, connection: Connection, batch: Iterable[Arrival], now: datetime) -> None:
        """Bring what is known of the devices up to date."""
        self._corrections.look(connection, now)
        if self._version != self._corrections.version:
            self._version = self._corrections.version
            self._known.clear()
        wanted = set()
        for arrival in batch:
            if arrival.reading is None:
                continue
            known = self._known.get(arrival.reading.device_id)
            if known is None or known.until <= now:
                wanted.add(arrival.reading.device_id)
        if not wanted:
            return
        for device_id, ground in grounds(connection, wanted).items():
            corrections = self._corrections.of(device_id, ground.profile, ground.model)
            for column, value in ground.waiting.items():
                if isinstance(value, int | float):
                    points: dict[str, Value] = {column: float(value)}
                    correct(corrections, points, {})
                    _take_nominals(ground, points)
            before = self._known.get(device_id)
            # Spread, so that a fleet is not looked up in one go for ever after.
            known = _Known(ground, corrections, now + KNOWN_FOR * (0.5 + device_id % 64 / 128))
            if before is not None:
                known.last, known.seen_at = before.last, before.seen_at
                known.dwells = {
                    key: one
                    for key, one in before.dwells.items()
                    if one.is_open == (key in ground.open)
                }
            known.dwells = {key: Dwell(is_open=True) for key in ground.open} | known.dwells
            known.columns = dict(ground.open)
            self._known[device_id] = known

    def _needs_a_look(self, reading: Reading | None) -> bool:
        if reading is None:
            return False
        return bool(self._known[reading.device_id].dwells) or (
            bool(reading.extra) and any(name.startswith(DOUBTFUL) for name in reading.extra)
        )

    def _judge(
        self,
        examined: Examined,
        arrival: Arrival,
        left_out: set[str],
        odd: Mapping[str, Suspicion],
        sound: Sequence[tuple[Outcome, bool]],
        now: datetime,
    ) -> Arrival:
        """Take what is odd in one reading out of its points, and count it."""
        reading = arrival.reading
        if reading is None:
            return arrival
        device_id, at = reading.device_id, reading.observed_at
        known = self._known[device_id]
        found = {
            (one.column, one.kind): _beyond(one, known.corrections)
            for one in [*odd.values(), *_out_of_range(reading, known.ground)]
            if not any(_is_trusted(known.corrections, column) for column in one.columns)
        }
        dwells = examined.dwells.get(device_id)
        if dwells is None:
            dwells = examined.dwells[device_id] = dict(known.dwells)
        columns = known.columns | examined.columns.get(device_id, {})
        withheld: set[str] = set(left_out)
        doubtful: set[str] = set()
        counts = at <= now + FURTHEST_AHEAD
        for key in found.keys() | dwells.keys():
            if _is_trusted(known.corrections, key[0]):
                dwells.pop(key)
                continue
            suspicion = found.get(key)
            is_sound = suspicion is None and _is_sound(key, reading, sound)
            dwell = dwells.get(key, Dwell())
            if suspicion is not None:
                doubtful.update(suspicion.columns)
            elif not is_sound:
                if dwell.is_open:
                    doubtful.update(columns.get(key, (key[0],)))
                continue
            if counts:
                dwells[key], turn = step(dwell, is_odd=suspicion is not None, at=at)
                self._note(examined, device_id, key, dwells[key], turn, suspicion, at)
        withheld |= doubtful
        if not withheld:
            return arrival
        values = {one.column: one.value for one in found.values()}
        return replace(arrival, reading=_without(reading, withheld, doubtful, values))

    def _note(
        self,
        examined: Examined,
        device_id: int,
        key: Key,
        dwell: Dwell,
        turn: Turn | None,
        suspicion: Suspicion | None,
        at: datetime,
    ) -> None:
        """Write down what turned, and now and then that an open doubt goes on."""
        if turn is Turn.END:
            examined.ended.append((device_id, *key, at))
            examined.news = True
        if suspicion is None or not dwell.is_open:
            return
        examined.columns.setdefault(device_id, {})[key] = suspicion.columns
        seen = examined.seen.setdefault(device_id, {})
        last = seen.get(key) or self._known[device_id].seen_at.get(key)
        if turn is Turn.RAISE or last is None or at >= last + SEEN_EVERY:
            seen[key] = at
            examined.raised.append((device_id, at, suspicion))
            examined.news |= turn is Turn.RAISE


def _observed(arrival: Arrival) -> datetime:
    return arrival.received_at if arrival.reading is None else arrival.reading.observed_at


def _corrected(reading: Reading, corrections: Corrections) -> tuple[Reading, set[str]]:
    points, extra = dict(reading.points), dict(reading.extra)
    left_out = correct(corrections, points, extra)
    return replace(reading, points=points, extra=extra), left_out


def _take_nominals(ground: Ground, points: Mapping[str, Value]) -> None:
    for column, place in _PLACE.items():
        value = points.get(column)
        if isinstance(value, float | int):
            ground.nominals[place] = float(value)


def _row(known: _Known, reading: Reading) -> Mapping[str, Value]:
    """Return what the checks look at: what reports by exception is completed."""
    if reading.stays_valid_seconds is not None:
        return reading.points
    known.last.update((c, value) for c, value in reading.points.items() if c in _CHECKED)
    return known.last


def _out_of_range(reading: Reading, ground: Ground) -> Iterable[Suspicion]:
    """Yield what is to be said of values that conversion refused."""
    for name, value in reading.extra.items():
        column = name.removeprefix(DOUBTFUL)
        if column == name or column not in BY_COLUMN or not isinstance(value, float | int):
            continue
        place = _PLACE.get(f"{column}_nominal")
        nominal = None if place is None else ground.nominals[place]
        yield out_of_range(
            column, float(value), None if nominal is None or isnan(nominal) else nominal
        )


def _is_trusted(corrections: Corrections, column: str) -> bool:
    correction = corrections.get(column)
    return correction is not None and correction.action == "trust"


def _beyond(suspicion: Suspicion, corrections: Corrections) -> Suspicion:
    """Return a suspicion of a value that is corrected already: its cure replaces the correction.

    A card that was put right needs no correction any more.
    """
    correction = corrections.get(suspicion.column)
    proposal = suspicion.proposal
    if correction is None or correction.action != "convert" or proposal.action != "convert":
        return suspicion
    factor = correction.factor * proposal.factor
    addend = correction.addend * proposal.factor + proposal.addend
    is_undone = abs(factor - 1) < 0.01 and abs(addend) < 0.01
    cure = Proposal("end") if is_undone else Proposal("convert", factor, addend)
    return replace(suspicion, proposal=cure)


def _is_sound(key: Key, reading: Reading, sound: Sequence[tuple[Outcome, bool]]) -> bool:
    column, kind = key
    if kind == "range":
        return column in reading.points
    return any(
        said and column in outcome.columns and outcome.kind.partition(":")[0] == kind
        for outcome, said in sound
    )


def _without(
    reading: Reading, withheld: set[str], doubtful: set[str], values: Mapping[str, float]
) -> Reading:
    """Return the reading without these columns; the doubtful ones are kept aside, not lost."""
    points = {column: value for column, value in reading.points.items() if column not in withheld}
    extra = dict(reading.extra)
    for column in sorted(doubtful):
        value = reading.points.get(column, values.get(column))
        if value is not None:
            extra[DOUBTFUL + column] = value
    return replace(reading, points=points, extra=extra, withheld=frozenset(withheld))
