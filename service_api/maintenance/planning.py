"""The nightly look: what is due at each unit and why, and a visit with its ticket for each site.

When something is due is reckoned in `rules.maintenance_due`, what goes together in
`rules.maintenance_visits`; tickets are `rules.visit_tickets`. Looking twice a night changes
nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, class_row, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from rules.believed import SLOW_STAYS_VALID
from rules.maintenance_due import Outlook, UnitFacts, outlook
from rules.maintenance_tasks import Task, UnitKind
from rules.occasions import BELIEVED_FOR
from service_api.maintenance.catalog import tasks_in_force
from service_api.maintenance.days import local_day
from service_api.maintenance.occurrences import enter_by_unit, enter_missed, settle_tickets
from service_api.maintenance.usage import Diary, diaries
from service_api.maintenance.visits import plan_visits

__all__ = ["local_day", "plan_all"]

Connection = psycopg.Connection[TupleRow]

BATCH = 100
SELF_TEST = "self_test"
"""The plan that a unit's own self-test completes."""
OF_THE_BATTERY = "battery"
REDUNDANCY_LOST = "alarm_redundancy_lost"
TEST_BELIEVED = frozenset({"passed", "failed"})


def plan_all(pool: ConnectionPool, now: datetime) -> str:
    """Look at every unit, then at every site; returns what was done, for the job's log.

    1. What closed tickets say has been done.
    2. Each unit gets the plans that fit it, and loses those that fit no longer.
    3. When each is due, with its reasons; dates that were missed.
    4. What is due at a site becomes a visit, and its ticket.
    """
    with pool.connection() as connection, connection.transaction():
        settle_tickets(connection, now=now)
        tasks = tasks_in_force(connection)
    after = 0
    while True:
        with pool.connection() as connection, connection.transaction():
            units = _units(connection, after)
            _look(connection, units, tasks, now)
        if not units:
            break
        after = units[-1].id
    opened = plan_visits(pool, now)
    return f"{opened} tickets" if opened else ""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as far as planned work is concerned."""

    id: int
    time_zone: str
    installed_on: date | None
    battery_installed_on: date | None
    battery_life_years: float
    created_at: datetime
    profile: str | None
    model: str | None
    manufacturer: str | None
    chemistry: str
    three_phase: bool | None
    va: float | None
    test_result: str | None
    test_date: str | None

    @property
    def kind(self) -> UnitKind:
        """What selectors look at."""
        return UnitKind(
            profile=self.profile,
            model=self.model,
            manufacturer=self.manufacturer,
            chemistry=self.chemistry,
            three_phase=self.three_phase,
            va=self.va,
        )


def _units(connection: Connection, after: int) -> list[Unit]:
    """Read units; one is three-phase if it ever told a second phase of its in- or output."""
    with connection.cursor(row_factory=class_row(Unit)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, s.time_zone, d.installed_on, d.battery_installed_on,
                d.battery_life_years, d.created_at, d.profile, d.model, d.manufacturer,
                d.battery_chemistry AS chemistry,
                CASE WHEN x.observed_at IS NOT NULL THEN coalesce(x.output_l2_n_voltage,
                    x.output_l1_l2_voltage, x.input_l2_n_voltage, x.input_l1_l2_voltage,
                    x.ups_l2_load, x.output_l2_current) IS NOT NULL END AS three_phase,
                coalesce(x.ups_power_nominal, x.ups_realpower_nominal) AS va,
                x.ups_test_result AS test_result,
                coalesce(x.extra ->> 'ups.test.date', d.identity ->> 'ups.test.date') AS test_date
            FROM device d JOIN site s ON s.id = d.site_id
            JOIN device_state x ON x.device_id = d.id
            WHERE d.enabled AND d.id > %s ORDER BY d.id LIMIT %s
            """,
            (after, BATCH),
        ).fetchall()


@dataclass(frozen=True, slots=True)
class _Row:
    device_id: int
    plan_id: int
    last_done_on: date | None
    last_scheduled_on: date | None
    due_on: date | None
    holding_since: dict[str, str]
    waived: bool
    every_months: int | None


