"""A finished back-test as it is kept and shown: plain data, the same for API, page and command.

Every alarm is counted; of those listed there are as many as somebody can look at.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from rules.backtest import Raised
from rules.backtest_store import Estimate, Outcome, Result, Unit

MOST_UNITS = 200
MOST_ALARMS = 500
_WEEK = timedelta(days=7)


def report(result: Result, since: datetime, until: datetime) -> dict[str, Any]:
    """Return a result as data: instants as ISO 8601 texts."""
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "units": len(result.units),
        "readings": result.readings,
        "seconds": round(result.seconds, 1),
        "estimate": estimate_of(result.estimate),
        "rules": [_outcome(one, result.units, since, until) for one in result.outcomes],
    }


def estimate_of(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as data, with notes on what is not looked at as readings."""
    return {
        "units": estimate.units,
        "readings": estimate.readings,
        "seconds": round(estimate.seconds, 1),
        "raw_since": None if estimate.raw_since is None else estimate.raw_since.isoformat(),
        "raw_until": None if estimate.raw_until is None else estimate.raw_until.isoformat(),
        "rolled_up": estimate.rolled_up,
        "notes": _notes(estimate),
    }


def _notes(estimate: Estimate) -> list[dict[str, str]]:
    begins = "–" if estimate.raw_since is None else f"{estimate.raw_since:%Y-%m-%d %H:%M} UTC"
    notes = []
    if estimate.raw_since is None:
        notes.append(("no readings of these units are kept", "没有保存这些设备的读数"))
    if estimate.rolled_up:
        en = (
            f"readings are kept from {begins}; before that averages of 15 minutes are judged: what"
            " lasted less does not show, and times are to 15 minutes"
        )
        zh = f"读数保存自 {begins}；之前按 15 分钟平均值判断，更短的变化看不到，时间精确到 15 分钟"
        notes.append((en, zh))
    if estimate.left_out is not None:
        en = f"readings are kept from {begins}; the time before is left out: "
        zh = f"读数保存自 {begins}；之前的时间不参与试算："
        notes.append((en + estimate.left_out.en, zh + estimate.left_out.zh))
    return [{"en": en, "zh": zh} for en, zh in notes]


def _outcome(
    outcome: Outcome, units: list[Unit], since: datetime, until: datetime
) -> dict[str, Any]:
    rule, raised = outcome.rule, outcome.raised
    weeks = max((until - since) / _WEEK, 1.0)
    by_unit: dict[int, list[Raised]] = defaultdict(list)
    for alarm in raised:
        by_unit[alarm.device_id].append(alarm)
    named = {unit.id: unit for unit in units}
    worst = sorted(by_unit.items(), key=lambda item: (-len(item[1]), item[0]))
    scores = outcome.scores
    return {
        "key": rule.key,
        "title": {"en": rule.title_en, "zh": rule.title_zh},
        "severity": rule.severity,
        "condition": rule.condition.text,
        "clear": None if rule.clear is None else rule.clear.text,
        "raise_after_seconds": int(rule.raise_after.total_seconds()),
        "clear_after_seconds": int(rule.clear_after.total_seconds()),
        "inhibited_by": list(rule.inhibited_by),
        "alarms": len(raised),
        "alarms_a_week": round(len(raised) / weeks, 2),
        "units": len(by_unit),
        "standing": sum(alarm.cleared_at is None for alarm in raised),
        "seconds": round(sum(_lasted(alarm, until) for alarm in raised)),
        "opens_tickets": rule.ticket is not None,
        "tickets": outcome.tickets,
        "tickets_a_week": round(outcome.tickets / weeks, 2),
        "weeks": [
            {"begins_at": w.begins_at.isoformat(), "alarms": w.alarms, "tickets": w.tickets}
            for w in outcome.weeks
        ],
        "scores": None
        if scores is None
        else {
            "hits": scores.hits,
            "false_alarms": scores.false_alarms,
            "unknown": scores.unknown,
            "missed": scores.missed,
            "missed_tickets": scores.missed_tickets[:MOST_UNITS],
        },
        "by_unit": [
            {
                "device_id": device_id,
                "key": named[device_id].key,
                "name": named[device_id].name,
                "site": named[device_id].site,
                "alarms": len(alarms),
                "seconds": round(sum(_lasted(alarm, until) for alarm in alarms)),
            }
            for device_id, alarms in worst[:MOST_UNITS]
        ],
        "listed": [
            {
                "device_id": alarm.device_id,
                "name": named[alarm.device_id].name,
                "raised_at": alarm.raised_at.isoformat(),
                "cleared_at": None if alarm.cleared_at is None else alarm.cleared_at.isoformat(),
            }
            for alarm in raised[:MOST_ALARMS]
        ],
    }


def _lasted(alarm: Raised, until: datetime) -> float:
    return ((alarm.cleared_at or until) - alarm.raised_at).total_seconds()
