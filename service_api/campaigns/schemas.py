"""What is told of campaigns, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from service_api.paging import Form, ListQuery, Strict


@dataclass(frozen=True, slots=True)
class Campaign:
    """A failure that units of one model and firmware share; a candidate until a person says."""

    id: int
    manufacturer: str
    model: str
    firmware: str
    rule_key: str
    state: Literal["candidate", "confirmed", "dismissed"]
    found_at: datetime
    last_at: datetime
    units: int
    customers: int
    fleet: int
    decided_at: datetime | None
    decided_by: str | None
    reason: str
    title_en: str
    title_zh: str


class CampaignQuery(ListQuery):
    """Which campaigns."""

    state: Literal["candidate", "confirmed", "dismissed", "all"] = "candidate"


class Verdict(Strict):
    """Why it is one, or is none."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class VerdictForm(Form):
    """What the page sends."""

    reason: Annotated[str, Field(max_length=500)] = ""
