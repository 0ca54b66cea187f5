"""Facts that no reading brings: words of rule text that are worked out on other occasions.

Every judgement is a row against conditions, on one of four occasions: a reading arrives, time
passes, battery health is computed, a calendar fact comes near. The first two judge what units say;
the rows of the other two are worked out by jobs, daily or each minute, and their words stand here.

A rule is judged on the occasion of the words that it reads, and on no other: on a reading the words
of another occasion are not there, so a reading neither raises nor clears what such a rule found. A
rule that reads words of an occasion beside points of the unit is judged on that occasion, with the
newest values of those points that may still be believed. One that reads words of two occasions is
judged on both, with what the other one worked out last (`rules.occasion_store`, believed for
`BELIEVED_FOR`).

How to add a column: one `Fact` in `FACTS` below, under its occasion and subject, with unit and
meaning; and its value in the row that the occasion's job hands to `occasion_store.judge_devices`
(or to `reminder_store.judge_subjects`, if the subject is no device). Rule text, its checks and
docs/rules.md follow from the table. None means "not known": it never raises and never clears.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from rules.points import Kind

BELIEVED_FOR = timedelta(days=3)
"""What an occasion worked out is believed for by others: its daily job failed twice (judgement)."""


class Occasion(StrEnum):
    """When rows are judged."""

    READING = "reading"
    """A reading arrives or time passes: what units say, and their silence."""
    HEALTH = "health"
    """Battery health is computed, daily."""
    CALENDAR = "calendar"
    """A date or a deadline comes near: daily, for open tickets each minute."""


class Subject(StrEnum):
    """What a row is about. Alarms and tickets are about devices; the others get reminders."""

    DEVICE = "device"
    SITE = "site"
    CUSTOMER = "customer"
    CONTRACT = "contract"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Fact:
    """One word of rule text: kind and unit as points have them, the meaning in both languages."""

    kind: Kind
    unit: str
    en: str
    zh: str
    occasion: Occasion
    subject: Subject = Subject.DEVICE


def _days(en: str, zh: str, subject: Subject = Subject.DEVICE) -> Fact:
    return Fact(Kind.NUMBER, "d", en, zh, Occasion.CALENDAR, subject)


def _missing(en: str, zh: str, subject: Subject = Subject.DEVICE) -> Fact:
    return Fact(Kind.FLAG, "", en, zh, Occasion.CALENDAR, subject)


def _elapsed(en: str, zh: str) -> Fact:
    return Fact(Kind.NUMBER, "%", en, zh, Occasion.CALENDAR, Subject.TICKET)


def _health(unit: str, en: str, zh: str) -> Fact:
    return Fact(Kind.NUMBER, unit, en, zh, Occasion.HEALTH)


FACTS: Mapping[str, Fact] = {
    # The nightly battery figure.
    "battery_index": _health("%", "Battery index", "电池健康度"),
    "battery_index_low": _health(
        "%", "Lower end of the battery index's 80 % range", "电池健康度 80% 区间下限"
    ),
    "battery_index_high": _health(
        "%", "Upper end of the battery index's 80 % range", "电池健康度 80% 区间上限"
    ),
    "battery_life_used": _health(
        "%", "Share of the battery's usual life that is used", "电池已用寿命比例"
    ),
    "battery_ends_in_90_days": _health(
        "%", "Probability that the battery's life ends within 90 days", "90 天内到寿的概率"
    ),
    "battery_ends_in_365_days": _health(
        "%", "Probability that the battery's life ends within a year", "一年内到寿的概率"
    ),
    # Dates of a unit; a day that has passed is negative.
    "days_to_warranty_end": _days("Days until the warranty ends", "距质保到期天数"),
    "days_to_battery_warranty_end": _days(
        "Days until the battery's warranty ends", "距电池质保到期天数"
    ),
    "days_since_valid_test": _days("Days since the last valid self-test", "距上次有效自检天数"),
    "days_to_calibration_due": _days(
        "Days until the runtime calibration is a year old", "距后备时间校准满一年天数"
    ),
    "days_past_maintenance": _days(
        "Days that the latest planned work is overdue", "计划性工作最长逾期天数"
    ),
    # What nobody entered about a unit, a site or a customer.
    "missing_install_date": _missing("Installation date missing", "缺少安装日期"),
    "missing_battery_date": _missing("Battery date missing", "缺少电池安装日期"),
    "missing_serial": _missing("Serial number missing", "缺少序列号"),
    "missing_model": _missing("Model missing", "缺少型号"),
    "identity_swapped": _missing(
        "Tells the serial number of another unit, which tells this one's",
        "与另一设备互报对方的序列号",
    ),
    "identity_told_twice": _missing(
        "Another unit tells the same serial number", "另一设备上报相同的序列号"
    ),
    "identity_exchanged": _missing(
        "Tells another serial number than was confirmed", "上报的序列号与已确认的不同"
    ),
    "missing_contract": _missing("No contract was ever written down", "从未登记维保合同"),
    "missing_service_center": _missing(
        "Site without a service center", "站点未分配服务中心", Subject.SITE
    ),
    "missing_position": _missing("Site without a position", "站点缺少坐标", Subject.SITE),
    "missing_contact": _missing("Customer without a contact", "客户缺少联系人", Subject.CUSTOMER),
    # Contracts.
    "days_to_contract_end": _days(
        "Days until the contract ends", "距合同到期天数", Subject.CONTRACT
    ),
    # Open tickets; the share of the time that was promised.
    "sla_response_elapsed_percent": _elapsed(
        "Share of the response time that has passed", "响应时限已用比例"
    ),
    "sla_restore_elapsed_percent": _elapsed(
        "Share of the restoration time that has passed", "恢复时限已用比例"
    ),
}
"""Every word of rule text that is worked out on an occasion of its own: name → fact."""


class OccasionsMixed(ValueError):
    """A rule reads words about different subjects, so there is no row that has them all."""


def occasions_of(columns: Iterable[str]) -> frozenset[Occasion]:
    """Return the occasions on which a rule over these columns is judged."""
    found = frozenset(FACTS[column].occasion for column in columns if column in FACTS)
    return found or frozenset({Occasion.READING})


def subject_of(columns: Iterable[str]) -> Subject:
    """Return what a rule over these columns is about; points are about a device.

    Raises `OccasionsMixed` for columns about different subjects.
    """
    about = {
        column: FACTS[column].subject if column in FACTS else Subject.DEVICE
        for column in sorted(columns)
    }
    subjects = set(about.values())
    if len(subjects) > 1:
        said = ", ".join(f"{column} (a {subject})" for column, subject in about.items())
        raise OccasionsMixed(f"one rule is about one thing; these are about several: {said}")
    return next(iter(subjects), Subject.DEVICE)
