"""When a task is due at a unit, and why: the earliest of calendar, meter, condition and heat.

Pure: a task, what is known of the unit, and the site's day go in; the next date with every reason
that could bring it about comes out. The calendar itself is `rules.maintenance`, heat `rules.wear`.
What is not known moves no date.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum

from rules.facts import Value
from rules.maintenance import (
    LATE_AFTER,
    OPENS_BEFORE,
    CountedFrom,
    Due,
    MaintenanceState,
    Plan,
    months_later,
    next_due,
    state_on,
)
from rules.maintenance_tasks import Meter, MeterLimit, Task
from rules.wear import worn_out

DAYS_A_MONTH = 365.25 / 12
MOST_MISSED = 240


class Outcome(StrEnum):
    """How an occurrence of planned work ended."""

    EARLY = "early"
    """Done before its window opened."""
    IN_TIME = "in_time"
    LATE = "late"
    MISSED = "missed"
    """The next one was due before it was done."""


class Cause(StrEnum):
    """What makes work due."""

    CALENDAR = "calendar"
    METER = "meter"
    CONDITION = "condition"
    HEAT = "heat"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a meter has counted since the work was last done, over so many days that are known."""

    since_last: float
    days: int

    @property
    def a_year(self) -> float | None:
        """The use of a year at this pace; None when less than 30 days are known."""
        return self.since_last * 365.25 / self.days if self.days >= 30 else None


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """What is known of a unit as far as one task is concerned; None is not known.

    `watched_since` is from when on a missed date can be blamed on anybody. `row` are the words of
    rule text, `holding_since` since when the task's conditions hold, by their text.
    """

    installed_on: date | None = None
    last_done_on: date | None = None
    last_scheduled_on: date | None = None
    every_months: int | None = None
    watched_since: date | None = None
    usage: Mapping[Meter, Usage] = field(default_factory=dict)
    celsius: Sequence[tuple[date, float | None]] = ()
    row: Mapping[str, Value | None] = field(default_factory=dict)
    holding_since: Mapping[str, date] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that makes the work due, and when."""

    cause: Cause
    due_on: date
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next date with its reasons, the deciding one first.

    `missed` are the dates that passed without the work before the next one was reached.
    `every_months` is how often the work recurs as things are, for forecasts.
    """

    due: Due
    reasons: tuple[Reason, ...]
    missed: tuple[date, ...]
    every_months: float
    holding_since: Mapping[str, date]


def outlook(task: Task, unit: UnitFacts, today: date) -> Outlook:
    """Reckon when a task is due next at a unit.

    1. What was done before the unit stood there was done to another one.
    2. By the calendar, from completion or schedule; dates that were missed are let go.
    3. By meters, conditions and heat, each from the day of the last work; the earliest decides.
    """
    unit = _of_this_unit(unit)
    months = unit.every_months or task.every_months
    plan = Plan(months, task.counted_from)
    due, missed = _by_calendar(plan, unit, today)
    holding = _holding(task, unit, today)
    if due.due_on is None:
        return Outlook(due, (), (), float(months), holding)
    reasons = [_calendar_reason(due.due_on, months, unit)]
    since = unit.last_done_on or unit.installed_on
    if since is not None and since <= today:
        reasons += _by_meters(task, unit, months, since, today)
        reasons += _by_heat(task, unit, months, since, today)
    # A meter that says the same as the calendar within a week says nothing of its own.
    reasons = [
        one
        for one in reasons
        if one.cause is not Cause.METER or abs((one.due_on - due.due_on).days) > 7
    ]
    reasons += _by_conditions(task, holding)
    reasons.sort(key=lambda reason: (reason.due_on, list(Cause).index(reason.cause)))
    due_on = reasons[0].due_on
    share = 1.0
    heat = [r for r in reasons if r.cause in {Cause.HEAT, Cause.METER}]
    if heat and since is not None:
        shortest = min(reason.due_on for reason in heat)
        share = min(1.0, max(1, (shortest - since).days) / max(1, (due.due_on - since).days))
    return Outlook(_with_date(due, due_on, today), tuple(reasons), missed, months * share, holding)


