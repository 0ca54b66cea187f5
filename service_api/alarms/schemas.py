"""What is told of alarms, and what people may send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, Field

from rules.alarms import IsaState
from rules.suppression import SuppressionKind
from service_api.paging import Form, ListQuery, Strict

Severity: TypeAlias = Literal["critical", "major", "minor", "warning"]
AlarmState: TypeAlias = Literal["active", "clearing", "stale", "latched", "cleared"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule that holds for a device; `reason` says which condition and by which values.

    `isa_state` is how it stands towards people, in the words of ISA-18.2. `over_at` is when the
    condition was over: a latched alarm stands on. `suppressed_by` names the suppression that makes
    it quiet by design, `suppressed_for` its kind.
    """

    id: int
    device_id: int
    device_key: str
    device: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    customer_id: int
    customer: str
    customer_zh: str
    rule: str
    title_en: str
    title_zh: str
    severity: Severity
    state: AlarmState
    raised_at: datetime
    cleared_at: datetime | None
    changed_at: datetime
    reason: dict[str, Any]
    incident_id: int | None
    ticket_id: int | None
    inhibited_by: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    shelved_until_at: datetime | None
    shelved_by: str | None
    shelve_reason: str | None
    over_at: datetime | None
    suppressed_by: int | None
    suppressed_for: SuppressionKind | None
    is_quiet: bool
    isa_state: IsaState


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """One line of an alarm's log."""

    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlarmGroup:
    """Standing alarms of one incident, or of one rule where they share none.

    `alarm_ids` are those that nobody has acknowledged, at most 500. `site` is the first one's.
    """

    incident_id: int | None
    rule: str
    title_en: str
    title_zh: str
    severity: Severity
    alarms: int
    units: int
    sites: int
    site: str
    site_zh: str
    unacknowledged: int
    first_at: datetime
    alarm_ids: list[int]


@dataclass(frozen=True, slots=True)
class AlarmFlood:
    """A flood after ISA-18.2 that is going on: since when, how many, the most in ten minutes."""

    began_at: datetime
    alarms: int
    peak: int


@dataclass(frozen=True, slots=True)
class AlarmGroups:
    """Standing alarms by cause, worst first, and the flood if one is going on."""

    flood: AlarmFlood | None
    groups: list[AlarmGroup]


class AlarmQuery(ListQuery):
    """Which alarms: `state=standing` is every one that has not cleared.

    `quiet` tells those that another alarm explains or that are suppressed by design from the rest.
    """

    state: Literal[
        "standing", "active", "clearing", "stale", "latched", "cleared", "shelved", "all"
    ] = "standing"
    quiet: bool | None = None
    severity: Severity | None = None
    acknowledged: bool | None = None
    device_id: int | None = None
    site_id: int | None = None
    customer_id: int | None = None
    incident_id: int | None = None
    rule: str | None = None
    q: Annotated[str | None, Field(max_length=200)] = None


class AlarmPageQuery(AlarmQuery):
    """What the page may be asked: `group=cause` groups, `none` shows a flood one by one."""

    group: Literal["cause", "none"] | None = None


class Shelving(Strict):
    """Put aside until an instant at most 24 hours ahead, with a reason."""

    until_at: AwareDatetime
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Closing(Strict):
    """Why a stale alarm is closed by hand."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class ShelvingForm(Form):
    """What the page's shelving form sends."""

    hours: Annotated[int, Field(ge=1, le=24)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    next: str = "/alarms"


class ClosingForm(Form):
    """What the page's closing form sends."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    next: str = "/alarms"


class SelectionForm(Form):
    """What is done to the alarms that are ticked on the page."""

    ids: list[int] = Field(default_factory=list)
    next: str = "/alarms"
