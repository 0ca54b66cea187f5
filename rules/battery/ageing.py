"""Equivalent age: how old a battery is, as if spent at the reference temperature.

Sources: life halves for each 8 to 10 K above the reference (APC, Eaton, C&D, Victron); the rate is
averaged and not the temperature, since it is convex. "Judgement" marks what has no source.
"""

from dataclasses import dataclass

import numpy as np

from rules.battery.facts import DAYS_A_YEAR, Chemistry, Days, Floats

ASSUMED_CELSIUS = 25.0
"""For days without a credible temperature: a usual equipment room."""
HALF_LIFE_KELVIN = 10.0
REFERENCE_CELSIUS = 25.0
COLDEST_CREDIBLE, HOTTEST_CREDIBLE = 5.0, 60.0
"""A day's mean outside is a fault of the sensor or its scale (seen: −1, 0, 2.2, 293 °C)."""
STUCK_DAYS = 7
"""A sensor that says the very same for so many days is stuck."""
MOST_LIFE_FACTOR = 1.2
"""Cold is credited with at most a fifth more life: more is not proven in service (judgement)."""
RECENT_DAYS = 90


@dataclass(frozen=True, slots=True)
class EquivalentAge:
    """Age in years as if spent at the reference temperature.

    `mean_rate` is years of age a year over the last 90 days. `coverage` is the share of days since
    installation with a credible temperature. `sensor_fault` is about the newest value.
    """

    years: float
    calendar_years: float
    mean_rate: float
    coverage: float
    measured_days: int
    sensor_fault: bool


@dataclass(frozen=True, slots=True)
class AgeCurve:
    """Equivalent age on each day since installation: `years[n]` after n days."""

    installed_on: int
    years: Floats

    def at(self, day: Floats | float) -> Floats:
        """Return the equivalent age in years on days counted from 1970."""
        passed = np.asarray(day, dtype=float) - self.installed_on
        return np.asarray(np.interp(passed, np.arange(len(self.years)), self.years))


def credible(celsius: Floats) -> Floats:
    """Replace by NaN what no sensor can have measured, and runs in which it did not move."""
    kept = np.where((celsius >= COLDEST_CREDIBLE) & (celsius <= HOTTEST_CREDIBLE), celsius, np.nan)
    if len(kept) < STUCK_DAYS:
        return kept
    starts = np.flatnonzero(np.r_[True, kept[1:] != kept[:-1]])
    lengths = np.diff(np.r_[starts, len(kept)])
    kept[np.repeat(lengths >= STUCK_DAYS, lengths)] = np.nan
    return kept


def rate_at(celsius: Floats, chemistry: Chemistry) -> Floats:
    """Return years of age a year at a temperature; lithium-ion ages by the calendar here."""
    if chemistry is not Chemistry.VRLA:
        return np.ones_like(celsius)
    factor = np.exp2((REFERENCE_CELSIUS - celsius) / HALF_LIFE_KELVIN)
    return 1.0 / np.minimum(factor, MOST_LIFE_FACTOR)


def equivalent_age(
    days: Days, installed_on: int, today: int, chemistry: Chemistry
) -> tuple[EquivalentAge, AgeCurve] | None:
    """Weigh each day since installation by its temperature; None when that date is no use.

    Days are counted from 1970. Days without a temperature before the first measured one count as
    the mean of what was measured, as the room hardly changed; later ones and those of a unit that
    measures nothing count as 25 °C.
    """
    if installed_on >= today:
        return None
    span = today - installed_on
    celsius = np.full(span, np.nan)
    inside = (days.day >= installed_on) & (days.day < today)
    told = days.celsius[inside]
    celsius[days.day[inside] - installed_on] = credible(told)
    is_measured = np.isfinite(celsius)
    measured = int(is_measured.sum())
    rates = rate_at(np.where(is_measured, celsius, ASSUMED_CELSIUS), chemistry)
    if measured >= RECENT_DAYS:
        first = int(np.argmax(is_measured))
        rates[:first] = rates[is_measured].mean()
    finite = np.flatnonzero(np.isfinite(told))
    newest_is_wrong = (
        bool(len(finite)) and not is_measured[days.day[inside][finite[-1]] - installed_on]
    )
    recent = rates[-RECENT_DAYS:]
    curve = AgeCurve(installed_on, np.r_[0.0, np.cumsum(rates)] / DAYS_A_YEAR)
    age = EquivalentAge(
        years=float(curve.years[-1]),
        calendar_years=span / DAYS_A_YEAR,
        mean_rate=float(recent.mean()),
        coverage=measured / span,
        measured_days=measured,
        sensor_fault=newest_is_wrong,
    )
    return age, curve