def outcome_of(due_on: date | None, done_on: date) -> Outcome:
    """Tell how work that was done on a day stands to its date; without a date it is in time."""
    if due_on is None:
        return Outcome.IN_TIME
    if done_on < due_on - OPENS_BEFORE:
        return Outcome.EARLY
    return Outcome.IN_TIME if done_on < due_on + LATE_AFTER else Outcome.LATE


def _of_this_unit(unit: UnitFacts) -> UnitFacts:
    installed = unit.installed_on
    if installed is None:
        return unit
    done, scheduled = unit.last_done_on, unit.last_scheduled_on
    if done is not None and done < installed:
        done = scheduled = None
    if scheduled is not None and scheduled < installed:
        scheduled = None
    return replace(unit, last_done_on=done, last_scheduled_on=scheduled)


def _by_calendar(plan: Plan, unit: UnitFacts, today: date) -> tuple[Due, tuple[date, ...]]:
    """Return the date by the calendar; a promised one whose successor is reached was missed."""
    scheduled = _covered(plan, unit)
    missed: list[date] = []
    while True:
        due = next_due(
            plan,
            installed_on=unit.installed_on,
            last_done_on=unit.last_done_on,
            last_scheduled_on=scheduled,
            today=today,
        )
        if (
            plan.counted_from is not CountedFrom.SCHEDULE
            or due.due_on is None
            or len(missed) >= MOST_MISSED
            or months_later(due.due_on, plan.every_months) > today
        ):
            seen = unit.watched_since
            return due, tuple(day for day in missed if seen is None or day >= seen)
        missed.append(due.due_on)
        scheduled = due.due_on


def _covered(plan: Plan, unit: UnitFacts) -> date | None:
    """Return the last promised date that the last work answers.

    Work that came so late that the next one could be done already answers that one too: nobody
    goes twice within weeks. Half the interval at most counts as the next one's window.
    """
    scheduled, done = unit.last_scheduled_on, unit.last_done_on
    if plan.counted_from is not CountedFrom.SCHEDULE or scheduled is None or done is None:
        return scheduled
    window = min(OPENS_BEFORE, timedelta(days=plan.every_months * DAYS_A_MONTH / 2))
    for _ in range(MOST_MISSED):
        following = next_due(
            plan,
            installed_on=unit.installed_on,
            last_done_on=done,
            last_scheduled_on=scheduled,
            today=done,
        ).due_on
        if following is None or following - window > done:
            break
        scheduled = following
    return scheduled


def _calendar_reason(due_on: date, months: int, unit: UnitFacts) -> Reason:
    en, zh = _span(months)
    if unit.last_done_on is not None:
        last_en, last_zh = f"last done {unit.last_done_on}", f"上次完成 {unit.last_done_on}"
    else:
        last_en, last_zh = f"installed {unit.installed_on}", f"安装于 {unit.installed_on}"
    return Reason(
        Cause.CALENDAR,
        due_on,
        f"every {en}; {last_en} → due {due_on}",
        f"每 {zh}一次；{last_zh} → {due_on} 到期",
    )


def _by_meters(task: Task, unit: UnitFacts, months: int, since: date, today: date) -> list[Reason]:
    found = []
    for limit in task.meters:
        usage = unit.usage.get(limit.meter)
        if usage is None or usage.since_last < 0:
            continue
        reason = (
            _by_count(limit, usage, today)
            if limit.every is not None
            else _by_year(limit, usage, months, since, today)
        )
        if reason is not None:
            found.append(reason)
    return found


_METER_WORDS = {
    Meter.RUN_HOURS: ("h of running", "小时运行"),
    Meter.BATTERY_HOURS: ("h on battery", "小时电池供电"),
    Meter.TRANSFERS: ("transfers to battery", "次转电池"),
    Meter.DEEP_DISCHARGES: ("deep discharges", "次深度放电"),
    Meter.ENERGY_KWH: ("kWh", "千瓦时"),
}


def _by_count(limit: MeterLimit, usage: Usage, today: date) -> Reason | None:
    every = limit.every or 0.0
    en, zh = _METER_WORDS[limit.meter]
    if usage.since_last >= every:
        due_on = today
    else:
        if not usage.a_year:
            return None
        ahead = (every - usage.since_last) / usage.a_year * 365.25
        if ahead > 240 * DAYS_A_MONTH:
            return None
        due_on = today + timedelta(days=int(ahead))
    return Reason(
        Cause.METER,
        due_on,
        f"every {every:,.0f} {en}; {usage.since_last:,.0f} so far → due {due_on}",
        f"每 {every:,.0f} {zh}；已累计 {usage.since_last:,.0f} → {due_on} 到期",
    )


