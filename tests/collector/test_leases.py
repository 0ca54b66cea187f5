"""Who does which shards, decided among live holders, and for how long one may believe it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.leases import (
    LEASE_SECONDS,
    MARGIN_SECONDS,
    RENEW_SECONDS,
    TimeLeft,
    decide,
    fair_share,
    shards_of,
)
from collector.shards import polling_shard_of, shard_of


def settle(members, held, *, blocks=64):
    """Let the members decide in turn until nothing changes; a part given up is free at once."""
    for _ in range(3):
        for me in sorted(members):
            decision = decide(me, members, held, blocks=blocks)
            for block in decision.give_up:
                del held[block]
            held |= dict.fromkeys(decision.take, me)
    return held


def test_a_lone_holder_takes_everything_at_once():
    decision = decide(7, [7], {}, blocks=64)
    assert decision.take == tuple(range(64))
    assert decision.is_settled


def test_what_another_holds_is_not_taken():
    decision = decide(2, [1, 2], dict.fromkeys(range(64), 1), blocks=64)
    assert decision.take == ()
    assert not decision.is_settled


def test_who_has_too_much_gives_up_the_rest_and_keeps_its_first():
    decision = decide(1, [1, 2], dict.fromkeys(range(64), 1), blocks=64)
    assert decision.keep == tuple(range(32))
    assert decision.give_up == tuple(range(32, 64))


def test_when_one_dies_only_its_shards_move():
    before = settle([1, 2, 3], {})
    living = {block: holder for block, holder in before.items() if holder != 2}
    after = settle([1, 3], dict(living))
    assert set(after) == set(range(64))
    assert {block: after[block] for block in living} == living


@given(
    st.sets(st.integers(1, 1_000), min_size=1, max_size=12),
    st.sampled_from([1, 8, 64]),
    st.data(),
)
def test_holders_come_to_equal_shares_whoever_held_what(members, blocks, data):
    holders = st.sampled_from(sorted(members))
    held = data.draw(st.dictionaries(st.integers(0, blocks - 1), holders))
    after = settle(members, held, blocks=blocks)
    assert set(after) == set(range(blocks))
    counts = [list(after.values()).count(member) for member in members]
    assert max(counts) - min(counts) <= 1


@given(st.sets(st.integers(1, 1_000), min_size=1, max_size=80), st.integers(1, 64))
def test_the_shares_make_up_the_whole(members, blocks):
    assert sum(fair_share(me, list(members), blocks) for me in members) == blocks


def test_blocks_cover_the_shards_once():
    assert [shard for block in range(8) for shard in shards_of(block, size=8)] == list(range(64))


def test_a_holder_stops_before_the_database_lets_others_in():
    left = TimeLeft()
    assert left.is_over(0.0)
    left.renewed(asked_at=100.0)
    assert not left.is_over(100.0 + LEASE_SECONDS - MARGIN_SECONDS - 0.1)
    assert left.is_over(100.0 + LEASE_SECONDS - MARGIN_SECONDS)
    assert left.seconds(100.0) == LEASE_SECONDS - MARGIN_SECONDS


def test_a_dead_holders_shards_are_taken_over_within_half_a_minute():
    assert LEASE_SECONDS + RENEW_SECONDS < 25.0


def test_a_shard_is_the_first_byte_of_the_digest_modulo_64():
    assert shard_of("ups-1") == hashlib.sha256(b"ups-1").digest()[0] % 64


@pytest.mark.parametrize(
    "addresses",
    [
        ("modbus://10.0.0.7:502/1", "modbus://10.0.0.7/2", "modbus+rtu://10.0.0.7:502/3"),
        ("modbus://Gateway.example/1", "modbus://gateway.example:502/9"),
        (
            "modbus+serial:///dev/ttyUSB0?baud=9600&unit=1",
            "modbus+serial:///dev/ttyUSB0?baud=9600&unit=2",
        ),
    ],
)
def test_units_behind_one_gateway_or_on_one_line_are_polled_by_one_collector(addresses):
    shards = {polling_shard_of(f"ups-{n}", address) for n, address in enumerate(addresses)}
    assert len(shards) == 1


def test_units_behind_different_endpoints_spread():
    shards = {polling_shard_of("ups", f"modbus://10.0.0.{n}/1") for n in range(1, 200)}
    assert len(shards) > 48


@pytest.mark.parametrize("address", ["snmp://10.0.0.7", "mqtt://10.0.0.7/a", "modbus://", "x"])
def test_what_shares_no_endpoint_is_polled_with_its_own_shard(address):
    assert {polling_shard_of(f"ups-{n}", address) for n in range(9)} == {
        shard_of(f"ups-{n}") for n in range(9)
    }
