"""What is told of the fleet as a whole."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from rules.suppression import SuppressionKind
from service_api.alarms.schemas import Severity
from service_api.paging import ListQuery

UnitState: TypeAlias = Literal[
    "on_line", "on_battery", "low_battery", "bypass", "testing", "off", "silent", "unknown"
]


@dataclass(frozen=True, slots=True)
class FleetUnit:
    """One unit, one line: how it is now and the worst that stands.

    `badness` orders the fleet, worst first. `runtime_left_seconds` is predicted for now at this
    load. The alarm is the worst standing one that is neither shelved nor quiet. `quiet_for` is why
    the unit is quiet by design: work that goes on, or out of service.
    """

    id: int
    key: str
    name: str
    manufacturer: str | None
    model: str | None
    criticality: Literal["normal", "high", "critical"]
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    customer_id: int
    customer: str
    customer_zh: str
    state: UnitState
    badness: int
    observed_at: datetime | None
    received_at: datetime | None
    on_battery_since_at: datetime | None
    runtime_left_seconds: float | None
    battery_charge: float | None
    ups_load: float | None
    input_voltage: float | None
    input_voltage_nominal: float | None
    output_voltage: float | None
    battery_temperature: float | None
    alarms: int
    alarm_id: int | None
    alarm_rule: str | None
    alarm_severity: Severity | None
    alarm_is_stale: bool
    alarm_acknowledged_at: datetime | None
    alarm_raised_at: datetime | None
    incident_id: int | None
    ticket_id: int | None
    quiet_for: SuppressionKind | None
    alarm_title_en: str | None
    alarm_title_zh: str | None


@dataclass(frozen=True, slots=True)
class FleetSummary:
    """The fleet in numbers; units are counted once in each line that fits them.

    What is quiet by design is counted there, and in no line of what it is quiet about.
    """

    units: int
    on_battery: int
    in_alarm: int
    silent: int
    bypass: int
    off: int
    quiet: int
    critical: int
    major: int
    minor: int
    warning: int
    open_incidents: int
    open_tickets: int
    last_heard_at: datetime | None
    is_silent: bool


FleetSort: TypeAlias = Literal[
    "worst", "name", "-name", "site", "-site", "load", "-load", "charge", "-charge",
    "runtime", "-runtime", "seen", "-seen",
]  # fmt: skip


class FleetQuery(ListQuery):
    """Which units, in which order; a sort beginning with "-" is descending."""

    state: Literal["on_battery", "in_alarm", "silent", "bypass", "off", "quiet"] | None = None
    severity: Severity | None = None
    site_id: int | None = None
    customer_id: int | None = None
    incident_id: int | None = None
    q: Annotated[str | None, Field(max_length=200)] = None
    sort: FleetSort = "worst"
