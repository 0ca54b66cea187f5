"""The demo's planned work: what was done when, and what somebody must see to.

Work was done in time, spread over its interval, save one task; one warranty is near its end, one
installation date was never entered, one site is frozen for the year's closing.
"""

from datetime import date, datetime, timedelta

import psycopg
from psycopg.rows import TupleRow

from rules.maintenance_tasks import UnitKind
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
    connection.execute("UPDATE device SET installed_on = NULL WHERE key = %s", (DATE_MISSING,))
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
        SELECT id, key, installed_on, model, battery_chemistry FROM device
        WHERE installed_on IS NOT NULL AND enabled ORDER BY id
        """
    ).fetchall()
    done = []
    for place, (device_id, key, installed_on, model, chemistry) in enumerate(units):
        kind = UnitKind(model=model, chemistry=chemistry, three_phase=model in THREE_PHASE)
        for turn, (plan_id, task) in enumerate(tasks.items()):
            if not task.selector.matches(kind) or key == DATE_MISSING:
                continue
            interval = int(task.every_months * 30.4)
            latest = max(interval - SOONEST_DAYS, min(10, interval // 3))
            days_ago = 3 + (place * 37 + turn * 23) % latest
            if OVERDUE.get(key, ("",))[0] == task.key:
                days_ago = OVERDUE[key][1]
            elif key in OVERDUE:
                # One trip to this unit, for what is overdue and nothing else.
                days_ago = min(days_ago, max(3, interval - SOONEST_DAYS - 60))
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
