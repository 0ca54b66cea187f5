"""The bound of quarantine: one unit, or a stranger, cannot fill it for its thirty days.

What is left out is counted like the rest. Kept in memory: a restart allows each unit a day's share
anew.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import TypeAlias

from collector.arrival import Arrival

ROWS_A_DAY = 200
"""Rows that one device may put into quarantine in a day: its fault is plain from fewer."""
MOST_KEYS = 20_000
"""Keys that are told apart in a day; strangers beyond share one bucket."""

_OTHERS = ""

Refused: TypeAlias = tuple[Arrival, str, str | None, str, str]
"""Arrival, reason, point, detail, raw."""


class QuarantineBound:
    """Counts rows by device and UTC day; for one thread."""

    def __init__(self, rows_a_day: int = ROWS_A_DAY) -> None:
        self.left_out = 0
        self._rows_a_day = rows_a_day
        self._day: date | None = None
        self._rows: dict[str, int] = {}

    def within(self, refused: Iterable[Refused], now: datetime) -> list[Refused]:
        """Return what may still be kept today."""
        if self._day != now.date():
            self._day, self._rows = now.date(), {}
        kept = []
        for row in refused:
            key = row[0].device_key
            if key not in self._rows and len(self._rows) >= MOST_KEYS:
                key = _OTHERS
            rows = self._rows.get(key, 0)
            if rows < self._rows_a_day:
                self._rows[key] = rows + 1
                kept.append(row)
            else:
                self.left_out += 1
        return kept
