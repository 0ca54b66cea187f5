"""Documents whose keys are the names of points: the product's own MQTT convention. Pure.

Their values need no scale, only type and plausibility; the way back stands beside.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from collector.form import EXTRA_POINTS
from collector.raw import Encoded, RawValue, Ref
from collector.values import LONGEST_TEXT, Missing, Refused, rejection
from rules.facts import Rejection, Value
from rules.plausibility import DOUBTFUL
from rules.points import BY_COLUMN, BY_NAME, CHARGER_STATES, TEST_RESULTS, Kind, Point

_LARGEST = sys.float_info.max
_MOST_EXTRAS = 60
_EXTRA_NAME = re.compile(r"(?:ambient|battery|device|input|outlet|output|ups|alarm)\.[\w.-]{1,60}")
_CLOSED = {"ups.test.result": TEST_RESULTS, "battery.charger.status": CHARGER_STATES}


def decode_names(
    pattern: str, raw: Mapping[Ref, RawValue]
) -> tuple[dict[str, Value], dict[str, Value], list[Rejection]]:
    """Return points by column, extras by name and refusals; `pattern` holds `{name}` once."""
    prefix, _, suffix = pattern.partition("{name}")
    places = _places(pattern)
    points: dict[str, Value] = {}
    extra: dict[str, Value] = {}
    rejections: list[Rejection] = []
    for ref, value in raw.items():
        place = places.get(ref)
        if place is not None and (sound := place.sound(value)) is not None:
            points[place.column] = sound
            continue
        if not isinstance(ref, str) or not ref.startswith(prefix) or not ref.endswith(suffix):
            continue
        name = ref[len(prefix) : len(ref) - len(suffix)]
        point = BY_NAME.get(name)
        try:
            if point is not None:
                points[point.column] = _plausible(point, _typed(name, point.kind, value))
            elif len(extra) >= _MOST_EXTRAS or not _EXTRA_NAME.fullmatch(name):
                raise Refused("unknown_point", "no point of this name")  # noqa: TRY301
            else:
                extra[name] = _typed(name, EXTRA_POINTS.get(name), value)
        except Missing:
            continue
        except Refused as refused:
            rejections.append(rejection(name[:100], value, refused.reason, refused.detail))
            if refused.reason == "implausible" and point is not None:
                extra[f"{DOUBTFUL}{point.column}"] = _finite(str(value))
    return points, extra, rejections


def encode_names(pattern: str, points: Mapping[str, Value]) -> dict[Ref, Encoded]:
    """Return the leaves of a document that says these points (columns, or names of extras)."""
    names = {key: BY_COLUMN[key].name if key in BY_COLUMN else key for key in points}
    return {pattern.replace("{name}", names[key]): value for key, value in points.items()}


@dataclass(frozen=True, slots=True)
class _Place:
    """A number or flag, and what its sound values are."""

    column: str
    is_flag: bool
    low: float
    high: float

    def sound(self, value: RawValue) -> float | bool | None:
        """Return a value that needs no closer look, as nearly all are, else None."""
        if isinstance(value, bool):
            return value if self.is_flag else None
        if isinstance(value, float | int) and not self.is_flag and self.low <= value <= self.high:
            return float(value)
        return None


@lru_cache
def _places(pattern: str) -> Mapping[Ref, _Place]:
    """Return the numbers and flags by their keys in a document."""
    return {
        pattern.replace("{name}", point.name): _Place(
            point.column,
            point.kind is Kind.FLAG,
            -_LARGEST if point.low is None else point.low,
            _LARGEST if point.high is None else point.high,
        )
        for point in BY_NAME.values()
        if point.kind is not Kind.TEXT
    }


def _plausible(point: Point, value: Value) -> Value:
    if point.low is None or point.high is None or not isinstance(value, float):
        return value
    if not point.low <= value <= point.high:
        span = f"{point.low:g} to {point.high:g}"
        raise Refused("implausible", f"{value:g} lies outside {span}")
    return value


def _typed(name: str, kind: Kind | None, value: RawValue) -> Value:
    if value is None or value == "":
        raise Missing
    if isinstance(value, bool) or kind is Kind.FLAG:
        if isinstance(value, bool) and kind in (Kind.FLAG, None):
            return value
        raise Refused("wrong_type", "flags, and only flags, are true or false")
    if isinstance(value, str) and kind is not Kind.NUMBER:
        if name in _CLOSED and value not in _CLOSED[name]:
            raise Refused("unknown_code", f"use one of {', '.join(_CLOSED[name])}")
        return value[:LONGEST_TEXT]
    if kind is Kind.TEXT or not isinstance(value, int | float | str):
        raise Refused("wrong_type", "not the kind of value that belongs here")
    return _finite(value)


def _finite(value: float | str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise Refused("wrong_type", "a text where a number belongs") from None
    except OverflowError:
        raise Refused("not_finite", "no finite number") from None
    if not isfinite(number):
        raise Refused("not_finite", "no finite number")
    return number
