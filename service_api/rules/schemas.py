"""What is told of rules, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from service_api.paging import Form, Strict


@dataclass(frozen=True, slots=True)
class Counts:
    """What a rule did: alarms standing now, alarms and tickets of 30 days, how tickets ended.

    `closed` tickets of 365 days have a closing code; `false_alarms` of them say false alarm.
    """

    standing: int = 0
    alarms: int = 0
    tickets: int = 0
    closed: int = 0
    false_alarms: int = 0


@dataclass(frozen=True, slots=True)
class Word:
    """One column of a condition, explained."""

    column: str
    en: str
    zh: str
    unit: str


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule: what it says, whether it is on, what it did."""

    key: str
    title_en: str
    title_zh: str
    severity: str
    condition: str
    clear: str | None
    raise_after_seconds: float
    clear_after_seconds: float
    source: str
    cause: str | None
    inhibited_by: list[str]
    failure_mode: str | None
    action_en: str | None
    action_zh: str | None
    words: list[Word]
    enabled: bool
    off_reason: str | None
    off_by: str | None
    off_at: datetime | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class RuleEvent:
    """A rule switched off or on."""

    at: datetime
    kind: str
    actor: str
    reason: str


class Switching(Strict):
    """Why a rule is switched off or on."""

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class SwitchingForm(Form):
    """The same from a page."""

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class RuleText(Strict):
    """Rules in TOML."""

    text: Annotated[str, Field(max_length=200_000)]


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether rules can be read: their keys, or the reason why not."""

    rules: list[str]
    problem: str | None
