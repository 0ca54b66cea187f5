"""What people may send about work orders, and how the API tells them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, Field

from service_api.paging import Form, ListQuery, Strict

OrderState: TypeAlias = Literal["draft", "assigned", "accepted", "on_site", "done", "cancelled"]
Minutes: TypeAlias = Annotated[int, Field(ge=5, le=10_080)]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """A work order on a list."""

    id: int
    state: OrderState
    ticket_id: int
    title_en: str
    title_zh: str
    priority: int
    severity: str
    customer_id: int
    customer: str
    customer_zh: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    device_id: int | None
    device: str | None
    engineer_id: int | None
    engineer: str | None
    engineer_zh: str | None
    planned_from_at: datetime | None
    planned_until_at: datetime | None
    respond_by_at: datetime | None
    created_at: datetime
    arrived_at: datetime | None
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class OrderPart:
    """What an order has reserved and what was taken out for it, a part in a warehouse."""

    part_id: int
    sku: str
    name: str
    name_zh: str
    warehouse_id: int
    warehouse: str
    warehouse_zh: str
    reserved: int
    issued: int


@dataclass(frozen=True, slots=True)
class Order:
    """All of a work order but its log; `candidates` are for the organization's own people."""

    line: OrderLine
    next_step: str | None
    skills: list[str]
    estimated_minutes: int
    candidates: list[dict[str, Any]]
    parts: list[OrderPart]
    report: str | None
    signed_by: str | None
    action_en: str
    action_zh: str
    address: str
    latitude: float | None
    longitude: float | None
    device_model: str | None
    device_serial: str | None
    ticket_state: str
    ticket_source: str
    entitlement: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One line of an order's log."""

    id: int
    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


class OrderQuery(ListQuery):
    """Which work orders; `open` is every one that is not over."""

    state: Literal["open", "all"] | OrderState = "open"
    mine: bool = False
    engineer_id: int | None = None
    ticket_id: int | None = None
    device_id: int | None = None
    site_id: int | None = None


class NewOrder(Strict):
    """Draft the work order of a ticket."""

    ticket_id: int


class Assignment(Strict):
    """Who goes, and when the work begins; how long, unless as estimated."""

    engineer_id: int
    starts_at: AwareDatetime
    minutes: Minutes | None = None


class Used(Strict):
    """How many of a part from a warehouse went into the unit."""

    part_id: int
    warehouse_id: int
    quantity: Annotated[int, Field(ge=1, le=1_000)]


class WorkReport(Strict):
    """The engineer's report; a closing code finishes the ticket as well."""

    report: Annotated[str, Field(min_length=1, max_length=10_000)]
    signed_by: Annotated[str, Field(max_length=200)] = ""
    used: list[Used] = Field(default_factory=list, max_length=100)
    closing_code: str | None = None


class Cancelling(Strict):
    """Why an order is called off."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class AssignmentForm(Form):
    """What the page sends to dispatch a candidate: the start is the site's wall clock."""

    engineer_id: int
    starts_on: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d$")]


class ClosingForm(Form):
    """What the page sends at the end; `used` are "part:warehouse" of what was fitted."""

    report: Annotated[str, Field(min_length=1, max_length=10_000)]
    signed_by: Annotated[str, Field(max_length=200)] = ""
    used: list[Annotated[str, Field(pattern=r"^\d+:\d+$")]] = Field(default_factory=list)
    closing_code: str = ""


class CancellingForm(Form):
    """Why an order is called off."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class ReserveForm(Form):
    """Which part to keep for the order: "part:warehouse"."""

    item: Annotated[str, Field(pattern=r"^\d+:\d+$")]
