"""How numbers, durations and instants are written for people, in English and Chinese.

Pure: a language and a value in, text out. Units are written here, fixed by `rules.points`.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal

from rules.conditions.tree import SPANS
from rules.occasions import FACTS
from rules.points import BY_COLUMN, EXTRA_FLAGS
from service_api.language import msg, translate

_LOCALE = {"en": "en_GB", "zh": "zh_Hans_CN"}
_PATTERN = {
    "en": {"full": "d MMM y, HH:mm:ss", "short": "d MMM HH:mm", "day": "d MMM y"},
    "zh": {"full": "y年M月d日 HH:mm:ss", "short": "M月d日 HH:mm", "day": "y年M月d日"},
}
DIGITS = {"V": 1, "A": 1, "Hz": 1, "VA": 0, "W": 0, "Wh": 0, "Ah": 0, "°C": 1, "%": 0, "s": 0}

MINUTE = 60.0
HOUR = 3_600.0
DAY = 86_400.0

MISSING = "–"


def zone(name: str | None) -> ZoneInfo:
    """Return a site's time zone, Shanghai's where none or an unknown one is named."""
    try:
        return ZoneInfo(name or "Asia/Shanghai")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("Asia/Shanghai")


def number(language: str, value: float | None, digits: int = 0) -> str:
    """Write a number with grouping; None and what is not finite is a dash."""
    if value is None or value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
        return MISSING
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    text = format_decimal(value, pattern, locale=_LOCALE[language])
    return "0" + text[2:] if text in {"-0", "-0.0", "-0.00"} else text


def quantity(language: str, value: float | None, unit: str, digits: int | None = None) -> str:
    """Write a number with its unit: "27.1 V", "1.2 kW"."""
    if value is None:
        return MISSING
    if unit == "s":
        return duration(language, value)
    if unit in {"W", "VA", "Wh"} and abs(value) >= 1_000:
        return f"{number(language, value / 1_000, 1)} k{unit}"
    text = number(language, value, DIGITS.get(unit, 1) if digits is None else digits)
    return f"{text} {unit}".strip()


def point_value(language: str, column: str, value: object) -> str:
    """Write the value of a point: with its unit, a flag as yes or no."""
    if value is None:
        return MISSING
    window = _window(column)
    point = BY_COLUMN.get(window["column"] if window else column)
    if isinstance(value, bool):
        return translate(language, msg("yes")) if value else translate(language, msg("no"))
    if isinstance(value, int | float):
        if column in FACTS and FACTS[column].unit == "d":
            return translate(language, msg("%(n)s d"), n=number(language, value))
        if window and window["aggregate"] == "share":
            return quantity(language, 100 * value, "%")
        unit = "s" if column == "seconds_since_seen" else point.unit if point else ""
        if window and window["aggregate"] == "since":
            unit = "s"
        unit = FACTS[column].unit if column in FACTS else unit
        return quantity(language, value, unit)
    return str(value)


def point_name(language: str, column: str) -> str:
    """Write what a column means."""
    if column == "seconds_since_seen":
        return translate(language, msg("Time since last heard"))
    window = _window(column)
    if window is not None:
        of, said = point_name(language, window["column"]), _OVER_TIME[window["aggregate"]]
        seconds = SPANS.get(window["span"] or "")
        return translate(language, said, of=of, span=duration(language, seconds))
    if column in FACTS:
        return FACTS[column].zh if language == "zh" else FACTS[column].en
    point = BY_COLUMN.get(column)
    en, zh = (point.en, point.zh) if point else EXTRA_FLAGS.get(column, (column, column))
    return zh if language == "zh" else en


_WINDOW = re.compile(r"(?P<aggregate>[a-z]+)(?:_(?P<span>\w+))?\((?P<column>\w+)\)")
_OVER_TIME = {
    "avg": msg("%(of)s, average of %(span)s"),
    "min": msg("%(of)s, least of %(span)s"),
    "max": msg("%(of)s, greatest of %(span)s"),
    "delta": msg("%(of)s, change in %(span)s"),
    "rate": msg("%(of)s, change an hour in %(span)s"),
    "share": msg("%(of)s, share of %(span)s"),
    "count": msg("%(of)s, how often in %(span)s"),
    "since": msg("%(of)s, for how long"),
}


def _window(column: str) -> re.Match[str] | None:
    """Take a function over time apart, None for a plain column."""
    found = _WINDOW.fullmatch(column)
    return found if found is not None and found["aggregate"] in _OVER_TIME else None


def duration(language: str, seconds: float | timedelta | None) -> str:
    """Write a length of time in its one or two largest units: "14 min", "2 h 5 min", "3 d 4 h"."""
    if seconds is None:
        return MISSING
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    seconds = max(0.0, seconds)

    def say(text: str, **values: object) -> str:
        return translate(language, text, **values)

    if seconds < MINUTE:
        return say(msg("%(n)s s"), n=int(seconds))
    if seconds < HOUR:
        return say(msg("%(n)s min"), n=int(seconds // MINUTE))
    if seconds < DAY:
        hours, minutes = int(seconds // HOUR), int(seconds % HOUR // MINUTE)
        if minutes and hours < 10:
            return say(msg("%(h)s h %(m)s min"), h=hours, m=minutes)
        return say(msg("%(n)s h"), n=hours)
    days, hours = int(seconds // DAY), int(seconds % DAY // HOUR)
    if hours and days < 7:
        return say(msg("%(d)s d %(h)s h"), d=days, h=hours)
    return say(msg("%(n)s d"), n=days)


def moment(language: str, at: datetime | None, time_zone: str | None = None) -> str:
    """Write an instant to the second, in a site's time zone, with the zone's short name."""
    if at is None:
        return MISSING
    local = at.astimezone(zone(time_zone))
    text = format_datetime(local, _PATTERN[language]["full"], locale=_LOCALE[language])
    return f"{text} ({time_zone or 'Asia/Shanghai'})"


def short_moment(language: str, at: datetime | None, time_zone: str | None = None) -> str:
    """Write an instant to the minute, without the year."""
    if at is None:
        return MISSING
    local = at.astimezone(zone(time_zone))
    return format_datetime(local, _PATTERN[language]["short"], locale=_LOCALE[language])


def day(language: str, on: date | None) -> str:
    """Write a calendar day."""
    if on is None:
        return MISSING
    return format_date(on, _PATTERN[language]["day"], locale=_LOCALE[language])


def ago(language: str, at: datetime | None, now: datetime) -> str:
    """Write how long ago, or how far ahead, an instant is."""
    if at is None:
        return MISSING
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return translate(language, msg("just now"))
    if seconds < 0:
        return translate(language, msg("in %(time)s"), time=duration(language, -seconds))
    return translate(language, msg("%(time)s ago"), time=duration(language, seconds))


def bound(function: Callable[..., str], language: str) -> Callable[..., str]:
    """Return one of these functions with its language given."""

    def write(*values: object, **named: object) -> str:
        return function(language, *values, **named)

    return write
