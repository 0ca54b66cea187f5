"""What may be believed of a unit: the newest values with their age, and when they grow too old."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rules.facts import Reading, Value
from rules.points import BY_COLUMN, Pace

SLOW_STAYS_VALID = timedelta(days=2)
"""Nominal values and settings are read rarely and believed for two days."""

Row = dict[str, Value | None]


@dataclass(slots=True)
class Facts:
    """The newest values of one device, the columns that rules read, with their age.

    `valid_for` is how long fast points are believed after `fast_at`; None: until replaced.
    """

    device_id: int
    values: Row
    fast_at: datetime | None
    slow_at: datetime | None
    valid_for: timedelta | None

    @property
    def fast_until(self) -> datetime | None:
        """When the fast points stop being believed, None when that has no time."""
        if self.fast_at is None or self.valid_for is None:
            return None
        return self.fast_at + self.valid_for

    def expired_before(self, now: datetime) -> datetime | None:
        """Return when the fast points stopped being believed, None when they still were."""
        until = self.fast_until
        return until if until is not None and until < now else None

    def row(self, now: datetime, seconds_since_seen: float | None) -> Mapping[str, Value | None]:
        """Return what may be believed at `now`, the rest None; good until the facts change."""
        until = self.fast_until
        row = self.values
        if self.fast_at is None or (until is not None and now > until):
            row = row | _NOTHING_FAST
        if self.slow_at is None or now > self.slow_at + SLOW_STAYS_VALID:
            row = row | _NOTHING_SLOW
        row[_SINCE_SEEN] = seconds_since_seen
        return row

    def take(self, reading: Reading) -> datetime | None:
        """Merge a newer reading: its points replace, the others stay until they expire.

        Fast points that had expired by then do not come back with the new one's age; returns when
        they had, None if they were still believed.
        """
        expired_at = self.expired_before(reading.observed_at)
        if expired_at is not None:
            self.values.update(_NOTHING_FAST)
        points = reading.points
        self.values.update(points)
        if reading.withheld:
            self.values.update(dict.fromkeys(reading.withheld))
        if not _SLOW.issuperset(points):
            self.fast_at = reading.observed_at
        if not _SLOW.isdisjoint(points):
            self.slow_at = reading.observed_at
        stays = reading.stays_valid_seconds
        self.valid_for = None if stays is None else timedelta(seconds=stays)
        return expired_at


_SINCE_SEEN = "seconds_since_seen"
_SLOW = frozenset(column for column, point in BY_COLUMN.items() if point.pace is Pace.SLOW)
_NOTHING_SLOW: Row = dict.fromkeys(_SLOW)
_NOTHING_FAST: Row = dict.fromkeys(BY_COLUMN.keys() - _SLOW)
