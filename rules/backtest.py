"""What a rule would have made of history: the same conditions, the same `advance`. Pure.

Rows that `rules.history` merged are judged at once; only where the answer changes does a device's
state advance, exactly as it does live: at readings, and where fast values stopped being believed.
Other rules' alarms, shelving and whatever people do are no part of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from rules.alarms import Change, RuleState, Seen, Step, Timing, advance
from rules.catalogue import COLUMNS, Rule
from rules.conditions import ColumnType, clean
from rules.engine import windows_of
from rules.history import Carried, Merged, Rows, texts_of
from rules.points import BY_COLUMN, TREND_FLAGS, TREND_NUMBERS
from rules.tickets import REOPEN_WINDOW
from rules.windows import ALWAYS, NEVER, instant, longest_spans, window_values

SINCE_SEEN = "seconds_since_seen"
SEEN = (Seen.UNKNOWN, Seen.RAISE, Seen.CLEAR, Seen.BETWEEN)
"""What the codes of judged rows stand for."""
_UNKNOWN, _RAISE, _CLEAR, _BETWEEN = range(4)

ROLLUP = timedelta(minutes=15)
LEAST_WINDOW_ON_ROLLUPS = 3_600
"""Seconds: a window over averages of 15 minutes holds four of them at least (judgement)."""

_TREND = {point.column for point in (*TREND_NUMBERS, *TREND_FLAGS)}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be tried on history, in both languages."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that would have been; `cleared_at` is None where it stood at the end."""

    device_id: int
    raised_at: datetime
    cleared_at: datetime | None


def points_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return the points that rules need, in one order."""
    found: set[str] = set()
    for rule in rules:
        found |= rule.condition.columns
        if rule.clear is not None:
            found |= rule.clear.columns
    return tuple(sorted(found & BY_COLUMN.keys()))


def refusal(rule: Rule) -> Refusal | None:
    """Say why a rule cannot be tried on readings, None where it can."""
    used = set(rule.condition.columns) | set(rule.clear.columns if rule.clear else ())
    other = sorted(used - BY_COLUMN.keys() - {SINCE_SEEN})
    if other:
        return Refusal(
            f"{', '.join(other)}: what is no reading has no history to try a rule on",
            f"{', '.join(other)}：不是设备读数，没有可供试算的历史",
        )
    if not used & BY_COLUMN.keys():
        return Refusal(
            "silence is not kept in history: only rules over what units report can be tried",
            "历史中没有失联时长：只能试算基于设备读数的规则",
        )
    return None


def refusal_of_rollups(rule: Rule) -> Refusal | None:
    """Say why a rule cannot be tried on averages of 15 minutes, None where it can.

    Averages hide what lasts less than they do: a condition must be about longer times.
    """
    odd = sorted(set(points_of([rule])) - _TREND)
    if odd:
        return Refusal(f"rollups do not keep {', '.join(odd)}", f"汇总数据中没有 {', '.join(odd)}")
    windows = windows_of([rule])
    looks_long = bool(windows) and all(
        window.seconds >= LEAST_WINDOW_ON_ROLLUPS for window in windows
    )
    names = {window.name for window in windows}
    is_all_windows = rule.condition.reads <= names
    if rule.raise_after >= ROLLUP and (looks_long or not windows):
        return None
    if is_all_windows and looks_long:
        return None
    return Refusal(
        "its condition is about less than 15 minutes, and rollups are averages of 15 minutes",
        "条件关注的时间不足 15 分钟，而汇总数据是 15 分钟的平均值",
    )


class Judge:
    """One rule, ready for merged rows."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._windows = windows_of([rule])
        self._reads = sorted(rule.condition.reads)
        self._all = sorted(rule.condition.reads | (rule.clear.reads if rule.clear else set()))
        self._condition = rule.condition.to_polars()
        self._clear = None if rule.clear is None else rule.clear.to_polars()

    def codes(self, rows: Rows, merged: Merged, words: Sequence[str]) -> np.ndarray:
        """Return for each row the place in `SEEN` of what it says; as `Engine` sees it live."""
        count = len(rows.at)
        named = {window.name: window for window in self._windows}
        columns: dict[str, pl.Series] = {}
        known = np.zeros(count, bool)
        for name in self._all:
            if name == SINCE_SEEN:
                values = np.zeros(count)
            elif name in named:
                steps = merged.steps[named[name].column.name]
                values = window_values(named[name], steps, merged.devices, rows.at)
            else:
                values = merged.believed[name]
            if name in self._reads:
                known |= ~np.isnan(values)
            columns[name] = _series(name, values, words)
        frame = clean(pl.DataFrame(columns))
        holds = frame.select(self._condition.alias("holds")).to_series()
        raises = holds.fill_null(value=False).to_numpy()
        unsure = holds.is_null().to_numpy()
        if self._clear is None:
            codes = np.where(raises, _RAISE, np.where(unsure, _UNKNOWN, _CLEAR))
        else:
            over = frame.select(self._clear.alias("over")).to_series()
            clears = over.fill_null(value=False).to_numpy()
            unsure |= over.is_null().to_numpy()
            codes = np.where(unsure, _UNKNOWN, _BETWEEN)
            codes = np.where(raises, _RAISE, np.where(clears, _CLEAR, codes))
        return np.where(known, codes, _UNKNOWN)


