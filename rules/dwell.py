"""Dwell: one odd reading makes no doubt, some of the last do; one sound one ends none. Pure.

Counted in the device's own time and at most every 15 s, so that bursts and replays weigh no more
than polls.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

LAST = 5
ODD_ENOUGH = 3
"""So many odd ones of the last `LAST` readings that could tell make a doubt."""
SOUND_ENOUGH = 10
"""So many sound ones in a row end it."""
SPACING = timedelta(seconds=15)
"""Readings closer together than this count once."""


class Turn(Enum):
    """What a reading made of a doubt."""

    RAISE = "raise"
    END = "end"


@dataclass(frozen=True, slots=True)
class Dwell:
    """What the last readings said of one value, the newest last; `sound` were so in a row."""

    is_open: bool = False
    last: tuple[bool, ...] = ()
    sound: int = 0
    at: datetime | None = None

    @property
    def is_quiet(self) -> bool:
        """Nothing needs to be remembered."""
        return not self.is_open and not any(self.last)


def step(dwell: Dwell, *, is_odd: bool, at: datetime) -> tuple[Dwell, Turn | None]:
    """Take in a reading that could tell; returns the new memory and what turned."""
    if dwell.at is not None and at < dwell.at + SPACING:
        return dwell, None
    last = (*dwell.last, is_odd)[-LAST:]
    sound = 0 if is_odd else dwell.sound + 1
    if dwell.is_open:
        if sound >= SOUND_ENOUGH:
            return Dwell(at=at), Turn.END
        return Dwell(is_open=True, last=last, sound=sound, at=at), None
    if sum(last) >= ODD_ENOUGH:
        return Dwell(is_open=True, last=last, at=at), Turn.RAISE
    return Dwell(last=last, sound=sound, at=at), None
