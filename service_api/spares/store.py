"""Read parts, warehouses, balances and the ledger; write the catalogue of parts.

Moves are written in `spares.operations` and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import psycopg
from psycopg.rows import TupleRow, class_row

Connection = psycopg.Connection[TupleRow]


class SkuTaken(Exception):
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


def parts(
    connection: Connection, *, kind: str | None, after_id: int, limit: int
) -> tuple[list[Part], int]:
    """Return parts from after an id on, with what is on hand everywhere, and how many there are."""
    with connection.cursor(row_factory=class_row(Part)) as cursor:
        cursor.execute(
            """
            SELECT p.id, p.sku, p.kind, p.name, p.name_zh, p.fits_models, p.price,
                coalesce(sum(b.on_hand), 0)::int AS on_hand,
                coalesce(sum(b.reserved), 0)::int AS reserved
            FROM part p LEFT JOIN stock_balance b ON b.part_id = p.id
            WHERE p.id > %(after)s AND (%(kind)s::text IS NULL OR p.kind = %(kind)s)
            GROUP BY p.id ORDER BY p.id LIMIT %(limit)s
            """,
            {"after": after_id, "kind": kind, "limit": limit},
        )
        found = cursor.fetchall()
    row = connection.execute(
        "SELECT count(*) FROM part WHERE %(kind)s::text IS NULL OR kind = %(kind)s", {"kind": kind}
    ).fetchone()
    return found, 0 if row is None else int(row[0])


def add_part(
    connection: Connection,
    *,
    sku: str,
    kind: str,
    name: str,
    name_zh: str,
    fits_models: Sequence[str],
    price: Decimal | None,
) -> int:
    """Write a part into the catalogue. Raises `SkuTaken`."""
    try:
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO part (sku, kind, name, name_zh, fits_models, price)
                VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
                """,
                (sku, kind, name, name_zh, list(fits_models), price),
            ).fetchone()
    except psycopg.errors.UniqueViolation as taken:
        raise SkuTaken(f"a part with SKU {sku} exists") from taken
    if row is None:
        raise SkuTaken(f"the part {sku} was not written")
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


def ledger(
    connection: Connection,
    *,
    part_id: int | None = None,
    warehouse_id: int | None = None,
    work_order_id: int | None = None,
    before_id: int | None = None,
    limit: int,
) -> list[LedgerRow]:
    """Return moves, the newest first."""
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        return cursor.execute(
            """
            SELECT m.id, m.at, m.kind, m.part_id, p.sku, p.name AS part_name,
                p.name_zh AS part_name_zh, m.warehouse_id, w.name AS warehouse_name,
                w.name_zh AS warehouse_name_zh, m.on_hand_change, m.reserved_change,
                m.work_order_id, m.undoes_id, u.id AS undone_by_id, m.actor, m.remark
            FROM stock_move m
            JOIN part p ON p.id = m.part_id
            JOIN warehouse w ON w.id = m.warehouse_id
            LEFT JOIN stock_move u ON u.undoes_id = m.id
            WHERE (%(part)s::bigint IS NULL OR m.part_id = %(part)s)
            AND (%(warehouse)s::bigint IS NULL OR m.warehouse_id = %(warehouse)s)
            AND (%(order)s::bigint IS NULL OR m.work_order_id = %(order)s)
            AND (%(before)s::bigint IS NULL OR m.id < %(before)s)
            ORDER BY m.id DESC LIMIT %(limit)s
            """,
            {
                "part": part_id,
                "warehouse": warehouse_id,
                "order": work_order_id,
                "before": before_id,
                "limit": limit,
            },
        ).fetchall()


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
    warehouse_id: int
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
            SELECT p.id AS part_id, p.sku, p.kind, w.id AS warehouse_id, w.engineer_id,
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
