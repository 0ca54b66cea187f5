"""Entitlement: what a customer is owed for a unit on a day, by which clause, and by when.

Pure: contract facts and an instant go in, the verdict with each condition and the arithmetic of
its deadlines comes out. How hours are counted is in `rules.working_time`; how contracts are read
from the database is in `rules.entitlement_store`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rules.deadline_lines import Line, deadline_lines, local_text
from rules.workdays import day_kinds
from rules.working_time import Calendar, NoWorkingTime, add_working_time

__all__ = ["Calendar", "Condition", "Cover", "Entitlement", "add_working_time", "check"]

DEFAULT_RESPOND_MINUTES = 540
"""Without a contract: the next working day, at the same time."""
DEFAULT_RESTORE_MINUTES = 2_700
"""Without a contract: five working days."""

CHINESE_ZONES = frozenset({"Asia/Shanghai", "Asia/Urumqi", "Asia/Chongqing", "Asia/Harbin", "PRC"})


@dataclass(frozen=True, slots=True)
class Cover:
    """A contract as far as one unit is concerned; None is a date that nobody recorded."""

    contract_id: int
    key: str
    name_en: str
    name_zh: str
    state: str
    starts_on: date | None
    ends_on: date | None
    customer_id: int
    covers_device: bool
    calendar: Calendar
    respond_minutes: int
    restore_minutes: int | None = None
    parts: bool = False
    labor: bool = True
    batteries: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of the verdict: it holds, it does not, or None as a fact is missing."""

    name: str
    holds: bool | None
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What is owed, with its reasons; deadlines are aware UTC."""

    device_id: int
    covered: bool
    conditions: tuple[Condition, ...]
    contract_id: int | None
    contract_name: Line | None
    clause_en: str
    clause_zh: str
    lines: tuple[Line, ...]
    respond_by_at: datetime | None
    restore_by_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as it is kept with a ticket and sent over HTTP."""
        name = self.contract_name
        return {
            "covered": self.covered,
            "conditions": [
                {"name": c.name, "holds": c.holds, "en": c.en, "zh": c.zh} for c in self.conditions
            ],
            "contract_id": self.contract_id,
            "contract_name": None if name is None else name.en,
            "contract_name_zh": None if name is None else name.zh,
            "clause_en": self.clause_en,
            "clause_zh": self.clause_zh,
            "lines": [{"en": line.en, "zh": line.zh} for line in self.lines],
            "respond_by_at": _iso(self.respond_by_at),
            "restore_by_at": _iso(self.restore_by_at),
        }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def default_calendar(time_zone: str) -> Calendar:
    """Return the calendar of a unit without a contract: office hours at its site."""
    country = "CN" if time_zone in CHINESE_ZONES else None
    return Calendar(country=country, kind_of=day_kinds(country))


def check(
    *,
    customer_id: int,
    device_id: int,
    covers: Sequence[Cover],
    warranty_until: date | None,
    at: datetime,
    time_zone: str,
) -> Entitlement:
    """Decide what `customer_id` is owed for `device_id` at `at`.

    The contract with the earliest deadline among those that apply wins; without one the warranty
    decides who pays and the default targets count. "Today" is the site's day.
    """
    today = at.astimezone(ZoneInfo(time_zone)).date()
    judged = [(cover, _contract_conditions(cover, customer_id, today)) for cover in covers]
    apply = [pair for pair in judged if all(condition.holds for condition in pair[1])]
    warranty = _warranty_condition(warranty_until, today)
    if not apply:
        nearest = max(judged, key=lambda pair: (_held(pair[1]), pair[0].contract_id), default=None)
        conditions = _no_contract() if nearest is None else nearest[1]
        others = tuple(_other(cover, conditions) for cover, conditions in judged)
        return _without_contract(
            device_id=device_id,
            conditions=(*conditions, warranty),
            warranty=warranty,
            others=others,
            at=at,
            zone=time_zone,
        )
    promises = [(_promise(cover, at, time_zone), cover, found) for cover, found in apply]
    promise, best, conditions = min(promises, key=lambda one: one[0].sort_key(one[1].contract_id))
    others = tuple(
        _other(cover, found) for cover, found in judged if cover.contract_id != best.contract_id
    )
    return Entitlement(
        device_id=device_id,
        covered=True,
        conditions=(*conditions, warranty),
        contract_id=best.contract_id,
        contract_name=Line(best.name_en, best.name_zh),
        clause_en=_clause(best).en,
        clause_zh=_clause(best).zh,
        lines=(*promise.lines, *others),
        respond_by_at=promise.respond_by_at,
        restore_by_at=promise.restore_by_at,
    )


