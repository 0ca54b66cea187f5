"""The past of a simulated unit: months of readings, outages and self-tests, in seconds.

Hourly far back, at the asked step on the last day, and every 30 s while mains is out. The last
day and a half hold no outage, so a unit built anew at the end stands where its past left off.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from device_sims.spec import UpsSpec
from device_sims.surroundings import outages
from device_sims.ups import SimulatedUps
from rules.facts import Value

OUTAGE_STEP = timedelta(seconds=30)
_FAR = timedelta(hours=1)
_NEAR = timedelta(days=1)
_QUIET = timedelta(hours=36)

PastReading = tuple[datetime, dict[str, Value]]


def history(
    spec: UpsSpec, seed: int, start: datetime, end: datetime, step: timedelta
) -> Iterator[PastReading]:
    """Yield a new unit's readings from `start` to `end`, `step` apart on the last day."""
    unit = SimulatedUps(spec, seed, start=start)
    yield from past_readings(unit, end=end, step=step)


def past_readings(unit: SimulatedUps, *, end: datetime, step: timedelta) -> Iterator[PastReading]:
    """Yield readings from where the unit stands to `end`, and leave the unit there.

    Readings fall on whole steps of the epoch, except in an outage.
    """
    past = outages(unit.spec.room, start=unit.now, end=end - _QUIET)
    for outage in past:
        yield from _on_mains(unit, until=outage.starts_at, end=end, step=step)
        unit.at(outage.starts_at).fail_mains()
        instant = outage.starts_at
        while instant < outage.ends_at:
            yield instant, unit.at(instant).points()
            instant += OUTAGE_STEP
        unit.at(outage.ends_at).return_mains()
        yield outage.ends_at, unit.points()
    yield from _on_mains(unit, until=end, end=end, step=step)
    unit.at(end)


def _on_mains(
    unit: SimulatedUps, *, until: datetime, end: datetime, step: timedelta
) -> Iterator[PastReading]:
    while True:
        width = step if unit.now >= end - _NEAR else max(_FAR, step)
        instant = _next_multiple(unit.now, width)
        if instant >= until:
            return
        yield instant, unit.at(instant).points()


def _next_multiple(now: datetime, width: timedelta) -> datetime:
    count = int(now.timestamp() // width.total_seconds()) + 1
    return datetime.fromtimestamp(count * width.total_seconds(), now.tzinfo)
