"""When the battery of a unit that lives on it will be empty, and how sure that is.

Pure. The unit's own figure is the ground; how fast its charge falls corrects it where the two
contradict each other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Literal, TypeAlias

REPORTED_ERROR = 0.20
"""A single reported runtime is off by 10 to 20 % (error budget of the normalized runtime)."""
SLOPE_ERROR = 0.35
"""Charge alone says less: gauges count unevenly (judgement)."""
CONTRADICTION = 2.0
"""Reported and measured contradict each other from this ratio on (judgement)."""
GAUGE_FAULT = 0.25
"""Charge falling so much faster than the runtime says, at a voltage that hardly falls, is the gauge
and not the battery: 100 to 52 % in 90 s at a flat voltage while the unit said 18 min (Eneru)."""
FLAT_VOLTAGE = 0.03
"""A voltage that fell by less than 3 % is flat (Eneru)."""
LEAST_SPAN = timedelta(seconds=60)
LEAST_DROP = 3.0
"""A slope needs a minute and three points: charge comes in whole percents."""
LEAST_CHARGE_OF_ZERO = 20.0
"""A runtime of 0 beside more charge than this means "not known": cards without the figure say 0."""
LONGEST = 7 * 86_400.0

Basis: TypeAlias = Literal["reported", "corrected", "charge", "gauge_fault"]
"""What a prediction rests on: the unit's figure; charge, against that figure; charge alone; the
unit's figure, since its charge gauge cannot be right."""


@dataclass(frozen=True, slots=True)
class Discharge:
    """What is known of a battery that gives; seconds, percent, volts; None: not known.

    The anchor is a reading of the same discharge, once it had settled (some 60 s after its
    beginning, when the first dip of the voltage is over).
    """

    observed_at: datetime
    runtime_seconds: float | None = None
    charge: float | None = None
    voltage: float | None = None
    anchor_at: datetime | None = None
    anchor_charge: float | None = None
    anchor_voltage: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """When a battery will be empty at this load: likely at `end_at`, between the other two."""

    end_at: datetime
    early_at: datetime
    late_at: datetime
    basis: Basis


def predicted_end(discharge: Discharge, *, proof: float = 1.0) -> Prediction | None:
    """Predict the end of a battery, None where nothing is known of it.

    `proof` is how much of its predictions the unit kept so far: actual by predicted runtime of its
    past discharges.

    1. The reported runtime, times `proof`, counts from the reading that it came with.
    2. The slope of the charge since the anchor gives a second figure.
    3. Where they agree within `CONTRADICTION`, the reported one holds and the other widens it.
    4. Where charge falls faster, charge holds; unless the voltage is flat: then the gauge is wrong.
    5. Where charge falls slower, the earlier end holds.
    """
    reported = _usable(discharge.runtime_seconds)
    if reported == 0 and (_usable(discharge.charge) or 0) > LEAST_CHARGE_OF_ZERO:
        reported = None
    if reported is not None:
        reported = min(LONGEST, reported * (proof if isfinite(proof) and proof > 0 else 1.0))
    sloped = _by_slope(discharge)
    if reported is None and sloped is None:
        return None
    if sloped is None:
        assert reported is not None  # noqa: S101 - for the type checker
        return _around(discharge, reported, "reported", REPORTED_ERROR)
    if reported is None:
        return _around(discharge, sloped, "charge", SLOPE_ERROR)
    if sloped * CONTRADICTION >= reported:
        low, high = min(reported, sloped), max(reported, sloped)
        return _between(
            discharge,
            reported,
            "reported",
            min(low, reported * (1 - REPORTED_ERROR)),
            max(high, reported * (1 + REPORTED_ERROR)),
        )
    if sloped < reported * GAUGE_FAULT and _is_flat(discharge):
        return _between(
            discharge, reported, "gauge_fault", reported / 2, reported * (1 + REPORTED_ERROR)
        )
    return _between(discharge, sloped, "corrected", sloped * (1 - SLOPE_ERROR), reported)


def _usable(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) and value >= 0 else None


def _by_slope(one: Discharge) -> float | None:
    """Return the seconds from the reading to an empty battery by the slope of its charge."""
    charge, before = _usable(one.charge), _usable(one.anchor_charge)
    if charge is None or before is None or one.anchor_at is None:
        return None
    span, drop = one.observed_at - one.anchor_at, before - charge
    if span < LEAST_SPAN or drop < LEAST_DROP:
        return None
    return min(LONGEST, charge / drop * span.total_seconds())


def _is_flat(one: Discharge) -> bool:
    now, before = _usable(one.voltage), _usable(one.anchor_voltage)
    return now is not None and before is not None and now > before * (1 - FLAT_VOLTAGE)


def _around(one: Discharge, seconds: float, basis: Basis, error: float) -> Prediction:
    return _between(one, seconds, basis, seconds * (1 - error), seconds * (1 + error))


def _between(one: Discharge, seconds: float, basis: Basis, early: float, late: float) -> Prediction:
    end, first, last = (one.observed_at + timedelta(seconds=s) for s in (seconds, early, late))
    return Prediction(end, first, last, basis)
