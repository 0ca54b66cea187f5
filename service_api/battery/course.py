"""The course of a battery's index as a picture: a line in its band, for a page without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from service_api.devices.schemas import HealthDay

COURSE_DAYS = 730
WIDTH, HEIGHT = 300.0, 90.0
_LEAST = 50.0  # percent at the bottom
_POINTS = 120
_FEWEST = 5


@dataclass(frozen=True, slots=True)
class Course:
    """SVG points of the index and of its 80 % range, in a box of `WIDTH` by `HEIGHT`.

    `limit_y` is where 80 % lies. `first` and `last` are the days at the two ends.
    """

    line: str
    band: str
    limit_y: float
    first: date
    last: date


def course_of(days: Sequence[HealthDay]) -> Course | None:
    """Draw the known figures, given newest first; None while there are fewer than five."""
    known = [
        (day.day, day.index_percent, day.low_percent, day.high_percent)
        for day in reversed(days)
        if day.index_percent is not None
        and day.low_percent is not None
        and day.high_percent is not None
    ]
    if len(known) < _FEWEST:
        return None
    first, last = known[0][0], known[-1][0]
    known = known[:: max(1, len(known) // _POINTS)]
    span = max(1, (last - first).days)
    places = [WIDTH * (day - first).days / span for day, *_ in known]
    high = [_at(x, value) for x, (_, _, _, value) in zip(places, known, strict=True)]
    low = [_at(x, value) for x, (_, _, value, _) in zip(places, known, strict=True)]
    middle = [_at(x, value) for x, (_, value, _, _) in zip(places, known, strict=True)]
    return Course(" ".join(middle), " ".join([*high, *reversed(low)]), _height(80.0), first, last)


def _height(percent: float) -> float:
    share = (min(100.0, max(_LEAST, percent)) - _LEAST) / (100.0 - _LEAST)
    return round(HEIGHT * (1.0 - share), 1)


def _at(x: float, percent: float) -> str:
    return f"{x:.1f},{_height(percent)}"
