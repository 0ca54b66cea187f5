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

    def expired_before(self, now: datetime) -> datetime | None:
        """Return when the fast points stopped being believed, None when they still were."""
        until = self.fast_until
        return until if until is not None and until < now else None

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
        """Judge each device's readings in order; `facts` take them in.

        Readings must be newer than the facts and ascending in `observed_at`. Facts do not depend on
        judgements, so the rows of all readings are evaluated at once and then walked in order.
        """
        looks = []
        for device_id, of_device in readings.items():
            fact = facts[device_id]
            for reading in of_device:
                expired_at = fact.expired_before(reading.observed_at)
                fact.take(reading)
                row = fact.row(reading.observed_at, 0.0)
                looks.append(_Look(device_id, reading.observed_at, row, expired_at))
        return self._judge(looks, states)

    def judge_time(
        self,
        facts: Iterable[Facts],
        seconds_since_seen: Mapping[int, float | None],
        states: Mapping[Key, RuleState],
        now: datetime,
    ) -> Judged:
        """Judge what time alone changes: hold times that end, facts that expire, silence."""
        looks = [
            _Look(
                fact.device_id,
                now,
                fact.row(now, seconds_since_seen.get(fact.device_id)),
                fact.expired_before(now),
            )
            for fact in facts
        ]
        return self._judge(looks, states)

    def _judge(self, looks: Sequence["_Look"], states: Mapping[Key, RuleState]) -> Judged:
        judged = Judged(states=dict(states))
        if not looks:
            return judged
        data = {column: [look.row.get(column) for look in looks] for column in self._schema}
        frame = clean(pl.DataFrame(data, schema=self._schema))
        seen = self._evaluate(frame, judged)
        holding: dict[int, list[str]] = defaultdict(list)
        for key, (raises, _, _) in seen.items():
            for index in raises.arg_true().to_list():
                holding[index].append(key)
        remembered = _by_device(states)
        for index, look in enumerate(looks):
            of_device = remembered.get(look.device_id)
            if look.expired_at is not None:
                for key in sorted(of_device or ()):
                    if key in seen and self._watches_device[key]:
                        self._apply(look, key, Seen.UNKNOWN, look.expired_at, judged)
            for key in sorted({*holding.get(index, ()), *(of_device or ())} & seen.keys()):
                self._apply(look, key, _seen(seen[key], index), look.at, judged)
                if (look.device_id, key) in judged.states:
                    remembered[look.device_id].add(key)
        return judged

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

    def _apply(self, look: "_Look", key: str, seen: Seen, at: datetime, judged: Judged) -> None:
        before = judged.states.get((look.device_id, key))
        after, steps = advance(before, seen, at, self._timings[key])
        if after == before and not steps:
            return
        if after is None:
            judged.states.pop((look.device_id, key), None)
        else:
            judged.states[look.device_id, key] = after
        rule = self.rules[key]
        values = {column: look.row[column] for column in sorted(rule.condition.columns)}
        judged.changes.append(
            Judgement(look.device_id, rule, before, after, steps, values, look.at)
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """One row to judge: what is believed of a device at an instant.

    `expired_at` is when its fast values had stopped being believed before that, if they had.
    """

    device_id: int
    at: datetime
    row: Row
    expired_at: datetime | None


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
