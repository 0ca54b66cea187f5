"""What customers are told, in plain words: pure. The facts are read in `notifications.facts`.

First what happened and where, then what it means for them, then what has been done. No rule
names, no point names, no exclamation marks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rules.deadline_lines import Line, local_text
from rules.incidents import (
    CAUSES,
    COMMUNICATION_LOST,
    MAINS_FAILURE,
    OVER_TEMPERATURE,
    SUPPLY_FAILURE,
)
from rules.operations import CLOSING_CODES

MOST_UNITS = 5
"""So many units are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Text:
    """A notice in both languages."""

    title: Line
    body: Line


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of an incident; `minutes_left` is what its battery holds at this load."""

    name: str
    minutes_left: float | None = None


@dataclass(frozen=True, slots=True)
class IncidentFacts:
    """An incident as a customer understands it."""

    cause: str
    site: Line
    time_zone: str
    opened_at: datetime
    closed_at: datetime | None
    units: Sequence[Unit]


@dataclass(frozen=True, slots=True)
class TicketFacts:
    """A ticket as a customer understands it."""

    id: int
    title: Line
    site: Line
    time_zone: str
    unit: Unit | None
    opened_at: datetime
    respond_by_at: datetime | None
    condition_cleared_at: datetime | None
    closing_code: str | None
    contract: Line | None
    covered: bool
    has_order: bool
    first_arrival_at: datetime | None
    part: Line | None
    is_planned: bool = False


def _join(parts: Sequence[Line]) -> Line:
    return Line(" ".join(part.en for part in parts), "".join(part.zh for part in parts))


def _minutes(minutes: float) -> Line:
    whole = max(1, round(minutes))
    return Line(f"about {whole} min", f"约 {whole} 分钟")


def own_trouble(cause: str, subject: str, opened_at: datetime, closed_at: datetime | None) -> Text:
    """Say to staff what is nobody's but theirs: a region without mains, a blind service."""
    en, zh = CAUSES.get(cause, (cause, cause))
    since, until = (
        None if at is None else f"{at:%Y-%m-%d %H:%M} UTC" for at in (opened_at, closed_at)
    )
    if until is None and cause == SUPPLY_FAILURE:
        return Text(
            Line(en, zh),
            Line(
                f"{en} ({subject}), since {since}: several sites lost mains together. The incident "
                "ranks their units by what must be cared for first.",
                f"{zh}({subject}),自 {since} 起，多个站点同时市电中断。"
                "请在事件页面按优先顺序处理。",
            ),
        )
    if until is None:
        return Text(
            Line(en, zh),
            Line(
                f"{en} ({subject}), since {since}. Alarms of these units cannot reach us.",
                f"{zh}({subject}),自 {since} 起。相关设备的告警无法送达。",
            ),
        )
    return Text(
        Line(f"Over: {en}", f"已恢复：{zh}"),
        Line(
            f"{en} ({subject}): from {since} to {until}.",
            f"{zh}({subject}):{since} 至 {until}。",
        ),
    )


def incident_opened(facts: IncidentFacts) -> Text:
    """Say that something struck a site."""
    site, at = facts.site, local_text(facts.opened_at, facts.time_zone)
    if facts.cause == MAINS_FAILURE:
        return Text(
            Line(f"{site.en}: mains power failed", f"{site.zh}：市电中断"),
            _join(
                [
                    Line(
                        f"Mains power at {site.en} failed at {at} ({facts.time_zone}).",
                        f"{site.zh}于 {at}（{facts.time_zone}）市电中断。",
                    ),
                    _on_battery(facts.units),
                    Line(
                        "We are watching every unit and will tell you when one runs low "
                        "or power is back.",
                        "我们正在持续关注每台设备，电量不足或市电恢复时会立即通知您。",
                    ),
                ]
            ),
        )
    if facts.cause == COMMUNICATION_LOST:
        return Text(
            Line(f"{site.en}: we no longer hear from units", f"{site.zh}：设备失联"),
            Line(
                f"Since {at} ({facts.time_zone}) we hear nothing from {_named(facts.units).en} at "
                f"{site.en}. Your load may be well; we cannot see it. Please check the network "
                "and tell us if power was switched off on purpose.",
                f"自 {at}（{facts.time_zone}）起，{site.zh}的{_named(facts.units).zh}"
                "与我们失去联系。负载可能仍正常供电，但我们无法看到其状态。请检查网络；如系主动断电，请告知我们。",
            ),
        )
    if facts.cause == OVER_TEMPERATURE:
        return Text(
            Line(f"{site.en}: too hot", f"{site.zh}：温度过高"),
            Line(
                f"Since {at} ({facts.time_zone}) {_named(facts.units).en} at {site.en} report too "
                "high a temperature. Please look at the air conditioning of the room first.",
                f"自 {at}（{facts.time_zone}）起，{site.zh}的{_named(facts.units).zh}"
                "报告温度过高。请先检查机房空调。",
            ),
        )
    return Text(
        Line(f"{site.en}: disturbance", f"{site.zh}：异常"),
        Line(
            f"Since {at} ({facts.time_zone}) {_named(facts.units).en} at {site.en} report trouble.",
            f"自 {at}（{facts.time_zone}）起，{site.zh}的{_named(facts.units).zh}报告异常。",
        ),
    )


