"""The physics of one battery: discharge, charge, voltage, resistance, self-discharge, ageing.

Pure arithmetic on a small mutable state; closed forms wherever a step may be long. Charging and
loading decisions are the unit's (`ups`).
"""

import math
from datetime import datetime

from device_sims.spec import BatterySpec, Chemistry, UpsSpec
from device_sims.surroundings import DAY, YEAR, Room

CELSIUS_PER_HALVING = 10.0
"""VRLA life halves per 8–10 °C above 25 °C (maker and IEEE 1188 figures; the milder one here)."""

_ARRHENIUS_KELVIN = 6_014.0
"""Li-ion calendar ageing: 50 kJ/mol over the gas constant."""

KNEE = 0.6
"""A VRLA block keeps its capacity to about 60 % of its life, then falls to 80 % at its end."""

_CONSTANT_CURRENT_UNTIL = 0.8
_CHARGE_FACTOR = 1.1
"""Recharge takes about 110 % of the ampere-hours removed."""


def ageing_rate(chemistry: Chemistry, celsius: float) -> float:
    """Return how many years a battery ages in one year at a temperature, 1 at 25 °C."""
    if chemistry is Chemistry.VRLA:
        return float(2.0 ** ((celsius - 25.0) / CELSIUS_PER_HALVING))
    return math.exp(_ARRHENIUS_KELVIN * (1 / 298.15 - 1 / (celsius + 273.15)))


def capacity_index(chemistry: Chemistry, life_used: float) -> float:
    """Return the part of nominal capacity that is left; 0.8 when the life is used up."""
    if chemistry is Chemistry.LI_ION:
        return max(1.0 - 0.2 * math.sqrt(max(life_used, 0.0)), 0.15)
    if life_used <= KNEE:
        return 1.0
    slope = 0.2 / (1.0 - KNEE)
    if life_used <= 1.0:
        return 1.0 - slope * (life_used - KNEE)
    # Below 80 % fade accelerates.
    return max(0.8 - 2.0 * slope * (life_used - 1.0), 0.15)


def warmth_factor(celsius: float) -> float:
    """Return available capacity relative to 25 °C at UPS rates (15-minute column of the tables)."""
    if celsius < 25.0:
        return max(1.0 - 0.0093 * (25.0 - celsius), 0.5)
    return min(1.0 + 0.005 * (celsius - 25.0), 1.05)


