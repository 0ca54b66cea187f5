"""Names as the field spells them, and units: Battery_Charge is battery.charge, 1 kW 1000 W. Pure.

What a point is called is `rules.points`; this is how gateways and bridges write it.
"""

import re
from collections.abc import Mapping
from functools import cache

from collector.form import EXTRA_POINTS
from rules.points import BY_NAME

_NOT_SPELLED = re.compile(r"[^a-z0-9]+")

_UNITS: Mapping[str, tuple[float, float]] = {
    "ms": (0.001, 0.0),
    "min": (60.0, 0.0),
    "mins": (60.0, 0.0),
    "minutes": (60.0, 0.0),
    "h": (3_600.0, 0.0),
    "hours": (3_600.0, 0.0),
    "d": (86_400.0, 0.0),
    "mv": (0.001, 0.0),
    "kv": (1_000.0, 0.0),
    "ma": (0.001, 0.0),
    "kw": (1_000.0, 0.0),
    "kva": (1_000.0, 0.0),
    "kwh": (1_000.0, 0.0),
    "mwh": (1_000_000.0, 0.0),
    "khz": (1_000.0, 0.0),
    "°f": (5 / 9, -160 / 9),
    "degf": (5 / 9, -160 / 9),
    "k": (1.0, -273.15),
}
"""Factor and addend to the unit of the table of points, by the unit in lower case."""


def spelled(text: str) -> str:
    """Return a name without what spellings differ in: separators and capitals."""
    return _NOT_SPELLED.sub("", text.lower())


@cache
def _vocabulary() -> Mapping[str, str]:
    names = {spelled(name): name for name in EXTRA_POINTS}
    return names | {spelled(name): name for name in BY_NAME}


def point_named(text: str, more: Mapping[str, str]) -> str | None:
    """Return the point that a path or label spells; `more` are further spellings, as `spelled`."""
    key = spelled(text)
    return more.get(key) or _vocabulary().get(key)


def in_our_unit(value: float, unit: str | None) -> float:
    """Return a number in the unit of the table of points; an unknown unit changes nothing."""
    if unit is None:
        return value
    factor, addend = _UNITS.get(unit.strip().lower(), (1.0, 0.0))
    return value * factor + addend
