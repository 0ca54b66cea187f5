"""What is told of one unit."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

from pydantic import AwareDatetime, Field

from service_api.alarms.schemas import Alarm
from service_api.cards.schemas import Card
from service_api.fleet.schemas import UnitState
from service_api.paging import ListQuery, Strict
from service_api.tickets.schemas import TicketSummary

Resolution: TypeAlias = Literal["raw", "15m", "1h", "1d"]


@dataclass(frozen=True, slots=True)
class PointValue:
    """The newest value of one point."""

    name: str
    column: str
    unit: str
    en: str
    zh: str
    value: float | bool | str


@dataclass(frozen=True, slots=True)
class HealthDay:
    """The battery figure of one day, with how sure it is and what it rests on."""

    day: date
    index_percent: float | None
    low_percent: float | None
    high_percent: float | None
    life_used: float | None
    equivalent_age_years: float | None
    calendar_age_years: float | None
    replace_battery: bool | None
    replace_from: date | None
    replace_median: date | None
    replace_until: date | None
    ends_in_90_days: float | None
    ends_in_180_days: float | None
    ends_in_365_days: float | None
    advice: Literal["none", "watch", "test", "plan", "replace"]
    advice_since: date | None
    swapped_on: date | None
    confidence: Literal["unknown", "low", "medium", "high"]
    statement_en: str
    statement_zh: str
    evidence: list[Any]


@dataclass(frozen=True, slots=True)
class Device:
    """An installed UPS: what it is, how it is now, what is open about it."""

    id: int
    key: str
    name: str
    customer_id: int
    customer: str
    customer_zh: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    protocol: Literal["snmp", "modbus", "mqtt"]
    profile: str | None
    poll_seconds: float
    enabled: bool
    manufacturer: str | None
    model: str | None
    serial: str | None
    firmware: str | None
    identity: dict[str, Any]
    criticality: Literal["normal", "high", "critical"]
    installed_on: date | None
    warranty_until: date | None
    battery_installed_on: date | None
    battery_chemistry: Literal["vrla", "li-ion"]
    battery_life_years: float
    state: UnitState
    sentence_en: str
    sentence_zh: str
    on_battery_since_at: datetime | None
    runtime_left_seconds: float | None
    observed_at: datetime | None
    received_at: datetime | None
    points: list[PointValue]
    extra: dict[str, Any]
    alarms: list[Alarm]
    tickets: list[TicketSummary]
    health: HealthDay | None
    card: Card | None


class TelemetryQuery(Strict):
    """Which readings: `to` defaults to now, `from` to a day before, resolution to what fits.

    `points` are names or columns, between commas; default: the points that the page draws.
    """

    from_: AwareDatetime | None = Field(default=None, alias="from")
    to: AwareDatetime | None = None
    points: str | None = Field(default=None, max_length=1_000)
    resolution: Resolution | Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True)
class Series:
    """One point over time: the mean of each step, its lowest and highest where a step has many.

    A flag's value is the share of the step during which it was set, 0 to 1.
    """

    point: str
    column: str
    unit: str
    en: str
    zh: str
    values: list[float | None]
    low: list[float | None]
    high: list[float | None]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Readings of one unit: `at` are the instants that each series has a value for."""

    device_id: int
    start_at: datetime
    end_at: datetime
    resolution: Resolution
    step_seconds: float
    at: list[datetime]
    series: list[Series]


class HistoryQuery(ListQuery):
    """Which part of a unit's history."""

    from_: AwareDatetime | None = Field(default=None, alias="from")
    to: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that happened to a unit: a line of an alarm's or a ticket's log."""

    at: datetime
    about: Literal["alarm", "ticket"]
    ref: int
    event_id: int
    kind: str
    actor: str
    severity: str
    title_en: str
    title_zh: str
    detail: dict[str, Any]


class HealthQuery(Strict):
    """How many days back."""

    days: int = Field(default=90, ge=1, le=3_660)
