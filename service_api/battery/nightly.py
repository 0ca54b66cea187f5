"""The nightly battery figure of every unit, and a ticket where its advice has stood long enough.

What the evidence is worth is decided in `rules.battery`; it is read and kept in
`service_api.battery.evidence`. Running twice a night changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from rules.battery.cohort import OUTLYING, age_band, robust_scores
from rules.battery.facts import (
    Battery,
    Chemistry,
    History,
    TestOutcome,
    TestResult,
    day_number,
)
from rules.battery.figure import Advice, BatteryFigure, judge_battery
from rules.battery.swaps import told_by
from rules.battery.verdict import PRIORITY, opens_ticket, stands_since
from rules.battery_dates import installation_date
from rules.catalogue import catalogue
from rules.engine import Engine
from rules.facts import Value
from rules.live import LiveRules
from rules.occasion_store import judge_devices
from rules.occasions import Occasion
from rules.operations import open_scheduled_ticket
from service_api.battery.evidence import (
    NO_DAYS,
    Told,
    days_kept,
    discharges_kept,
    flags_lately,
    take_in,
    tests_kept,
)
from service_api.maintenance.planning import local_day

Connection = psycopg.Connection[TupleRow]

BATCH = 200
FAILURE_MODE = "battery_end_of_life"
ADVICE_OUTLIVES = timedelta(days=7)
"""So many days without a figure do not break what was advised."""
TEST_INTERVAL_DAYS = 35.0
"""The longest usual interval of self-tests; overdue is twice that."""

_CHEMISTRY = {"vrla": Chemistry.VRLA, "li-ion": Chemistry.LITHIUM_ION}
_OUTCOMES = {
    "passed": TestOutcome.PASSED,
    "failed": TestOutcome.FAILED,
    "aborted": TestOutcome.ABORTED,
    "warning": TestOutcome.INVALID,
}
_WORK = {
    Advice.PLAN: (
        ("{name}: battery near the end of its life", "{name}：电池接近寿命终点"),
        (
            "Order a battery set and plan the replacement within the window; whole string.",
            "订购电池组，在预计时间窗内安排整组更换。",
        ),
    ),
    Advice.REPLACE: (
        ("{name}: battery at the end of its life", "{name}：电池寿命将尽"),
        (
            "Replace the whole string; run a self-test after 24 h of charging.",
            "整组更换电池，充电 24 小时后自检。",
        ),
    ),
}


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
    serial: str | None
    """The serial number of the unit that the records know."""


def compute_all(pool: ConnectionPool, now: datetime) -> str:
    """Write today's figure of every unit; returns what was done, for the job's log."""
    engine = Engine(LiveRules(catalogue()).engine(pool, now).rules, Occasion.HEALTH)
    done, opened, after = 0, 0, 0
    while True:
        with pool.connection() as connection, connection.transaction():
            units = _units(connection, after)
            opened += _compute(connection, engine, units, now)
        if not units:
            break
        done += len(units)
        after = units[-1].id
    with pool.connection() as connection, connection.transaction():
        _compare(connection, now)
    return f"{done} units, {opened} tickets"


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
                    AND t.failure_mode = %(mode)s) AS has_ticket,
                d.serial_confirmed AS serial
            FROM device d
            JOIN site s ON s.id = d.site_id
            JOIN device_state x ON x.device_id = d.id
            WHERE d.enabled AND d.id > %(after)s ORDER BY d.id LIMIT %(most)s
            """,
            {"mode": FAILURE_MODE, "after": after, "most": BATCH},
        ).fetchall()


@dataclass(frozen=True, slots=True)
class _Advised:
    """What was advised on a day of the site, and since when."""

    day: date
    advice: Advice
    since: date


def _advised(
    connection: Connection, device_ids: Sequence[int], now: datetime
) -> dict[int, list[_Advised]]:
    """Return the advice of the last nights, newest first; nights may have been missed."""
    found: dict[int, list[_Advised]] = {}
    for device_id, day, advice, since in connection.execute(
        """
        SELECT device_id, day, advice, advice_since FROM device_health
        WHERE device_id = ANY(%s) AND day >= %s AND advice_since IS NOT NULL
        ORDER BY device_id, day DESC
        """,
        (list(device_ids), now.date() - ADVICE_OUTLIVES),
    ):
        found.setdefault(device_id, []).append(_Advised(day, Advice(advice), since))
    return found


def _told(unit: _Unit) -> Told | None:
    """Return what a unit says of its last self-test, a pass without a date included."""
    told = last_test(unit.test_result, unit.test_date, unit.observed_at)
    if told is None and unit.test_result == "passed" and unit.observed_at is not None:
        return Told(TestResult(TestOutcome.PASSED, unit.observed_at), is_dated=False)
    return told


