"""The facts that packages hand to each other: frozen, without behavior of their own.

Columns are the words of `rules.points`; instants are aware UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

Value = float | bool | str
"""What a point can hold: floats for numbers, booleans for flags, short texts."""


class Source(Enum):
    """How a reading came to us."""

    POLL = "poll"
    PUSH = "push"
    REPLAY = "replay"
    """Read elsewhere earlier and delivered in order: judged in event time although late."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Points of one device at one instant; partial readings are normal.

    `points` is keyed by column. `observed_at` is the device's or reader's time of the values,
    `received_at` ours. `extra` holds what has no column. `stays_valid_seconds` is how long a fast
    point may be believed (three polls), None while it is valid until replaced
    (report by exception within a live session). `withheld` are columns that the device told, or
    tells of late, and that are not to be believed: unknown from now on.
    """

    device_id: int
    observed_at: datetime
    received_at: datetime
    points: Mapping[str, Value]
    extra: Mapping[str, Value] = field(default_factory=dict)
    source: Source = Source.POLL
    stays_valid_seconds: float | None = 90.0
    withheld: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device says it is; None where it does not tell.

    `details` carries further point names as text, `battery.date` and `ups.mfr.date` among them.
    """

    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A value or message that was refused, with the reason: it goes to quarantine.

    `point` is the point's name, or None when the whole message was refused. `reason` is a short
    word to count by, `detail` the sentence for people, `value` the number that was out of range.
    """

    point: str | None
    raw: str
    reason: str
    detail: str
    value: float | None = field(default=None, compare=False)
