from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from service_api.spares import operations, store
from service_api.spares.operations import Item
from service_api.spares.schemas import MoveQuery
from tests.conftest import NOW
from tests.service_world import lay_world, one


@pytest.fixture
def item(database):
    lay_world(database.owner_dsn)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        part = one(
            connection,
            "INSERT INTO part (sku, kind, name, name_zh) VALUES ('B-1', 'battery_set', 'Set',"
            " '电池组') RETURNING id",
        )
        warehouse = one(
            connection,
            "INSERT INTO warehouse (key, name, name_zh) VALUES ('main', 'Main', '总库')"
            " RETURNING id",
        )
    return Item(part, warehouse)


def staff(database) -> psycopg.Connection:
    connection = psycopg.connect(database.api_dsn)
    connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
    connection.commit()
    return connection


def balance(connection, item: Item) -> tuple[int, int]:
    found = store.balances(connection, part_id=item.part_id)
    return (found[0].on_hand, found[0].reserved)


def ledger_sums(connection, item: Item) -> tuple[int, int]:
    return connection.execute(
        "SELECT sum(on_hand_change)::int, sum(reserved_change)::int FROM stock_move"
        " WHERE part_id = %s AND warehouse_id = %s",
        (item.part_id, item.warehouse_id),
    ).fetchone()


def receive(connection, item, quantity=10):
    return operations.receive(
        connection, item=item, quantity=quantity, actor="test", remark="order 1", now=NOW
    )


def issue(connection, item, quantity=1):
    return operations.issue(
        connection, item=item, quantity=quantity, work_order_id=None, actor="test", now=NOW
    )


def test_concurrent_issues_never_take_more_than_there_is_and_the_sum_is_the_balance(database, item):
    with staff(database) as connection:
        receive(connection, item, 10)

    def take(_: int) -> bool:
        with staff(database) as mine:
            try:
                issue(mine, item)
            except operations.NotEnoughStock:
                return False
            return True

    with ThreadPoolExecutor(6) as threads:
        taken = list(threads.map(take, range(24)))
    assert sum(taken) == 10
    with staff(database) as connection:
        assert balance(connection, item) == (0, 0)
        assert ledger_sums(connection, item) == (0, 0)


def test_the_database_itself_refuses_a_negative_balance(database, item):
    with staff(database) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO stock_move (at, part_id, warehouse_id, kind, on_hand_change,"
            " reserved_change, actor) VALUES (%s, %s, %s, 'issue', -1, 0, 'test')",
            (NOW, item.part_id, item.warehouse_id),
        )


def test_the_ledger_refuses_to_be_changed(database, item):
    with staff(database) as connection:
        move = receive(connection, item)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("UPDATE stock_move SET actor = 'me' WHERE id = %s", (move,))


def test_nobody_but_the_ledger_writes_a_balance(database, item):
    with staff(database) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE stock_balance SET on_hand = 5")


def test_a_move_is_undone_once_and_the_undoing_not_at_all(database, item):
    with staff(database) as connection:
        receive(connection, item, 3)
        moved = issue(connection, item, 2)
        undoing = operations.undo(connection, move_id=moved, actor="test", now=NOW)
        assert balance(connection, item) == (3, 0)
        with pytest.raises(operations.MoveAlreadyUndone):
            operations.undo(connection, move_id=moved, actor="test", now=NOW)
        with pytest.raises(operations.MoveAlreadyUndone):
            operations.undo(connection, move_id=undoing, actor="test", now=NOW)
        with pytest.raises(operations.MoveUnknown):
            operations.undo(connection, move_id=10_000, actor="test", now=NOW)
        rows = store.moves(connection, MoveQuery(part_id=item.part_id)).items
        assert [(row.kind, row.undoes_id, row.undone_by_id) for row in rows] == [
            ("return", moved, None),
            ("issue", None, undoing),
            ("receipt", None, None),
        ]


def test_a_receipt_whose_parts_went_on_cannot_be_undone(database, item):
    with staff(database) as connection:
        received = receive(connection, item, 1)
        issue(connection, item, 1)
        with pytest.raises(operations.NotEnoughStock):
            operations.undo(connection, move_id=received, actor="test", now=NOW)
        assert balance(connection, item) == (0, 0)


@pytest.mark.parametrize("counted", [0, 7, 12])
def test_a_count_sets_the_books_to_what_was_counted(database, item, counted):
    with staff(database) as connection:
        receive(connection, item, 10)
        operations.count(
            connection, item=item, counted=counted, actor="test", remark="year end", now=NOW
        )
        assert balance(connection, item) == (counted, 0)
        with pytest.raises(operations.NothingToChange):
            operations.count(
                connection, item=item, counted=counted, actor="test", remark="", now=NOW
            )


@pytest.mark.parametrize("quantity", [0, -1])
def test_nothing_is_no_quantity(database, item, quantity):
    with staff(database) as connection, pytest.raises(operations.NothingToChange):
        receive(connection, item, quantity)


def test_a_customer_sees_no_stock(database, item):
    with staff(database) as connection:
        receive(connection, item)
    with psycopg.connect(database.api_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', '1', true)")
        assert store.balances(connection) == []
        assert store.moves(connection, MoveQuery()).items == []
