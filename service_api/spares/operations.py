"""Change stock: every change is one row of the ledger, and the database refuses what cannot be.

The balance is kept by the trigger on `stock_move`; more than is on hand cannot be reserved or
issued, whoever else takes some at the same moment. What is in stock is read in `spares.store`.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow, class_row

from rules.operations import NotThere, OperationRefused

Connection = psycopg.Connection[TupleRow]


class NotEnoughStock(OperationRefused):
    """There is not so much on hand, or not so much unreserved."""


class MoveUnknown(NotThere):
    """There is no such move, part or warehouse."""


class MoveAlreadyUndone(OperationRefused):
    """The move was undone before, or is itself the undoing of another."""


class NothingToChange(OperationRefused):
    """The amount is zero or negative, or the count agrees with the books."""


@dataclass(frozen=True, slots=True)
class Item:
    """A part in a warehouse."""

    part_id: int
    warehouse_id: int


@dataclass(frozen=True, slots=True)
class Move:
    """A row of the ledger."""

    id: int
    part_id: int
    warehouse_id: int
    kind: str
    on_hand_change: int
    reserved_change: int
    work_order_id: int | None
    undoes_id: int | None


OPPOSITE = {
    "receipt": "count",
    "reserve": "release",
    "release": "reserve",
    "issue": "return",
    "return": "issue",
    "count": "count",
}
"""What a move is called that undoes one."""


def _move(
    connection: Connection,
    *,
    item: Item,
    kind: str,
    on_hand: int,
    reserved: int,
    work_order_id: int | None,
    undoes_id: int | None = None,
    actor: str,
    remark: str,
    now: datetime,
) -> int:
    _lock(connection, item)
    try:
        # A refusal undoes the move alone: the caller may try another warehouse.
        with connection.transaction():
            row = connection.execute(
                """
                INSERT INTO stock_move (at, part_id, warehouse_id, kind, on_hand_change,
                    reserved_change, work_order_id, undoes_id, actor, remark)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
                """,
                (
                    now,
                    item.part_id,
                    item.warehouse_id,
                    kind,
                    on_hand,
                    reserved,
                    work_order_id,
                    undoes_id,
                    actor,
                    remark,
                ),
            ).fetchone()
    except psycopg.errors.CheckViolation as refused:
        raise NotEnoughStock("there is not enough in stock for this") from refused
    except psycopg.errors.ForeignKeyViolation as unknown:
        raise MoveUnknown("there is no such part, warehouse or work order") from unknown
    except psycopg.errors.UniqueViolation as twice:
        raise MoveAlreadyUndone(f"move {undoes_id} was undone before") from twice
    if row is None:
        raise MoveUnknown("the ledger took no row")
    return int(row[0])


def _lock(connection: Connection, item: Item) -> None:
    # What was read of a balance must still be true when the move is written; the balance row
    # itself is the trigger's alone to lock.
    connection.execute(
        "SELECT pg_advisory_xact_lock(%s::int, %s::int)", (item.part_id, item.warehouse_id)
    )


def _some(quantity: int) -> int:
    if quantity <= 0:
        raise NothingToChange("the quantity must be at least 1")
    return quantity


def receive(
    connection: Connection, *, item: Item, quantity: int, actor: str, remark: str, now: datetime
) -> int:
    """Book a delivery; `remark` names its source. Returns the move's id."""
    return _move(
        connection,
        item=item,
        kind="receipt",
        on_hand=_some(quantity),
        reserved=0,
        work_order_id=None,
        actor=actor,
        remark=remark,
        now=now,
    )


def reserve(
    connection: Connection,
    *,
    item: Item,
    quantity: int,
    work_order_id: int,
    actor: str,
    now: datetime,
    remark: str = "",
) -> int:
    """Keep parts for a work order. Raises `NotEnoughStock`."""
    return _move(
        connection,
        item=item,
        kind="reserve",
        on_hand=0,
        reserved=_some(quantity),
        work_order_id=work_order_id,
        actor=actor,
        remark=remark,
        now=now,
    )


