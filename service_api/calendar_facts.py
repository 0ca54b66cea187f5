"""The occasion of the calendar: dates that come near, deadlines, facts that nobody entered.

Daily for units, sites, customers and contracts, each minute for open tickets: what the words of
`rules.occasions` stand for is worked out here and judged by the rules of
`rules/catalogue/calendar.toml`. A day is the site's day.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg_pool import ConnectionPool

from rules.battery_dates import installation_date
from rules.catalogue import catalogue
from rules.elapsed import elapsed_percent
from rules.engine import Engine
from rules.entitlement import default_calendar
from rules.entitlement_store import calendar_of
from rules.facts import Value
from rules.identity import Mismatch
from rules.live import LiveRules
from rules.occasion_store import judge_devices
from rules.occasions import Occasion, Subject
from rules.reminder_store import end_reminders, judge_subjects
from service_api.battery.nightly import last_test
from service_api.figures import zone
from service_api.identity.store import doubts_of
from service_api.maintenance.days import local_day

Connection = psycopg.Connection[TupleRow]
Row = dict[str, Value | None]

BATCH = 200
CALIBRATION = "runtime_calibration"
"""The plan whose completion is a calibration."""
CALIBRATED_FOR = timedelta(days=365)


class CalendarFacts:
    """Works facts out and has them judged, by the rules in force."""

    def __init__(self, rules: LiveRules | None = None) -> None:
        self._rules = LiveRules(catalogue()) if rules is None else rules
        self._engine: Engine | None = None

    def look_at_dates(self, pool: ConnectionPool, now: datetime) -> str:
        """Judge every unit, site, customer and contract; returns what stands, for the log."""
        engine = self._engine_in_force(pool, now)
        after = 0
        while True:
            with pool.connection() as connection, connection.transaction():
                units = _units(connection, after)
                doubts = doubts_of(connection, [unit.id for unit in units])
                rows = {u.id: unit_row(u, now, doubts.get(u.id, (None,))[0]) for u in units}
                judge_devices(connection, engine, rows, now=now)
            if not units:
                break
            after = units[-1].id
        for subject, read in (
            (Subject.SITE, _sites),
            (Subject.CUSTOMER, _customers),
            (Subject.CONTRACT, _contracts),
        ):
            with pool.connection() as connection:
                rows = read(connection, now)
            for part in _parts(rows):
                with pool.connection() as connection, connection.transaction():
                    judge_subjects(connection, engine, subject, part, now=now)
            with pool.connection() as connection, connection.transaction():
                end_reminders(connection, subject, except_for=rows, now=now)
        with pool.connection() as connection, connection.transaction():
            _end_for_units_not_watched(connection, now)
            _freeze_first_faults(connection, now)
            row = connection.execute(
                "SELECT count(*) FROM reminder WHERE closed_at IS NULL AND raised_at IS NOT NULL"
            ).fetchone()
        return f"{row[0]} reminders" if row is not None and row[0] else ""

    def look_at_deadlines(self, pool: ConnectionPool, now: datetime) -> str:
        """Judge the deadlines of open tickets; those of closed ones are over."""
        engine = self._engine_in_force(pool, now)
        with pool.connection() as connection:
            rows = {ticket.id: deadline_row(ticket, now) for ticket in _tickets(connection)}
        for part in _parts(rows):
            with pool.connection() as connection, connection.transaction():
                judge_subjects(connection, engine, Subject.TICKET, part, now=now)
        with pool.connection() as connection, connection.transaction():
            end_reminders(connection, Subject.TICKET, except_for=rows, now=now)
        return ""

    def _engine_in_force(self, pool: ConnectionPool, now: datetime) -> Engine:
        rules = self._rules.engine(pool, now).rules
        if self._engine is None or self._engine.rules != rules:
            self._engine = Engine(rules, Occasion.CALENDAR)
        return self._engine


def _parts(rows: Mapping[int, Row]) -> Iterator[dict[int, Row]]:
    ids = iter(sorted(rows))
    while part := list(islice(ids, BATCH)):
        yield {one: rows[one] for one in part}


@dataclass(frozen=True, slots=True)
class Unit:
    """What the calendar knows of a unit."""

    id: int
    time_zone: str
    installed_on: date | None
    warranty_until: date | None
    battery_warranty_until: date | None
    battery_installed_on: date | None
    battery_told: str | None
    made: str | None
    model: str | None
    serial: str | None
    has_contract: bool
    test_result: str | None
    test_date: str | None
    observed_at: datetime | None
    calibrated_on: date | None
    first_due_on: date | None


def unit_row(unit: Unit, now: datetime, doubt: Mismatch | None = None) -> Row:
    """Return a unit's words: days ahead, days gone, what is missing, who it is."""
    today = local_day(now, unit.time_zone)
    told = last_test(unit.test_result, unit.test_date, unit.observed_at)
    # A failure without a date counts as of now, which says nothing of when a test last ran.
    tested_on = (
        local_day(told.result.ended_at, unit.time_zone)
        if told is not None and told.is_dated
        else None
    )
    battery_on = installation_date(
        unit.battery_installed_on,
        told=unit.battery_told,
        made=unit.made,
        unit_installed_on=unit.installed_on,
        today=today,
    )
    return {
        "days_to_warranty_end": _days(today, unit.warranty_until),
        "days_to_battery_warranty_end": _days(today, unit.battery_warranty_until),
        "days_since_valid_test": _days(tested_on, today),
        "days_to_calibration_due": None
        if unit.calibrated_on is None
        else _days(today, unit.calibrated_on + CALIBRATED_FOR),
        "days_past_maintenance": _days(unit.first_due_on, today),
        "missing_install_date": unit.installed_on is None,
        "missing_battery_date": battery_on is None,
        "missing_serial": not (unit.serial or "").strip(),
        "missing_model": not (unit.model or "").strip(),
        "missing_contract": not unit.has_contract,
        "identity_swapped": doubt is Mismatch.SWAPPED,
        "identity_told_twice": doubt is Mismatch.TOLD_TWICE,
        "identity_exchanged": doubt is Mismatch.EXCHANGED,
    }


