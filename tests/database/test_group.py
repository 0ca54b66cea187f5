"""The share of a group that a collector polls: the devices in its shards, and no others."""

from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool

from collector.group import GroupShare
from collector.lease_store import Work, renew
from collector.shards import shard_of
from collector.store import begin_collector
from tests.cast import START, register


@pytest.fixture
def pool(database) -> Iterator[ConnectionPool]:
    register(database.admin_dsn, devices=100)
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=4, open=True) as made:
        yield made


def collector(pool: ConnectionPool) -> int:
    with pool.connection() as connection:
        return begin_collector(connection, key="k", collector_group="default", now=START)


def test_a_lone_collector_has_all_devices_at_once_and_none_after_it_stopped(pool):
    number, changes = collector(pool), []
    share = GroupShare(
        pool, "default", collector_id=lambda: number, on_change=lambda: changes.append(1)
    )
    share.start()
    try:
        assert changes == [1]
        assert len(share.load()) == 100
    finally:
        share.stop()
    assert share.load() == []
    assert changes == [1, 1]


def test_what_others_hold_is_not_loaded(pool):
    other, number = collector(pool), collector(pool)
    with pool.connection() as connection:
        renew(connection, Work("collect:default"), collector_id=other)
        connection.execute("DELETE FROM shard_lease WHERE shard % 2 = 0")
    share = GroupShare(pool, "default", collector_id=lambda: number, on_change=lambda: None)
    share.start()
    try:
        assert share.shards == frozenset(range(0, 64, 2))
        loaded = [device.key for device in share.load()]
        assert loaded
        assert {shard_of(key) % 2 for key in loaded} == {0}
    finally:
        share.stop()
