"""Judge facts: rows against all rules at once, and what that changes for each device.

Polars evaluates the conditions over a frame of one row a device; only the pairs of device and rule
that hold, or are remembered, go through `alarms.advance`. No database here: states come in, new
states and steps come out. A rule that fails is left out and named, the others go on.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from rules.alarms import Phase, RuleState, Seen, Step, Timing, advance
from rules.catalogue import COLUMNS, Rule
from rules.conditions import ColumnType, clean
from rules.facts import Reading, Value
from rules.points import BY_COLUMN, FACT_COLUMNS, Pace

SLOW_STAYS_VALID = timedelta(days=2)
"""Nominal values and settings are read rarely and believed for two days."""

_DTYPES = {
    ColumnType.NUMBER: pl.Float64,
    ColumnType.FLAG: pl.Boolean,
    ColumnType.TEXT: pl.String,
}

Row = dict[str, Value | None]
Key = tuple[int, str]


@dataclass(slots=True)
class Facts:
    """The newest values of one device, the columns that rules read, with their age.

    `valid_for` is how long fast points are believed after `fast_at`; None: until replaced.
    """

    device_id: int
    values: Row
    fast_at: datetime | None
    slow_at: datetime | None
    valid_for: timedelta | None

    @property
    def fast_until(self) -> datetime | None:
        """When the fast points stop being believed, None when that has no time."""
        if self.fast_at is None or self.valid_for is None:
            return None
        return self.fast_at + self.valid_for

    def row(self, now: datetime, seconds_since_seen: float | None) -> Row:
        """Return what may be believed at `now`; the rest is None."""
        until = self.fast_until
        fast_ok = self.fast_at is not None and (until is None or now <= until)
        slow_ok = self.slow_at is not None and now <= self.slow_at + SLOW_STAYS_VALID
        row: Row
        if fast_ok and slow_ok:
            row = dict(self.values)
        else:
            row = {
                column: value if (slow_ok if column in _SLOW else fast_ok) else None
                for column, value in self.values.items()
            }
        row["seconds_since_seen"] = seconds_since_seen
        return row

    def take(self, reading: Reading) -> None:
        """Merge a newer reading: its points replace, the others stay until they expire.

        Fast points that had expired by then do not come back with the new one's age.
        """
        until = self.fast_until
        if until is not None and reading.observed_at > until:
            for column in self.values:
                if column not in _SLOW:
                    self.values[column] = None
        for column in self.values.keys() & reading.points.keys():
            self.values[column] = reading.points[column]
        if not _SLOW.issuperset(reading.points):
            self.fast_at = reading.observed_at
        if not _SLOW.isdisjoint(reading.points):
            self.slow_at = reading.observed_at
        stays = reading.stays_valid_seconds
        self.valid_for = None if stays is None else timedelta(seconds=stays)


_SLOW = frozenset(column for column, point in BY_COLUMN.items() if point.pace is Pace.SLOW)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One device-rule pair whose memory or alarm changed, with the values that decided.

    `observed_at` is the instant of those values.
    """

    device_id: int
    rule: Rule
    before: RuleState | None
    after: RuleState | None
    steps: tuple[Step, ...]
    values: Mapping[str, Value | None]
    observed_at: datetime


