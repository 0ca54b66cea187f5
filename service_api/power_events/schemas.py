"""What is told of times on battery."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import AwareDatetime

from rules.power_events import EventKind, Unproven
from service_api.paging import ListQuery


@dataclass(frozen=True, slots=True)
class PowerEvent:
    """One time on battery: an outage, a self-test or a calibration.

    `ended_at` None: it goes on; `lost`: its end was not seen. `cause` is what the unit told. Load
    in percent, energy in Wh with what it was worked out from, °C, V, charge in percent, seconds.

    `proved_promise` is the runtime that the unit promised once the discharge had settled,
    `proved_seconds` what came of it or would have at that load, between `proved_low` and
    `proved_high` (80 %); else `unproven` says why the episode proves nothing.
    """

    id: int
    device_id: int
    device: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    customer_id: int
    customer: str
    customer_zh: str
    kind: EventKind
    began_at: datetime
    ended_at: datetime | None
    lost: bool
    seconds: float
    interruptions: int
    cause: str | None
    load_mean: float | None
    load_max: float | None
    watt_hours: float | None
    energy_from: str | None
    celsius: float | None
    voltage_lowest: float | None
    charge_before: float | None
    charge_after: float | None
    promised_seconds: float | None
    reached_end: bool
    proved_promise: float | None
    proved_seconds: float | None
    proved_low: float | None
    proved_high: float | None
    unproven: Unproven | None

    @property
    def depth(self) -> float | None:
        """Percent of charge that it took."""
        if self.charge_before is None or self.charge_after is None:
            return None
        return self.charge_before - self.charge_after


@dataclass(frozen=True, slots=True)
class TracePoint:
    """One reading of an episode: charge and load in percent, volts, the runtime promised then."""

    at: datetime
    on_battery: bool | None
    charge: float | None
    load: float | None
    voltage: float | None
    promised_seconds: float | None


@dataclass(frozen=True, slots=True)
class PowerEventDetail:
    """An episode with its readings; none where raw readings are no longer kept."""

    event: PowerEvent
    trace: list[TracePoint]


@dataclass(frozen=True, slots=True)
class UnitTrust:
    """How far a unit's promises held: delivered by promised with its 80 % range, of how many."""

    ratio: float
    low: float
    high: float
    episodes: int


class PowerEventQuery(ListQuery):
    """Which episodes; `since` and `until` bound when they began, `proved`: they prove something."""

    kind: EventKind | None = None
    device_id: int | None = None
    site_id: int | None = None
    customer_id: int | None = None
    open: bool | None = None
    proved: bool | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
