"""Judge facts: rows against all rules at once, and what that changes for each device.

Polars evaluates the conditions over a frame of one row a device; only the pairs of device and rule
that hold, or are remembered, go through `alarms.advance`. No database here: states come in, new
states and steps come out. A rule that fails is left out and named, the others go on.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from rules.alarms import Change, Phase, RuleState, Seen, Step, Timing, advance
from rules.believed import Facts, Row
from rules.catalogue import COLUMNS, Rule
from rules.conditions import ColumnType, Window, clean
from rules.conditions.tree import LARGEST
from rules.facts import Reading, Value
from rules.in_force import InForce
from rules.occasions import FACTS, Occasion, Subject, occasions_of, subject_of
from rules.points import FACT_COLUMNS
from rules.windows import Past, microseconds, values_of

_DTYPES = {
    ColumnType.NUMBER: pl.Float64,
    ColumnType.FLAG: pl.Boolean,
    ColumnType.TEXT: pl.String,
}

Key = tuple[int, str]


_NO_LAG = timedelta(0)


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
    """The rules, compiled once; holds nothing between calls.

    Of `rules`, which are all in force, those of one occasion are judged; the others are neither
    raised nor cleared here, whatever is remembered of them (`rules.occasions`).
    """

    def __init__(
        self,
        rules: Mapping[str, Rule],
        occasion: Occasion = Occasion.READING,
        only: Callable[[Rule], bool] = lambda _: True,
    ) -> None:
        self.rules = InForce.over(rules)
        self.occasion = occasion
        self._parts: dict[tuple[Subject, bool], Engine] = {}
        mine = {
            key: rule
            for key, rule in self.rules.items()
            if occasion in occasions_of(rule.columns) and only(rule)
        }
        self.judges = frozenset(mine)
        """The rules of this occasion."""
        forms = {key: self.rules.forms(key) for key in mine}
        used: set[str] = set()
        for rule in chain.from_iterable(forms.values()):
            used |= rule.columns
        self.columns: tuple[str, ...] = tuple(sorted(used - FACT_COLUMNS.keys() - FACTS.keys()))
        """The device columns that rules read, in the order of the frame."""
        self.facts: tuple[str, ...] = tuple(sorted(used & FACTS.keys()))
        """The columns of other occasions that rules read; none when readings are judged."""
        self.windows: tuple[Window, ...] = windows_of(chain.from_iterable(forms.values()))
        """What rules ask of the past; whoever judges brings the devices' pasts if there is any."""
        self._no_windows: Row = dict.fromkeys(window.name for window in self.windows)
        self._schema = pl.Schema(
            {
                column: _DTYPES[COLUMNS[column]]
                for column in (*self.columns, *FACT_COLUMNS, *self.facts)
            }
            | dict.fromkeys(self._no_windows, pl.Float64)
        )
        self._in_order = itemgetter(*self._schema)
        places = {column: place for place, column in enumerate(self._schema)}
        self._forms = {
            key: tuple(_Form.of(rule, places) for rule in of_key) for key, of_key in forms.items()
        }
        self._places = {key: of_key for key, of_key in self.rules.places.items() if key in mine}
        """The units whose form of a rule is not the first, and which of the others it is."""
        self._conditions = {
            key: _by_form(key, [rule.condition.to_polars() for rule in of_key])
            for key, of_key in forms.items()
        }
        self._clears = {
            key: _by_form(key, [_over(rule) for rule in of_key])
            for key, of_key in forms.items()
            if any(rule.clear is not None for rule in of_key)
        }
        # What is worked out on an occasion is a fact of our time too, whatever stands beside it.
        self._watches_device = {
            key: rule.condition.columns.isdisjoint(FACTS)
            and not rule.condition.columns <= FACT_COLUMNS.keys()
            for key, rule in mine.items()
        }
        self.of_our_time = [key for key, watches in self._watches_device.items() if not watches]
        """The rules whose times go by our clock and not by the device's."""

    def part(self, subject: Subject, *, reminders: bool) -> "Engine":
        """Return the engine of this occasion's rules about a subject: those that remind, or not."""

        def belongs(rule: Rule) -> bool:
            return (rule.reminder is not None) is reminders and subject_of(rule.columns) is subject

        if (subject, reminders) not in self._parts:
            self._parts[subject, reminders] = Engine(self.rules, self.occasion, belongs)
        return self._parts[subject, reminders]

    def judge_readings(
        self,
        facts: Mapping[int, Facts],
        readings: Mapping[int, Sequence[Reading]],
        states: Mapping[Key, RuleState],
        pasts: Mapping[int, Past] = MappingProxyType({}),
    ) -> Judged:
        """Judge each device's readings in order; `facts` take them in, and so do `pasts`.

        Readings must be newer than the facts and ascending in `observed_at`. Facts do not depend on
        judgements, so the rows of all readings are evaluated at once and then walked in order.
        """
        looks_back = self._look_back(readings, pasts) if self.windows else None
        remembered = {device_id for device_id, _ in states}
        looks = []
        for device_id, of_device in readings.items():
            fact = facts[device_id]
            for reading in of_device:
                last = _Last.of(fact) if device_id in remembered else None
                expired_at = fact.take(reading)
                at = reading.observed_at
                if looks_back is not None:
                    fact.values.update(next(looks_back))
                row = self._row(fact, at, 0.0)
                looks.append(_Look(device_id, at, row, expired_at, last, reading.received_at))
                if len(of_device) > 1:
                    remembered.add(device_id)
        return self._judge(looks, states)

    def judge_time(
        self,
        facts: Iterable[Facts],
        seconds_since_seen: Mapping[int, float | None],
        states: Mapping[Key, RuleState],
        now: datetime,
        lags: Mapping[int, timedelta] = MappingProxyType({}),
        pasts: Mapping[int, Past] = MappingProxyType({}),
    ) -> Judged:
        """Judge what time alone changes: hold times that end, facts that expire, silence.

        What the newest reading found looking back holds as its values do. `lags` are how far
        devices' own times lie behind, by a slow clock or a backlog: what they say of themselves is
        judged at their time, silence at ours.
        """
        looks = []
        facts = list(facts)
        looks_back = self._windows_at(
            [
                (fact.device_id, pasts[fact.device_id].at)
                for fact in facts
                if fact.device_id in pasts
            ],
            pasts,
        )
        for fact in facts:
            at = now - lags.get(fact.device_id, _NO_LAG)
            if self.windows:
                known = fact.device_id in pasts
                fact.values.update(next(looks_back) if known else self._no_windows)
            row = self._row(fact, at, seconds_since_seen.get(fact.device_id))
            expired_at = fact.expired_before(at)
            looks.append(_Look(fact.device_id, at, row, expired_at, _Last.of(fact), now))
        return self._judge(looks, states)

    def judge_facts(
        self,
        rows: Mapping[int, Mapping[str, Value | None]],
        states: Mapping[Key, RuleState],
        now: datetime,
    ) -> Judged:
        """Judge rows that an occasion worked out, by the id of their subject.

        A row has what is believed of the subject at `now`, the points of a unit among them; what
        it lacks is unknown. Hold times that ended since the last occasion take effect at their own
        instants, so nothing needs to wake in between.
        """
        looks = [
            _Look(subject_id, now, tuple(row.get(c) for c in self._schema), None, None, now)
            for subject_id, row in rows.items()
        ]
        return self._judge(looks, states)

    def _row(
        self, fact: Facts, at: datetime, seconds_since_seen: float | None
    ) -> tuple[Value | None, ...]:
        """Return what may be believed at an instant, in the frame's order.

        A window whose column is not known is not known either.
        """
        row = fact.row(at, seconds_since_seen)
        if self.windows:
            hidden = [w.name for w in self.windows if row[w.column.name] is None]
            if hidden:
                row = {**row, **dict.fromkeys(hidden)}
        values: tuple[Value | None, ...] = self._in_order(row)
        return values

    def _look_back(
        self, readings: Mapping[int, Sequence[Reading]], pasts: Mapping[int, Past]
    ) -> Iterator[Row]:
        """Let the pasts take the readings in; returns what windows say at each, in order."""
        looks = []
        for device_id, of_device in readings.items():
            for reading in of_device:
                if device_id in pasts:
                    pasts[device_id].take(reading)
                looks.append((device_id, microseconds(reading.observed_at)))
        return self._windows_at(looks, pasts)

    def _windows_at(
        self, looks: Sequence[tuple[int, int]], pasts: Mapping[int, Past]
    ) -> Iterator[Row]:
        """Return what windows say at each look (device, instant), in order."""
        if not self.windows or not looks:
            return iter(())
        place = {device_id: number for number, device_id in enumerate(pasts)}
        known = [(place[device_id], at) for device_id, at in looks if device_id in place]
        answers = values_of(self.windows, list(pasts.values()), known)
        rows = (dict(zip(answers, row, strict=True)) for row in zip(*answers.values(), strict=True))
        return (next(rows) if device_id in place else self._no_windows for device_id, _ in looks)

    def _judge(self, looks: Sequence["_Look"], states: Mapping[Key, RuleState]) -> Judged:
        judged = Judged(states=dict(states))
        if not looks or not self.judges:
            return judged
        answers, holding = self._answers(self._frame(looks), states, judged.failed)
        remembered = _by_device(states)
        for index, look in enumerate(looks):
            if look.device_id not in remembered and index not in holding:
                continue
            of_device = remembered[look.device_id] & answers.keys()
            if look.expired_at is not None:
                for key in sorted(of_device):
                    if self._watches_device[key]:
                        self._apply(look, key, Seen.UNKNOWN, look.expired_at, judged)
            for key in sorted(of_device.union(holding.get(index, ()))):
                at = look.at if self._watches_device[key] else look.our_at
                self._apply(look, key, self._seen(look, key, answers[key], index), at, judged)
                if (look.device_id, key) in judged.states:
                    remembered[look.device_id].add(key)
        return judged

    def _frame(self, looks: Sequence["_Look"]) -> pl.DataFrame:
        columns = zip(*(look.row for look in looks), strict=True)
        frame = clean(
            pl.DataFrame(dict(zip(self._schema, map(list, columns), strict=True)), self._schema)
        )
        if not self._places:
            return frame
        return frame.with_columns(
            pl.Series(_FORM_OF + key, [places.get(look.device_id) for look in looks], pl.Int32)
            for key, places in self._places.items()
        )

    def _answers(
        self, frame: pl.DataFrame, states: Mapping[Key, RuleState], failed: dict[str, str]
    ) -> tuple[dict[str, "_Answer"], dict[int, list[str]]]:
        """Return the answers of the rules that hold somewhere or are remembered, and who holds.

        In a fleet that is well these are few, so only their clear conditions are evaluated. Those
        that fail are left out and named.
        """
        conditions = _evaluate(frame, self._conditions, failed)
        holds = {key: series.to_list() for key, series in conditions.items() if series.any()}
        wanted = holds.keys() | ({key for _, key in states} & conditions.keys())
        clears = _evaluate(
            frame, {key: self._clears[key] for key in wanted & self._clears.keys()}, failed
        )
        answers = {
            key: _Answer(
                holds.get(key) or conditions[key].to_list(),
                clears[key].to_list() if key in clears else None,
            )
            for key in wanted - failed.keys()
        }
        holding: dict[int, list[str]] = defaultdict(list)
        for key in holds.keys() & answers.keys():
            for index, holds_here in enumerate(holds[key]):
                if holds_here:
                    holding[index].append(key)
        return answers, holding

    def _seen(self, look: "_Look", key: str, answer: "_Answer", index: int) -> Seen:
        if not any(_is_known(look.row[place]) for _, place in self._form(look, key).reads):
            return Seen.UNKNOWN
        raises = answer.holds[index]
        if raises:
            return Seen.RAISE
        if answer.clears is None:
            return Seen.UNKNOWN if raises is None else Seen.CLEAR
        clears = answer.clears[index]
        if clears:
            return Seen.CLEAR
        return Seen.UNKNOWN if raises is None or clears is None else Seen.BETWEEN

    def _apply(self, look: "_Look", key: str, seen: Seen, at: datetime, judged: Judged) -> None:
        form = self._form(look, key)
        before = judged.states.get((look.device_id, key))
        after, steps = advance(before, seen, at, form.timing)
        if after == before and not steps:
            return
        if after is None:
            judged.states.pop((look.device_id, key), None)
        else:
            judged.states[look.device_id, key] = after
        values, observed_at = self._decisive(look, key, steps)
        judged.changes.append(
            Judgement(look.device_id, form.rule, before, after, steps, values, observed_at)
        )

    def _decisive(self, look: "_Look", key: str, steps: Sequence[Step]) -> tuple[Row, datetime]:
        """Return the values that decided: what was last read, where time alone raised the alarm."""
        last, reads = look.last, self._form(look, key).reads
        by_time = any(step.change is Change.RAISED and step.at < look.at for step in steps)
        if by_time and last is not None and self._watches_device[key]:
            return {column: last.values.get(column) for column, _ in reads}, last.at
        return {column: look.row[place] for column, place in reads}, look.at

    def _form(self, look: "_Look", key: str) -> "_Form":
        """Return how a rule is judged for the unit of a look."""
        forms = self._forms[key]
        if len(forms) == 1:
            return forms[0]
        place = self._places[key].get(look.device_id)
        return forms[0 if place is None else place + 1]