def _by_year(
    limit: MeterLimit, usage: Usage, months: int, since: date, today: date
) -> Reason | None:
    a_year, most = usage.a_year, limit.per_year or 0.0
    if a_year is None:
        return None
    en, zh = _METER_WORDS[limit.meter]
    if limit.within_months is not None:
        if a_year <= most:
            return None
        due_on = max(min(today, since), months_later(since, limit.within_months))
    else:
        share = (limit.shortens_by or 0.0) * min(1.0, a_year / most)
        if share < 0.01:
            return None
        whole = (months_later(since, months) - since).days
        due_on = since + timedelta(days=round(whole * (1.0 - share)))
    return Reason(
        Cause.METER,
        due_on,
        f"{a_year:,.0f} {en} a year (limit {most:,.0f}) → due {due_on}",
        f"每年 {a_year:,.0f} {zh}（限值 {most:,.0f}） → {due_on} 到期",
    )


def _by_heat(task: Task, unit: UnitFacts, months: int, since: date, today: date) -> list[Reason]:
    if task.component is None:
        return []
    calendar_on = months_later(since, months)
    worn = worn_out(
        task.component,
        since=since,
        life_days=(calendar_on - since).days,
        measured=unit.celsius,
        today=today,
    )
    if worn is None:
        return []
    earlier = round((calendar_on - worn.on).days / DAYS_A_MONTH)
    if earlier < 1:
        return []
    part_en, part_zh = _COMPONENT_WORDS[task.component]
    en, zh = _span(months)
    plural = "month" if earlier == 1 else "months"
    return [
        Reason(
            Cause.HEAT,
            worn.on,
            f"{part_en}: {en} at 25 °C; mean {worn.mean_celsius:.0f} °C → due {worn.on}, "
            f"{earlier} {plural} earlier",
            f"{part_zh}：25 °C 时 {zh}；平均 {worn.mean_celsius:.0f} °C → {worn.on} 到期，"
            f"提前 {earlier} 个月",
        )
    ]


_COMPONENT_WORDS = {
    "battery": ("battery", "电池"),
    "fans": ("fans", "风扇"),
    "capacitors": ("capacitors", "电容"),
    "control_board": ("control board", "控制板"),
    "auxiliary_supply": ("auxiliary supply", "辅助电源"),
}


def _holding(task: Task, unit: UnitFacts, today: date) -> dict[str, date]:
    """Return since when each condition holds; one that cannot be told stays as it was."""
    found = {}
    for limit in task.conditions:
        known = any(unit.row.get(column) is not None for column in limit.condition.columns)
        holds = limit.condition.evaluate(unit.row) if known else None
        since = unit.holding_since.get(limit.text)
        if holds or (holds is None and since is not None):
            found[limit.text] = since or today
    return found


def _by_conditions(task: Task, holding: Mapping[str, date]) -> list[Reason]:
    found = []
    for limit in task.conditions:
        since = holding.get(limit.text)
        if since is not None:
            due_on = since + timedelta(days=limit.within_days)
            en = f"{limit.en}, since {since} → due {due_on}"
            zh = f"{limit.zh}（自 {since}） → {due_on} 到期"
            found.append(Reason(Cause.CONDITION, due_on, en, zh))
    return found


def _with_date(due: Due, due_on: date, today: date) -> Due:
    opens_on, late_on = due_on - OPENS_BEFORE, due_on + LATE_AFTER
    return Due(due_on, opens_on, late_on, state_on(today, due_on), due.basis)


def _span(months: int) -> tuple[str, str]:
    if months % 12 == 0:
        years = months // 12
        return ("year" if years == 1 else f"{years} years"), f"{years} 年"
    return ("month" if months == 1 else f"{months} months"), f"{months} 个月"


__all__ = [
    "Cause",
    "MaintenanceState",
    "Outcome",
    "Outlook",
    "Reason",
    "UnitFacts",
    "Usage",
    "outcome_of",
    "outlook",
]
