"""The guided test of a unit's alarms when it is put into service. Pure.

Each alarm is provoked at the unit and looked for here, so that what was never seen to arrive is not
taken for granted (false and missed alarms are faults of commissioning).
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from rules.catalogue import Rule
from rules.points import BY_COLUMN

GRACE = timedelta(minutes=2)
"""So long beyond the rule's own time and three polls an alarm is waited for."""
SILENCE = timedelta(minutes=15)
"""What silence needs besides, before it is an alarm."""


class StepState(StrEnum):
    """Where one alarm's test stands."""

    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    """It did not arrive in time."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Provocation:
    """An alarm that can be provoked, and how (en, zh)."""

    rule_key: str
    en: str
    zh: str


PROVOCATIONS = (
    Provocation(
        "on_battery",
        "Open the input breaker. Leave it open until the alarm has arrived.",
        "断开输入断路器，保持断开直至告警到达。",
    ),
    Provocation(
        "low_battery",
        "With the input open, let the battery run down until the unit reports a low battery. "
        "Only where the load can bear it.",
        "输入断开，放电至设备报告电量低。仅在负载允许时进行。",
    ),
    Provocation(
        "on_bypass", "Transfer the unit to bypass by its own panel.", "在设备面板上切换到旁路。"
    ),
    Provocation(
        "overload",
        "Connect a load bank above the rated load for a minute.",
        "接入超过额定值的负载箱一分钟。",
    ),
    Provocation(
        "battery_fault",
        "Open the battery breaker, or pull one battery connector.",
        "断开电池断路器，或拔下一个电池接头。",
    ),
    Provocation(
        "over_temperature",
        "Warm the temperature probe, or lower the unit's own limit for the test.",
        "加热温度探头，或临时调低设备的温度限值。",
    ),
    Provocation(
        "communication_lost",
        "Pull the network cable of the card. Wait until the alarm has arrived, then plug it in.",
        "拔下网卡网线，等待告警到达后再插回。",
    ),
)
"""In the order in which they are tested."""


def applicable(rules: Mapping[str, Rule], told: Collection[str]) -> list[Provocation]:
    """Return what can be provoked at a unit that tells these columns; silence always can."""
    found = []
    for one in PROVOCATIONS:
        rule = rules.get(one.rule_key)
        if rule is None:
            continue
        of_unit = rule.columns & BY_COLUMN.keys()
        if not of_unit or not of_unit.isdisjoint(told):
            found.append(one)
    return found


def waits_until(rule: Rule, started_at: datetime, poll_seconds: float) -> datetime:
    """Return until when an alarm that was provoked is waited for."""
    wait = rule.raise_after + timedelta(seconds=3 * poll_seconds) + GRACE
    return started_at + wait + (SILENCE if "seconds_since_seen" in rule.columns else timedelta(0))


@dataclass(frozen=True, slots=True)
class Path:
    """When the signs of one alarm were where: told by the unit, received, raised, announced."""

    observed_at: datetime | None
    received_at: datetime | None
    raised_at: datetime
    announced_at: datetime | None

    def latencies(self, held: timedelta) -> dict[str, float]:
        """Return seconds from stage to stage; the rule's own hold time is no delay of ours."""
        found = {"hold": held.total_seconds()}
        if self.observed_at is not None and self.received_at is not None:
            found["transport"] = max(0.0, (self.received_at - self.observed_at).total_seconds())
        if self.announced_at is not None:
            found["judging"] = max(0.0, (self.announced_at - self.raised_at).total_seconds())
        return found


def is_complete(states: Sequence[StepState]) -> bool:
    """Tell whether every alarm was tried or left out with a reason."""
    return all(one not in {StepState.WAITING, StepState.RUNNING} for one in states)


def sealed(content: Mapping[str, Any]) -> str:
    """Return the hash that a report's content is sealed with: SHA-256 of its canonical JSON."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
