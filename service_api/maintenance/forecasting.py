"""The months ahead: read what recurs, who is there and what parts cost; the sums are pure.

The sums are `rules.maintenance_forecast`; here they get names and prices.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg.rows import class_row

from rules.maintenance import months_later
from rules.maintenance_forecast import (
    Crew,
    Forecast,
    Promise,
    Recurring,
    contract_year,
    forecast,
    promised_visits,
)
from rules.maintenance_visits import Line, merge
from rules.workdays import day_kinds
from rules.working_time import Calendar
from service_api.maintenance.schemas import (
    ForecastInfo,
    NeedLine,
    PartLine,
    PromiseLine,
)
from service_api.request import Connection

HOURS_A_DAY = 8.0
ON_SITE_SHARE = 0.6
"""What is left of a day for work at units beside travel, reports and calls (judgement)."""
COUNTRY = "CN"
"""Whose holidays engineers keep."""


@dataclass(frozen=True, slots=True)
class _Row:
    device_id: int
    site_id: int
    center_id: int | None
    key: str
    due_on: date
    every_months: float
    minutes: int
    on_site: bool
    skills: list[str]
    part_kinds: list[str]
    model: str | None


def recurring(connection: Connection, center_id: int | None = None) -> list[Recurring]:
    """Read what recurs at every unit; units without a date are left out."""
    with connection.cursor(row_factory=class_row(_Row)) as cursor:
        rows = cursor.execute(
            """
            SELECT m.device_id, d.site_id, s.service_center_id AS center_id, p.key, m.due_on,
                coalesce(m.every_months, p.interval_months)::float8 AS every_months,
                CASE WHEN m.minutes > 0 THEN m.minutes ELSE p.duration_minutes END AS minutes,
                p.on_site, p.skills, p.part_kinds, d.model
            FROM maintenance_due m
            JOIN maintenance_plan p ON p.id = m.plan_id AND p.enabled
            JOIN device d ON d.id = m.device_id AND d.enabled
            JOIN site s ON s.id = d.site_id
            WHERE m.due_on IS NOT NULL
            AND (%(center)s::bigint IS NULL OR s.service_center_id = %(center)s)
            ORDER BY m.device_id, p.id
            """,
            {"center": center_id},
        ).fetchall()
    return [
        Recurring(
            device_id=row.device_id,
            site_id=row.site_id,
            center_id=row.center_id,
            key=row.key,
            next_on=row.due_on,
            every_months=row.every_months,
            minutes=row.minutes,
            on_site=row.on_site,
            skills=tuple(row.skills),
            part_kinds=tuple(row.part_kinds),
            model=row.model,
        )
        for row in rows
    ]


def hours_of_month(month: date) -> float:
    """Return the hours that an engineer has for work at units in a month."""
    calendar = Calendar(country=COUNTRY, kind_of=day_kinds(COUNTRY))
    days = (months_later(month, 1) - month).days
    worked = sum(calendar.is_workday(month + timedelta(days=number)) for number in range(days))
    return worked * HOURS_A_DAY * ON_SITE_SHARE


def _crews(connection: Connection, months: list[date]) -> list[Crew]:
    hours = {month: hours_of_month(month) for month in months}
    return [
        Crew(center_id, frozenset(skills), hours)
        for center_id, skills in connection.execute(
            "SELECT service_center_id, skills FROM engineer WHERE active ORDER BY id"
        )
    ]


def includes_of(connection: Connection) -> dict[str, list[str]]:
    """Read which plan's work takes which along."""
    return dict(connection.execute("SELECT key, includes FROM maintenance_plan").fetchall())


def look_ahead(
    connection: Connection, *, today: date, months: int, center_id: int | None
) -> ForecastInfo:
    """Say what planned work will need in the months ahead."""
    first = today.replace(day=1)
    found = forecast(
        recurring(connection, center_id),
        _crews(connection, [months_later(first, number) for number in range(months)]),
        includes_of(connection),
        today=today,
        months=months,
    )
    centers = {
        row[0]: (row[1], row[2])
        for row in connection.execute("SELECT id, name, name_zh FROM service_center")
    }
    parts = _priced(connection, found, centers)
    return ForecastInfo(
        months=list(found.months),
        needs=[
            NeedLine(
                month=need.month,
                center_id=need.center_id,
                center=centers.get(need.center_id or 0, (None, None))[0],
                center_zh=centers.get(need.center_id or 0, (None, None))[1],
                skill=need.skill,
                visits=need.visits,
                hours=round(need.hours, 1),
                follow_up_hours=round(need.follow_up_hours, 1),
                available_hours=round(need.available_hours, 1),
                engineers=need.engineers,
                engineers_needed=need.engineers_needed,
                short_hours=round(need.short_hours, 1),
            )
            for need in found.needs
        ],
        parts=parts,
        parts_cost=round(sum(part.cost or 0.0 for part in parts), 2),
        unpriced=sum(part.quantity for part in parts if part.cost is None),
    )


