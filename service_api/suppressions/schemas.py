"""What is told of suppressions, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from rules.suppression import SuppressionKind
from service_api.paging import Form, ListQuery, Strict


@dataclass(frozen=True, slots=True)
class Suppression:
    """Alarms that are quiet by design.

    `device_id` None: every unit of the site. `rules` None: every rule. `ends_at` None: until
    somebody ends it; `ended_at` is when it was over. `alarms` counts those that are quiet by it,
    those that cleared meanwhile included.
    """

    id: int
    kind: SuppressionKind
    customer_id: int
    customer: str
    customer_zh: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    device_id: int | None
    device: str | None
    rules: list[str] | None
    lets_critical_through: bool
    begins_at: datetime
    ends_at: datetime | None
    reason: str
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str | None
    end_reason: str | None
    alarms: int


@dataclass(frozen=True, slots=True)
class SuppressionEvent:
    """One line of a suppression's log."""

    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


class SuppressionQuery(ListQuery):
    """Which suppressions: `state=standing` is in force now, `ahead` is still to come."""

    state: Literal["standing", "ahead", "over", "all"] = "standing"
    kind: SuppressionKind | None = None
    device_id: int | None = None
    site_id: int | None = None
    customer_id: int | None = None


class TakingOut(Strict):
    """Take a unit out of service, or one rule on it; `until_at` None: until it is put back."""

    device_id: int
    rule: Annotated[str | None, Field(max_length=100)] = None
    until_at: AwareDatetime | None = None
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class SuppressionEnd(Strict):
    """Why a suppression ends before its time."""

    reason: Annotated[str, Field(max_length=500)] = ""


class SuppressionExtension(Strict):
    """When it ends from now on."""

    ends_at: AwareDatetime


class TakingOutForm(Form):
    """What the pages' form sends; `days` 0: until it is put back."""

    device_id: int
    rule: Annotated[str | None, Field(max_length=100)] = None
    days: Annotated[int, Field(ge=0, le=365)] = 0
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    next: str = "/suppressions"


class SuppressionEndForm(Form):
    """What the page's button sends."""

    next: str = "/suppressions"