class _Form(NamedTuple):
    """A rule as some units have it: what it reads, with the places in a row, and its times."""

    rule: Rule
    reads: list[tuple[str, int]]
    timing: Timing

    @classmethod
    def of(cls, rule: Rule, places: Mapping[str, int]) -> "_Form":
        """Return a rule ready to be judged over rows of these places."""
        return cls(
            rule,
            [(column, places[column]) for column in sorted(rule.condition.reads)],
            Timing(rule.raise_after, rule.clear_after, rule.matures_unseen),
        )


_FORM_OF = "form of "
"""Names the column that says which form of a rule a row's unit has; NULL: the rule itself."""


def _by_form(key: str, expressions: Sequence[pl.Expr]) -> pl.Expr:
    """Return the answer of the form that a row's unit has; the first where it has no other.

    The choice halves the forms at each step: thousands of them nest no deeper than a dozen.
    """
    first, *others = expressions
    if not others:
        return first
    place = pl.col(_FORM_OF + key)

    def among(low: int, high: int) -> pl.Expr:
        if high - low == 1:
            return others[low]
        middle = (low + high) // 2
        return pl.when(place < middle).then(among(low, middle)).otherwise(among(middle, high))

    return pl.when(place.is_null()).then(first).otherwise(among(0, len(others)))


