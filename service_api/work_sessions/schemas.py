"""What is told of engineers at work on units, and what they send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from service_api.paging import Form, ListQuery, Strict

LONGEST_HOURS = 24


@dataclass(frozen=True, slots=True)
class FoundCheck:
    """One thing looked at when an engineer checks out."""

    key: str
    verdict: Literal["passed", "failed", "unknown"]
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class WorkLine:
    """An alarm of the unit during the work: a line of its log, and no ticket."""

    alarm_id: int
    rule: str
    title_en: str
    title_zh: str
    severity: str
    raised_at: datetime
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkSession:
    """An engineer at work on a unit. `until_at` is when its alarms are heard again by themselves.

    `is_armed`: they are heard, because of check-out or because the time ran out. `checks` is what
    was found at check-out, `exception` why the unit was left although one did not pass.
    """

    id: int
    device_id: int
    device: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    customer_id: int
    work_order_id: int | None
    reason: str
    checked_in_at: datetime
    checked_in_by: str
    until_at: datetime | None
    is_armed: bool
    checked_out_at: datetime | None
    checked_out_by: str | None
    checks: list[FoundCheck] | None
    exception: str | None
    lines: list[WorkLine]


class WorkSessionQuery(ListQuery):
    """Which sessions: `open` has not been checked out."""

    state: Literal["open", "over", "all"] = "open"
    device_id: int | None = None
    work_order_id: int | None = None


class CheckIn(Strict):
    """Begin work on a unit; with the order it is done for, or a reason."""

    device_id: int
    work_order_id: int | None = None
    reason: Annotated[str, Field(max_length=500)] = ""
    hours: Annotated[float, Field(gt=0, le=LONGEST_HOURS)] = 8.0


class CheckOut(Strict):
    """End work on a unit; `exception` says why it is left although a check did not pass."""

    exception: Annotated[str, Field(max_length=500)] = ""


class MoreTime(Strict):
    """Until when the alarms stay quiet from now on."""

    until_at: AwareDatetime


class CheckInForm(Form, CheckIn):
    """What the page's form sends."""

    next: str = "/"


class CheckOutForm(Form, CheckOut):
    """What the page's form sends."""

    next: str = "/"


class MoreTimeForm(Form):
    """What the page's button sends."""

    hours: Annotated[int, Field(ge=1, le=12)] = 2
    next: str = "/"
