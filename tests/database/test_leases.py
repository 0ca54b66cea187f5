"""Leases on real rows: nobody has what another has, the dead are replaced, the cut off stop."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from collector.lease_holder import LeaseHolder
from collector.lease_store import Work, forget_holders, leave, renew
from collector.shards import polling_shard_of, shard_of
from collector.store import begin_collector, known_devices
from tests.cast import START, register

COLLECT = Work("collect:default")
INGEST = Work("ingest", block=8)
DEADLINE_SECONDS = 30


@pytest.fixture
def pool(database) -> Iterator[ConnectionPool]:
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=6, open=True) as made:
        yield made


def collector(pool: ConnectionPool, key: str) -> int:
    with pool.connection() as connection:
        return begin_collector(connection, key=key, collector_group="default", now=START)


def held(decision) -> set[int]:
    return set(decision.keep + decision.take)


def test_shards_are_shared_among_those_who_take_part(pool):
    first, second = collector(pool, "a"), collector(pool, "b")
    with pool.connection() as connection:
        assert held(renew(connection, COLLECT, collector_id=first)) == set(range(64))
        assert held(renew(connection, COLLECT, collector_id=second)) == set()
        asked = renew(connection, COLLECT, collector_id=first)
        assert len(asked.give_up) == 32
        # Until the first says that it has stopped, the second gets nothing.
        assert held(renew(connection, COLLECT, collector_id=second)) == set()
        renew(connection, COLLECT, collector_id=first, given_up=asked.give_up)
        assert held(renew(connection, COLLECT, collector_id=second)) == set(range(32, 64))


def test_what_a_dead_one_held_goes_to_the_living_once_its_time_is_over(pool):
    first, second = collector(pool, "a"), collector(pool, "b")
    with pool.connection() as connection:
        renew(connection, INGEST, collector_id=first)
        assert held(renew(connection, INGEST, collector_id=second)) == set()
        for table in ("shard_lease", "shard_holder"):
            connection.execute(
                f"UPDATE {table} SET until_at = clock_timestamp() WHERE collector_id = %s", (first,)
            )
        assert held(renew(connection, INGEST, collector_id=second)) == set(range(8))
        rows = connection.execute("SELECT count(*), min(collector_id) FROM shard_lease").fetchone()
        assert rows == (64, second)
        # The first, not dead after all, takes nothing back.
        assert held(renew(connection, INGEST, collector_id=first)) == set()


def test_who_leaves_is_replaced_at_once(pool):
    first, second = collector(pool, "a"), collector(pool, "b")
    with pool.connection() as connection:
        renew(connection, COLLECT, collector_id=first)
        leave(connection, COLLECT, collector_id=first)
        assert held(renew(connection, COLLECT, collector_id=second)) == set(range(64))
        forget_holders(connection)
        assert held(renew(connection, COLLECT, collector_id=first)) == set(range(64))


def test_the_database_knows_the_same_shard_of_a_device(database):
    register(database.admin_dsn, devices=200)
    with psycopg.connect(database.admin_dsn) as connection:
        for key, shard in connection.execute("SELECT key, shard FROM device"):
            assert shard == shard_of(key)


def test_collectors_that_share_a_group_have_each_gateway_whole(database):
    register(database.admin_dsn, devices=60)
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute(
            """
            UPDATE device SET protocol = 'modbus',
                address = format('modbus://10.0.0.%s:502/%s', id / 4 % 8, id % 4 + 1)
            WHERE id % 2 = 0
            """
        )
    with psycopg.connect(database.ingest_dsn) as connection:
        halves = [
            known_devices(connection, collector_group="default", shards=shards)
            for shards in (range(32), range(32, 64))
        ]
        everything = known_devices(connection, collector_group="default")
    assert all(halves)
    assert sorted(one.key for half in halves for one in half) == sorted(d.key for d in everything)
    gateways = [
        {one.address.rpartition("/")[0] for one in half if one.protocol == "modbus"}
        for half in halves
    ]
    assert all(gateways)
    assert not gateways[0] & gateways[1]


def test_a_unit_whose_address_changes_moves_to_that_gateways_collector(database):
    (device_id,) = register(database.admin_dsn)
    with (
        psycopg.connect(database.admin_dsn, autocommit=True) as admin,
        psycopg.connect(database.ingest_dsn, autocommit=True) as connection,
    ):
        for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
            address = f"modbus://{host}:502/1"
            admin.execute(
                "UPDATE device SET protocol = 'modbus', address = %s WHERE id = %s",
                (address, device_id),
            )
            having = [
                shard
                for shard in range(64)
                if known_devices(connection, collector_group="default", shards=[shard])
            ]
            assert having == [polling_shard_of("another", address)]


class Time:
    """A steady clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def until(condition) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.01)


def test_holders_come_to_halves_and_one_that_stops_leaves_all_to_the_other(pool):
    holders, used = [], {}
    for key in ("a", "b"):
        number = collector(pool, key)
        holder = LeaseHolder(
            pool,
            INGEST,
            collector_id=lambda number=number: number,
            on_change=lambda blocks, key=key: used.__setitem__(key, blocks),
        )
        holder.start()
        holders.append(holder)
    try:
        until(lambda: len(used.get("b", ())) == 4)
        assert used["a"] == frozenset(range(4))
        assert used["b"] == frozenset(range(4, 8))
        assert holders[1].shards == frozenset(range(32, 64))
        holders[0].stop()
        assert used["a"] == frozenset()
        until(lambda: used["b"] == frozenset(range(8)))
    finally:
        for holder in holders:
            holder.stop()


def test_who_cannot_reach_the_database_stops_before_its_lease_is_over(pool):
    clock, used = Time(), []
    number = collector(pool, "a")
    holder = LeaseHolder(
        pool, COLLECT, collector_id=lambda: number, on_change=used.append, clock=clock
    )
    holder.start()
    try:
        assert len(holder.blocks) == 64
        clock.now += 11.9
        assert len(holder.blocks) == 64
        clock.now += 0.2
        assert holder.blocks == frozenset()
    finally:
        holder.stop()
    assert used[-1] == frozenset()


def test_what_could_not_be_taken_up_is_tried_again(pool):
    number, tried = collector(pool, "a"), []

    def take_up(blocks):
        tried.append(len(blocks))
        if len(tried) == 1:
            raise RuntimeError("the broker's address is gone for a moment")

    holder = LeaseHolder(pool, INGEST, collector_id=lambda: number, on_change=take_up)
    holder.start()
    try:
        assert holder.blocks == frozenset()
        until(lambda: len(holder.blocks) == 8)
        assert tried == [8, 8]
    finally:
        holder.stop()


def test_one_that_may_not_hold_lets_others(pool):
    number, other = collector(pool, "a"), collector(pool, "b")
    may_hold = [True]
    holder = LeaseHolder(
        pool,
        COLLECT,
        collector_id=lambda: number,
        on_change=lambda _: None,
        may_hold=lambda: may_hold[0],
    )
    holder.start()
    try:
        assert len(holder.shards) == 64
        may_hold[0] = False
        until(lambda: not holder.shards)

        def has_all() -> bool:
            with pool.connection() as connection:
                return len(held(renew(connection, COLLECT, collector_id=other))) == 64

        until(has_all)
    finally:
        holder.stop()