@dataclass(frozen=True, slots=True)
class _Promise:
    respond_by_at: datetime | None
    restore_by_at: datetime | None
    lines: tuple[Line, ...]

    def sort_key(self, contract_id: int) -> tuple[float, float, int]:
        def instant(at: datetime | None) -> float:
            return float("inf") if at is None else at.timestamp()

        return instant(self.respond_by_at), instant(self.restore_by_at), contract_id


def _promise(cover: Cover, at: datetime, time_zone: str) -> _Promise:
    return _deadlines(cover.calendar, cover.respond_minutes, cover.restore_minutes, at, time_zone)


def _deadlines(
    calendar: Calendar, respond: int, restore: int | None, at: datetime, time_zone: str
) -> _Promise:
    said = local_text(at, time_zone)
    reported = Line(f"Reported {said} ({time_zone}).", f"报告时间 {said}（{time_zone}）。")
    try:
        respond_by_at, respond_lines = deadline_lines(
            Line("Response", "响应"), at, respond, calendar, time_zone
        )
        restore_by_at, restore_lines = (
            deadline_lines(Line("Restoration", "恢复"), at, restore, calendar, time_zone)
            if restore is not None
            else (None, ())
        )
    except NoWorkingTime:
        lines = (
            reported,
            Line(
                "The calendar has no working hours: no deadline can be counted.",
                "该服务日历没有任何工作时间，无法计算时限。",
            ),
        )
        return _Promise(None, None, lines)
    return _Promise(respond_by_at, restore_by_at, (reported, *respond_lines, *restore_lines))


def _held(conditions: Sequence[Condition]) -> int:
    return sum(condition.holds is True for condition in conditions)


def _contract_conditions(cover: Cover, customer_id: int, today: date) -> tuple[Condition, ...]:
    en, zh = cover.name_en, cover.name_zh
    names = cover.customer_id == customer_id
    active = cover.state == "active"
    return (
        Condition(
            "contract_customer",
            names,
            f"Contract “{en}” names {'this' if names else 'another'} customer.",
            f"合同“{zh}”的客户{'是' if names else '不是'}本客户。",
        ),
        Condition(
            "contract_device",
            cover.covers_device,
            f"It {'lists' if cover.covers_device else 'does not list'} this unit.",
            f"合同设备清单{'包含' if cover.covers_device else '不包含'}本设备。",
        ),
        _dated("contract_started", cover.starts_on, today, lambda start: today >= start),
        _dated("contract_not_ended", cover.ends_on, today, lambda end: today <= end),
        Condition(
            "contract_active",
            active,
            "The contract is active." if active else f"The contract is {cover.state}.",
            "合同状态为有效。"
            if active
            else f"合同状态为{_STATES_ZH.get(cover.state, cover.state)}。",
        ),
    )


_STATES_ZH = {"draft": "草稿", "cancelled": "已取消"}

# name: sentences (en, zh) when it holds, when it does not, when the date is missing
_DATED: dict[str, tuple[Line, Line, Line]] = {
    "contract_started": (
        Line("It started on {day}; today is {today}.", "合同自 {day} 起生效，今天是 {today}。"),
        Line("It starts only on {day}; today is {today}.", "合同 {day} 才生效，今天是 {today}。"),
        Line("Its start date is not recorded.", "合同未登记生效日期。"),
    ),
    "contract_not_ended": (
        Line(
            "It runs until {day}; today is {today}.", "合同有效至 {day}（含当日），今天是 {today}。"
        ),
        Line("It ended on {day}; today is {today}.", "合同已于 {day} 到期，今天是 {today}。"),
        Line("Its end date is not recorded.", "合同未登记到期日期。"),
    ),
    "warranty": (
        Line("The unit is under warranty until {day}.", "设备在质保期内，质保至 {day}。"),
        Line("The unit's warranty ended on {day}.", "设备质保已于 {day} 到期。"),
        Line("The unit's warranty date is not recorded.", "设备未登记质保到期日。"),
    ),
}