def release(
    connection: Connection,
    *,
    item: Item,
    quantity: int,
    work_order_id: int,
    actor: str,
    now: datetime,
    remark: str = "",
) -> int:
    """Give up a reservation of a work order. Raises `NotEnoughStock`."""
    _require_reserved(connection, item, work_order_id, quantity)
    return _move(
        connection,
        item=item,
        kind="release",
        on_hand=0,
        reserved=-_some(quantity),
        work_order_id=work_order_id,
        actor=actor,
        remark=remark,
        now=now,
    )


def issue(
    connection: Connection,
    *,
    item: Item,
    quantity: int,
    work_order_id: int | None,
    actor: str,
    now: datetime,
    remark: str = "",
) -> int:
    """Take parts out for a work order, its own reservation first. Raises `NotEnoughStock`."""
    kept = 0 if work_order_id is None else _reserved_for(connection, item, work_order_id)
    return _move(
        connection,
        item=item,
        kind="issue",
        on_hand=-_some(quantity),
        reserved=-min(kept, quantity),
        work_order_id=work_order_id,
        actor=actor,
        remark=remark,
        now=now,
    )


def give_back(
    connection: Connection,
    *,
    item: Item,
    quantity: int,
    work_order_id: int | None,
    actor: str,
    now: datetime,
    remark: str = "",
) -> int:
    """Book an unused part back into a warehouse."""
    return _move(
        connection,
        item=item,
        kind="return",
        on_hand=_some(quantity),
        reserved=0,
        work_order_id=work_order_id,
        actor=actor,
        remark=remark,
        now=now,
    )


def count(
    connection: Connection, *, item: Item, counted: int, actor: str, remark: str, now: datetime
) -> int:
    """Set what is on hand to what was counted.

    Raises `NothingToChange` when the books agree and `NotEnoughStock` when less was counted than
    is reserved.
    """
    if counted < 0:
        raise NothingToChange("a count is zero or more")
    _lock(connection, item)
    row = connection.execute(
        "SELECT on_hand FROM stock_balance WHERE part_id = %s AND warehouse_id = %s",
        (item.part_id, item.warehouse_id),
    ).fetchone()
    difference = counted - (0 if row is None else int(row[0]))
    if difference == 0:
        raise NothingToChange("the count agrees with the books")
    return _move(
        connection,
        item=item,
        kind="count",
        on_hand=difference,
        reserved=0,
        work_order_id=None,
        actor=actor,
        remark=remark,
        now=now,
    )


def undo(connection: Connection, *, move_id: int, actor: str, now: datetime) -> int:
    """Book the opposite of a move, once.

    Raises `MoveUnknown`, `MoveAlreadyUndone`, or `NotEnoughStock` when the parts went on since.
    """
    with connection.cursor(row_factory=class_row(Move)) as cursor:
        done = cursor.execute(
            """
            SELECT id, part_id, warehouse_id, kind, on_hand_change, reserved_change,
                work_order_id, undoes_id
            FROM stock_move WHERE id = %s
            """,
            (move_id,),
        ).fetchone()
    if done is None:
        raise MoveUnknown(f"there is no stock move {move_id}")
    if done.undoes_id is not None:
        raise MoveAlreadyUndone("an undoing cannot be undone; book the move again")
    return _move(
        connection,
        item=Item(done.part_id, done.warehouse_id),
        kind=OPPOSITE[done.kind],
        on_hand=-done.on_hand_change,
        reserved=-done.reserved_change,
        work_order_id=done.work_order_id,
        undoes_id=done.id,
        actor=actor,
        remark="",
        now=now,
    )


def _reserved_for(connection: Connection, item: Item, work_order_id: int) -> int:
    _lock(connection, item)
    row = connection.execute(
        """
        SELECT coalesce(sum(reserved_change), 0) FROM stock_move
        WHERE work_order_id = %s AND part_id = %s AND warehouse_id = %s
        """,
        (work_order_id, item.part_id, item.warehouse_id),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _require_reserved(
    connection: Connection, item: Item, work_order_id: int, quantity: int
) -> None:
    if _reserved_for(connection, item, work_order_id) < quantity:
        raise NotEnoughStock("so much is not reserved for this work order")
