"""Whether a unit is fit to be left: what is looked at when an engineer checks out. Pure.

What is not known is no pass: the unit may not tell it, and then the engineer says so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rules.facts import Value

Verdict = Literal["passed", "failed", "unknown"]

FRESH_FOR = timedelta(minutes=2)
"""Older values say nothing of how the unit was left (four polls at the usual rhythm)."""
FULL_ENOUGH = 95.0
"""Percent of charge from which a battery need not be charging to be in order."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: its key, what was found, and that in words."""

    key: str
    verdict: Verdict
    en: str
    zh: str


def verify(
    facts: Mapping[str, Value | None],
    observed_at: datetime | None,
    standing: Collection[tuple[str, str]],
    now: datetime,
    *,
    is_known: bool | None,
) -> tuple[Check, ...]:
    """Return what is found at a unit; `facts` by column, `standing` alarms by title (en, zh).

    `is_known`: whether it is the unit that the records know, None where it tells no serial number.
    """
    is_fresh = observed_at is not None and now - observed_at <= FRESH_FOR
    told = facts if is_fresh else {}
    return (
        _check(
            "fresh",
            "passed" if is_fresh else "failed",
            ("The unit is heard", "通信正常"),
            ("The unit is not heard: nothing else can be told", "设备无通信：其余无法判定"),
        ),
        _check(
            "identity",
            _VERDICTS[is_known],
            ("It is the unit that the records know", "设备与档案一致"),
            ("It tells another serial number than the records know", "上报的序列号与档案不符"),
        ),
        _flag(
            told,
            "status_on_battery",
            ("On mains", "市电供电"),
            ("Still on battery", "仍在电池供电"),
        ),
        _flag(
            told,
            "status_bypass",
            ("Not on bypass", "未处于旁路"),
            ("Still on bypass: the load is not protected", "仍在旁路：负载未受保护"),
        ),
        _flag(told, "status_off", ("Output is on", "输出已开启"), ("Output is off", "输出已关闭")),
        _flag(
            told,
            "status_testing",
            ("No test is running", "无测试进行中"),
            ("A test is running", "测试进行中"),
        ),
        _battery(told),
        _check(
            "self_test",
            _VERDICTS[_TESTS.get(told.get("ups_test_result"))],
            ("The last self-test passed", "上次自检通过"),
            ("The last self-test did not pass", "上次自检未通过"),
        ),
        _check(
            "alarms",
            "failed" if standing else "passed",
            ("No alarm stands", "无告警"),
            (
                "Still standing: " + ", ".join(en for en, _ in standing),
                "仍存在：" + "、".join(zh for _, zh in standing),
            ),
        ),
    )


_VERDICTS: Mapping[bool | None, Verdict] = {True: "passed", False: "failed", None: "unknown"}
_TESTS: Mapping[Value | None, bool] = {"passed": True, "warning": False, "failed": False}


def _check(key: str, found: Verdict, good: tuple[str, str], bad: tuple[str, str]) -> Check:
    if found == "unknown":
        return Check(key, found, f"Not told: {good[0].lower()}", f"未上报：{good[1]}")
    return Check(key, found, *(good if found == "passed" else bad))


def _flag(
    told: Mapping[str, Value | None], column: str, good: tuple[str, str], bad: tuple[str, str]
) -> Check:
    value = told.get(column)
    return _check(column, _VERDICTS[None if value is None else not value], good, bad)


def _battery(told: Mapping[str, Value | None]) -> Check:
    charge, charging = told.get("battery_charge"), told.get("status_charging")
    found: Verdict = "unknown"
    if charging is True or (isinstance(charge, float) and charge >= FULL_ENOUGH):
        found = "passed"
    elif isinstance(charge, float):
        found = "failed"
    return _check(
        "battery",
        found,
        ("The battery is full or charging", "电池已充满或正在充电"),
        ("The battery is neither full nor charging", "电池未充满且未充电"),
    )
