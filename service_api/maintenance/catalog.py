"""Write the shipped tasks down as plans, and read plans as tasks.

The tasks themselves are `rules/maintenance_tasks.toml`. Which unit gets which plan and when it is
due is in `maintenance.planning`.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import TupleRow, dict_row
from psycopg.types.json import Jsonb

from rules.maintenance import CountedFrom
from rules.maintenance_tasks import ConditionLimit, MeterLimit, Selector, Task, shipped_tasks

Connection = psycopg.Connection[TupleRow]


def seed_plans(connection: Connection) -> None:
    """Write the shipped plans that are missing; changed ones stay as they are."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO maintenance_plan (key, title, title_zh, interval_months, basis,
                duration_minutes, duration_minutes_three_phase, on_site, opens_tickets, skills,
                part_kinds, component, includes, selector, meters, conditions, steps_en, steps_zh,
                source)
            VALUES (%(key)s, %(title)s, %(title_zh)s, %(interval_months)s, %(basis)s,
                %(duration_minutes)s, %(duration_minutes_three_phase)s, %(on_site)s,
                %(opens_tickets)s, %(skills)s, %(part_kinds)s, %(component)s, %(includes)s,
                %(selector)s, %(meters)s, %(conditions)s, %(steps_en)s, %(steps_zh)s, %(source)s)
            ON CONFLICT (key) DO NOTHING
            """,
            [row_of(task) for task in shipped_tasks().values()],
        )


def row_of(task: Task) -> dict[str, Any]:
    """Return a task as the row of its plan."""
    return {
        "key": task.key,
        "title": task.title_en,
        "title_zh": task.title_zh,
        "interval_months": task.every_months,
        "basis": task.counted_from.value,
        "duration_minutes": task.minutes,
        "duration_minutes_three_phase": task.minutes_three_phase,
        "on_site": task.on_site,
        "opens_tickets": task.opens_tickets,
        "skills": list(task.skills),
        "part_kinds": list(task.part_kinds),
        "component": task.component,
        "includes": list(task.includes),
        "selector": Jsonb(task.selector.model_dump(exclude_defaults=True)),
        "meters": Jsonb([one.model_dump(mode="json", exclude_none=True) for one in task.meters]),
        "conditions": Jsonb([one.model_dump(mode="json") for one in task.conditions]),
        "steps_en": list(task.steps_en),
        "steps_zh": list(task.steps_zh),
        "source": task.source,
    }


def task_of(row: Mapping[str, Any]) -> Task:
    """Return the task of a plan's row."""
    return Task(
        key=row["key"],
        title_en=row["title"],
        title_zh=row["title_zh"],
        every_months=row["interval_months"],
        counted_from=CountedFrom(row["basis"]),
        minutes=row["duration_minutes"],
        minutes_three_phase=row["duration_minutes_three_phase"],
        on_site=row["on_site"],
        opens_tickets=row["opens_tickets"] and row["on_site"],
        skills=tuple(row["skills"]),
        part_kinds=tuple(row["part_kinds"]),
        component=row["component"],
        includes=tuple(row["includes"]),
        selector=Selector.model_validate(row["selector"]),
        meters=tuple(MeterLimit.model_validate(one) for one in row["meters"]),
        conditions=tuple(ConditionLimit.model_validate(one) for one in row["conditions"]),
        steps_en=tuple(row["steps_en"]),
        steps_zh=tuple(row["steps_zh"]),
        source=row["source"],
    )


def tasks_in_force(connection: Connection) -> dict[int, Task]:
    """Return the tasks of the plans that are switched on, by plan."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM maintenance_plan WHERE enabled ORDER BY id").fetchall()
    return {row["id"]: task_of(row) for row in rows}