@dataclass(slots=True)
class Judged:
    """The outcome of a batch: changes in order, the new states, rules that failed."""

    changes: list[Judgement] = field(default_factory=list)
    states: dict[Key, RuleState] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Engine:
    """The rules, compiled once; holds nothing between calls."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = dict(rules)
        used: set[str] = set()
        for rule in self.rules.values():
            used |= rule.condition.columns
            if rule.clear is not None:
                used |= rule.clear.columns
        self.columns: tuple[str, ...] = tuple(sorted(used - FACT_COLUMNS.keys()))
        """The device columns that rules read, in the order of the frame."""
        self._schema = pl.Schema(
            {column: _DTYPES[COLUMNS[column]] for column in (*self.columns, *FACT_COLUMNS)}
        )
        self._expressions = {key: _expressions(rule) for key, rule in self.rules.items()}
        self._timings = {
            key: Timing(rule.raise_after, rule.clear_after, rule.matures_unseen)
            for key, rule in self.rules.items()
        }
        self._watches_device = {
            key: not rule.condition.columns <= FACT_COLUMNS.keys()
            for key, rule in self.rules.items()
        }

    def judge_readings(
        self,
        facts: Mapping[int, Facts],
        readings: Mapping[int, Sequence[Reading]],
        states: Mapping[Key, RuleState],
    ) -> Judged:
        """Judge each device's readings in order, one a round; `facts` take them in.

        Readings must be newer than the facts and ascending in `observed_at`.
        """
        judged = Judged(states=dict(states))
        remembered = _by_device(states)
        rounds = max((len(list_) for list_ in readings.values()), default=0)
        for turn in range(rounds):
            rows: list[Row] = []
            moments: list[tuple[int, datetime]] = []
            for device_id, of_device in readings.items():
                if turn < len(of_device):
                    reading = of_device[turn]
                    fact = facts[device_id]
                    if device_id in remembered:
                        self._expire(fact, reading.observed_at, remembered[device_id], judged)
                    fact.take(reading)
                    rows.append(fact.row(reading.observed_at, 0.0))
                    moments.append((device_id, reading.observed_at))
            self._judge_rows(rows, moments, judged, remembered)
        return judged

    def judge_time(
        self,
        facts: Iterable[Facts],
        seconds_since_seen: Mapping[int, float | None],
        states: Mapping[Key, RuleState],
        now: datetime,
    ) -> Judged:
        """Judge what time alone changes: hold times that end, facts that expire, silence."""
        judged = Judged(states=dict(states))
        remembered = _by_device(states)
        rows: list[Row] = []
        moments: list[tuple[int, datetime]] = []
        for fact in facts:
            if fact.device_id in remembered:
                self._expire(fact, now, remembered[fact.device_id], judged)
            rows.append(fact.row(now, seconds_since_seen.get(fact.device_id)))
            moments.append((fact.device_id, now))
        self._judge_rows(rows, moments, judged, remembered)
        return judged

    def _expire(self, fact: Facts, now: datetime, rule_keys: set[str], judged: Judged) -> None:
        """Let remembered rules lose sight at the instant the facts expired, if that is past."""
        until = fact.fast_until
        if until is None or until >= now:
            return
        for key in sorted(rule_keys):
            if key in self.rules and self._watches_device[key]:
                self._apply(fact.device_id, key, Seen.UNKNOWN, until, {}, judged)

    def _judge_rows(
        self,
        rows: list[Row],
        moments: list[tuple[int, datetime]],
        judged: Judged,
        remembered: dict[int, set[str]],
    ) -> None:
        if not rows:
            return
        data = {column: [row.get(column) for row in rows] for column in self._schema}
        frame = clean(pl.DataFrame(data, schema=self._schema))
        seen = self._evaluate(frame, judged)
        due: dict[int, set[str]] = defaultdict(set)
        for key in self._expressions.keys() & seen.keys():
            for index in seen[key][0].arg_true().to_list():
                due[index].add(key)
        for index, (device_id, moment) in enumerate(moments):
            keys = due.get(index, set()) | remembered.get(device_id, set())
            for key in sorted(keys & seen.keys()):
                values = {column: rows[index][column] for column in sorted(self._read_by(key))}
                self._apply(device_id, key, _seen(seen[key], index), moment, values, judged)
                if (device_id, key) in judged.states:
                    remembered.setdefault(device_id, set()).add(key)

    def _read_by(self, key: str) -> frozenset[str]:
        return self.rules[key].condition.columns

    def _evaluate(
        self, frame: pl.DataFrame, judged: Judged
    ) -> dict[str, tuple[pl.Series, pl.Series, pl.Series]]:
        """Return raise, clear and known for each rule; one that fails is left out and named."""
        live = {key: e for key, e in self._expressions.items() if key not in judged.failed}
        try:
            answers = frame.select(
                expression.alias(f"{key}\0{part}")
                for key, expressions in live.items()
                for part, expression in zip(_PARTS, expressions, strict=True)
            )
        except pl.exceptions.PolarsError:
            return self._evaluate_apart(frame, judged)
        return {
            key: (
                answers.get_column(f"{key}\0raise"),
                answers.get_column(f"{key}\0clear"),
                answers.get_column(f"{key}\0known"),
            )
            for key in live
        }

    def _evaluate_apart(
        self, frame: pl.DataFrame, judged: Judged
    ) -> dict[str, tuple[pl.Series, pl.Series, pl.Series]]:
        seen = {}
        for key, expressions in self._expressions.items():
            if key in judged.failed:
                continue
            try:
                answers = frame.select(
                    expression.alias(part)
                    for part, expression in zip(_PARTS, expressions, strict=True)
                )
            except pl.exceptions.PolarsError as error:
                judged.failed[key] = str(error)
                continue
            seen[key] = (
                answers.get_column("raise"),
                answers.get_column("clear"),
                answers.get_column("known"),
            )
        return seen

    def _apply(
        self,
        device_id: int,
        key: str,
        seen: Seen,
        now: datetime,
        values: Mapping[str, Value | None],
        judged: Judged,
    ) -> None:
        before = judged.states.get((device_id, key))
        after, steps = advance(before, seen, now, self._timings[key])
        if after == before and not steps:
            return
        if after is None:
            judged.states.pop((device_id, key), None)
        else:
            judged.states[device_id, key] = after
        judged.changes.append(
            Judgement(device_id, self.rules[key], before, after, steps, values, now)
        )


_PARTS = ("raise", "clear", "known")


def _expressions(rule: Rule) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    condition = rule.condition.to_polars()
    clear = ~condition if rule.clear is None else rule.clear.to_polars()
    known = pl.any_horizontal(
        pl.col(column).is_not_null() for column in sorted(rule.condition.columns)
    )
    return condition & known, clear, known


def _seen(answers: tuple[pl.Series, pl.Series, pl.Series], index: int) -> Seen:
    raises, clears, known = (series[index] for series in answers)
    if not known:
        return Seen.UNKNOWN
    if raises:
        return Seen.RAISE
    if clears:
        return Seen.CLEAR
    return Seen.UNKNOWN if raises is None or clears is None else Seen.BETWEEN


def _by_device(states: Mapping[Key, RuleState]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for device_id, key in states:
        found[device_id].add(key)
    return found


def standing(states: Mapping[Key, RuleState], device_id: int, rules: Iterable[str]) -> set[str]:
    """Return the rules whose alarm stands for a device: raised and not yet cleared."""
    return {
        key
        for key in rules
        if (state := states.get((device_id, key))) is not None and state.phase is not Phase.PENDING
    }
