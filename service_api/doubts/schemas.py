"""What is told of doubts, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from service_api.corrections.operations import Action
from service_api.corrections.schemas import Addend, Factor
from service_api.paging import Form, ListQuery, Strict

DoubtState: TypeAlias = Literal["open", "accepted", "dismissed", "ended"]
Scope: TypeAlias = Literal["device", "model", "profile"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A value that cannot be what it says: which, why, and what would make it right.

    `evidence` holds the rule, the numbers it rests on and how sure it is; `also` names further
    points that lie in the same way and share the decision. `proposal` is value × factor + addend
    (convert), to leave the point out (ignore), to end the correction in force (end), or none.
    """

    id: int
    device_id: int
    device_key: str
    device: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    customer: str
    customer_zh: str
    profile: str | None
    model: str | None
    point: str
    column: str
    kind: str
    value: float | None
    reason_en: str
    reason_zh: str
    confidence: Literal["low", "medium", "high"]
    evidence: dict[str, Any]
    proposal: dict[str, Any]
    raised_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    state: DoubtState
    decided_by: str | None
    decided_at: datetime | None
    correction_id: int | None


@dataclass(frozen=True, slots=True)
class Family:
    """Open doubts of the same kind about the same point of the same make."""

    profile: str | None
    model: str | None
    point: str
    kind: str
    first: Doubt
    doubts: list[Doubt]
    total: int


class DoubtQuery(ListQuery):
    """Which doubts."""

    state: DoubtState | Literal["all"] = "open"
    device_id: int | None = None
    site_id: int | None = None
    profile: Annotated[str | None, Field(max_length=100)] = None
    kind: Annotated[str | None, Field(max_length=40)] = None
    point: Annotated[str | None, Field(max_length=100)] = None


class Acceptance(Strict):
    """For whom a doubt is accepted, and what is done instead of the proposal, if anything."""

    scope: Scope = "device"
    action: Action | None = None
    factor: Factor = 1.0
    addend: Addend = 0.0
    reason: Annotated[str, Field(max_length=500)] = ""


class Dismissal(Strict):
    """For whom the value is right as it is."""

    scope: Scope = "device"
    reason: Annotated[str, Field(max_length=500)] = ""


class BackForm(Form):
    """A button on a page, and where it leads back to."""

    next: str = "/doubts"


class DecisionForm(BackForm):
    """What the page's buttons send; the factor of a cure by hand may be left empty."""

    scope: Scope = "device"
    action: Action | None = None
    factor: str = ""
    addend: str = ""