def _series(name: str, values: np.ndarray, words: Sequence[str]) -> pl.Series:
    kind = COLUMNS.get(name, ColumnType.NUMBER)
    if kind is ColumnType.TEXT:
        return pl.Series(name, texts_of(values, words), dtype=pl.String)
    series = pl.Series(name, values, nan_to_null=True)
    return series == 1.0 if kind is ColumnType.FLAG else series


@dataclass(slots=True)
class _Walked:
    """One device's way: what is remembered, what was seen last, the alarm that stands."""

    state: RuleState | None = None
    raised_at: datetime | None = None


class Walk:
    """Carries one rule through the history of some devices, piece by piece."""

    def __init__(self, rule: Rule, devices: Sequence[int]) -> None:
        self.raised: list[Raised] = []
        self.judge = Judge(rule)
        self._timing = Timing(rule.raise_after, rule.clear_after, rule.matures_unseen)
        self._devices = list(devices)
        self._walked = [_Walked() for _ in devices]
        self._last = np.zeros(len(devices), np.int64)

    def take(self, rows: Rows, merged: Merged, words: Sequence[str], since: int) -> None:
        """Judge a piece's rows from the instant `since` on; the ones before only lead up to it."""
        codes = self.judge.codes(rows, merged, words)
        counts = rows.at >= since
        if not counts.all():
            codes, at = codes[counts], rows.at[counts]
            devices, expired = merged.devices[counts], merged.expired_at[counts]
            expired = np.where(expired < since, NEVER, expired)
        else:
            at, devices, expired = rows.at, merged.devices, merged.expired_at
        if len(at) == 0:
            return
        before = np.roll(codes, 1)
        is_first = np.ones(len(codes), bool)
        is_first[1:] = devices[1:] != devices[:-1]
        before[is_first] = self._last[devices[is_first]]
        lost = (expired != NEVER) & (before != _UNKNOWN)
        changes = np.where(expired != NEVER, _UNKNOWN, before) != codes
        for place in np.flatnonzero(lost | changes).tolist():
            device = int(devices[place])
            if lost[place]:
                self._advance(device, Seen.UNKNOWN, int(expired[place]))
            if changes[place]:
                self._advance(device, SEEN[int(codes[place])], int(at[place]))
        is_last = np.ones(len(codes), bool)
        is_last[:-1] = is_first[1:]
        self._last[devices[is_last]] = codes[is_last]

    def finish(self, carried: Carried, until: datetime) -> None:
        """Let time pass to the end; what stands then stands."""
        for device, expires in enumerate(carried.fast_until.tolist()):
            walked = self._walked[device]
            if walked.state is None:
                continue
            seen = SEEN[int(self._last[device])]
            if expires != ALWAYS and instant(expires) < until:
                self._advance(device, Seen.UNKNOWN, expires)
                seen = Seen.UNKNOWN
            self._step(device, seen, until)
            if walked.raised_at is not None:
                self.raised.append(Raised(self._devices[device], walked.raised_at, None))

    def _advance(self, device: int, seen: Seen, at: int) -> None:
        walked = self._walked[device]
        if walked.state is None and seen is not Seen.RAISE:
            return
        self._step(device, seen, instant(at))

    def _step(self, device: int, seen: Seen, at: datetime) -> None:
        walked = self._walked[device]
        walked.state, steps = advance(walked.state, seen, at, self._timing)
        self._note(device, walked, steps)

    def _note(self, device: int, walked: _Walked, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.change is Change.RAISED:
                walked.raised_at = step.at
            elif step.change is Change.CLEARED and walked.raised_at is not None:
                self.raised.append(Raised(self._devices[device], walked.raised_at, step.at))
                walked.raised_at = None


@dataclass(frozen=True, slots=True)
class PastTicket:
    """A ticket of the rule's failure mode that was closed, and how."""

    id: int
    device_id: int
    opened_at: datetime
    closed_at: datetime
    closing_code: str


@dataclass(frozen=True, slots=True)
class Week:
    """What a week would have brought; weeks begin where the span does."""

    begins_at: datetime
    alarms: int
    tickets: int


@dataclass(slots=True)
class Scores:
    """What past tickets say of the alarms that would have been.

    A hit is an alarm near a ticket that ended with something done; a false alarm is near one that
    was closed as such, or that went away by itself; of the rest nobody knows. `missed` are tickets
    with something done that no alarm came near.
    """

    hits: int = 0
    false_alarms: int = 0
    unknown: int = 0
    missed: int = 0
    missed_tickets: list[int] = field(default_factory=list)


SOMETHING_DONE = frozenset({"repaired", "part_replaced", "battery_replaced", "resolved_remotely"})
NOTHING_WRONG = frozenset({"false_alarm", "cleared_by_itself"})
AHEAD = timedelta(days=60)
"""An alarm counts for a ticket opened so much later: the notice that a replacement needs."""
BEHIND = timedelta(days=1)
"""… or so much earlier: people may have seen it first."""


def scored(raised: Sequence[Raised], tickets: Sequence[PastTicket]) -> Scores:
    """Compare alarms with the closed tickets of the same device and failure mode."""
    of_device: dict[int, list[PastTicket]] = defaultdict(list)
    for ticket in tickets:
        of_device[ticket.device_id].append(ticket)
    scores, found = Scores(), set()
    for alarm in raised:
        near = [
            ticket
            for ticket in of_device[alarm.device_id]
            if alarm.raised_at - BEHIND <= ticket.closed_at
            and ticket.opened_at <= alarm.raised_at + AHEAD
        ]
        found |= {ticket.id for ticket in near}
        codes = {ticket.closing_code for ticket in near}
        if codes & SOMETHING_DONE:
            scores.hits += 1
        elif codes & NOTHING_WRONG:
            scores.false_alarms += 1
        else:
            scores.unknown += 1
    scores.missed_tickets = sorted(
        ticket.id
        for ticket in tickets
        if ticket.id not in found and ticket.closing_code in SOMETHING_DONE
    )
    scores.missed = len(scores.missed_tickets)
    return scores


def weeks(
    raised: Iterable[Raised], since: datetime, until: datetime, *, opens_ticket: bool
) -> list[Week]:
    """Count alarms and tickets by week; a relapse within 14 days opens no new ticket."""
    span = timedelta(days=7)
    count = max(1, -((since - until) // span))
    alarms, tickets = [0] * count, [0] * count
    quiet_since: dict[int, datetime] = {}
    for alarm in sorted(raised, key=lambda one: (one.raised_at, one.device_id)):
        week = min((alarm.raised_at - since) // span, count - 1)
        alarms[week] += 1
        last = quiet_since.get(alarm.device_id)
        if opens_ticket and (last is None or alarm.raised_at > last + REOPEN_WINDOW):
            tickets[week] += 1
        quiet_since[alarm.device_id] = alarm.cleared_at or until
    return [Week(since + n * span, alarms[n], tickets[n]) for n in range(count)]


Progress = Callable[[int, int], None]
"""Told the parts done and all parts; raises to end the run."""


def spans_of(rules: Iterable[Rule]) -> Mapping[str, int]:
    """Return for how many seconds rules look back on each column."""
    return longest_spans(windows_of(rules))
