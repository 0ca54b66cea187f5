"""Devices behind one endpoint are polled in turn, and small steps of the clock are borne."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.turns import FURTHEST_BACK, SteadyClock, Turns

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(("members", "at_once"), [(1, 3), (3, 1)])
def test_a_shared_endpoint_is_used_by_one_at_a_time(members, at_once):
    turns, running, most = Turns(), 0, 0
    for _ in range(members):
        turns.join("gateway:161")

    async def use():
        nonlocal running, most
        async with turns.turn("gateway:161"):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    async def run():
        await asyncio.gather(use(), use(), use())

    asyncio.run(run())
    assert most == at_once


def test_an_endpoint_that_one_device_left_is_shared_no_more():
    turns = Turns()
    turns.join("gateway:161")
    turns.join("gateway:161")
    assert turns.is_shared("gateway:161")
    turns.leave("gateway:161")
    assert not turns.is_shared("gateway:161")
    turns.leave("gateway:161")
    assert not turns.is_shared("gateway:161")


class Machine:
    """A wall clock that can be set, and a monotonic one that cannot."""

    def __init__(self):
        self.wall, self.ticks = NOW, 0.0

    def pass_by(self, seconds):
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds


def test_time_goes_on_while_the_machine_s_clock_catches_up():
    machine = Machine()
    clock = SteadyClock(lambda: machine.wall, lambda: machine.ticks)
    machine.wall -= timedelta(minutes=2)
    machine.pass_by(10)
    assert clock() == NOW + timedelta(seconds=10)
    machine.pass_by(30)
    assert clock() == NOW + timedelta(seconds=40)
    machine.wall += timedelta(minutes=2)
    assert clock() == machine.wall


def test_a_clock_set_back_by_an_hour_was_wrong_before():
    machine = Machine()
    clock = SteadyClock(lambda: machine.wall, lambda: machine.ticks)
    machine.wall -= timedelta(hours=1)
    assert clock() == machine.wall


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-400, 400)), max_size=40))
def test_it_never_goes_back_by_a_little_nor_stays_ahead_by_much(steps):
    machine = Machine()
    clock = SteadyClock(lambda: machine.wall, lambda: machine.ticks)
    last = clock()
    for passed, stepped in steps:
        machine.pass_by(passed)
        machine.wall += timedelta(seconds=stepped)
        now = clock()
        assert now - machine.wall <= FURTHEST_BACK
        if now < last:
            assert now == machine.wall
        last = now
