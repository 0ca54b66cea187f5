"""The daily battery figure of every unit, and a ticket where the signs agree on replacement.

What age, heat, flag and self-test are worth is decided in `rules.battery`; here they are read,
and the figure is written.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from rules.battery import (
    BatteryFigure,
    Chemistry,
    EquivalentAge,
    TestOutcome,
    TestResult,
    equivalent_age,
    first_figure,
)
from rules.battery_dates import installation_date
from rules.operations import open_scheduled_ticket
from service_api.maintenance.planning import local_day

Connection = psycopg.Connection[TupleRow]

BATCH = 50
FAILURE_MODE = "battery_end_of_life"
PRIORITY = 3

_CHEMISTRY = {"vrla": Chemistry.VRLA, "li-ion": Chemistry.LITHIUM_ION}
_OUTCOMES = {
    "passed": TestOutcome.PASSED,
    "failed": TestOutcome.FAILED,
    "aborted": TestOutcome.ABORTED,
    "warning": TestOutcome.INVALID,
}

Temperatures = Sequence[tuple[date, float | None]]


@dataclass(frozen=True, slots=True)
class _Unit:
    id: int
    name: str
    time_zone: str
    battery_installed_on: date | None
    unit_installed_on: date | None
    battery_told: str | None
    made: str | None
    battery_chemistry: str
    battery_life_years: float
    replace_flag: bool | None
    test_result: str | None
    test_date: str | None
    observed_at: datetime | None
    has_ticket: bool


def compute_all(pool: ConnectionPool, now: datetime) -> str:
    """Write today's figure of every unit; returns what was done, for the job's log."""
    done, opened, after = 0, 0, 0
    while True:
        with pool.connection() as connection, connection.transaction():
            units = _units(connection, after)
            temperatures = _temperatures(connection, units)
            for unit in units:
                opened += _compute(connection, unit, temperatures.get(unit.id, ()), now)
        if not units:
            return f"{done} units, {opened} tickets"
        done += len(units)
        after = units[-1].id


def _units(connection: Connection, after: int) -> list[_Unit]:
    with connection.cursor(row_factory=class_row(_Unit)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, d.name, s.time_zone,
                d.battery_installed_on, d.installed_on AS unit_installed_on,
                d.identity ->> 'battery.date' AS battery_told,
                d.identity ->> 'ups.mfr.date' AS made,
                d.battery_chemistry, d.battery_life_years,
                x.status_replace_battery AS replace_flag, x.ups_test_result AS test_result,
                coalesce(x.extra ->> 'ups.test.date', d.identity ->> 'ups.test.date') AS test_date,
                x.observed_at,
                EXISTS (SELECT FROM ticket t WHERE t.device_id = d.id AND t.closed_at IS NULL
                    AND t.failure_mode = %s) AS has_ticket
            FROM device d
            JOIN site s ON s.id = d.site_id
            JOIN device_state x ON x.device_id = d.id
            WHERE d.enabled AND d.id > %s ORDER BY d.id LIMIT %s
            """,
            (FAILURE_MODE, after, BATCH),
        ).fetchall()


def _temperatures(
    connection: Connection, units: Sequence[_Unit]
) -> Mapping[int, list[tuple[date, float | None]]]:
    """Return the daily means since the batteries came; the room's where none is measured."""
    found: defaultdict[int, list[tuple[date, float | None]]] = defaultdict(list)
    for device_id, day, celsius in connection.execute(
        """
        SELECT t.device_id, (t.bucket AT TIME ZONE 'UTC')::date,
            coalesce(t.battery_temperature_avg, t.ambient_temperature_avg)
        FROM telemetry_1d t
        JOIN device d ON d.id = t.device_id
        WHERE t.device_id = ANY(%s)
        AND t.bucket >= coalesce(d.battery_installed_on, d.installed_on, '-infinity')::timestamptz
        ORDER BY t.device_id, t.bucket
        """,
        ([unit.id for unit in units],),
    ):
        found[device_id].append((day, celsius))
    return found


