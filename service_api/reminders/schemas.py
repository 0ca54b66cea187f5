"""What reminders look like over HTTP and in forms."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from service_api.paging import Form, ListQuery, Strict

Kind = Literal["date", "deadline", "missing"]
Owner = Literal["dispatcher", "sales", "data", "engineer"]
Subject = Literal["device", "site", "customer", "contract", "ticket"]


@dataclass(frozen=True, slots=True)
class Reminder:
    """Something that a duty must see to. `said_en` is how far it is; `step` the one told last."""

    id: int
    rule: str
    title_en: str
    title_zh: str
    kind: Kind
    subject: Subject
    subject_id: int
    about_en: str
    about_zh: str
    customer_id: int
    customer: str
    customer_zh: str
    site_id: int | None
    device_id: int | None
    owner: Owner
    taken_by: str | None
    raised_at: datetime
    closed_at: datetime | None
    step: float | None
    value: float | None
    said_en: str
    said_zh: str
    action_en: str
    action_zh: str
    source: str
    put_off_until_at: datetime | None
    put_off_by: str | None
    put_off_reason: str | None


@dataclass(frozen=True, slots=True)
class ReminderEvent:
    """One line of a reminder's log."""

    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


class ReminderQuery(ListQuery):
    """Which reminders; `put_off` are those that somebody hid for a while."""

    state: Literal["open", "put_off", "closed"] = "open"
    kind: Kind | None = None
    owner: Owner | None = None
    device_id: int | None = None
    customer_id: int | None = None


class PutOff(Strict):
    """Until when a reminder is hidden, and why."""

    until_at: AwareDatetime
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class PutOffForm(Form):
    """What the page's form sends."""

    until_on: date
    reason: Annotated[str, Field(min_length=1, max_length=500)]


@dataclass(frozen=True, slots=True)
class WarrantyFault:
    """The first fault within a unit's warranty, as it was frozen when it was found."""

    device_id: int
    device: str
    warranty_until: date
    alarm_id: int
    at: datetime
