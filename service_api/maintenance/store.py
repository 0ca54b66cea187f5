"""Read plans and what is due; people's changes to both. The nightly job is in `planning`."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, LiteralString

import psycopg
from psycopg.rows import class_row
from pydantic import Field

from rules.operations import OperationRefused
from service_api.customers.schemas import Key, Name
from service_api.errors import NotFound
from service_api.paging import ListQuery, Order, Page, Strict, read_page
from service_api.request import Connection


@dataclass(frozen=True, slots=True)
class PlanLine:
    """Work that recurs."""

    id: int
    key: str
    title: str
    title_zh: str
    interval_months: int
    basis: str
    duration_minutes: int
    skills: list[str]
    part_kinds: list[str]
    steps_en: list[str]
    steps_zh: list[str]
    source: str
    units: int


@dataclass(frozen=True, slots=True)
class DueLine:
    """When a plan's work is due at a unit; without a date one is missing."""

    device_id: int
    device: str
    site_id: int
    site: str
    site_zh: str
    customer: str
    customer_zh: str
    plan_id: int
    title: str
    title_zh: str
    due_on: date | None
    last_done_on: date | None
    ticket_id: int | None
    state: Literal["late", "due", "soon", "future", "unknown"]


class DueQuery(ListQuery):
    """Which dates: `soon` is the next 30 days and what is late."""

    show: Literal["soon", "late", "unknown", "all"] = "all"
    device_id: int | None = None
    site_id: int | None = None
    plan_id: int | None = None


class NewPlan(Strict):
    """A plan of work to write down."""

    key: Key
    title: Name
    title_zh: Name
    interval_months: Annotated[int, Field(ge=1, le=240)]
    basis: Literal["completion", "schedule"]
    duration_minutes: Annotated[int, Field(ge=5, le=10_080)]
    skills: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(default_factory=list)
    part_kinds: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(
        default_factory=list
    )
    steps_en: list[Annotated[str, Field(max_length=1_000)]] = Field(default_factory=list)
    steps_zh: list[Annotated[str, Field(max_length=1_000)]] = Field(default_factory=list)
    source: Annotated[str, Field(max_length=1_000)] = ""


class LastDone(Strict):
    """When a plan's work was last done at a unit."""

    last_done_on: date


_STATE: LiteralString = """
    CASE WHEN m.due_on IS NULL THEN 'unknown'
        WHEN m.due_on + 15 <= %(today)s THEN 'late' WHEN m.due_on <= %(today)s THEN 'due'
        WHEN m.due_on - 30 <= %(today)s THEN 'soon' ELSE 'future' END
"""
_FIRST_DUE = Order.of(
    ("coalesce(m.due_on, '9999-01-01')::text", "text", False),
    ("m.device_id", "bigint", False),
    ("m.plan_id", "bigint", False),
)


def due(connection: Connection, query: DueQuery, *, today: date) -> Page[DueLine]:
    """Read one part of the calendar, the first due first, unknown dates last."""
    return read_page(
        connection,
        select="""
            m.device_id, d.name, d.site_id, s.name, s.name_zh, c.name, c.name_zh, m.plan_id,
            p.title, p.title_zh, m.due_on, m.last_done_on, m.ticket_id,
        """
        + _STATE,
        from_where="""
        FROM maintenance_due m
        JOIN maintenance_plan p ON p.id = m.plan_id
        JOIN device d ON d.id = m.device_id AND d.enabled
        JOIN site s ON s.id = d.site_id
        JOIN customer c ON c.id = d.customer_id
        WHERE CASE %(show)s
            WHEN 'late' THEN m.due_on + 15 <= %(today)s
            WHEN 'soon' THEN m.due_on - 30 <= %(today)s
            WHEN 'unknown' THEN m.due_on IS NULL
            ELSE true END
        AND (%(device_id)s::bigint IS NULL OR m.device_id = %(device_id)s)
        AND (%(site_id)s::bigint IS NULL OR d.site_id = %(site_id)s)
        AND (%(plan_id)s::bigint IS NULL OR m.plan_id = %(plan_id)s)
        """,
        parameters={**query.model_dump(exclude={"limit", "cursor"}), "today": today},
        order=_FIRST_DUE,
        query=query,
        build=lambda row: DueLine(*row),
    )


def counts(connection: Connection, *, today: date) -> dict[str, int]:
    """Count dates by what the page's chips ask."""
    row = connection.execute(
        """
        SELECT count(*), count(*) FILTER (WHERE due_on - 30 <= %(today)s),
            count(*) FILTER (WHERE due_on + 15 <= %(today)s),
            count(*) FILTER (WHERE due_on IS NULL)
        FROM maintenance_due m JOIN device d ON d.id = m.device_id AND d.enabled
        """,
        {"today": today},
    ).fetchone()
    names = ("all", "soon", "late", "unknown")
    return dict(zip(names, row or (0,) * len(names), strict=True))


def plans(connection: Connection) -> list[PlanLine]:
    """Read every plan with the number of its units."""
    with connection.cursor(row_factory=class_row(PlanLine)) as cursor:
        return cursor.execute(
            """
            SELECT p.id, p.key, p.title, p.title_zh, p.interval_months, p.basis,
                p.duration_minutes, p.skills, p.part_kinds, p.steps_en, p.steps_zh, p.source,
                (SELECT count(*) FROM maintenance_due m WHERE m.plan_id = p.id)::int AS units
            FROM maintenance_plan p ORDER BY p.interval_months, p.id
            """
        ).fetchall()


def add_plan(connection: Connection, new: NewPlan) -> None:
    """Write a plan down; refused when the key is taken."""
    try:
        with connection.transaction():
            connection.execute(
                """
                INSERT INTO maintenance_plan (key, title, title_zh, interval_months, basis,
                    duration_minutes, skills, part_kinds, steps_en, steps_zh, source)
                VALUES (%(key)s, %(title)s, %(title_zh)s, %(interval_months)s, %(basis)s,
                    %(duration_minutes)s, %(skills)s, %(part_kinds)s, %(steps_en)s, %(steps_zh)s,
                    %(source)s)
                """,
                new.model_dump(),
            )
    except psycopg.errors.UniqueViolation as taken:
        raise OperationRefused(f"a plan with the key {new.key} exists") from taken


def set_last_done(connection: Connection, device_id: int, plan_id: int, on: date) -> None:
    """Enter when work was last done; the next night reckons the due date from it."""
    changed = connection.execute(
        """
        UPDATE maintenance_due SET last_done_on = %s, last_scheduled_on = %s
        WHERE device_id = %s AND plan_id = %s
        """,
        (on, on, device_id, plan_id),
    )
    if changed.rowcount != 1:
        raise NotFound
