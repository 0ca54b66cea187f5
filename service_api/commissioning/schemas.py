"""What is told of commissioning, and what people send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from rules.commissioning import StepState
from service_api.paging import Form, ListQuery, Strict

Signature = Annotated[str, Field(pattern=r"^(M[0-9 .ML,-]{1,60000})?$")]
"""The strokes as an SVG path of M and L, empty where a name is enough."""


@dataclass(frozen=True, slots=True)
class CommissioningStep:
    """One alarm: how it is provoked, and by when its signs were where; latencies in seconds."""

    rule: str
    title_en: str
    title_zh: str
    how_en: str
    how_zh: str
    opens_ticket: bool
    state: StepState
    started_at: datetime | None
    waits_until_at: datetime | None
    attempts: int
    alarm_id: int | None
    observed_at: datetime | None
    received_at: datetime | None
    raised_at: datetime | None
    announced_at: datetime | None
    latencies: dict[str, float]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed, when, and the strokes."""

    name: str
    at: datetime
    strokes: str


@dataclass(frozen=True, slots=True)
class Commissioning:
    """A guided test. Once finished, `content` is what both sign, `seal` its SHA-256."""

    id: int
    device_id: int
    device: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    customer_id: int
    customer: str
    customer_zh: str
    work_session_id: int
    started_at: datetime
    started_by: str
    finished_at: datetime | None
    content: dict[str, Any] | None
    seal: str | None
    engineer: Signed | None
    accepted: Signed | None
    steps: list[CommissioningStep]


class CommissioningQuery(ListQuery):
    """Which tests."""

    device_id: int | None = None
    site_id: int | None = None


class NewCommissioning(Strict):
    """The unit that is tested; whoever starts is checked in at it."""

    device_id: int


class StepSkip(Strict):
    """Why an alarm is not provoked."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Signing(Strict):
    """One party's signature."""

    party: Literal["engineer", "customer"]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    strokes: Signature = ""


class NewCommissioningForm(Form, NewCommissioning):
    """What the page's button sends."""


class StepSkipForm(Form, StepSkip):
    """What the page's form sends."""


class SigningForm(Form, Signing):
    """What the page's form sends."""