def _priced(
    connection: Connection, found: Forecast, centers: Mapping[int, tuple[str, str]]
) -> list[PartLine]:
    """Give each need the part that fits its model, one made for it before one that fits all."""
    price_list = connection.execute(
        """
        SELECT sku, kind, name, name_zh, fits_models, price::float8 FROM part
        ORDER BY fits_models = '{}', id
        """
    ).fetchall()

    def part_for(kind: str, model: str | None) -> tuple[str, str, str, float | None] | None:
        for sku, its_kind, name, name_zh, fits, price in price_list:
            if its_kind == kind and (not fits or (model is not None and model in fits)):
                return sku, name, name_zh, price
        return None

    sums: Counter[tuple[date, int | None, str, str | None]] = Counter()
    chosen: dict[str, tuple[str, str, str, float | None]] = {}
    for need in found.parts:
        part = part_for(need.kind, need.model)
        if part is not None:
            chosen[part[0]] = part
        sums[need.month, need.center_id, need.kind, None if part is None else part[0]] += (
            need.quantity
        )
    lines = []
    for (month, center_id, kind, sku), quantity in sorted(
        sums.items(), key=lambda item: (item[0][0], item[0][1] or 0, item[0][2], item[0][3] or "")
    ):
        part = None if sku is None else chosen[sku]
        price = None if part is None else part[3]
        center, center_zh = centers.get(center_id or 0, (None, None))
        lines.append(
            PartLine(
                month=month,
                center_id=center_id,
                center=center,
                center_zh=center_zh,
                kind=kind,
                sku=sku,
                name=None if part is None else part[1],
                name_zh=None if part is None else part[2],
                quantity=quantity,
                price=price,
                cost=None if price is None else round(price * quantity, 2),
            )
        )
    return lines


def promises(connection: Connection, *, today: date) -> list[PromiseLine]:
    """Compare the visits that contracts promise for their year with those done and planned.

    A visit is a day on which planned work was done at a site, whatever number of units. Those that
    will be short come first.
    """
    with_sites = connection.execute(
        """
        SELECT k.id, k.key, k.name, k.name_zh, c.name, c.name_zh, s.id, s.name, s.name_zh,
            k.starts_on, k.ends_on, k.visits_per_year, array_agg(d.id ORDER BY d.id)
        FROM contract k JOIN customer c ON c.id = k.customer_id
        JOIN contract_device x ON x.contract_id = k.id
        JOIN device d ON d.id = x.device_id AND d.enabled
        JOIN site s ON s.id = d.site_id
        WHERE k.state = 'active' AND k.starts_on <= %(today)s AND k.ends_on >= %(today)s
        AND k.visits_per_year > 0
        GROUP BY k.id, c.id, s.id ORDER BY k.key, s.name
        """,
        {"today": today},
    ).fetchall()
    includes = includes_of(connection)
    by_device: dict[int, list[Recurring]] = {}
    for one in recurring(connection):
        if one.on_site:
            by_device.setdefault(one.device_id, []).append(one)
    found = []
    for row in with_sites:
        (
            contract_id, key, name, name_zh, customer, customer_zh, site_id, site, site_zh,
            starts_on, ends_on, per_year, device_ids,
        ) = row  # fmt: skip
        year = contract_year(starts_on, ends_on, today)
        if year is None:
            continue
        promise = Promise(
            contract_id,
            site_id,
            *year,
            promised_visits(per_year, *year),
            _visits_done(connection, device_ids, *year),
            _visits_planned(
                [one for device in device_ids for one in by_device.get(device, ())],
                includes,
                today,
                year[1],
            ),
        )
        found.append(
            PromiseLine(
                contract_id=contract_id,
                contract=key,
                contract_name=name,
                contract_name_zh=name_zh,
                customer=customer,
                customer_zh=customer_zh,
                site_id=site_id,
                site=site,
                site_zh=site_zh,
                year_from=promise.year_from,
                year_until=promise.year_until,
                promised=promise.promised,
                done=promise.done,
                planned=promise.planned,
                short=promise.short,
            )
        )
    return sorted(found, key=lambda line: (-line.short, line.contract, line.site))


def _visits_done(connection: Connection, device_ids: list[int], since: date, until: date) -> int:
    row = connection.execute(
        """
        SELECT count(DISTINCT o.done_on) FROM maintenance_occurrence o
        JOIN maintenance_plan p ON p.id = o.plan_id AND p.on_site
        WHERE o.device_id = ANY(%s) AND o.undone_at IS NULL AND o.done_on BETWEEN %s AND %s
        """,
        (device_ids, since, until),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _visits_planned(
    here: list[Recurring], includes: Mapping[str, list[str]], today: date, until: date
) -> int:
    """Count the visits that the plans will make of this site until the year's end."""
    lines = []
    for one in here:
        day, number = max(one.next_on, today), 0
        while day <= until:
            lines.append(Line(one.device_id, one.key, day, one.minutes, one.skills, one.part_kinds))
            number += 1
            day = months_later(max(one.next_on, today), max(1, round(one.every_months * number)))
    return len(merge(lines, includes))
