"""Read what a unit has been through: hours, energy and warmth from the daily rollups.

Runs inside the planner's transaction. What it means for a date is `rules.maintenance_due`. A day
without readings is not known and counts for nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import psycopg
from psycopg.rows import TupleRow

from rules.maintenance_due import Usage
from rules.maintenance_tasks import Meter

Connection = psycopg.Connection[TupleRow]

DAYS_BACK = 3_653
HOURS_A_DAY = 24.0
DEEP_PERCENT = 50.0
"""A discharge of more than half the charge is deep."""


@dataclass(slots=True)
class Day:
    """One day of a unit; None is not known."""

    on: date
    battery_hours: float | None
    off_hours: float | None
    watts: float | None


@dataclass(slots=True)
class Diary:
    """A unit's days, oldest first, with the warmth of the room and of the battery."""

    days: list[Day] = field(default_factory=list)
    room: list[tuple[date, float | None]] = field(default_factory=list)
    battery: list[tuple[date, float | None]] = field(default_factory=list)
    discharges: list[tuple[date, bool]] = field(default_factory=list)
    """Times on battery as `service_api.battery` found them, and whether each was deep."""

    def usage(self, since: date) -> dict[Meter, Usage]:
        """Return what the meters counted from a day on.

        A running unit runs the whole day less the hours that its output was off; days of which
        nothing is known are taken to be like the others.
        """
        days = [day for day in self.days if day.on >= since]
        if not days:
            return {}
        whole = (days[-1].on - since).days + 1
        found = {}
        for meter, values in (
            (Meter.RUN_HOURS, [HOURS_A_DAY - (day.off_hours or 0.0) for day in days]),
            (
                Meter.BATTERY_HOURS,
                [day.battery_hours for day in days if day.battery_hours is not None],
            ),
            (
                Meter.ENERGY_KWH,
                [day.watts * HOURS_A_DAY / 1_000 for day in days if day.watts is not None],
            ),
        ):
            if values:
                found[meter] = Usage(sum(values) / len(values) * whole, whole)
        deep = [is_deep for on, is_deep in self.discharges if on >= since]
        found[Meter.TRANSFERS] = Usage(float(len(deep)), whole)
        found[Meter.DEEP_DISCHARGES] = Usage(float(sum(deep)), whole)
        return found


def diaries(connection: Connection, device_ids: Sequence[int], today: date) -> Mapping[int, Diary]:
    """Read the days of these units, as far back as ten years."""
    found: defaultdict[int, Diary] = defaultdict(Diary)
    for device_id, on, battery_s, off_s, watts, room, battery in connection.execute(
        """
        SELECT device_id, (bucket AT TIME ZONE 'UTC')::date, status_on_battery_seconds,
            status_off_seconds, ups_realpower_avg,
            coalesce(ambient_temperature_avg, battery_temperature_avg),
            coalesce(battery_temperature_avg, ambient_temperature_avg)
        FROM telemetry_1d
        WHERE device_id = ANY(%s) AND bucket >= %s::date - %s
        ORDER BY device_id, bucket
        """,
        (list(device_ids), today, DAYS_BACK),
    ):
        diary = found[device_id]
        diary.days.append(
            Day(
                on,
                None if battery_s is None else battery_s / 3_600,
                None if off_s is None else off_s / 3_600,
                watts,
            )
        )
        diary.room.append((on, room))
        diary.battery.append((on, battery))
    for device_id, on, is_deep in connection.execute(
        """
        SELECT device_id, (ended_at AT TIME ZONE 'UTC')::date,
            reached_end OR coalesce(charge_before - charge_after > %s, false)
        FROM battery_discharge WHERE device_id = ANY(%s) AND ended_at >= %s::date - %s
        ORDER BY device_id, ended_at
        """,
        (DEEP_PERCENT, list(device_ids), today, DAYS_BACK),
    ):
        found[device_id].discharges.append((on, is_deep))
    return found
