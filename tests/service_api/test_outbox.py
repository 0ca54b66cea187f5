from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from rules.store import tell
from service_api.outbox import LONGEST_WAIT, take_one, wait_after
from tests.conftest import NOW


@pytest.fixture
def pool(database):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=4, open=True) as opened:
        yield opened


def announce(pool, *topics: str) -> None:
    with pool.connection() as connection:
        tell(connection, [(topic, None, ref, NOW) for ref, topic in enumerate(topics, start=1)])


def rows(pool, columns: str) -> list[tuple]:
    with pool.connection() as connection:
        return connection.execute(f"SELECT {columns} FROM outbox ORDER BY id").fetchall()


def test_messages_are_taken_in_order_and_once(pool):
    announce(pool, "a", "a", "a")
    seen: list[int] = []
    handlers = {"a": [lambda _connection, message, _now: seen.append(message.ref)]}
    while take_one(pool, now=NOW, handlers=handlers):
        pass
    assert seen == [1, 2, 3]
    assert rows(pool, "done_at") == [(NOW,)] * 3


def test_workers_at_once_never_take_the_same_message(pool):
    announce(pool, *["a"] * 30)
    seen: list[int] = []

    def work(_: int) -> None:
        handlers = {"a": [lambda _connection, message, _now: seen.append(message.ref)]}
        while take_one(pool, now=NOW, handlers=handlers):
            pass

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert sorted(seen) == list(range(1, 31))


def test_messages_that_nothing_follows_from_do_not_hold_up_the_others(pool):
    announce(pool, "noise", "noise", "a", "noise")
    seen: list[str] = []
    handlers = {"a": [lambda _connection, message, _now: seen.append(message.topic)]}
    assert [take_one(pool, now=NOW, handlers=handlers) for _ in range(3)] == [True, True, False]
    assert seen == ["a"]
    assert rows(pool, "done_at IS NOT NULL") == [(True,)] * 4


def test_a_failing_handler_leaves_nothing_and_does_not_stop_the_others(pool):
    announce(pool, "a", "a")
    done: list[int] = []

    def broken(connection, message, _now):
        tell(connection, [("half done", None, message.ref, NOW)])
        if message.ref == 1:
            raise RuntimeError("no")

    handlers = {"a": [broken, lambda _connection, message, _now: done.append(message.ref)]}
    take_one(pool, now=NOW, handlers=handlers)
    assert done == [1]
    assert rows(pool, "topic, done_at, attempts, next_at, error")[0] == (
        "a",
        None,
        1,
        NOW + wait_after(1),
        "broken: RuntimeError: no",
    )
    assert [topic for (topic,) in rows(pool, "topic")] == ["a", "a"]
    take_one(pool, now=NOW, handlers=handlers)
    assert done == [1, 2]
    later = NOW + wait_after(1)
    assert take_one(pool, now=later, handlers={"a": [], "half done": []})
    assert rows(pool, "done_at, error")[0] == (later, None)


def test_a_database_error_in_a_handler_is_such_a_failure(pool):
    announce(pool, "a")

    def broken(connection, _message, _now):
        connection.execute("SELECT 1 / 0")

    assert take_one(pool, now=NOW, handlers={"a": [broken]})
    assert "division by zero" in rows(pool, "error")[0][0]


def test_waits_grow_and_end_at_an_hour():
    waits = [wait_after(attempts) for attempts in range(1, 40)]
    assert waits[0] == timedelta(seconds=5)
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT


def test_a_lost_connection_is_not_taken_for_a_failing_handler(pool):
    announce(pool, "a")

    def lost(connection, _message, _now):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(psycopg.OperationalError):
        take_one(pool, now=NOW, handlers={"a": [lost]})
    assert rows(pool, "done_at, attempts") == [(None, 0)]


def test_a_message_whose_handler_loses_the_connection_does_not_block_those_behind_it(pool):
    announce(pool, "a", "b")
    done: list[int] = []

    def lost(connection, _message, _now):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    handlers = {"a": [lost], "b": [lambda _connection, message, _now: done.append(message.ref)]}
    with pytest.raises(psycopg.OperationalError):
        take_one(pool, now=NOW, handlers=handlers)
    assert take_one(pool, now=NOW, handlers=handlers)
    assert done == [2]
    assert rows(pool, "next_at, attempts, error LIKE 'the connection was lost%'")[0] == (
        NOW + wait_after(1),
        0,
        True,
    )


def test_a_handler_that_keeps_running_into_a_limit_does_not_block_those_behind_it(pool):
    announce(pool, "a", "b")
    done: list[int] = []

    def slow(connection, _message, _now):
        connection.execute("SET LOCAL statement_timeout = 1")
        connection.execute("SELECT pg_sleep(10)")

    handlers = {"a": [slow], "b": [lambda _connection, message, _now: done.append(message.ref)]}
    while take_one(pool, now=NOW, handlers=handlers):
        pass
    assert done == [2]
    assert rows(pool, "attempts, error LIKE 'slow: QueryCanceled%'")[0] == (1, True)