def _dated(name: str, day: date | None, today: date, holds: Callable[[date], bool]) -> Condition:
    yes, no, missing = _DATED[name]
    if day is None:
        return Condition(name, None, missing.en, missing.zh)
    said = yes if holds(day) else no
    words = {"day": day.isoformat(), "today": today.isoformat()}
    return Condition(name, holds(day), said.en.format(**words), said.zh.format(**words))


def _warranty_condition(until: date | None, today: date) -> Condition:
    return _dated("warranty", until, today, lambda end: today <= end)


def _no_contract() -> tuple[Condition, ...]:
    unknown = Line("No contract to look at.", "没有可核对的合同。")
    return (
        Condition(
            "contract_customer",
            False,  # noqa: FBT003  a three-valued verdict reads best bare
            "No contract names this customer.",
            "没有以本客户为签约方的合同。",
        ),
        *(
            Condition(name, None, unknown.en, unknown.zh)
            for name in (
                "contract_device",
                "contract_started",
                "contract_not_ended",
                "contract_active",
            )
        ),
    )


def _other(cover: Cover, conditions: Sequence[Condition]) -> Line:
    failing = [condition for condition in conditions if not condition.holds]
    if not failing:
        return Line(
            f"Contract “{cover.name_en}” applies too, with a later deadline.",
            f"合同“{cover.name_zh}”同样适用，但时限更晚。",
        )
    return Line(
        f"Contract “{cover.name_en}” does not apply: {' '.join(c.en for c in failing)}",
        f"合同“{cover.name_zh}”不适用：{''.join(c.zh for c in failing)}",
    )


def _clause(cover: Cover) -> Line:
    covered = [
        word
        for word, holds in (
            (Line("labor", "人工"), cover.labor),
            (Line("parts", "备件"), cover.parts),
            (Line("batteries", "电池"), cover.batteries),
        )
        if holds
    ]
    included = (
        Line("nothing included", "费用另计")
        if not covered
        else Line(
            ", ".join(word.en for word in covered) + " included",
            "包含" + "、".join(word.zh for word in covered),
        )
    )
    return Line(
        f"Contract “{cover.name_en}” ({cover.key}): {included.en}.",
        f"合同“{cover.name_zh}”（{cover.key}）：{included.zh}。",
    )


def _without_contract(
    *,
    device_id: int,
    conditions: tuple[Condition, ...],
    warranty: Condition,
    others: tuple[Line, ...],
    at: datetime,
    zone: str,
) -> Entitlement:
    promise = _deadlines(
        default_calendar(zone), DEFAULT_RESPOND_MINUTES, DEFAULT_RESTORE_MINUTES, at, zone
    )
    under_warranty = warranty.holds is True
    clause = (
        Line(
            f"Warranty. {warranty.en} No contract applies: the default targets count.",
            f"质保。{warranty.zh}没有适用的维保合同，按默认时限执行。",
        )
        if under_warranty
        else Line(
            "Not covered: no contract applies and no warranty is known to run. "
            "The default targets count; work is charged.",
            "不在保障范围内：没有适用的维保合同，也未确认在质保期内。按默认时限执行，服务收费。",
        )
    )
    return Entitlement(
        device_id=device_id,
        covered=under_warranty,
        conditions=conditions,
        contract_id=None,
        contract_name=None,
        clause_en=clause.en,
        clause_zh=clause.zh,
        lines=(*promise.lines, *others),
        respond_by_at=promise.respond_by_at,
        restore_by_at=promise.restore_by_at,
    )
