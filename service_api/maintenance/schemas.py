"""What planned work looks like over HTTP and in forms."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rules.maintenance_tasks import ConditionLimit, MeterLimit, Selector
from rules.wear import Component
from service_api.customers.schemas import Key, Name
from service_api.paging import Form, ListQuery, Strict

Basis = Literal["completion", "schedule"]
State = Literal["late", "due", "soon", "future", "unknown", "waived"]
Word = Annotated[str, Field(min_length=1, max_length=40)]
Step = Annotated[str, Field(min_length=1, max_length=1_000)]
Why = Annotated[str, Field(min_length=1, max_length=500)]
Months = Annotated[int, Field(ge=1, le=240)]
Minutes = Annotated[int, Field(ge=1, le=10_080)]


@dataclass(frozen=True, slots=True)
class PlanLine:
    """Work that recurs, with the number of units that have it."""

    id: int
    key: str
    title: str
    title_zh: str
    enabled: bool
    interval_months: int
    basis: Basis
    on_site: bool
    opens_tickets: bool
    duration_minutes: int
    duration_minutes_three_phase: int | None
    skills: list[str]
    part_kinds: list[str]
    component: Component | None
    includes: list[str]
    selector: dict[str, Any]
    meters: list[dict[str, Any]]
    conditions: list[dict[str, Any]]
    steps_en: list[str]
    steps_zh: list[str]
    source: str
    version: int
    changed_at: datetime | None
    changed_by: str
    units: int


class NewPlan(Strict):
    """A plan of work to write down."""

    key: Key
    title: Name
    title_zh: Name
    interval_months: Months
    basis: Basis
    on_site: bool = True
    opens_tickets: bool = True
    duration_minutes: Minutes
    duration_minutes_three_phase: Minutes | None = None
    skills: list[Word] = Field(default_factory=list)
    part_kinds: list[Word] = Field(default_factory=list)
    component: Component | None = None
    includes: list[Key] = Field(default_factory=list)
    selector: Selector = Field(default_factory=Selector)
    meters: list[MeterLimit] = Field(default_factory=list)
    conditions: list[ConditionLimit] = Field(default_factory=list)
    steps_en: list[Step] = Field(default_factory=list)
    steps_zh: list[Step] = Field(default_factory=list)
    source: Annotated[str, Field(max_length=1_000)] = ""


class PlanChange(Strict):
    """What to change of a plan, and why; what is left out stays.

    `version` is the one that was read: a plan that somebody else changed meanwhile is refused.
    """

    version: int
    why: Why
    enabled: bool | None = None
    title: Name | None = None
    title_zh: Name | None = None
    interval_months: Months | None = None
    basis: Basis | None = None
    on_site: bool | None = None
    opens_tickets: bool | None = None
    duration_minutes: Minutes | None = None
    duration_minutes_three_phase: Minutes | None = None
    skills: list[Word] | None = None
    part_kinds: list[Word] | None = None
    component: Component | None = None
    includes: list[Key] | None = None
    selector: Selector | None = None
    meters: list[MeterLimit] | None = None
    conditions: list[ConditionLimit] | None = None
    steps_en: list[Step] | None = None
    steps_zh: list[Step] | None = None
    source: Annotated[str | None, Field(max_length=1_000)] = None


class PlanForm(Form):
    """What the page's form sends; meters, conditions and selector as TOML."""

    version: int
    why: Why
    enabled: bool = False
    interval_months: Months
    basis: Basis
    duration_minutes: Minutes
    duration_minutes_three_phase: Annotated[str, Field(max_length=6)] = ""
    skills: Annotated[str, Field(max_length=500)] = ""
    part_kinds: Annotated[str, Field(max_length=500)] = ""
    limits: Annotated[str, Field(max_length=10_000)] = ""


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """A plan as it was before somebody changed it: who, when and why."""

    version: int
    at: datetime
    actor: str
    why: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DueLine:
    """When a plan's work is due at a unit and why; without a date one is missing."""

    device_id: int
    device: str
    site_id: int
    site: str
    site_zh: str
    customer: str
    customer_zh: str
    plan_id: int
    plan: str
    title: str
    title_zh: str
    due_on: date | None
    opens_on: date | None
    late_on: date | None
    last_done_on: date | None
    ticket_id: int | None
    visit_id: int | None
    reasons: list[dict[str, Any]]
    held_by: str | None
    on_site: bool
    exception: dict[str, Any] | None
    state: State


class DueQuery(ListQuery):
    """Which dates: `soon` is what may be done on site by now; `remote` needs no visit."""

    show: Literal["on_site", "soon", "late", "unknown", "waived", "remote", "all"] = "all"
    device_id: int | None = None
    site_id: int | None = None
    plan_id: int | None = None


class Done(Strict):
    """That work was done on a day."""

    done_on: date
    remark: Annotated[str, Field(max_length=500)] = ""


