"""Dates as UPS cards write them, and back; a date that cannot be read is no date. Pure."""

import re
from datetime import date, timedelta

_EPOCH = date(2000, 1, 1)
_CENTURY = 2000
_PIVOT = 70  # two-digit years 70–99 belong to the 1900s


def read_date(raw: object, order: str) -> str | None:
    """Return an ISO date, None when unset or absent, the text itself when it is no date.

    `order` is mdy, dmy, ymd or days2000. 2000-01-01 is what cards report for "never set".
    """
    if order == "days2000":
        if not isinstance(raw, int) or not 0 < raw < 0xFFFF:
            return None
        return (_EPOCH + timedelta(days=raw)).isoformat()
    text = str(raw).strip()
    parts = [int(part) for part in re.findall(r"\d+", text)][:3]
    if len(parts) == 1 and len(text) == 8:
        parts = [int(text[:4]), int(text[4:6]), int(text[6:])]
        order = "ymd"
    if len(parts) != 3:
        return text or None
    if parts[0] > 99:
        order = "ymd"
    found = dict(zip(order, parts, strict=True))
    year = found["y"]
    if year < 100:
        year += _CENTURY if year < _PIVOT else _CENTURY - 100
    try:
        day = date(year, found["m"], found["d"])
    except ValueError:
        return text
    return None if day == _EPOCH else day.isoformat()


def write_date(iso: str, order: str) -> str | int:
    """Return a date as a card with this order of parts writes it; other text as it is."""
    try:
        day = date.fromisoformat(iso)
    except ValueError:
        return 0 if order == "days2000" else iso
    if order == "days2000":
        return (day - _EPOCH).days
    return day.strftime({"mdy": "%m/%d/%Y", "dmy": "%d/%m/%Y", "ymd": "%Y-%m-%d"}[order])
