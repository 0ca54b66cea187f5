"""Read parts, warehouses, balances and the ledger; write the catalogue of parts.

Moves are written in `spares.operations` and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow, class_row

from rules.operations import OperationRefused
from service_api.alarms.store import like
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.spares.schemas import MoveQuery, NewPart, PartQuery

Connection = psycopg.Connection[TupleRow]


class SkuTaken(OperationRefused):
    """Another part has this stock keeping unit."""


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of thing that engineers fit."""

    id: int
    sku: str
    kind: str
    name: str
    name_zh: str
    fits_models: list[str]
    price: Decimal | None
    on_hand: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Balance:
    """How many of a part lie in a warehouse."""

    part_id: int
    sku: str
    part_name: str
    part_name_zh: str
    warehouse_id: int
    warehouse_key: str
    warehouse_name: str
    warehouse_name_zh: str
    engineer_id: int | None
    on_hand: int
    reserved: int

    @property
    def available(self) -> int:
        """What nobody has reserved."""
        return self.on_hand - self.reserved


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A move with the names of what it moved."""

    id: int
    at: datetime
    kind: str
    part_id: int
    sku: str
    part_name: str
    part_name_zh: str
    warehouse_id: int
    warehouse_name: str
    warehouse_name_zh: str
    on_hand_change: int
    reserved_change: int
    work_order_id: int | None
    undoes_id: int | None
    undone_by_id: int | None
    actor: str
    remark: str


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Where parts lie; with an engineer it is that engineer's van."""

    id: int
    key: str
    name: str
    name_zh: str
    service_center_id: int | None
    engineer_id: int | None


_PART: LiteralString = """
    p.id, p.sku, p.kind, p.name, p.name_zh, p.fits_models, p.price,
    (SELECT coalesce(sum(b.on_hand), 0)::int FROM stock_balance b WHERE b.part_id = p.id),
    (SELECT coalesce(sum(b.reserved), 0)::int FROM stock_balance b WHERE b.part_id = p.id)
"""
_BY_SKU = Order.of(("p.sku", "text", False), ("p.id", "bigint", False))


def parts(connection: Connection, query: PartQuery) -> Page[Part]:
    """Read one part of the catalog by SKU, with what is on hand everywhere."""
    return read_page(
        connection,
        select=_PART,
        from_where="""
        FROM part p WHERE (%(kind)s::text IS NULL OR p.kind = %(kind)s)
        AND (%(pattern)s::text IS NULL
            OR concat_ws(' ', p.sku, p.name, p.name_zh, p.fits_models::text) ILIKE %(pattern)s)
        """,
        parameters={"kind": query.kind, "pattern": like(query.q)},
        order=_BY_SKU,
        query=query,
        build=lambda row: Part(*row),
    )


def part(connection: Connection, part_id: int) -> Part:
    """Read one part."""
    row = connection.execute(
        "SELECT " + _PART + " FROM part p WHERE p.id = %s", (part_id,)
    ).fetchone()
    if row is None:
        raise NotFound
    return Part(*row)


def kinds(connection: Connection) -> list[str]:
    """Return the kinds of part that there are."""
    return [row[0] for row in connection.execute("SELECT DISTINCT kind FROM part ORDER BY kind")]


