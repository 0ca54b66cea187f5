"""How an alarm system does: rates, floods, and the bounds that the standards set. Pure.

Bounds are those of ISA-18.2, IEC 62682 and EEMUA 191 as process practice quotes them, for one
operator; what has no published source is marked judgement. An alarm that another one explains is
not put before anybody and does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=10)
FLOOD_BEGINS_ABOVE, FLOOD_ENDS_BELOW = 10, 5
"""Alarms in ten minutes: a flood begins above the one and ends below the other (ISA-18.2)."""
CHATTER_TIMES, CHATTER_WITHIN = 3, timedelta(minutes=1)
"""Raised so often within a minute, an alarm chatters (process practice)."""
STANDS_FROM = timedelta(hours=24)
FEWEST_DAYS = 30
"""Figures of fewer days say little (ISA-18.2 asks for thirty)."""

MOST_A_DAY = 150.0
"""About one in ten minutes: likely to be acceptable (EEMUA 191)."""
MOST_STANDING = 5
"""Standing for more than a day (ISA-18.2's aim for stale alarms)."""
MOST_FLOOD_SHARE = 0.01
MOST_TOP_TEN_SHARE = 0.05
MOST_BUSY_SHARE = 0.01
"""Of ten-minute stretches with more than ten alarms (ISA-18.2)."""
PRIORITIES = {"high": 0.05, "medium": 0.15, "low": 0.80}
"""What alarms should come to; critical is high, major is medium, the others are low."""


@dataclass(frozen=True, slots=True)
class Flood:
    """A stretch in which nobody can follow: begin, end, how many alarms, the most in ten minutes.

    `ended_at` is None while it lasts.
    """

    began_at: datetime
    ended_at: datetime | None
    alarms: int
    peak: int


def floods(raised: Sequence[datetime], until: datetime) -> list[Flood]:
    """Find the floods among alarms in the order of time, up to `until`.

    A flood begins with the alarm that makes more than ten in ten minutes. It ends when fewer than
    five have come in the last ten, which is ten minutes after the fifth-last of them.
    """
    found: list[Flood] = []
    began: int | None = None
    first = peak = 0
    for place, at in enumerate(raised):
        if began is not None:
            ends_at = _falls_below(raised, began, place)
            if ends_at < at:
                found.append(Flood(raised[began], ends_at, place - began, peak))
                began = None
        while raised[first] <= at - WINDOW:
            first += 1
        count = place - first + 1
        if began is None and count > FLOOD_BEGINS_ABOVE:
            began, peak = first, 0
        if began is not None:
            peak = max(peak, count)
    if began is not None:
        ends_at = _falls_below(raised, began, len(raised))
        lasts = ends_at > until
        found.append(Flood(raised[began], None if lasts else ends_at, len(raised) - began, peak))
    return found


def _falls_below(raised: Sequence[datetime], began: int, place: int) -> datetime:
    """Return when fewer than five alarms before `place` lie in the last ten minutes."""
    return raised[max(began, place - FLOOD_ENDS_BELOW)] + WINDOW


def flooded_share(found: Sequence[Flood], since: datetime, until: datetime) -> float:
    """Return the share of a span that was flooded."""
    lasted = sum(
        (
            max(timedelta(0), min(one.ended_at or until, until) - max(one.began_at, since))
            for one in found
        ),
        timedelta(0),
    )
    return lasted / (until - since) if until > since else 0.0


def peak_count(raised: Sequence[datetime]) -> int:
    """Return the most alarms that came within any ten minutes."""
    most = first = 0
    for place, at in enumerate(raised):
        while raised[first] <= at - WINDOW:
            first += 1
        most = max(most, place - first + 1)
    return most


def busy_share(raised: Sequence[datetime], since: datetime, until: datetime) -> float:
    """Return the share of ten-minute stretches since `since` with more than ten alarms."""
    stretches = max(1, (until - since) // WINDOW)
    counts: dict[int, int] = {}
    for at in raised:
        number = (at - since) // WINDOW
        counts[number] = counts.get(number, 0) + 1
    return sum(count > FLOOD_BEGINS_ABOVE for count in counts.values()) / stretches


def chatters(raised: Sequence[datetime]) -> bool:
    """Tell whether one rule's alarms of one unit came three times within a minute."""
    return any(
        later - earlier <= CHATTER_WITHIN
        for earlier, later in zip(raised, raised[CHATTER_TIMES - 1 :], strict=False)
    )
