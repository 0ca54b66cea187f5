"""The demo's planned work: what was done when, and what somebody must see to.

Work was done in time, spread over its interval, save one task; one warranty is near its end, one
installation date was never entered, one site is frozen for the year's closing.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import psycopg
from psycopg.rows import TupleRow

from rules.maintenance_tasks import UnitKind
from service_api.devices_csv import DeviceRow
from service_api.maintenance.catalog import seed_plans, tasks_in_force

Connection = psycopg.Connection[TupleRow]

# unit → (plan, days since it was last done): what has waited longest; the rest was done in time.
OVERDUE = {"gz-imaging": ("annual", 405)}
SOONEST_DAYS = 80
"""Nothing else falls due within the first weeks of the demo: a visit opens 30 days ahead, and takes
along what falls due within 45 days of its first line."""
THREE_PHASE = ("93PS 20", "Cabinet 20K", "Cabinet 60K", "Hall 200K")

WARRANTY_ENDS = ("sz-archive", 25)
"""Unit and days from now."""
DATE_MISSING = "sz-test-bench"
FROZEN = ("beijing", 20, 45, "Year-end closing 年终封网")
"""Site, days from now, reason."""


def as_customers_list(rows: Sequence[DeviceRow]) -> list[DeviceRow]:
    """Return the fleet as a customer's list has it: of one unit nobody knows the date any more."""
    return [replace(row, installed_on=None) if row.key == DATE_MISSING else row for row in rows]


def seed_upkeep(connection: Connection, *, now: datetime) -> None:
    """Write plans, history and what is amiss, once."""
    row = connection.execute("SELECT EXISTS (SELECT FROM maintenance_due)").fetchone()
    seed_plans(connection)
    if row is not None and row[0]:
        return
    today = now.date()
    _worked(connection, today, now)
    connection.execute(
        "UPDATE device SET warranty_until = %s WHERE key = %s",
        (today + timedelta(days=WARRANTY_ENDS[1]), WARRANTY_ENDS[0]),
    )
    site, start, end, reason = FROZEN
    connection.execute(
        """
        INSERT INTO change_freeze (site_id, starts_on, ends_on, reason, made_by, made_at)
        SELECT id, %s, %s, %s, 'dispatcher', %s FROM site WHERE key = %s
        """,
        (today + timedelta(days=start), today + timedelta(days=end), reason, now, site),
    )


def _worked(connection: Connection, today: date, now: datetime) -> None:
    """Say when each unit's planned work was last done, spread over its interval."""
    tasks = tasks_in_force(connection)
    units = connection.execute(
        """
        SELECT id, key, installed_on, model, battery_chemistry, site_id FROM device
        WHERE installed_on IS NOT NULL AND enabled ORDER BY id
        """
    ).fetchall()
    done = []
    for device_id, key, installed_on, model, chemistry, site_id in units:
        is_large = model in THREE_PHASE
        kind = UnitKind(
            model=model, chemistry=chemistry, three_phase=is_large, va=20_000 if is_large else 3_000
        )
        for plan_id, task in tasks.items():
            if not task.selector.matches(kind):
                continue
            interval = int(task.every_months * 30.4)
            latest = max(interval - SOONEST_DAYS, min(10, interval // 3))
            # Work of one interval at one site was done in one trip.
            days_ago = 3 + (site_id * 37 + task.every_months * 5) % latest
            if OVERDUE.get(key, ("",))[0] == task.key:
                days_ago = OVERDUE[key][1]
            last_on = today - timedelta(days=days_ago)
            if last_on > installed_on:
                done.append((device_id, plan_id, last_on))
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO maintenance_due (device_id, plan_id, last_done_on, last_scheduled_on)
            VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [(device_id, plan_id, on, on) for device_id, plan_id, on in done],
        )
        cursor.executemany(
            """
            INSERT INTO maintenance_occurrence (device_id, plan_id, due_on, done_on, outcome, actor,
                at)
            VALUES (%s, %s, %s, %s, 'in_time', 'dispatcher', %s)
            """,
            [(device_id, plan_id, on, on, now) for device_id, plan_id, on in done],
        )
