"""Documents whose keys are the names of points: the product's own MQTT convention. Pure.

Their values need no scale, only type and plausibility; the way back stands beside.
"""

import re
from collections.abc import Mapping
from math import isfinite

from collector.form import EXTRA_POINTS
from collector.raw import Encoded, RawValue, Ref
from collector.values import LONGEST_TEXT, Missing, Refused, rejection
from rules.facts import Rejection, Value
from rules.points import BY_COLUMN, BY_NAME, CHARGER_STATES, TEST_RESULTS, Kind, Point

_MOST_EXTRAS = 60
_EXTRA_NAME = re.compile(r"(?:ambient|battery|device|input|outlet|output|ups|alarm)\.[\w.-]{1,60}")
_COLUMNS = {name: (point, point.column) for name, point in BY_NAME.items()}
_CLOSED = {"ups.test.result": TEST_RESULTS, "battery.charger.status": CHARGER_STATES}


def decode_names(
    pattern: str, raw: Mapping[Ref, RawValue]
) -> tuple[dict[str, Value], dict[str, Value], list[Rejection]]:
    """Return points by column, extras by name and refusals; `pattern` holds `{name}` once."""
    prefix, _, suffix = pattern.partition("{name}")
    points: dict[str, Value] = {}
    extra: dict[str, Value] = {}
    rejections: list[Rejection] = []
    for ref, value in raw.items():
        if not isinstance(ref, str) or not ref.startswith(prefix) or not ref.endswith(suffix):
            continue
        name = ref[len(prefix) : len(ref) - len(suffix)]
        known = _COLUMNS.get(name)
        try:
            if known is not None:
                point, column = known
                points[column] = _plausible(point, _typed(name, point.kind, value))
            elif len(extra) >= _MOST_EXTRAS or not _EXTRA_NAME.fullmatch(name):
                raise Refused("unknown_point", "no point of this name")  # noqa: TRY301
            else:
                extra[name] = _typed(name, EXTRA_POINTS.get(name), value)
        except Missing:
            continue
        except Refused as refused:
            rejections.append(rejection(name[:100], value, refused.reason, refused.detail))
    return points, extra, rejections


def encode_names(pattern: str, points: Mapping[str, Value]) -> dict[Ref, Encoded]:
    """Return the leaves of a document that says these points (columns, or names of extras)."""
    names = {key: BY_COLUMN[key].name if key in BY_COLUMN else key for key in points}
    return {pattern.replace("{name}", names[key]): value for key, value in points.items()}


def _plausible(point: Point, value: Value) -> Value:
    if point.low is None or point.high is None or not isinstance(value, float):
        return value
    if not point.low <= value <= point.high:
        span = f"{point.low:g} to {point.high:g}"
        raise Refused("implausible", f"{value:g} lies outside {span}")
    return value


def _typed(name: str, kind: Kind | None, value: RawValue) -> Value:
    if type(value) is float and kind is Kind.NUMBER:
        return _finite(value)
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
