"""The other rules on the same year: what opens a ticket besides batteries, and whether it should.

Every shipped rule of readings is judged by the live engine on what a unit showed, and once more on
what was really so: the room's true temperature, the true load and outages, without sensors, gaps
and flags in between. A ticket that the same rule does not open on the truth within a day of it is
false. Values outside their points' plausible range are left out, as conversion does.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from bench.judgement.observed import A_DAY, FIRST_DAY, Observed
from bench.judgement.truth import BEFORE_DAYS, WATCHED_DAYS, Truth
from rules.alarms import Change, RuleState, inhibitor
from rules.believed import Facts
from rules.catalogue import Rule, catalogue
from rules.engine import Engine, Judgement, Key
from rules.facts import Reading, Value
from rules.points import BY_COLUMN
from rules.tickets import REOPEN_WINDOW

Floats = NDArray[np.float64]

STEP = timedelta(minutes=15)
NEAR = timedelta(days=1)
_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A ticket: its failure mode, the rule behind it, when."""

    mode: str
    rule: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Year:
    """One unit's year by other rules: alarms raised by rule, tickets, those that are false.

    `causes` counts what was really so, by failure mode: tickets that the truth opens.
    """

    alarms: dict[str, int]
    tickets: tuple[Opened, ...]
    false: tuple[Opened, ...]
    causes: dict[str, int]


def year_of(real: Truth, seen: Observed) -> Year:
    """Judge one unit's scored year."""
    engine = Engine(catalogue())
    shown, true = _judged(engine, _shown(seen)), _judged(engine, _true(real, seen))
    false = tuple(
        one
        for one in shown.tickets
        if not any(
            other.mode == one.mode and abs(other.at - one.at) <= NEAR for other in true.tickets
        )
    )
    causes = Counter(one.mode for one in true.tickets)
    return Year(shown.alarms, tuple(shown.tickets), false, dict(causes))


@dataclass(slots=True)
class _Desk:
    """What stands at the unit, and the tickets of it; as the store keeps them."""

    stands: set[str] = field(default_factory=set)
    alarms: dict[str, int] = field(default_factory=dict)
    tickets: list[Opened] = field(default_factory=list)
    last: dict[str, datetime] = field(default_factory=dict)

    def take(self, changes: Iterable[Judgement]) -> None:
        """Take in what a batch changed, in the order of time."""
        steps = [(step.at, change.rule, step.change) for change in changes for step in change.steps]
        for at, together in groupby(sorted(steps, key=itemgetter(0)), key=itemgetter(0)):
            now = list(together)
            raised = [rule for _, rule, change in now if change is Change.RAISED]
            self.stands |= {rule.key for rule in raised}
            self.stands -= {rule.key for _, rule, change in now if change is Change.CLEARED}
            for rule in raised:
                self.alarms[rule.key] = self.alarms.get(rule.key, 0) + 1
                self._open(rule, at)

    def _open(self, rule: Rule, at: datetime) -> None:
        """Open the ticket of an alarm, unless another explains it or its ticket is young."""
        if rule.ticket is None or inhibitor(rule.inhibited_by, self.stands) is not None:
            return
        mode = rule.ticket.failure_mode
        if mode not in self.last or at - self.last[mode] > REOPEN_WINDOW:
            self.tickets.append(Opened(mode, rule.key, at))
        self.last[mode] = at


def _judged(engine: Engine, readings: Iterator[dict[str, Value | None]]) -> _Desk:
    facts = {1: Facts(1, dict.fromkeys(engine.columns), None, None, None)}
    states: Mapping[Key, RuleState] = {}
    desk = _Desk()
    at = datetime.fromtimestamp((FIRST_DAY + BEFORE_DAYS) * 86_400, UTC)
    batch: list[Reading] = []
    for points in chain(readings, [None]):
        at += STEP
        told = {
            column: value
            for column, value in (points or {}).items()
            if _is_plausible(column, value)
        }
        if told:
            batch.append(Reading(1, at, at, told, stays_valid_seconds=2_700))
        if batch and (points is None or len(batch) == _AT_ONCE):
            judged = engine.judge_readings(facts, {1: batch}, states)
            desk.take(judged.changes)
            states, batch = judged.states, []
    return desk


def _is_plausible(column: str, value: Value | None) -> bool:
    if value is None:
        return False
    point = BY_COLUMN[column]
    if isinstance(value, bool) or not isinstance(value, float):
        return True
    return (
        value == value  # noqa: PLR0124 - NaN is not itself
        and (point.low is None or value >= point.low)
        and (point.high is None or value <= point.high)
    )


def _shown(seen: Observed) -> Iterator[dict[str, Value | None]]:
    flagged = _flagged(seen)
    tests = sorted((at, outcome) for at, outcome, _ in seen.tests)
    place, result = 0, None
    for n in range(BEFORE_DAYS * A_DAY, WATCHED_DAYS * A_DAY):
        while place < len(tests) and tests[place][0].timestamp() <= seen.start[n]:
            result, place = tests[place][1], place + 1
        if np.isnan(seen.load[n]):
            yield {}
            continue
        on_battery = bool(seen.on_battery[n] > 0)
        yield {
            "ups_load": float(seen.load[n]),
            "battery_runtime": float(seen.runtime[n]),
            "battery_charge": float(seen.charge[n]),
            "battery_temperature": float(seen.celsius[n]),
            "status_on_battery": on_battery,
            "status_on_line": not on_battery,
            "status_replace_battery": bool(flagged[n]) if seen.has_flag else None,
            "ups_test_result": result,
        }


def _flagged(seen: Observed) -> NDArray[np.bool_]:
    """Return in which buckets the flag stood for the whole of it."""
    stood = np.zeros(len(seen.start), dtype=bool)
    for since, until in seen.flags:
        ends = np.inf if until is None else until.timestamp()
        stood |= (seen.start >= since.timestamp()) & (seen.start + 900 <= ends)
    return stood


def _true(real: Truth, seen: Observed) -> Iterator[dict[str, Value | None]]:
    for n in range(BEFORE_DAYS * A_DAY, WATCHED_DAYS * A_DAY):
        day = n // A_DAY
        on_battery = bool(np.nan_to_num(seen.on_battery[n]) > 0)
        yield {
            "ups_load": float(seen.load[n]) if np.isfinite(seen.load[n]) else float(real.load[day]),
            "battery_temperature": float(real.celsius[day]),
            "status_on_battery": on_battery,
            "status_on_line": not on_battery,
        }
