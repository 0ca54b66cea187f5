"""What acts on a unit from outside, as pure functions of time: mains, air, load, noise.

Nothing here remembers anything, so a unit meets the same weather however often it is asked. An
outage on cue is not here: it is an input of `ups.SimulatedUps`.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from device_sims.spec import LoadSpec, RoomSpec

DAY = 86_400.0
YEAR = 365.25 * DAY

_TABLE = 1_024


class Noise:
    """Smooth noise of unit variance as a function of time, drawn once from a seeded generator."""

    __slots__ = ("_table",)

    def __init__(self, generator: np.random.Generator) -> None:
        self._table: list[float] = generator.standard_normal(_TABLE).tolist()

    def at(self, seconds: float, period: float) -> float:
        """Return the noise at an instant, wandering from knot to knot every `period` seconds."""
        place = seconds / period
        knot = math.floor(place)
        part = place - knot
        part *= part * (3.0 - 2.0 * part)
        table = self._table
        left = table[knot % _TABLE]
        return left + (table[(knot + 1) % _TABLE] - left) * part


class Room:
    """The air and the mains of one site; equal seeds give equal rooms."""

    __slots__ = ("_air", "_grid", "_spec")

    def __init__(self, spec: RoomSpec) -> None:
        generator = np.random.default_rng((spec.seed, 0x5173))
        self._spec = spec
        self._air = Noise(generator)
        self._grid = Noise(generator)

    def celsius(self, seconds: float) -> float:
        """Return the air temperature: season, day and a slow wander."""
        spec = self._spec
        local = seconds + spec.utc_offset_hours * 3_600.0
        return (
            spec.mean_celsius
            # Warmest around 20 July, day 201 of the year, and around 15:00.
            + spec.season_celsius * math.cos(2 * math.pi * (local / YEAR - 201 / 365.25))
            + spec.day_celsius * math.cos(2 * math.pi * (local / DAY - 15 / 24))
            + 0.35 * self._air.at(seconds, 5_400.0)
        )

    def humidity(self, seconds: float) -> float:
        """Return relative humidity in %."""
        return 46.0 + 4.0 * self._air.at(seconds + 7.7e6, 9_000.0)

    def voltage_factor(self, seconds: float, phase: int) -> float:
        """Return mains voltage relative to nominal for a phase (0–2): within about ±3 %."""
        grid = self._grid
        return (
            1.005
            + 0.008 * grid.at(seconds + phase * 3.1e6, 900.0)
            + 0.002 * grid.at(seconds + phase * 1.7e6, 12.0)
        )

    def hertz(self, seconds: float, nominal: float) -> float:
        """Return mains frequency; a wide-area grid stays within about ±0.05 Hz."""
        return nominal + 0.018 * self._grid.at(seconds + 9.9e6, 40.0)


def load_fraction(spec: LoadSpec, noise: Noise, seconds: float, utc_offset_hours: float) -> float:
    """Return the load relative to rated apparent power: working-day hump, weekend dip, noise."""
    local = seconds + utc_offset_hours * 3_600.0
    hour = local % DAY / 3_600.0
    # Day 0 of the epoch was a Thursday.
    weekday = (int(local // DAY) + 3) % 7
    hump = math.exp(-(((hour - 14.0) / 4.5) ** 2))
    weight = 1.0 if weekday < 5 else spec.weekend
    value = spec.base + spec.working_hump * weight * hump
    value += spec.noise * (0.7 * noise.at(seconds, 600.0) + 0.3 * noise.at(seconds, 7.0))
    return max(value, 0.01)


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch without mains."""

    starts_at: datetime
    ends_at: datetime


def outages(room: RoomSpec, *, start: datetime, end: datetime) -> list[Outage]:
    """Return a site's past outages between two instants, the same for all of its units.

    They come by chance at the room's yearly rate, most of some minutes, seldom over an hour. They
    depend on the month they fall into and on nothing else, so that a longer past holds the shorter.
    """
    found: list[Outage] = []
    month = 30.0 * DAY
    first, last = (int(instant.timestamp() // month) for instant in (start, end))
    for index in range(first, last + 1):
        generator = np.random.default_rng((room.seed, 0x0FF, index))
        for offset in sorted(
            generator.uniform(0.0, month, generator.poisson(room.outages_per_year * month / YEAR))
        ):
            length = float(np.clip(generator.lognormal(math.log(150.0), 1.1), 4.0, 5_400.0))
            starts_at = datetime.fromtimestamp(index * month + float(offset), start.tzinfo)
            ends_at = starts_at + timedelta(seconds=length)
            if (
                start <= starts_at
                and ends_at <= end
                and (not found or starts_at > found[-1].ends_at + timedelta(minutes=10))
            ):
                found.append(Outage(starts_at, ends_at))
    return found