def _over(rule: Rule) -> pl.Expr:
    """Return when a rule is over: its clear condition, or that it holds no more."""
    return ~rule.condition.to_polars() if rule.clear is None else rule.clear.to_polars()


class _Last(NamedTuple):
    """What was read last, whether or not it is still believed, and when."""

    values: Row
    at: datetime

    @classmethod
    def of(cls, fact: Facts) -> "_Last | None":
        """Return a copy that later readings leave alone; None before the first reading."""
        return None if fact.fast_at is None else cls(dict(fact.values), fact.fast_at)


class _Look(NamedTuple):
    """One row to judge: what is believed of a device at an instant, in the frame's order.

    `expired_at` is when its fast values had stopped being believed before that, if they had.
    `last` is what was read before, where time may have decided meanwhile. `our_at` is the same
    instant by our clock, which silence goes by.
    """

    device_id: int
    at: datetime
    row: tuple[Value | None, ...]
    expired_at: datetime | None
    last: _Last | None
    our_at: datetime


class _Answer(NamedTuple):
    """What one rule says of each row; `clears` is None where it clears by not holding."""

    holds: list[bool | None]
    clears: list[bool | None] | None


def _evaluate(
    frame: pl.DataFrame, expressions: Mapping[str, pl.Expr], failed: dict[str, str]
) -> dict[str, pl.Series]:
    """Return each expression's answers; one that fails is left out and named in `failed`."""
    try:
        return frame.select(e.alias(key) for key, e in expressions.items()).to_dict()
    except pl.exceptions.PolarsError:
        answers = {}
        for key, expression in expressions.items():
            try:
                answers[key] = frame.select(expression).to_series()
            except pl.exceptions.PolarsError as error:
                failed[key] = str(error)
        return answers


def _is_known(value: Value | None) -> bool:
    """Tell whether a value counts when judged; NaN, infinities and absurd numbers do not."""
    return value is not None and (type(value) is not float or abs(value) <= LARGEST)


def _by_device(states: Mapping[Key, RuleState]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for device_id, key in states:
        found[device_id].add(key)
    return found


def windows_of(rules: Iterable[Rule]) -> tuple[Window, ...]:
    """Return the windows that rules look through, each once, in the order of their names."""
    found: set[Window] = set()
    for rule in rules:
        found |= rule.condition.windows
        if rule.clear is not None:
            found |= rule.clear.windows
    return tuple(sorted(found, key=lambda window: window.name))


def standing(states: Mapping[Key, RuleState], device_id: int, rules: Iterable[str]) -> set[str]:
    """Return the rules whose alarm stands for a device: raised and not yet cleared."""
    return {
        key
        for key in rules
        if (state := states.get((device_id, key))) is not None and state.phase is not Phase.PENDING
    }
