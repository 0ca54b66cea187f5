"""What is told of tickets, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from service_api.alarms.schemas import Severity
from service_api.paging import Form, ListQuery, Strict

TicketState: TypeAlias = Literal["open", "in_progress", "waiting", "resolved", "closed"]
Text: TypeAlias = Annotated[str, Field(max_length=4_000)]
NeededText: TypeAlias = Annotated[str, Field(min_length=1, max_length=4_000)]


@dataclass(frozen=True, slots=True)
class Deadline:
    """One promise: until when, since when it runs, kept when, and how it stands now."""

    promise: Literal["respond", "restore"]
    due_at: datetime
    starts_at: datetime
    met_at: datetime | None
    state: Literal["running", "met", "missed"]


@dataclass(frozen=True, slots=True)
class TicketSummary:
    """A need for service, as lists show it."""

    id: int
    title_en: str
    title_zh: str
    severity: Severity
    priority: int
    state: TicketState
    source: Literal["rule", "schedule", "person"]
    failure_mode: str
    customer_id: int
    customer: str
    customer_zh: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    device_id: int | None
    device: str | None
    incident_id: int | None
    opened_at: datetime
    respond_by_at: datetime | None
    restore_by_at: datetime | None
    responded_at: datetime | None
    resolved_at: datetime | None
    closed_at: datetime | None
    condition_cleared_at: datetime | None
    owner: str | None
    owner_zh: str | None


@dataclass(frozen=True, slots=True)
class TicketEvent:
    """One line of a ticket's log."""

    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PriorityTerm:
    """One term of a priority's arithmetic."""

    term_en: str
    term_zh: str
    points: float


@dataclass(frozen=True, slots=True)
class Ticket(TicketSummary):
    """A ticket with why it was opened, what was promised, and its log.

    `reason` has the rule, the condition, the readings that made it hold and when they were
    observed; `readings_now` has the newest values of the same points; `entitlement` has each
    condition with whether it holds.
    """

    reason: dict[str, Any]
    readings_now: dict[str, Any]
    readings_now_at: datetime | None
    entitlement: dict[str, Any]
    priority_terms: list[PriorityTerm]
    deadlines: list[Deadline]
    contract_id: int | None
    skills: list[str]
    part_kinds: list[str]
    action_en: str
    action_zh: str
    closing_code: str | None
    reopened: int
    opened_by: str
    alarm_ids: list[int]
    log: list[TicketEvent]


class TicketQuery(ListQuery):
    """Which tickets: `state=unfinished` is every one that is not closed."""

    state: Literal[
        "unfinished", "open", "in_progress", "waiting", "resolved", "closed", "late", "all"
    ] = "unfinished"
    severity: Severity | None = None
    priority: Annotated[int | None, Field(ge=1, le=4)] = None
    device_id: int | None = None
    site_id: int | None = None
    customer_id: int | None = None
    incident_id: int | None = None
    q: Annotated[str | None, Field(max_length=200)] = None


class NewTicket(Strict):
    """A request by a person; the site, and the unit if it is about one."""

    site_id: int
    device_id: int | None = None
    title: Annotated[str, Field(min_length=1, max_length=200)]
    detail: Text = ""
    severity: Severity = "minor"


class Note(Strict):
    """A line for the log."""

    text: NeededText


class Ending(Strict):
    """How a ticket ended."""

    closing_code: str
    text: Text = ""


class Reopening(Strict):
    """Why a closed ticket is opened again."""

    reason: NeededText


class NewTicketForm(Form):
    """What the page for a new ticket sends; `about` is "site:3" or "device:7"."""

    about: Annotated[str, Field(pattern=r"^(site|device):[0-9]{1,18}$")]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    detail: Text = ""
    severity: Severity = "minor"


class NoteForm(Form, Note):
    """What the page sends."""


class EndingForm(Form, Ending):
    """What the page sends."""


class ReopeningForm(Form, Reopening):
    """What the page sends."""