def last_test(
    result: str | None, told_on: str | None, observed_at: datetime | None
) -> TestResult | None:
    """Return what the unit says of its last self-test.

    A unit repeats its last result for ever. Without the test's own date a failure counts as of
    now, since the unit stands by it, and a pass says nothing.
    """
    outcome = _OUTCOMES.get(result or "")
    if outcome is None or observed_at is None:
        return None
    ended_at = _instant(told_on, observed_at)
    if ended_at is not None:
        return TestResult(outcome, ended_at)
    return TestResult(outcome, observed_at) if outcome is TestOutcome.FAILED else None


def _instant(told_on: str | None, like: datetime) -> datetime | None:
    if told_on is None:
        return None
    try:
        at = datetime.fromisoformat(told_on)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=like.tzinfo)


def _compute(
    connection: Connection, unit: _Unit, temperatures: Temperatures, now: datetime
) -> bool:
    today = local_day(now, unit.time_zone)
    age = equivalent_age(
        temperatures,
        installation_date(
            unit.battery_installed_on,
            told=unit.battery_told,
            made=unit.made,
            unit_installed_on=unit.unit_installed_on,
            today=today,
        ),
        today,
        chemistry=_CHEMISTRY[unit.battery_chemistry],
    )
    figure = first_figure(
        age,
        service_life_years=unit.battery_life_years,
        replace_flag=unit.replace_flag,
        last_test=last_test(unit.test_result, unit.test_date, unit.observed_at),
        now=now,
    )
    _write(connection, unit.id, today, age, figure)
    if not figure.replace or unit.has_ticket:
        return False
    open_scheduled_ticket(
        connection,
        device_id=unit.id,
        failure_mode=FAILURE_MODE,
        title=(f"{unit.name}: battery at the end of its life", f"{unit.name}：电池寿命将尽"),
        why=(figure.statement_en, figure.statement_zh),
        priority=PRIORITY,
        skills=("battery",),
        part_kinds=("battery_set",),
        action=(
            "Replace the whole string; run a self-test after 24 h of charging.",
            "整组更换电池，充电 24 小时后自检。",
        ),
        source="rule",
        now=now,
    )
    return True


def _write(
    connection: Connection,
    device_id: int,
    day: date,
    age: EquivalentAge | None,
    figure: BatteryFigure,
) -> None:
    values: dict[str, Any] = {
        "device": device_id,
        "day": day,
        "index": figure.index_percent,
        "low": figure.low,
        "high": figure.high,
        "life_used": figure.life_used,
        "equivalent": None if age is None else age.years,
        "calendar": None if age is None else age.calendar_years,
        "replace": figure.replace,
        "confidence": "unknown" if age is None else figure.confidence,
        "en": figure.statement_en,
        "zh": figure.statement_zh,
        "evidence": Jsonb(list(figure.evidence)),
    }
    connection.execute(
        """
        INSERT INTO device_health (device_id, day, index_percent, low_percent, high_percent,
            life_used, equivalent_age_years, calendar_age_years, replace_battery, confidence,
            statement_en, statement_zh, evidence)
        VALUES (%(device)s, %(day)s, %(index)s, %(low)s, %(high)s, %(life_used)s, %(equivalent)s,
            %(calendar)s, %(replace)s, %(confidence)s, %(en)s, %(zh)s, %(evidence)s)
        ON CONFLICT (device_id, day) DO UPDATE SET index_percent = excluded.index_percent,
            low_percent = excluded.low_percent, high_percent = excluded.high_percent,
            life_used = excluded.life_used,
            equivalent_age_years = excluded.equivalent_age_years,
            calendar_age_years = excluded.calendar_age_years,
            replace_battery = excluded.replace_battery, confidence = excluded.confidence,
            statement_en = excluded.statement_en, statement_zh = excluded.statement_zh,
            evidence = excluded.evidence
        """,
        values,
    )