class Battery:
    """A string's state: charge (0–1), equivalent age in years at 25 °C, temperature in °C."""

    __slots__ = ("age_years", "celsius", "charge", "spec")

    def __init__(self, spec: BatterySpec, *, age_years: float, celsius: float = 25.0) -> None:
        self.spec = spec
        self.age_years = age_years
        self.celsius = celsius
        self.charge = 1.0

    @property
    def index(self) -> float:
        """The part of nominal capacity that is left."""
        return capacity_index(self.spec.chemistry, self.age_years / self.spec.service_life_years)

    @property
    def ampere_hours(self) -> float:
        """Capacity now, at the rated hours and this temperature."""
        spec = self.spec
        return spec.capacity_ah * spec.strings * self.index * warmth_factor(self.celsius)

    @property
    def ohms(self) -> float:
        """Resistance of the whole battery; it rises as capacity goes.

        About 50 mΩ·Ah a lead cell: internal resistance and the polarization of a fast discharge.
        """
        spec = self.spec
        per_cell = 0.05 if spec.chemistry is Chemistry.VRLA else 0.02
        fresh = per_cell * spec.cells / (spec.capacity_ah * spec.strings)
        return fresh * (1.0 + 2.5 * (1.0 - self.index))

    @property
    def rest_volts(self) -> float:
        """Voltage without current."""
        charge = self.charge
        if self.spec.chemistry is Chemistry.VRLA:
            cell = 1.96 + 0.17 * charge - 0.22 * math.exp(-charge / 0.05)
        else:
            cell = 2.86 + 0.40 * (1.0 - math.exp(-charge / 0.05)) + 0.08 * charge
        return cell * self.spec.cells

    @property
    def float_volts(self) -> float:
        """Float voltage: 2.25 V a lead cell at 25 °C, −3 mV per °C."""
        if self.spec.chemistry is Chemistry.VRLA:
            return self.spec.cells * (2.25 - 0.003 * (self.celsius - 25.0))
        return self.spec.cells * 3.42

    @property
    def charging_volts(self) -> float:
        """Voltage while the charger pushes: from rest up to float at 80 % charge."""
        part = min(self.charge / _CONSTANT_CURRENT_UNTIL, 1.0)
        low = self.spec.cells * (2.05 if self.spec.chemistry is Chemistry.VRLA else 3.2)
        return low + (self.float_volts - low) * part

    def current_at(self, watts: float) -> float:
        """Return the current that delivers a power at the terminals; inf when it cannot."""
        volts, ohms = self.rest_volts, self.ohms
        inside = volts * volts - 4.0 * ohms * watts
        if inside < 0.0:
            return math.inf
        return (volts - math.sqrt(inside)) / (2.0 * ohms)

    def seconds_to_empty(self, amperes: float) -> float:
        """Return how long a full battery lasts at a constant current, by Peukert's law.

        Above the rated current t = H·(C/(I·H))^k; below it the rated capacity is all there is.
        """
        hours = self.spec.rated_hours
        ratio = self.ampere_hours / (amperes * hours)
        exponent = self.spec.peukert if ratio < 1.0 else 1.0
        return float(hours * 3_600.0 * ratio**exponent)

    def discharge(self, amperes: float, seconds: float) -> None:
        """Take a current for a while; the charge stops at zero."""
        self.charge = max(self.charge - seconds / self.seconds_to_empty(amperes), 0.0)

    def recharge(self, seconds: float) -> None:
        """Charge: constant current to 80 %, then an exponential approach, exact for any step."""
        rate = self._rate_per_second
        remaining = seconds
        if self.charge < _CONSTANT_CURRENT_UNTIL:
            needed = (_CONSTANT_CURRENT_UNTIL - self.charge) / rate
            if remaining <= needed:
                self.charge += remaining * rate
                return
            self.charge = _CONSTANT_CURRENT_UNTIL
            remaining -= needed
        tau = (1.0 - _CONSTANT_CURRENT_UNTIL) / rate
        left = (1.0 - self.charge) * math.exp(-remaining / tau)
        self.charge = 1.0 - left if left > 5e-4 else 1.0

    @property
    def charging_amperes(self) -> float:
        """Current into the battery while it charges."""
        part = min((1.0 - self.charge) / (1.0 - _CONSTANT_CURRENT_UNTIL), 1.0)
        return self._rate_per_second * part * self.ampere_hours * 3_600.0 * _CHARGE_FACTOR

    @property
    def _rate_per_second(self) -> float:
        # Constant current to 80 % and its exponential tail to 99 % take 0.8 + 0.2·ln 20 = 1.4
        # times the time that constant current alone would.
        return 1.4 / (self.spec.recharge_hours * 3_600.0)

    def rest(self, seconds: float) -> None:
        """Stand without a charger: self-discharge of 2.5 % a month at 20 °C, twice per 10 °C."""
        monthly = 0.025 * 2.0 ** ((self.celsius - 20.0) / 10.0)
        self.charge *= math.exp(-monthly * seconds / (30.0 * DAY))

    def age(self, seconds: float) -> None:
        """Grow older at the present temperature."""
        self.age_years += ageing_rate(self.spec.chemistry, self.celsius) * seconds / YEAR


def age_at(spec: UpsSpec, start: datetime) -> float:
    """Return the equivalent age of the battery at the start, from its room's seasons."""
    room = Room(spec.room)
    begin, end = spec.battery.installed_at.timestamp(), start.timestamp()
    if end <= begin:
        return 0.0
    count = max(int((end - begin) / (15.3 * DAY)), 1)
    width = (end - begin) / count
    # The battery stands about 3 °C above the room; four samples a day even out its course.
    total = 0.0
    for index in range(count):
        middle = begin + (index + 0.5) * width
        for hours in (0, 6, 12, 18):
            air = room.celsius(middle + hours * 3_600.0)
            total += ageing_rate(spec.battery.chemistry, air + 2.9)
    return total / (4 * count) * (end - begin) / YEAR
