"""What is told of incidents."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from rules.predicted_end import Basis
from rules.storm import Stage
from service_api.alarms.schemas import Severity
from service_api.paging import Form, ListQuery, Strict


@dataclass(frozen=True, slots=True)
class Incident:
    """Alarms with one cause; counts and the shortest time are of this moment.

    `runtime_left_seconds` is the shortest time that units on battery now report. An incident of a
    region gathers those of its sites, whose `parent_id` it is; `place` names the room, the network
    path or the substation that it is about. `is_storm`: so large that its units are ranked.
    """

    id: int
    subject: str
    cause: str
    title_en: str
    title_zh: str
    site_id: int | None
    site: str | None
    site_zh: str | None
    time_zone: str | None
    customer_id: int | None
    customer: str | None
    customer_zh: str | None
    opened_at: datetime
    closed_at: datetime | None
    severity: Severity | None
    units: int
    units_standing: int
    units_on_battery: int
    runtime_left_seconds: float | None
    shortest_device_id: int | None
    shortest_device: str | None
    unacknowledged: int
    ticket_id: int | None
    ticket_state: str | None
    respond_by_at: datetime | None
    responded_at: datetime | None
    owner: str | None
    owner_zh: str | None
    parent_id: int | None
    merged_into_id: int | None
    restore_expected_at: datetime | None
    sites: int
    tickets: int
    is_storm: bool
    place: str | None
    place_zh: str | None


class IncidentQuery(ListQuery):
    """Which incidents."""

    state: Literal["open", "closed", "all"] = "open"
    site_id: int | None = None
    customer_id: int | None = None


@dataclass(frozen=True, slots=True)
class IncidentUnit:
    """A unit of an incident, in the order in which units need care.

    `ends_at` is when its battery is predicted to be empty at this load, between `early_at` and
    `late_at`; `basis` says by what. `criticality` is that of the unit or of what lives on it,
    whichever is more.
    """

    id: int
    key: str
    name: str
    site_id: int
    incident_id: int
    stage: Stage
    is_low: bool
    ends_at: datetime | None
    early_at: datetime | None
    late_at: datetime | None
    basis: Basis | None
    criticality: str
    load: str | None
    load_zh: str | None
    respond_minutes: int | None
    battery_charge: float | None
    ups_load: float | None
    heard_at: datetime | None
    ticket_id: int | None


@dataclass(frozen=True, slots=True)
class IncidentSite:
    """A site of an incident with its units by stage; `worst` is that of its worst unit."""

    id: int
    incident_id: int
    name: str
    name_zh: str
    customer: str
    customer_zh: str
    latitude: float | None
    longitude: float | None
    units: int
    on_battery: int
    off: int
    silent: int
    back: int
    worst: Stage
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """By what so many alarms, or incidents of sites, belong here."""

    kind: str
    members: int


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One line of an incident's log."""

    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody joined or parted; `undone_at` None: it holds."""

    id: int
    at: datetime
    kind: Literal["merge", "split"]
    actor: str
    reason: str
    incident_id: int
    undone_at: datetime | None
    undone_by: str | None


@dataclass(frozen=True, slots=True)
class IncidentDetail(Incident):
    """One incident with all that belongs to it."""

    statement_en: str
    statement_zh: str
    members: list[IncidentUnit]
    places: list[IncidentSite]
    evidence: list[Evidence]
    timeline: list[IncidentEvent]
    decisions: list[Decision]


Reason = Annotated[str, Field(min_length=1, max_length=500)]
Ids = Annotated[list[int], Field(max_length=2_000)]


class Merging(Strict):
    """Which incidents become part of this one, and why."""

    incident_ids: Annotated[list[int], Field(min_length=1, max_length=100)]
    reason: Reason


class Splitting(Strict):
    """Which units of a site's incident, or which sites' incidents of a region's, are parted."""

    device_ids: Ids = []  # noqa: RUF012 - a pydantic field
    incident_ids: Ids = []  # noqa: RUF012 - a pydantic field
    reason: Reason


class Undoing(Strict):
    """Which decision is taken back."""

    decision_id: int


class Restoration(Strict):
    """When mains is expected back; null: nobody knows any more."""

    at: AwareDatetime | None


class MergeForm(Form):
    """What the page sends to merge."""

    incident_id: int
    reason: str = ""


class SplitForm(Form):
    """What the page sends to split."""

    device_id: list[int] = []  # noqa: RUF012 - a pydantic field
    child_id: list[int] = []  # noqa: RUF012 - a pydantic field
    reason: str = ""


class UndoForm(Form):
    """What the page sends to take a decision back."""

    decision_id: int


class RestorationForm(Form):
    """What the page sends: in how many minutes mains is expected back, nothing: not known."""

    minutes: str = ""


class IncidentBounds(Strict):
    """From when on an incident is regional, a storm, and when its units get a ticket.

    Sites that fail within `regional_minutes` of each other are one region's from `regional_sites`
    on; an incident is a storm from so many sites, or `storm_units` units on battery, on. A unit
    gets a ticket when its battery ends within `low_seconds`, or when it is not back `back_minutes`
    after mains came back at its site.
    """

    regional_sites: Annotated[int, Field(ge=2, le=1_000)]
    regional_minutes: Annotated[int, Field(ge=1, le=1_440)]
    storm_units: Annotated[int, Field(ge=2, le=100_000)]
    back_minutes: Annotated[int, Field(ge=1, le=1_440)]
    low_seconds: Annotated[int, Field(ge=30, le=3_600)]
