"""How far a collector's clock is from the center's. Pure: instants and steady seconds come in.

A collector asks with each beat and hears back when the center got it: the shortest of some round
trips bounds the error by half its length. What it learns is tied to its steady clock, so that a
step of its wall clock is known at once. The center, which hears only one way, knows a bit less.
"""

from collections import deque
from datetime import datetime

_ROUND_TRIPS = 8
_LONGEST_ROUND_TRIP_SECONDS = 5.0
_MOST_ASKED = 16
_HEARD = 12


class OwnSkew:
    """What a collector knows of its own clock; `remembered` is what an earlier life knew."""

    def __init__(self, *, remembered: float | None = None) -> None:
        self._remembered = remembered
        self._asked: dict[int, float] = {}
        self._heard: deque[tuple[float, float]] = deque(maxlen=_ROUND_TRIPS)

    def ask(self, number: int, *, steady: float) -> None:
        """Note that beat `number` goes out."""
        self._asked[number] = steady
        if len(self._asked) > _MOST_ASKED:
            del self._asked[min(self._asked)]

    def hear(self, number: int, center_at: datetime, *, steady: float) -> None:
        """Note that the center got beat `number` at `center_at`, by its own clock."""
        asked = self._asked.pop(number, None)
        if asked is None or not 0.0 <= (trip := steady - asked) <= _LONGEST_ROUND_TRIP_SECONDS:
            return
        self._heard.append((trip, center_at.timestamp() - (asked + steady) / 2))

    def seconds(self, at: datetime, *, steady: float) -> float | None:
        """Return how far `at`, by our clock just now, is ahead of the center's; None: not known."""
        if not self._heard:
            return self._remembered
        _, offset = min(self._heard)
        return at.timestamp() - (steady + offset)


class HeardSkew:
    """What the center knows of one collector's clock, from beats that are never queued.

    Each says the time at which it left; the one that came quickest tells most.
    """

    def __init__(self) -> None:
        self._ahead: deque[float] = deque(maxlen=_HEARD)

    def hear(self, told_at: datetime, received_at: datetime) -> float:
        """Note a beat; return by how many seconds the collector's clock is ahead of ours."""
        self._ahead.append((told_at - received_at).total_seconds())
        return max(self._ahead)