def _named(units: Sequence[Unit]) -> Line:
    names = [unit.name for unit in units[:MOST_UNITS]]
    more = len(units) - len(names)
    if not names:
        return Line("some units", "部分设备")
    en, zh = ", ".join(names), "、".join(names)
    return Line(f"{en} and {more} more", f"{zh}等 {len(units)} 台设备") if more else Line(en, zh)


def _on_battery(units: Sequence[Unit]) -> Line:
    if not units:
        return Line("Units run on battery.", "设备已转电池供电。")
    known = sorted(
        (unit for unit in units if unit.minutes_left is not None),
        key=lambda unit: unit.minutes_left or 0.0,
    )
    count = (
        Line("1 unit runs on battery", "1 台设备由电池供电")
        if len(units) == 1
        else Line(f"{len(units)} units run on battery", f"{len(units)} 台设备由电池供电")
    )
    if not known:
        return Line(f"{count.en}.", f"{count.zh}。")
    told = [(unit.name, _minutes(unit.minutes_left or 0.0)) for unit in known[:MOST_UNITS]]
    return Line(
        f"{count.en}; time left at this load: "
        + ", ".join(f"{name} {left.en}" for name, left in told)
        + ".",
        f"{count.zh}，按当前负载预计可维持："
        + "、".join(f"{name} {left.zh}" for name, left in told)
        + "。",
    )


def incident_closed(facts: IncidentFacts) -> Text:
    """Say that it is over."""
    site = facts.site
    at = local_text(facts.closed_at or facts.opened_at, facts.time_zone)
    if facts.cause == MAINS_FAILURE:
        return Text(
            Line(f"{site.en}: mains power is back", f"{site.zh}：市电已恢复"),
            Line(
                f"Mains power at {site.en} is back since {at} ({facts.time_zone}). "
                "The batteries are charging again; full protection returns as they fill.",
                f"{site.zh}市电已于 {at}（{facts.time_zone}）恢复。"
                "电池正在充电，充满后后备能力完全恢复。",
            ),
        )
    if facts.cause == COMMUNICATION_LOST:
        return Text(
            Line(f"{site.en}: we hear from the units again", f"{site.zh}：设备已恢复通信"),
            Line(
                f"Since {at} ({facts.time_zone}) the units at {site.en} answer again.",
                f"{site.zh}的设备已于 {at}（{facts.time_zone}）恢复通信。",
            ),
        )
    return Text(
        Line(f"{site.en}: back to normal", f"{site.zh}：已恢复正常"),
        Line(
            f"The disturbance at {site.en} ended at {at} ({facts.time_zone}).",
            f"{site.zh}的异常已于 {at}（{facts.time_zone}）结束。",
        ),
    )


def ticket_opened(facts: TicketFacts, *, again: bool = False) -> Text:
    """Say what is wrong, what it means, what has been done and by when somebody comes."""
    if facts.is_planned:
        return _planned(facts)
    at = local_text(facts.opened_at, facts.time_zone)
    head = (
        Line(
            f"The trouble at {facts.site.en} is back: “{facts.title.en}”. "
            f"We have reopened ticket {facts.id}.",
            f"{facts.site.zh}的问题再次出现：“{facts.title.zh}”。我们已重新打开工单 {facts.id}。",
        )
        if again
        else Line(
            f"At {facts.site.en}: “{facts.title.en}”, since {at} ({facts.time_zone}). "
            f"We have opened ticket {facts.id}.",
            f"{facts.site.zh}：“{facts.title.zh}”，发生于 {at}（{facts.time_zone}）。"
            f"我们已开立工单 {facts.id}。",
        )
    )
    return Text(
        facts.title,
        _join([head, *_left(facts.unit), *_done(facts), *_promised(facts)]),
    )