def _days(start: date | None, end: date | None) -> float | None:
    return None if start is None or end is None else float((end - start).days)


def _units(connection: Connection, after: int) -> list[Unit]:
    with connection.cursor(row_factory=class_row(Unit)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, s.time_zone, d.installed_on, d.warranty_until, d.battery_warranty_until,
                d.battery_installed_on, d.identity ->> 'battery.date' AS battery_told,
                d.identity ->> 'ups.mfr.date' AS made, d.model, d.serial,
                EXISTS (SELECT FROM contract_device c WHERE c.device_id = d.id) AS has_contract,
                x.ups_test_result AS test_result,
                coalesce(x.extra ->> 'ups.test.date', d.identity ->> 'ups.test.date') AS test_date,
                x.observed_at,
                (SELECT max(o.done_on) FROM maintenance_occurrence o
                JOIN maintenance_plan p ON p.id = o.plan_id
                WHERE o.device_id = d.id AND p.key = %s AND o.undone_at IS NULL) AS calibrated_on,
                (SELECT min(m.due_on) FROM maintenance_due m WHERE m.device_id = d.id)
                    AS first_due_on
            FROM device d JOIN site s ON s.id = d.site_id
            JOIN device_state x ON x.device_id = d.id
            WHERE d.enabled AND d.id > %s ORDER BY d.id LIMIT %s
            """,
            (CALIBRATION, after, BATCH),
        ).fetchall()


def _sites(connection: Connection, _now: datetime) -> dict[int, Row]:
    return {
        site_id: {"missing_service_center": no_center, "missing_position": no_position}
        for site_id, no_center, no_position in connection.execute(
            """
            SELECT s.id, s.service_center_id IS NULL, s.latitude IS NULL OR s.longitude IS NULL
            FROM site s WHERE EXISTS (SELECT FROM device d WHERE d.site_id = s.id AND d.enabled)
            """
        )
    }


def _customers(connection: Connection, _now: datetime) -> dict[int, Row]:
    return {
        customer_id: {"missing_contact": no_contact}
        for customer_id, no_contact in connection.execute(
            """
            SELECT c.id, NOT EXISTS (SELECT FROM contact k WHERE k.customer_id = c.id)
            FROM customer c
            WHERE EXISTS (SELECT FROM device d WHERE d.customer_id = c.id AND d.enabled)
            """
        )
    }


def _contracts(connection: Connection, now: datetime) -> dict[int, Row]:
    """Return the days until cover ends: units that go on under another contract go on."""
    return {
        contract_id: {"days_to_contract_end": _days(now.date(), ends_on)}
        for contract_id, ends_on in connection.execute(
            """
            SELECT k.id, greatest(k.ends_on, (
                SELECT min(covered.until) FROM contract_device x CROSS JOIN LATERAL (
                    SELECT max(o.ends_on) AS until FROM contract_device y
                    JOIN contract o ON o.id = y.contract_id AND o.state = 'active'
                    AND o.customer_id = k.customer_id AND o.starts_on <= k.ends_on + 1
                    WHERE y.device_id = x.device_id) AS covered
                WHERE x.contract_id = k.id))
            FROM contract k WHERE k.state = 'active'
            """
        )
    }


@dataclass(frozen=True, slots=True)
class Ticket:
    """An open ticket with its deadlines and the hours that they count in."""

    id: int
    time_zone: str
    started_at: datetime
    respond_by_at: datetime | None
    restore_by_at: datetime | None
    is_answered: bool
    is_restored: bool
    always: bool | None
    opens: time | None
    closes: time | None
    weekdays: Sequence[int] | None
    holiday_country: str | None


def deadline_row(ticket: Ticket, now: datetime) -> Row:
    """Return a ticket's words; a clock that was stopped in time or late stands at 0."""
    if ticket.always is None or ticket.opens is None or ticket.closes is None:
        calendar = default_calendar(ticket.time_zone)
    else:
        calendar = calendar_of(
            always=ticket.always,
            opens=ticket.opens,
            closes=ticket.closes,
            weekdays=ticket.weekdays or (),
            country=ticket.holiday_country,
        )
    here = zone(ticket.time_zone)

    def share(due_at: datetime | None, *, is_met: bool) -> float | None:
        if due_at is None or is_met:
            return 0.0
        return elapsed_percent(ticket.started_at, due_at, now, calendar, here)

    return {
        "sla_response_elapsed_percent": share(ticket.respond_by_at, is_met=ticket.is_answered),
        "sla_restore_elapsed_percent": share(ticket.restore_by_at, is_met=ticket.is_restored),
    }


def _tickets(connection: Connection) -> Iterable[Ticket]:
    with connection.cursor(row_factory=class_row(Ticket)) as cursor:
        return cursor.execute(
            """
            SELECT t.id, s.time_zone,
                coalesce((SELECT max(e.at) FROM ticket_event e
                    WHERE e.ticket_id = t.id AND e.kind = 'reopened'), t.opened_at) AS started_at,
                t.respond_by_at, t.restore_by_at, t.responded_at IS NOT NULL AS is_answered,
                t.resolved_at IS NOT NULL OR t.condition_cleared_at IS NOT NULL AS is_restored,
                k.always, k.opens, k.closes, k.weekdays, k.holiday_country
            FROM ticket t JOIN site s ON s.id = t.site_id
            LEFT JOIN contract c ON c.id = t.contract_id
            LEFT JOIN service_calendar k ON k.id = c.calendar_id
            WHERE t.closed_at IS NULL AND coalesce(t.respond_by_at, t.restore_by_at) IS NOT NULL
            ORDER BY t.id
            """
        ).fetchall()


def _end_for_units_not_watched(connection: Connection, now: datetime) -> None:
    watched = [one for (one,) in connection.execute("SELECT id FROM device WHERE enabled")]
    end_reminders(connection, Subject.DEVICE, except_for=watched, now=now)


def _freeze_first_faults(connection: Connection, now: datetime) -> None:
    """Keep the first fault within each warranty: a claim goes by its date, not by today's.

    Faults are what opened a ticket; mains that failed at the site are nobody's warranty.
    """
    connection.execute(
        """
        INSERT INTO warranty_fault (device_id, warranty_until, alarm_id, at)
        SELECT DISTINCT ON (d.id) d.id, d.warranty_until, a.id, a.raised_at
        FROM device d JOIN site s ON s.id = d.site_id
        JOIN alarm a ON a.device_id = d.id AND a.customer_id = d.customer_id
        JOIN ticket_alarm x ON x.alarm_id = a.id
        JOIN ticket t ON t.id = x.ticket_id AND t.incident_id IS NULL
        WHERE d.warranty_until IS NOT NULL AND a.raised_at <= %s
        AND coalesce(t.closing_code, '') NOT IN ('false_alarm', 'duplicate', 'withdrawn')
        AND (a.raised_at AT TIME ZONE s.time_zone)::date <= d.warranty_until
        AND (d.installed_on IS NULL
            OR (a.raised_at AT TIME ZONE s.time_zone)::date >= d.installed_on)
        AND NOT EXISTS (SELECT FROM warranty_fault w
            WHERE w.device_id = d.id AND w.warranty_until = d.warranty_until)
        ORDER BY d.id, a.raised_at, a.id
        ON CONFLICT DO NOTHING
        """,
        (now,),
    )
