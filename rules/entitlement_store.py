"""Read the contract facts that an entitlement is decided from: two queries for any many devices.

Runs inside somebody else's transaction and sees what that transaction may see. What the facts
mean is in `rules.entitlement`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg.rows import TupleRow, class_row

from rules.entitlement import Cover, Entitlement, check
from rules.workdays import UnknownCountry, day_kinds
from rules.working_time import Calendar


@dataclass(frozen=True, slots=True)
class DeviceCover:
    """Whose unit it is, where, and every contract worth looking at."""

    device_id: int
    customer_id: int
    time_zone: str
    warranty_until: date | None
    covers: tuple[Cover, ...]

    def check(self, at: datetime) -> Entitlement:
        """Decide what is owed for this unit at `at`."""
        return check(
            customer_id=self.customer_id,
            device_id=self.device_id,
            covers=self.covers,
            warranty_until=self.warranty_until,
            at=at,
            time_zone=self.time_zone,
        )


@dataclass(frozen=True, slots=True)
class _DeviceRow:
    id: int
    customer_id: int
    time_zone: str
    warranty_until: date | None


@dataclass(frozen=True, slots=True)
class _ContractRow:
    device_id: int
    covers_device: bool
    id: int
    key: str
    name: str
    name_zh: str
    state: str
    starts_on: date
    ends_on: date
    customer_id: int
    respond_minutes: int
    restore_minutes: int | None
    covers_parts: bool
    covers_labor: bool
    covers_batteries: bool
    always: bool
    opens: time
    closes: time
    weekdays: list[int]
    holiday_country: str | None


def covers_for(
    connection: psycopg.Connection[TupleRow], device_ids: Iterable[int]
) -> dict[int, DeviceCover]:
    """Return what is known of each device's contracts; unknown devices are left out.

    Every contract that lists the device is looked at, and the customer's three that end last of
    those that do not: they explain a refusal.
    """
    wanted = sorted(set(device_ids))
    covers: dict[int, list[Cover]] = {}
    with connection.cursor(row_factory=class_row(_ContractRow)) as cursor:
        cursor.execute(
            """
            SELECT d.id AS device_id, found.covers_device, c.id, c.key, c.name, c.name_zh, c.state,
                c.starts_on, c.ends_on, c.customer_id, c.respond_minutes, c.restore_minutes,
                c.covers_parts, c.covers_labor, c.covers_batteries,
                k.always, k.opens, k.closes, k.weekdays, k.holiday_country
            FROM device d
            CROSS JOIN LATERAL (
                (SELECT x.contract_id, true AS covers_device
                FROM contract_device x WHERE x.device_id = d.id)
                UNION ALL
                (SELECT o.id, false FROM contract o
                WHERE o.customer_id = d.customer_id AND NOT EXISTS (
                    SELECT FROM contract_device x
                    WHERE x.contract_id = o.id AND x.device_id = d.id)
                ORDER BY o.ends_on DESC, o.id DESC LIMIT 3)
            ) found
            JOIN contract c ON c.id = found.contract_id
            JOIN service_calendar k ON k.id = c.calendar_id
            WHERE d.id = ANY(%s)
            ORDER BY d.id, c.id
            """,
            (wanted,),
        )
        for row in cursor:
            covers.setdefault(row.device_id, []).append(_cover(row))
    with connection.cursor(row_factory=class_row(_DeviceRow)) as cursor:
        cursor.execute(
            """
            SELECT d.id, d.customer_id, s.time_zone, d.warranty_until
            FROM device d JOIN site s ON s.id = d.site_id
            WHERE d.id = ANY(%s)
            """,
            (wanted,),
        )
        return {
            row.id: DeviceCover(
                row.id,
                row.customer_id,
                _known_zone(row.time_zone),
                row.warranty_until,
                tuple(covers.get(row.id, ())),
            )
            for row in cursor
        }


def _known_zone(name: str) -> str:
    # A wrong zone is refused where it is entered; here it must not stop a batch.
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"
    return name


def _cover(row: _ContractRow) -> Cover:
    return Cover(
        contract_id=row.id,
        key=row.key,
        name_en=row.name,
        name_zh=row.name_zh,
        state=row.state,
        starts_on=row.starts_on,
        ends_on=row.ends_on,
        customer_id=row.customer_id,
        covers_device=row.covers_device,
        calendar=calendar_of(
            always=row.always,
            opens=row.opens,
            closes=row.closes,
            weekdays=row.weekdays,
            country=row.holiday_country,
        ),
        respond_minutes=row.respond_minutes,
        restore_minutes=row.restore_minutes,
        parts=row.covers_parts,
        labor=row.covers_labor,
        batteries=row.covers_batteries,
    )


def calendar_of(
    *, always: bool, opens: time, closes: time, weekdays: Iterable[int], country: str | None
) -> Calendar:
    """Return the calendar of a row; a country without known holidays has none, and shows none.

    A wrong country code is refused where it is entered; here it must not stop a batch.
    """
    try:
        kind_of = day_kinds(country)
    except UnknownCountry:
        country, kind_of = None, day_kinds(None)
    return Calendar(
        always=always,
        opens=opens,
        closes=closes,
        weekdays=frozenset(weekdays),
        country=country,
        kind_of=kind_of,
    )
