"""Values that conversion refused because nothing can have them: what they probably mean. Pure.

Conversion leaves such a number out of the points and keeps it in the reading's `extra`.
"""

from collections.abc import Mapping

from rules.facts import Value
from rules.plausibility.table import IGNORE, NONE, Proposal, Suspicion, times
from rules.points import BY_COLUMN, Point

DOUBTFUL = "doubtful."
"""Prefix, before the column, of the names in `extra` that hold values which are not believed."""


def believed(extra: Mapping[str, Value]) -> dict[str, Value]:
    """Return what of a reading's `extra` is not in doubt."""
    return {name: value for name, value in extra.items() if not name.startswith(DOUBTFUL)}


_FULL = frozenset(
    sign * full * step
    for full in (65_535, 65_534, 32_767, 32_768, 2**31 - 1, 2**32 - 1, 2**32 - 2, 2**31)
    for step in (1, 0.1, 0.01, 10, 60, 100, 1000)
    for sign in (1, -1)
) | {-1.0, -60.0, -0.1, -9_999.0, 255.0, 254.0}

_USUAL = {
    "Hz": (45.0, 65.0),
    "%": (0.0, 100.0),
    "°C": (5.0, 45.0),
    "s": (60.0, 86_400.0),
}
_VOLTS = {"input": (80.0, 520.0), "output": (80.0, 520.0), "battery": (10.0, 600.0)}


def out_of_range(column: str, value: float, nominal: float | None = None) -> Suspicion:
    """Return the suspicion about a value beyond what its point can hold."""
    point = BY_COLUMN[column]
    numbers = {column: value}
    if point.low is not None and point.high is not None:
        numbers |= {"lowest": point.low, "highest": point.high}
    if nominal is not None:
        numbers["nominal"] = nominal
    if value in _FULL:
        return Suspicion(column, "range", value, "placeholder", numbers, IGNORE, "high")
    cure = _cure(point, value, nominal)
    return Suspicion(
        column, "range", value, "out_of_range", numbers, cure, "low" if cure is NONE else "medium"
    )


def _cure(point: Point, value: float, nominal: float | None) -> Proposal:
    usual = _usual(point, nominal)
    if usual is None:
        return NONE
    low, high = usual
    return next((times(f) for f in (0.1, 0.01, 0.001) if low <= value * f <= high), NONE)


def _usual(point: Point, nominal: float | None) -> tuple[float, float] | None:
    if point.unit == "V":
        if nominal:
            return 0.7 * nominal, 1.35 * nominal
        return _VOLTS.get(point.name.split(".", 1)[0])
    return _USUAL.get(point.unit)
