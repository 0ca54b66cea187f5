"""Dates as UPS cards write them, and back; a date that cannot be read is no date. Pure."""

import re
from datetime import date, timedelta

_EPOCH = date(2000, 1, 1)
_UNSET = frozenset({_EPOCH, date(2001, 1, 1), date(1980, 1, 1), date(1970, 1, 1), date(1900, 1, 1)})
"""What clocks and forms of cards say that nobody has set."""
_CENTURY = 2000
_PIVOT = 70  # two-digit years 70–99 belong to the 1900s


def read_date(raw: object, order: str) -> str | None:
    """Return an ISO date, None when unset or absent, the text itself when it is no date.

    `order` is mdy, dmy, ymd or days2000: what the family usually writes. Cards that write dates in
    the locale of their web page do not keep to it, so four digits are the year wherever they stand,
    and a month above 12 is a day. Days on which clocks begin are dates that nobody set.
    """
    if order == "days2000":
        if not isinstance(raw, int) or not 0 < raw < 0xFFFF:
            return None
        return (_EPOCH + timedelta(days=raw)).isoformat()
    text = str(raw).strip()
    parts = [int(part) for part in re.findall(r"\d+", text)][:3]
    if len(parts) == 1 and len(text) == 8:
        parts = [int(text[:4]), int(text[4:6]), int(text[6:])]
    if len(parts) != 3:
        return text or None
    day = _day(parts, order)
    if day is None:
        return text
    return None if day in _UNSET else day.isoformat()


def _day(parts: list[int], order: str) -> date | None:
    """Return the date that three numbers are, None when they are none."""
    if parts[0] > 99:
        order = "ymd"
    elif parts[2] > 99 and order == "ymd":
        order = "mdy"
    found = dict(zip(order, parts, strict=True))
    year, month, day = found["y"], found["m"], found["d"]
    if month > 12 >= day:
        month, day = day, month
    if year < 100:
        year += _CENTURY if year < _PIVOT else _CENTURY - 100
    try:
        return date(year, month, day)
    except ValueError:
        return None


def write_date(iso: str, order: str) -> str | int:
    """Return a date as a card with this order of parts writes it; other text as it is."""
    try:
        day = date.fromisoformat(iso)
    except ValueError:
        return 0 if order == "days2000" else iso
    if order == "days2000":
        return (day - _EPOCH).days
    return day.strftime({"mdy": "%m/%d/%Y", "dmy": "%d/%m/%Y", "ymd": "%Y-%m-%d"}[order])