def last_test(result: str | None, told_on: str | None, observed_at: datetime | None) -> Told | None:
    """Return what the unit says of its last self-test.

    A unit repeats its last result for ever. Without the test's own date a failure counts as of
    now, since the unit stands by it, and a pass says nothing.
    """
    outcome = _OUTCOMES.get(result or "")
    if outcome is None or observed_at is None:
        return None
    ended_at = _instant(told_on, observed_at)
    if ended_at is not None:
        return Told(TestResult(outcome, ended_at), is_dated=True)
    if outcome is TestOutcome.FAILED:
        return Told(TestResult(outcome, observed_at), is_dated=False)
    return None


def _instant(told_on: str | None, like: datetime) -> datetime | None:
    if told_on is None:
        return None
    try:
        at = datetime.fromisoformat(told_on)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=like.tzinfo)


def _compute(connection: Connection, engine: Engine, units: Sequence[_Unit], now: datetime) -> int:
    """Judge a batch of units; returns how many tickets it opened.

    1. Take in what is new and work the figures out.
    2. Let rules that read figures judge them: that locks the units' state rows.
    3. Open tickets for advice that has stood long enough.
    """
    ids = [unit.id for unit in units]
    take_in(connection, ids, now)
    days = days_kept(connection, ids, now.date())
    discharges = discharges_kept(connection, ids)
    told = {unit.id: test for unit in units if (test := _told(unit)) is not None}
    tests = tests_kept(connection, told, ids)
    flags = flags_lately(connection, ids, now)
    firmware = _changes(connection, ids, "firmware")
    serials = _serials(connection, ids)
    advised = _advised(connection, ids, now)
    rows = []
    words: dict[int, dict[str, Value | None]] = {}
    due: list[tuple[_Unit, BatteryFigure]] = []
    for unit in units:
        history = History(
            battery=_battery(unit, now),
            days=told_by(days.get(unit.id, NO_DAYS), unit.serial, serials.get(unit.id, [])),
            discharges=tuple(discharges.get(unit.id, ())),
            tests=tuple(tests.get(unit.id, ())),
            flags=None if unit.replace_flag is None else flags.get(unit.id, ()),
            firmware_changed_on=firmware.get(unit.id, ()),
            test_interval_days=TEST_INTERVAL_DAYS if tests.get(unit.id) else None,
        )
        figure = judge_battery(history, now)
        day = local_day(now, unit.time_zone)
        before = next((one for one in advised.get(unit.id, ()) if one.day < day), None)
        since = (
            day if before is None else stands_since(figure.advice, before.advice, before.since, day)
        )
        rows.append(_row(unit.id, day, since, figure))
        words[unit.id] = _words(figure)
        if not unit.has_ticket and opens_ticket(figure.advice, since, day):
            due.append((unit, figure))
    _write(connection, rows)
    judge_devices(connection, engine, words, now=now)
    for unit, figure in due:
        _open(connection, unit, figure, now)
    return len(due)


