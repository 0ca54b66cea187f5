"""What should be thought over before a rule is saved: said, not refused.

Only what is proven is claimed (`rules.conditions.proofs`), from what points can plausibly be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from rules.catalogue import COLUMNS, Rule
from rules.conditions import ColumnType, Condition
from rules.conditions.proofs import Known, Possible, always_holds, never_holds
from rules.conditions.tree import SPANS, Aggregate, Column, Window
from rules.occasions import FACTS
from rules.points import BY_COLUMN, CHARGER_STATES, TEST_RESULTS, Kind, Pace, Point

WarningKind = Literal[
    "never_holds", "always_holds", "never_over", "shared_failure_mode", "same_condition", "restless"
]


@dataclass(frozen=True, slots=True)
class RuleWarning:
    """Something to think over: about which field, in both languages."""

    kind: WarningKind
    field: str
    en: str
    zh: str


_ROUNDED = 1e-5
"""Windows round to six decimals."""
_WORDS = {"ups_test_result": TEST_RESULTS, "battery_charger_status": CHARGER_STATES}
_LONGEST = float(max(SPANS.values()))


def _of_point(point: Point) -> Possible:
    if point.kind is Kind.TEXT and point.column in _WORDS:
        return Possible(texts=frozenset(_WORDS[point.column]))
    if point.low is None or point.high is None:
        return Possible()
    return Possible(low=point.low, high=point.high)


def _of_windows(point: Point) -> Iterator[tuple[str, Possible]]:
    column = Column(point.column, COLUMNS[point.column])
    if point.kind is Kind.FLAG:
        yield Window(Aggregate.SINCE, "7d", column).name, Possible(low=0.0, high=_LONGEST)
    for span, seconds in SPANS.items():
        if point.kind is Kind.FLAG:
            yield Window(Aggregate.SHARE, span, column).name, Possible(low=0.0, high=1.0)
            yield Window(Aggregate.COUNT, span, column).name, Possible(low=0.0)
        if point.low is None or point.high is None:
            continue
        for aggregate in (Aggregate.AVERAGE, Aggregate.LEAST, Aggregate.GREATEST):
            yield Window(aggregate, span, column).name, _of_point(point)
        most = point.high - point.low + _ROUNDED
        rate = most * 3_600 / seconds + _ROUNDED
        yield Window(Aggregate.DELTA, span, column).name, Possible(low=-most, high=most)
        yield Window(Aggregate.RATE, span, column).name, Possible(low=-rate, high=rate)


PLAUSIBLE: Known = {
    **{column: _of_point(point) for column, point in BY_COLUMN.items()},
    **{name: possible for point in BY_COLUMN.values() for name, possible in _of_windows(point)},
    "seconds_since_seen": Possible(low=0.0),
}
"""What words of rule text can be: readings outside a point's range are refused as they arrive."""


def warnings_of(rule: Rule, others: Mapping[str, Rule]) -> list[RuleWarning]:
    """Return what should be thought over about a rule among others; its own key aside."""
    return [
        *_proven(rule),
        *_restless(rule),
        *_alike(rule, [other for key, other in others.items() if key != rule.key]),
    ]


def _proven(rule: Rule) -> Iterator[RuleWarning]:
    if never_holds(rule.condition.root, PLAUSIBLE):
        yield RuleWarning(
            "never_holds",
            "condition",
            "This condition can never hold: its bounds contradict each other, or lie beyond what"
            " can be read.",
            "此条件永远不会成立：各界限相互矛盾，或超出可读取的范围。",
        )
    elif always_holds(rule.condition.root, _where_told(rule.condition)):
        yield RuleWarning(
            "always_holds",
            "condition",
            "This condition holds for every unit that tells these values.",
            "凡上报这些值的设备，此条件始终成立。",
        )
    if rule.clear is not None and never_holds(rule.clear.root, PLAUSIBLE):
        yield RuleWarning(
            "never_over",
            "clear",
            "Its alarms would never be over: the clear condition can never hold.",
            "告警永远不会恢复：恢复条件不可能成立。",
        )


def _where_told(condition: Condition) -> Known:
    """Return what words can be where the condition is judged: not all of them are missing."""
    if len(condition.reads) != 1:
        return PLAUSIBLE
    (name,) = condition.reads
    return {**PLAUSIBLE, name: PLAUSIBLE.get(name, Possible()).known()}


def _restless(rule: Rule) -> Iterator[RuleWarning]:
    """Say where a number that moves all the time decides at once."""
    noisy = sorted(
        column
        for column in rule.condition.reads & BY_COLUMN.keys()
        if COLUMNS[column] is ColumnType.NUMBER and BY_COLUMN[column].pace is Pace.FAST
    )
    if not noisy or not rule.columns.isdisjoint(FACTS):
        return
    names = ", ".join(noisy[:3])
    if rule.raise_after == timedelta(0):
        yield RuleWarning(
            "restless",
            "raise_after_seconds",
            f"It raises at once on a value that moves ({names}): one reading is enough for an"
            " alarm. Give it a minute, or more.",
            f"取值会波动（{names}）却立即告警：一次读数就会触发。建议至少持续一分钟。",
        )
    if rule.clear is None and rule.clear_after == timedelta(0):
        yield RuleWarning(
            "restless",
            "clear_after_seconds",
            f"It is over at once on a value that moves ({names}): around the threshold it will"
            " come and go. Give it a clear condition with some distance, or a time.",
            f"取值会波动（{names}）却立即恢复：在阈值附近会反复告警。建议设置有间隔的恢复条件或持续时间。",
        )


def _alike(rule: Rule, others: list[Rule]) -> Iterator[RuleWarning]:
    same = [
        other.key
        for other in others
        if other.condition.root == rule.condition.root and other.reminder == rule.reminder
    ]
    if same:
        yield RuleWarning(
            "same_condition",
            "condition",
            f"It has the same condition as {', '.join(same)}.",
            f"与 {'、'.join(same)} 的条件相同。",
        )
    if rule.ticket is None:
        return
    mode = rule.ticket.failure_mode
    sharing = [
        other.key
        for other in others
        if other.ticket is not None and other.ticket.failure_mode == mode
    ]
    if sharing:
        yield RuleWarning(
            "shared_failure_mode",
            "ticket.failure_mode",
            f"{', '.join(sharing)} opens tickets for {mode} too: on one unit they share one"
            " ticket.",
            f"{'、'.join(sharing)} 也以 {mode} 开工单：同一设备上共用一张工单。",
        )