class LastDone(Strict):
    """When a plan's work was last done at a unit."""

    last_done_on: date


class DoneForm(Form):
    """What the page's form sends."""

    done_on: date
    remark: Annotated[str, Field(max_length=500)] = ""


class UnitException(Strict):
    """How a unit is treated otherwise than its plan says: another interval, or not at all."""

    waived: bool = False
    interval_months: Months | None = None
    reason: Why

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.waived == (self.interval_months is not None):
            raise ValueError("either waive the work or give it another interval")
        return self


class ExceptionForm(Form):
    """What the page's form sends."""

    interval_months: Annotated[str, Field(max_length=3)] = ""
    reason: Why


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Work that was done or missed, and by when it should have been."""

    id: int
    device_id: int
    device: str
    plan_id: int
    title: str
    title_zh: str
    due_on: date | None
    done_on: date | None
    outcome: Literal["early", "in_time", "late", "missed"]
    ticket_id: int | None
    remark: str
    actor: str
    at: datetime
    undone_at: datetime | None
    undone_by: str | None


class OccurrenceQuery(ListQuery):
    """Whose history."""

    device_id: int | None = None
    plan_id: int | None = None


@dataclass(frozen=True, slots=True)
class VisitLine:
    """One task at one unit of a visit."""

    device_id: int
    device: str
    plan_id: int
    title: str
    title_zh: str
    due_on: date | None
    minutes: int


@dataclass(frozen=True, slots=True)
class VisitInfo:
    """One trip to a site, with its ticket and work order."""

    id: int
    site_id: int
    site: str
    site_zh: str
    customer: str
    customer_zh: str
    visit_on: date
    ticket_id: int | None
    ticket_state: str | None
    order_id: int | None
    order_state: str | None
    planned_at: datetime | None
    minutes: int
    skills: list[str]
    part_kinds: list[str]
    lines: list[VisitLine]


class LineKey(Strict):
    """A line of a visit."""

    device_id: int
    plan_id: int


class Split(Strict):
    """The lines to make a visit of their own of."""

    lines: Annotated[list[LineKey], Field(min_length=1, max_length=500)]


class SplitForm(Form):
    """What the page's form sends: `device:plan` of each line."""

    lines: Annotated[list[str], Field(max_length=500)] = Field(default_factory=list)


class Merge(Strict):
    """The visit to go into."""

    into_id: int


@dataclass(frozen=True, slots=True)
class FreezeLine:
    """Days on which nothing may be changed at a site, both ends included."""

    id: int
    site_id: int
    site: str
    site_zh: str
    starts_on: date
    ends_on: date
    reason: str
    made_by: str
    made_at: datetime


class NewFreeze(Strict):
    """Days to freeze."""

    site_id: int
    starts_on: date
    ends_on: date
    reason: Why

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.ends_on < self.starts_on:
            raise ValueError("ends_on is before starts_on")
        return self


class FreezeForm(Form):
    """What the page's form sends."""

    site_id: int
    starts_on: date
    ends_on: date
    reason: Why


@dataclass(frozen=True, slots=True)
class Compliance:
    """How planned work was kept to over a span.

    `due` are the occurrences that fell due in it, `in_time` those done within their window or
    before; `planned_work_percent` is the share of visits that were planned.
    """

    since: date
    until: date
    due: int
    in_time: int
    late: int
    missed: int
    standing_late: int
    compliance_percent: float | None
    planned_orders: int
    other_orders: int
    planned_work_percent: float | None


@dataclass(frozen=True, slots=True)
class NeedLine:
    """What a month asks of a service center and skill."""

    month: date
    center_id: int | None
    center: str | None
    center_zh: str | None
    skill: str
    visits: int
    hours: float
    follow_up_hours: float
    available_hours: float
    engineers: int
    engineers_needed: int | None
    short_hours: float


@dataclass(frozen=True, slots=True)
class PartLine:
    """Parts that a month's work needs at a center; without a price nobody knows the cost."""

    month: date
    center_id: int | None
    center: str | None
    center_zh: str | None
    kind: str
    sku: str | None
    name: str | None
    name_zh: str | None
    quantity: int
    price: float | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class ForecastInfo:
    """The months ahead."""

    months: list[date]
    needs: list[NeedLine]
    parts: list[PartLine]
    parts_cost: float
    unpriced: int


class ForecastQuery(Strict):
    """How far ahead, and for which center."""

    months: Annotated[int, Field(ge=1, le=36)] = 12
    center_id: int | None = None


@dataclass(frozen=True, slots=True)
class PromiseLine:
    """Visits that a contract promises for its year at a site, and what became of them."""

    contract_id: int
    contract: str
    contract_name: str
    contract_name_zh: str
    customer: str
    customer_zh: str
    site_id: int
    site: str
    site_zh: str
    year_from: date
    year_until: date
    promised: int
    done: int
    planned: int
    short: int