def _planned(facts: TicketFacts) -> Text:
    return Text(
        facts.title,
        _join(
            [
                Line(
                    f"Planned work at {facts.site.en} is due: “{facts.title.en}”. "
                    f"We will agree on a time with you (ticket {facts.id}).",
                    f"{facts.site.zh}的计划性工作已到期：“{facts.title.zh}”。"
                    f"我们将与您约定上门时间（工单 {facts.id}）。",
                ),
                *(
                    []
                    if facts.part is None
                    else [
                        Line(
                            f"The material is set aside: {facts.part.en}.",
                            f"所需材料已预留：{facts.part.zh}。",
                        )
                    ]
                ),
            ]
        ),
    )


def _left(unit: Unit | None) -> list[Line]:
    if unit is None or unit.minutes_left is None:
        return []
    left = _minutes(unit.minutes_left)
    return [
        Line(
            f"Its battery lasts {left.en} more at this load.",
            f"按当前负载，电池预计还可维持{left.zh}。",
        )
    ]


def _done(facts: TicketFacts) -> list[Line]:
    said = []
    if facts.has_order:
        said.append(
            Line("A visit is being prepared.", "我们正在安排工程师上门。")
            if facts.first_arrival_at is None
            else Line(
                "A visit is being prepared; an engineer could be on site by "
                f"{local_text(facts.first_arrival_at, facts.time_zone)}.",
                "我们正在安排工程师上门，最早可于 "
                f"{local_text(facts.first_arrival_at, facts.time_zone)} 到达现场。",
            )
        )
    if facts.part is not None:
        said.append(
            Line(
                f"The part is set aside: {facts.part.en}.",
                f"所需备件已预留：{facts.part.zh}。",
            )
        )
    return said


def _promised(facts: TicketFacts) -> list[Line]:
    if facts.respond_by_at is None:
        return []
    due = local_text(facts.respond_by_at, facts.time_zone)
    if facts.contract is not None:
        return [
            Line(
                f"By your contract “{facts.contract.en}” we respond by {due}.",
                f"按合同“{facts.contract.zh}”，我们将于 {due} 前响应。",
            )
        ]
    if facts.covered:
        return [
            Line(f"Under warranty we respond by {due}.", f"按质保约定，我们将于 {due} 前响应。")
        ]
    return [
        Line(
            f"We aim to respond by {due}. No contract covers this unit; work is charged.",
            f"我们争取于 {due} 前响应。该设备不在维保合同范围内，服务将另行收费。",
        )
    ]


def condition_cleared(facts: TicketFacts) -> Text:
    """Say that the unit is well again while the ticket stays open."""
    at = local_text(facts.condition_cleared_at or facts.opened_at, facts.time_zone)
    return Text(
        Line(f"Over: {facts.title.en}", f"已恢复：{facts.title.zh}"),
        Line(
            f"Since {at} ({facts.time_zone}) the unit at {facts.site.en} reports normal again. "
            f"We keep ticket {facts.id} open until the cause is clear.",
            f"{facts.site.zh}的设备已于 {at}（{facts.time_zone}）恢复正常。"
            f"在查明原因之前，工单 {facts.id} 将保持打开。",
        ),
    )


def ticket_closed(facts: TicketFacts) -> Text:
    """Say how it ended."""
    en, zh = CLOSING_CODES.get(facts.closing_code or "", ("Closed", "已关闭"))
    return Text(
        Line(f"Closed: {facts.title.en}", f"已关闭：{facts.title.zh}"),
        Line(
            f"Ticket {facts.id} at {facts.site.en} is closed: {en.lower()}. "
            "If anything is not as it should be, tell us and we open it again.",
            f"{facts.site.zh}的工单 {facts.id} 已关闭：{zh}。"
            "如仍有问题，请告知我们，我们将重新打开。",
        ),
    )
