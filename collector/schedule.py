"""When a device is polled next: rhythm, spread, back-off. Pure; times are seconds on any clock."""

FAST_SECONDS = 5.0
"""The rhythm while a unit is on battery."""
LONGEST_WAIT_SECONDS = 300.0
"""A dead device is asked again after this long at the latest, or after its own rhythm."""
LONGEST_SPREAD_SECONDS = 60.0

_DOUBLINGS = 3
_GOLDEN = 0.618_033_988_749_894_9


def rhythm(poll_seconds: float, *, on_battery: bool) -> float:
    """Return the seconds between two polls."""
    return min(poll_seconds, FAST_SECONDS) if on_battery else poll_seconds


def wait_after(failures: int, interval: float) -> float:
    """Return the seconds until the next try after so many failures in a row: 1×, 2×, 4×, 8×."""
    doubled = interval * (1 << min(max(failures - 1, 0), _DOUBLINGS))
    return min(doubled, max(interval, LONGEST_WAIT_SECONDS))


def first_wait(device_id: int, interval: float) -> float:
    """Return when a device is polled first, so that any number of devices is spread evenly.

    Multiples of the golden ratio fall evenly into the interval for consecutive ids and for any
    part of them, and a restart spreads alike.
    """
    return device_id * _GOLDEN % 1.0 * min(interval, LONGEST_SPREAD_SECONDS)


def next_due(due: float, interval: float, now: float) -> tuple[float, int]:
    """Return when a device that was due at `due` is due again, and how many ticks are skipped.

    Ticks keep their beat; those that went by while a poll was under way are skipped.
    """
    following = due + interval
    if following > now:
        return following, 0
    skipped = int((now - following) / interval) + 1
    return following + skipped * interval, skipped