def add_part(connection: Connection, new: NewPart) -> int:
    """Write a part into the catalog. Raises `SkuTaken`."""
    try:
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO part (sku, kind, name, name_zh, fits_models, price)
                VALUES (%(sku)s, %(kind)s, %(name)s, %(name_zh)s, %(fits_models)s, %(price)s)
                RETURNING id
                """,
                new.model_dump(),
            ).fetchone()
    except psycopg.errors.UniqueViolation as taken:
        raise SkuTaken(f"a part with SKU {new.sku} exists") from taken
    if row is None:
        raise SkuTaken(f"the part {new.sku} was not written")
    return int(row[0])


def warehouses(connection: Connection) -> list[Warehouse]:
    """Return every warehouse and van."""
    with connection.cursor(row_factory=class_row(Warehouse)) as cursor:
        return cursor.execute(
            """
            SELECT id, key, name, name_zh, service_center_id, engineer_id
            FROM warehouse ORDER BY engineer_id IS NOT NULL, key
            """
        ).fetchall()


def balances(
    connection: Connection, *, part_id: int | None = None, warehouse_id: int | None = None
) -> list[Balance]:
    """Return what lies where, parts in order of their SKU."""
    with connection.cursor(row_factory=class_row(Balance)) as cursor:
        return cursor.execute(
            """
            SELECT b.part_id, p.sku, p.name AS part_name, p.name_zh AS part_name_zh,
                b.warehouse_id, w.key AS warehouse_key, w.name AS warehouse_name,
                w.name_zh AS warehouse_name_zh, w.engineer_id, b.on_hand, b.reserved
            FROM stock_balance b
            JOIN part p ON p.id = b.part_id
            JOIN warehouse w ON w.id = b.warehouse_id
            WHERE (%(part)s::bigint IS NULL OR b.part_id = %(part)s)
            AND (%(warehouse)s::bigint IS NULL OR b.warehouse_id = %(warehouse)s)
            ORDER BY p.sku, w.engineer_id IS NOT NULL, w.key
            """,
            {"part": part_id, "warehouse": warehouse_id},
        ).fetchall()


_NEWEST_MOVE = Order.of(("m.id", "bigint", True))


def moves(connection: Connection, query: MoveQuery) -> Page[LedgerRow]:
    """Read one part of the ledger, the newest row first."""
    return read_page(
        connection,
        select="""
            m.id, m.at, m.kind, m.part_id, p.sku, p.name, p.name_zh, m.warehouse_id, w.name,
            w.name_zh, m.on_hand_change, m.reserved_change, m.work_order_id, m.undoes_id, u.id,
            m.actor, m.remark
        """,
        from_where="""
        FROM stock_move m
        JOIN part p ON p.id = m.part_id
        JOIN warehouse w ON w.id = m.warehouse_id
        LEFT JOIN stock_move u ON u.undoes_id = m.id
        WHERE (%(part_id)s::bigint IS NULL OR m.part_id = %(part_id)s)
        AND (%(warehouse_id)s::bigint IS NULL OR m.warehouse_id = %(warehouse_id)s)
        AND (%(work_order_id)s::bigint IS NULL OR m.work_order_id = %(work_order_id)s)
        """,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=_NEWEST_MOVE,
        query=query,
        build=lambda row: LedgerRow(*row),
    )


def part_of_move(connection: Connection, move_id: int) -> int | None:
    """Return which part a move moved."""
    row = connection.execute("SELECT part_id FROM stock_move WHERE id = %s", (move_id,)).fetchone()
    return None if row is None else int(row[0])


@dataclass(frozen=True, slots=True)
class OrderPart:
    """What a work order has reserved and what was taken out for it, a part in a warehouse."""

    part_id: int
    sku: str
    name: str
    name_zh: str
    warehouse_id: int
    warehouse_name: str
    warehouse_name_zh: str
    reserved: int
    issued: int


def parts_of_order(connection: Connection, work_order_id: int) -> list[OrderPart]:
    """Return the parts of a work order, by the ledger."""
    with connection.cursor(row_factory=class_row(OrderPart)) as cursor:
        return cursor.execute(
            """
            SELECT m.part_id, p.sku, p.name, p.name_zh, m.warehouse_id,
                w.name AS warehouse_name, w.name_zh AS warehouse_name_zh,
                sum(m.reserved_change)::int AS reserved, -sum(m.on_hand_change)::int AS issued
            FROM stock_move m
            JOIN part p ON p.id = m.part_id
            JOIN warehouse w ON w.id = m.warehouse_id
            WHERE m.work_order_id = %s
            GROUP BY m.part_id, p.sku, p.name, p.name_zh, m.warehouse_id, w.name, w.name_zh
            HAVING sum(m.reserved_change) <> 0 OR sum(m.on_hand_change) <> 0
            ORDER BY m.part_id, m.warehouse_id
            """,
            (work_order_id,),
        ).fetchall()


@dataclass(frozen=True, slots=True)
class Offer:
    """A part that would do, lying unreserved in a warehouse."""

    part_id: int
    sku: str
    kind: str
    name: str
    name_zh: str
    warehouse_id: int
    warehouse_name: str
    warehouse_name_zh: str
    engineer_id: int | None
    service_center_id: int | None
    latitude: float | None
    longitude: float | None
    available: int


def offers(connection: Connection, *, kinds: Sequence[str], model: str | None) -> list[Offer]:
    """Return unreserved parts of these kinds that fit the model, wherever they lie.

    A van lies where its engineer lives, a warehouse at its service center. A part for named
    models is not offered for a unit whose model nobody knows.
    """
    with connection.cursor(row_factory=class_row(Offer)) as cursor:
        return cursor.execute(
            """
            SELECT p.id AS part_id, p.sku, p.kind, p.name, p.name_zh, w.id AS warehouse_id,
                w.name AS warehouse_name, w.name_zh AS warehouse_name_zh, w.engineer_id,
                w.service_center_id, coalesce(e.latitude, c.latitude) AS latitude,
                coalesce(e.longitude, c.longitude) AS longitude,
                b.on_hand - b.reserved AS available
            FROM part p
            JOIN stock_balance b ON b.part_id = p.id
            JOIN warehouse w ON w.id = b.warehouse_id
            LEFT JOIN engineer e ON e.id = w.engineer_id
            LEFT JOIN service_center c ON c.id = w.service_center_id
            WHERE p.kind = ANY(%(kinds)s) AND b.on_hand > b.reserved
            AND (p.fits_models = '{}' OR %(model)s::text = ANY(p.fits_models))
            ORDER BY p.id, w.id
            """,
            {"kinds": list(kinds), "model": model},
        ).fetchall()
