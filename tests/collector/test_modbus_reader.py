import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.address import ModbusAddress
from collector.raw import CardMemory, Failure, Habits, ReadFailed, Registers
from collector.readers import modbus
from tests.collector.modbus_unit import Unit, serving

WORDS = {address: address + 1_000 for address in range(200)}
FIRST, SECOND, FAR = Registers(3, 0, 2), Registers(3, 2, 1), Registers(3, 128, 2)
BLOCKS = Habits(blocks=((0, 27), (128, 44)))


def read(unit, refs, *, memory=None, deadline=2.0, habits=None, number=1):
    memory = CardMemory() if memory is None else memory

    async def run():
        async with serving(unit) as port:
            address = ModbusAddress("127.0.0.1", port, number)
            return await modbus.read(address, refs, deadline=deadline, memory=memory, habits=habits)

    return asyncio.run(run())


def test_registers_come_as_words():
    reply = read(Unit(WORDS), [FIRST, SECOND, FAR])
    assert reply.values == {FIRST: (1000, 1001), SECOND: (1002,), FAR: (1128, 1129)}
    assert reply.missing == frozenset()
    assert reply.problems == ()


def test_neighbors_are_read_in_one_request():
    unit = Unit(WORDS)
    read(unit, [SECOND, FAR, FIRST])
    assert unit.requests == [(3, 0, 3), (3, 128, 2)]
    assert unit.connections == 1


def test_a_known_block_is_read_whole():
    unit = Unit(WORDS)
    read(unit, [Registers(3, 20, 2), FIRST], habits=BLOCKS)
    assert unit.requests == [(3, 0, 27)]


def test_both_functions_are_read():
    reply = read(unit := Unit(WORDS), [Registers(3, 5, 1), Registers(4, 5, 1)])
    assert len(reply.values) == 2
    assert unit.requests == [(3, 5, 1), (4, 5, 1)]


def test_a_refused_block_is_read_in_parts_and_remembered():
    unit, memory = Unit(WORDS, refuses={10: 2}), CardMemory()
    refs = [FIRST, Registers(3, 20, 1)]
    reply = read(unit, refs, memory=memory, habits=BLOCKS)
    assert reply.values == {FIRST: (1000, 1001), refs[1]: (1020,)}
    unit.requests.clear()
    read(unit, refs, memory=memory, habits=BLOCKS)
    assert unit.requests == [(3, 0, 2), (3, 20, 1)]


def test_a_refused_register_is_missing_and_not_asked_again():
    unit, memory = Unit(WORDS, refuses={1: 2}), CardMemory()
    refs = [FIRST, SECOND, FAR]
    reply = read(unit, refs, memory=memory)
    assert reply.missing == {FIRST}
    assert reply.values == {SECOND: (1002,), FAR: (1128, 1129)}
    unit.requests.clear()
    read(unit, refs, memory=memory)
    assert unit.requests == [(3, 2, 1), (3, 128, 2)]


def test_a_busy_unit_is_asked_again_next_time():
    unit, memory = Unit(WORDS, refuses={0: 6}), CardMemory()
    reply = read(unit, [FIRST, FAR], memory=memory)
    assert FAR in reply.values
    assert "device busy" in reply.problems[0]
    unit.refuses.clear()
    assert FIRST in read(unit, [FIRST, FAR], memory=memory).values


@pytest.mark.parametrize("code", [10, 11])
def test_a_gateway_that_answers_for_its_unit_is_no_silence(code):
    unit = Unit(WORDS, refuses=dict.fromkeys(range(200), code))
    with pytest.raises(ReadFailed) as failed:
        read(unit, [FIRST, FAR], number=9)
    assert failed.value.kind is Failure.GATEWAY
    assert len(unit.requests) == 1
    assert "unit 9 behind the gateway" in failed.value.detail


def test_a_unit_that_has_nothing_asked_for_is_unsupported():
    with pytest.raises(ReadFailed) as failed:
        read(Unit({}), [FIRST, FAR])
    assert failed.value.kind is Failure.UNSUPPORTED


@pytest.mark.parametrize("fault", [{"silent": True}, {"wrong_number": True}])
def test_no_proper_answer_fails_in_time(fault):
    with pytest.raises(ReadFailed) as failed:
        read(Unit(WORDS, **fault), [FIRST], deadline=0.4)
    assert failed.value.kind is Failure.TIMEOUT
    assert "\n" not in failed.value.detail


def test_an_answer_of_another_length_is_no_answer():
    with pytest.raises(ReadFailed):
        read(Unit(WORDS, shortens=True), [FIRST], deadline=0.5)


def test_what_came_before_the_line_broke_is_kept():
    reply = read(Unit(WORDS, hangs_up_after=1), [FIRST, FAR], deadline=1.0)
    assert reply.values == {FIRST: (1000, 1001)}
    assert reply.problems


def test_a_closed_port_is_refused_with_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = ModbusAddress("127.0.0.1", port)
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(modbus.read(address, [FIRST], deadline=1.0, memory=CardMemory()))
    assert failed.value.kind is Failure.REFUSED
    assert f"modbus://127.0.0.1:{port}/1" in failed.value.detail


@given(
    refs=st.sets(
        st.builds(Registers, st.sampled_from([3, 4]), st.integers(0, 300), st.integers(1, 20)),
        max_size=40,
    ),
    limit=st.integers(20, 125),
)
def test_groups_cover_what_is_wanted_and_nothing_between(refs, limit):
    runs = list(modbus.group(refs, limit))
    wanted = {(r.function, at) for r in refs for at in range(r.address, r.address + r.length)}
    read_ = {(r.function, at) for r in runs for at in range(r.address, r.address + r.length)}
    assert read_ == wanted
    assert all(run.length <= limit for run in runs)
    for ref in refs:
        assert any(
            run.function == ref.function
            and run.address <= ref.address
            and ref.address + ref.length <= run.address + run.length
            for run in runs
        )