def _words(figure: BatteryFigure) -> dict[str, Value | None]:
    """Return what rule text may ask of a figure (`rules.occasions`); shares in percent."""
    return {
        "battery_index": figure.index_percent,
        "battery_index_low": figure.low,
        "battery_index_high": figure.high,
        "battery_life_used": _percent(figure.life_used),
        "battery_ends_in_90_days": _percent(figure.ends_in_90_days),
        "battery_ends_in_365_days": _percent(figure.ends_in_365_days),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


def _battery(unit: _Unit, now: datetime) -> Battery:
    return Battery(
        chemistry=_CHEMISTRY[unit.battery_chemistry],
        service_life_years=unit.battery_life_years,
        installed_on=installation_date(
            unit.battery_installed_on,
            told=unit.battery_told,
            made=unit.made,
            unit_installed_on=unit.unit_installed_on,
            today=local_day(now, unit.time_zone),
        ),
    )


def _changes(
    connection: Connection, device_ids: Sequence[int], what: str
) -> dict[int, tuple[int, ...]]:
    """Return the days since 1970 on which units said something else of themselves."""
    found: dict[int, tuple[int, ...]] = {}
    for device_id, at in connection.execute(
        """
        SELECT device_id, at FROM identity_change
        WHERE device_id = ANY(%s) AND what = %s ORDER BY device_id, at
        """,
        (list(device_ids), what),
    ):
        found[device_id] = (*found.get(device_id, ()), day_number(at.date()))
    return found


def _serials(
    connection: Connection, device_ids: Sequence[int]
) -> dict[int, list[tuple[int, str, str]]]:
    """Return the days since 1970 on which units told another serial number, from what to what."""
    found: dict[int, list[tuple[int, str, str]]] = {}
    for device_id, at, before, after in connection.execute(
        """
        SELECT device_id, at, before, after FROM identity_change
        WHERE device_id = ANY(%s) AND what = 'serial' ORDER BY device_id, at
        """,
        (list(device_ids),),
    ):
        found.setdefault(device_id, []).append((day_number(at.date()), before, after))
    return found


def _open(connection: Connection, unit: _Unit, figure: BatteryFigure, now: datetime) -> None:
    title, action = _WORK[figure.advice]
    open_scheduled_ticket(
        connection,
        device_id=unit.id,
        failure_mode=FAILURE_MODE,
        title=(title[0].format(name=unit.name), title[1].format(name=unit.name)),
        why=(figure.statement_en, figure.statement_zh),
        priority=PRIORITY[figure.advice],
        skills=("battery",),
        part_kinds=("battery_set",),
        action=action,
        source="rule",
        now=now,
    )


def _row(device_id: int, day: date, since: date, figure: BatteryFigure) -> tuple[Any, ...]:
    age = figure.age
    return (
        device_id,
        day,
        figure.index_percent,
        figure.low,
        figure.high,
        figure.life_used,
        None if age is None else age.years,
        None if age is None else age.calendar_years,
        figure.advice is Advice.REPLACE,
        figure.confidence,
        figure.statement_en,
        figure.statement_zh,
        Jsonb(list(figure.evidence)),
        figure.replace_from,
        figure.replace_median,
        figure.replace_until,
        figure.ends_in_90_days,
        figure.ends_in_180_days,
        figure.ends_in_365_days,
        figure.advice.value,
        since,
        figure.swapped_on,
    )


def _write(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    connection.execute(
        """
        INSERT INTO device_health (device_id, day, index_percent, low_percent, high_percent,
            life_used, equivalent_age_years, calendar_age_years, replace_battery, confidence,
            statement_en, statement_zh, evidence, replace_from, replace_median, replace_until,
            ends_in_90_days, ends_in_180_days, ends_in_365_days, advice, advice_since, swapped_on)
        SELECT * FROM unnest(%s::bigint[], %s::date[], %s::float8[], %s::float8[], %s::float8[],
            %s::float8[], %s::float8[], %s::float8[], %s::boolean[], %s::text[], %s::text[],
            %s::text[], %s::jsonb[], %s::date[], %s::date[], %s::date[], %s::float8[],
            %s::float8[], %s::float8[], %s::text[], %s::date[], %s::date[])
        ON CONFLICT (device_id, day) DO UPDATE SET index_percent = excluded.index_percent,
            low_percent = excluded.low_percent, high_percent = excluded.high_percent,
            life_used = excluded.life_used,
            equivalent_age_years = excluded.equivalent_age_years,
            calendar_age_years = excluded.calendar_age_years,
            replace_battery = excluded.replace_battery, confidence = excluded.confidence,
            statement_en = excluded.statement_en, statement_zh = excluded.statement_zh,
            evidence = excluded.evidence, replace_from = excluded.replace_from,
            replace_median = excluded.replace_median, replace_until = excluded.replace_until,
            ends_in_90_days = excluded.ends_in_90_days,
            ends_in_180_days = excluded.ends_in_180_days,
            ends_in_365_days = excluded.ends_in_365_days, advice = excluded.advice,
            advice_since = excluded.advice_since, swapped_on = excluded.swapped_on
        """,
        [list(column) for column in zip(*rows, strict=True)],
    )


def _compare(connection: Connection, now: datetime) -> None:
    """Note in today's figures which batteries are unlike others of their model and age."""
    alike: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    for device_id, model, chemistry, years, index in connection.execute(
        """
        SELECT h.device_id, d.model, d.battery_chemistry, h.calendar_age_years, h.index_percent
        FROM device_health h JOIN device d ON d.id = h.device_id
        WHERE h.day BETWEEN %(day)s - 1 AND %(day)s + 1 AND h.index_percent IS NOT NULL
        AND d.model IS NOT NULL AND d.enabled
        AND h.day = (SELECT max(n.day) FROM device_health n WHERE n.device_id = h.device_id)
        """,
        {"day": now.date()},
    ):
        alike.setdefault((model, chemistry, age_band(years)), []).append((device_id, index))
    notes = []
    for members in alike.values():
        scores = robust_scores([index for _, index in members]) or ()
        notes += [
            (f"cohort_z={score:.1f} of {len(members)}", device_id)
            for (device_id, _), score in zip(members, scores, strict=False)
            if abs(score) > OUTLYING
        ]
    if notes:
        connection.execute(
            """
            UPDATE device_health h SET evidence = h.evidence || to_jsonb(x.note)
            FROM unnest(%s::text[], %s::bigint[]) AS x (note, device_id)
            WHERE h.device_id = x.device_id AND h.day = (
                SELECT max(n.day) FROM device_health n WHERE n.device_id = x.device_id)
            """,
            [list(column) for column in zip(*notes, strict=True)],
        )
