"""What is told of batteries, and what people tell of them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from service_api.paging import Form, ListQuery, Strict

AdviceWord: TypeAlias = Literal["none", "watch", "test", "plan", "replace"]


class BatteryQuery(ListQuery):
    """Which batteries: by advice (`due` is plan and replace), customer, site, or device."""

    advice: AdviceWord | Literal["due"] | None = None
    customer_id: int | None = None
    site_id: int | None = None
    device_id: int | None = None


@dataclass(frozen=True, slots=True)
class BatteryLine:
    """A unit's newest battery figure."""

    device_id: int
    device: str
    model: str | None
    site_id: int
    site: str
    site_zh: str
    customer_id: int
    customer: str
    customer_zh: str
    criticality: str
    day: date
    index_percent: float | None
    low_percent: float | None
    high_percent: float | None
    replace_from: date | None
    replace_median: date | None
    replace_until: date | None
    ends_in_90_days: float | None
    ends_in_365_days: float | None
    advice: AdviceWord
    confidence: str
    swapped_on: date | None
    ticket_id: int | None


@dataclass(frozen=True, slots=True)
class Replacements:
    """Batteries whose window has its middle in a quarter; those whose is past are in this one.

    `cost` adds up list prices; `unpriced` units have no battery set with a price that fits them.
    """

    quarter: str
    begins_on: date
    units: int
    sites: int
    cost: float
    unpriced: int


class NewSwap(Strict):
    """A battery that was replaced."""

    swapped_on: date
    part_id: int | None = None
    remark: Annotated[str, Field(max_length=500)] = ""


class SwapForm(Form):
    """The same from the unit's page."""

    swapped_on: date
    remark: Annotated[str, Field(max_length=500)] = ""


@dataclass(frozen=True, slots=True)
class Swap:
    """A replacement as it was recorded, and whether it was taken back."""

    id: int
    device_id: int
    swapped_on: date
    part_id: int | None
    remark: str
    recorded_at: datetime
    recorded_by: str
    undone_at: datetime | None
    undone_by: str | None