def _look(
    connection: Connection, units: Sequence[Unit], tasks: Mapping[int, Task], now: datetime
) -> None:
    if not units:
        return
    ids = [unit.id for unit in units]
    _assign(connection, units, tasks)
    rows = _rows(connection, ids)
    facts = _newest(connection, ids, tasks, now)
    days = diaries(connection, ids, now.date())
    by_unit = {unit.id: unit for unit in units}
    found: list[tuple[_Row, Outlook | None]] = []
    for row in rows:
        unit, task = by_unit[row.device_id], tasks[row.plan_id]
        if row.waived:
            found.append((row, None))
            continue
        counted = _tested(connection, row, unit, task, now)
        newest, diary = facts.get(unit.id, {}), days.get(unit.id)
        found.append((counted, _outlook(counted, unit, task, newest, diary, now)))
    for one, seen in found:
        if seen is not None:
            for missed_on in seen.missed:
                enter_missed(connection, one.device_id, one.plan_id, due_on=missed_on, now=now)
    lost = {device_id for device_id, row in facts.items() if row.get(REDUNDANCY_LOST)}
    _write(connection, found, by_unit, tasks, lost)


def _assign(connection: Connection, units: Sequence[Unit], tasks: Mapping[int, Task]) -> None:
    """Give each unit the plans that fit it; what no longer fits goes, unless a ticket is open."""
    wanted = [
        (unit.id, plan_id)
        for unit in units
        for plan_id, task in tasks.items()
        if task.selector.matches(unit.kind)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO maintenance_due (device_id, plan_id) VALUES (%s, %s)
            ON CONFLICT DO NOTHING
            """,
            wanted,
        )
    connection.execute(
        """
        DELETE FROM maintenance_due m WHERE m.device_id = ANY(%s) AND m.ticket_id IS NULL
        AND NOT EXISTS (SELECT FROM unnest(%s::bigint[], %s::bigint[]) AS w (device_id, plan_id)
            WHERE w.device_id = m.device_id AND w.plan_id = m.plan_id)
        """,
        (
            [unit.id for unit in units],
            [device_id for device_id, _ in wanted],
            [plan_id for _, plan_id in wanted],
        ),
    )
    # One that comes back counts from what was done before.
    connection.execute(
        """
        UPDATE maintenance_due m SET last_done_on = o.done_on, last_scheduled_on = o.due_on
        FROM (SELECT device_id, plan_id, max(done_on) AS done_on,
                coalesce(max(due_on), max(done_on)) AS due_on
            FROM maintenance_occurrence WHERE undone_at IS NULL AND done_on IS NOT NULL
            GROUP BY device_id, plan_id) o
        WHERE m.device_id = ANY(%s) AND o.device_id = m.device_id AND o.plan_id = m.plan_id
        AND m.last_done_on IS NULL
        """,
        ([unit.id for unit in units],),
    )


def _rows(connection: Connection, ids: Sequence[int]) -> list[_Row]:
    with connection.cursor(row_factory=class_row(_Row)) as cursor:
        return cursor.execute(
            """
            SELECT m.device_id, m.plan_id, m.last_done_on, m.last_scheduled_on, m.due_on,
                m.holding_since, coalesce(e.waived, false) AS waived,
                e.interval_months::int AS every_months
            FROM maintenance_due m JOIN maintenance_plan p ON p.id = m.plan_id AND p.enabled
            LEFT JOIN maintenance_exception e USING (device_id, plan_id)
            WHERE m.device_id = ANY(%s) ORDER BY m.device_id, m.plan_id FOR UPDATE OF m
            """,
            (list(ids),),
        ).fetchall()


def _newest(
    connection: Connection, ids: Sequence[int], tasks: Mapping[int, Task], now: datetime
) -> dict[int, dict[str, Any]]:
    """Return the words that the tasks' conditions read: points of the last two days, facts."""
    words = {
        word
        for task in tasks.values()
        for limit in task.conditions
        for word in limit.condition.columns
    } | {REDUNDANCY_LOST}
    known = connection.execute(
        """
        SELECT attname::text FROM pg_attribute WHERE attrelid = 'device_state'::regclass
        AND attname = ANY(%s) AND NOT attisdropped ORDER BY attname
        """,
        (sorted(words),),
    ).fetchall()
    columns = [name for (name,) in known]
    with connection.cursor(row_factory=dict_row) as cursor:
        found: dict[int, dict[str, Any]] = {
            row.pop("device_id"): row
            for row in cursor.execute(
                sql.SQL(
                    """
                    SELECT device_id{columns} FROM device_state
                    WHERE device_id = ANY(%s) AND observed_at > %s
                    """
                ).format(
                    columns=sql.SQL("").join(
                        sql.SQL(", {}").format(sql.Identifier(name)) for name in columns
                    )
                ),
                (list(ids), now - SLOW_STAYS_VALID),
            )
        }
    for device_id, values in connection.execute(
        "SELECT device_id, values FROM device_fact WHERE device_id = ANY(%s) AND at > %s",
        (list(ids), now - BELIEVED_FOR),
    ):
        found.setdefault(device_id, {}).update(values)
    return found


def _tested(connection: Connection, row: _Row, unit: Unit, task: Task, now: datetime) -> _Row:
    """Count a self-test that the unit tells of as done."""
    if task.key != SELF_TEST or unit.test_result not in TEST_BELIEVED or not unit.test_date:
        return row
    try:
        at = datetime.fromisoformat(unit.test_date)
    except ValueError:
        return row
    on = at.date() if at.tzinfo is None else local_day(at, unit.time_zone)
    if on > local_day(now, unit.time_zone) or (
        row.last_done_on is not None and on <= row.last_done_on
    ):
        return row
    if unit.installed_on is not None and on < unit.installed_on:
        return row
    enter_by_unit(connection, row.device_id, row.plan_id, due_on=row.due_on, done_on=on, now=now)
    return _Row(
        row.device_id,
        row.plan_id,
        on,
        row.due_on or on,
        row.due_on,
        row.holding_since,
        row.waived,
        row.every_months,
    )


def _outlook(
    row: _Row,
    unit: Unit,
    task: Task,
    newest: Mapping[str, Any],
    diary: Diary | None,
    now: datetime,
) -> Outlook:
    today = local_day(now, unit.time_zone)
    installed_on, months = unit.installed_on, row.every_months
    if task.component == OF_THE_BATTERY:
        installed_on = unit.battery_installed_on or installed_on
        months = months or max(1, round(unit.battery_life_years * 12))
    since = max(filter(None, (row.last_done_on, installed_on)), default=None)
    celsius = () if diary is None else diary.room
    if diary is not None and task.component == OF_THE_BATTERY:
        celsius = diary.battery
    return outlook(
        task,
        UnitFacts(
            installed_on=installed_on,
            last_done_on=row.last_done_on,
            last_scheduled_on=row.last_scheduled_on,
            every_months=months,
            watched_since=local_day(unit.created_at, unit.time_zone),
            usage={} if diary is None or since is None else diary.usage(since),
            celsius=celsius,
            row=newest,
            holding_since={text: date.fromisoformat(on) for text, on in row.holding_since.items()},
        ),
        today,
    )


def _write(
    connection: Connection,
    found: Sequence[tuple[_Row, Outlook | None]],
    units: Mapping[int, Unit],
    tasks: Mapping[int, Task],
    lost: Collection[int],
) -> None:
    values = []
    for row, seen in found:
        task = tasks[row.plan_id]
        due = None if seen is None else seen.due
        values.append(
            (
                None if due is None else due.due_on,
                None if due is None else due.opens_on,
                None if due is None else due.late_on,
                task.minutes_at(units[row.device_id].kind),
                Jsonb(
                    []
                    if seen is None
                    else [
                        {
                            "cause": one.cause.value,
                            "due_on": one.due_on.isoformat(),
                            "en": one.en,
                            "zh": one.zh,
                        }
                        for one in seen.reasons
                    ]
                ),
                Jsonb(
                    {}
                    if seen is None
                    else {text: on.isoformat() for text, on in seen.holding_since.items()}
                ),
                None if seen is None else seen.every_months,
                "redundancy_lost" if row.device_id in lost else None,
                row.device_id,
                row.plan_id,
            )
        )
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE maintenance_due SET due_on = %s, opens_on = %s, late_on = %s, minutes = %s,
                reasons = %s, holding_since = %s, every_months = %s, held_by = %s
            WHERE device_id = %s AND plan_id = %s
            """,
            values,
        )
        # What is waived is on no visit any more.
        cursor.executemany(
            """
            UPDATE maintenance_due SET ticket_id = NULL, visit_id = NULL, held_by = NULL
            WHERE device_id = %s AND plan_id = %s
            """,
            [(row.device_id, row.plan_id) for row, seen in found if seen is None],
        )
