"""What a simulated unit is made of: ratings, battery, room and load, all frozen.

How these behave over time is `surroundings`, `battery` and `ups`; where they stand is `scenario`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Chemistry(Enum):
    """What the cells are made of."""

    VRLA = "vrla"
    LI_ION = "li_ion"


class Topology(Enum):
    """How the unit feeds its load from mains."""

    LINE_INTERACTIVE = "line_interactive"
    """Mains passes through an automatic voltage regulator; the inverter waits."""
    ONLINE = "online"
    """Double conversion: the inverter always feeds the load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatterySpec:
    """The string: nominal capacity at `rated_hours`, cells in series, strings in parallel.

    `service_life_years` is at 25 °C and ends at 80 % of nominal capacity. `recharge_hours` leads
    from empty to 99 %. `rest_days` is how long a three-stage charger leaves the battery alone
    between float phases, 0 for a charger that floats for ever.
    """

    capacity_ah: float
    cells: int
    installed_at: datetime
    chemistry: Chemistry = Chemistry.VRLA
    strings: int = 1
    rated_hours: float = 20.0
    peukert: float = 1.18
    service_life_years: float = 4.0
    recharge_hours: float = 10.0
    rest_days: float = 0.0

    @property
    def nominal_volts(self) -> float:
        """Voltage that the name plate gives: 2 V a lead cell, 3.2 V a lithium iron cell."""
        return self.cells * (2.0 if self.chemistry is Chemistry.VRLA else 3.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSpec:
    """The site's mains and air; units of one site share it by `seed`."""

    seed: int = 0
    mean_celsius: float = 24.0
    season_celsius: float = 2.0
    day_celsius: float = 1.0
    utc_offset_hours: float = 8.0
    outages_per_year: float = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """The load as a fraction of rated apparent power, with a working-day hump."""

    base: float = 0.40
    working_hump: float = 0.12
    weekend: float = 0.3
    """How much of the hump is left on Saturday and Sunday."""
    noise: float = 0.012
    power_factor: float = 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsSpec:
    """One unit: name plate, battery, room, load and settings."""

    manufacturer: str
    model: str
    serial: str
    firmware: str
    battery: BatterySpec
    installed_at: datetime
    phases: int = 1
    rated_va: float = 3_000.0
    rated_watts: float = 2_700.0
    topology: Topology = Topology.ONLINE
    nominal_volts: float = 220.0
    """Line to neutral."""
    nominal_hertz: float = 50.0
    room: RoomSpec = field(default_factory=RoomSpec)
    load: LoadSpec = field(default_factory=LoadSpec)
    low_runtime_seconds: float = 120.0
    low_charge_percent: float = 10.0
    self_test_days: float = 7.0
    """0 switches the periodic self-test off."""
    has_room_probe: bool = False

    def __post_init__(self) -> None:
        if self.phases not in (1, 3):
            raise ValueError(f"a unit has 1 or 3 phases, not {self.phases}")
