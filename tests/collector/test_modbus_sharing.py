import asyncio
import os
from contextlib import asynccontextmanager, contextmanager, nullcontext

import pytest

from collector.address import Framing, ModbusAddress, SerialLine
from collector.raw import CardMemory, Failure, Habits, ReadFailed, Registers
from collector.readers import modbus
from collector.readers.modbus_line import lines_kept
from device_sims.modbus_server import ModbusServers
from tests.collector.modbus_unit import Unit, checksum, serving
from tests.device_sims.test_modbus_server import Words

WORDS = {address: address + 1_000 for address in range(200)}
FIRST, FAR = Registers(3, 0, 2), Registers(3, 128, 2)


async def read_unit(port, number=1, *, refs=(FIRST,), deadline=2.0, rtu=False, memory=None):
    framing = Framing.RTU_OVER_TCP if rtu else Framing.TCP
    address = ModbusAddress("127.0.0.1", port, number, framing)
    return await modbus.read(address, refs, deadline=deadline, memory=memory or CardMemory())


@pytest.mark.parametrize("rtu", [False, True])
def test_units_behind_one_gateway_take_turns_on_one_connection(rtu):
    unit = Unit(WORDS, rtu=rtu)

    async def run():
        async with serving(unit) as port:
            return await asyncio.gather(
                *(read_unit(port, number, refs=[FIRST, FAR], rtu=rtu) for number in range(1, 9))
            )

    replies = asyncio.run(run())
    assert [reply.values[FAR] for reply in replies] == [(1128, 1129)] * 8
    assert (unit.connections, unit.most_open) == (1, 1)
    assert unit.asked_units == [number for number in range(1, 9) for _ in range(2)]


@pytest.mark.parametrize(("keeping", "connections"), [(lines_kept, 1), (nullcontext, 3)])
def test_a_connection_is_kept_between_polls_of_a_fleet_only(keeping, connections):
    unit = Unit(WORDS)

    async def run():
        async with serving(unit) as port:
            with keeping():
                for _ in range(3):
                    await read_unit(port)
            async with asyncio.timeout(5.0):
                while unit.open_now:  # noqa: ASYNC110 - the server's side closes a round later
                    await asyncio.sleep(0)

    asyncio.run(run())
    assert (unit.connections, unit.most_open) == (connections, 1)


def test_a_card_that_closes_after_each_answer_is_read_to_the_end():
    unit = Unit(WORDS, hangs_up_each_time=True)

    async def run():
        async with serving(unit) as port:
            return await read_unit(port, refs=[FIRST, FAR, Registers(3, 60, 1)])

    reply = asyncio.run(run())
    assert len(reply.values) == 3
    assert reply.problems == ()


def test_a_connection_that_went_stale_between_polls_is_opened_again():
    unit = Unit(WORDS)

    async def run():
        async with serving(unit) as port:
            with lines_kept():
                await read_unit(port)
                unit.hangs_up_each_time = True
                await read_unit(port)
                return await read_unit(port)

    assert asyncio.run(run()).values == {FIRST: (1000, 1001)}


def test_a_silent_unit_takes_its_own_time_and_not_that_of_its_neighbors():
    unit = Unit(WORDS, rtu=True, units=(2, 3))

    async def run():
        async with serving(unit) as port:
            return await asyncio.gather(
                *(read_unit(port, number, rtu=True, deadline=0.3) for number in (1, 2, 3)),
                return_exceptions=True,
            )

    dead, *alive = asyncio.run(run())
    assert isinstance(dead, ReadFailed)
    assert dead.kind is Failure.TIMEOUT
    assert [reply.values for reply in alive] == [{FIRST: (1000, 1001)}] * 2


def test_a_late_rtu_answer_is_not_taken_for_the_next_one():
    unit = Unit(WORDS, rtu=True)
    withheld = []

    def late(_request, reply):
        """Hold back the first answer, and send it just before the second one's time."""
        if not withheld:
            withheld.append(reply)
            return []
        return [reply]

    unit.raw = late

    async def run():
        async with serving(unit) as port:
            with lines_kept():
                with pytest.raises(ReadFailed):
                    await read_unit(port, rtu=True, deadline=0.2)
                unit.registers = {at: word + 7 for at, word in WORDS.items()}
                return await read_unit(port, rtu=True)

    assert asyncio.run(run()).values == {FIRST: (1007, 1008)}
    assert unit.connections == 2


def test_an_answer_to_an_earlier_request_is_dropped_by_its_number():
    unit = Unit(WORDS)
    before = []

    def late(_request, reply):
        held, before[:] = before[:], [reply]
        return [*held, reply] if held else []

    unit.raw = late

    async def run():
        async with serving(unit) as port:
            with lines_kept():
                with pytest.raises(ReadFailed):
                    await read_unit(port, deadline=0.2)
                return await read_unit(port, refs=[FAR])

    assert asyncio.run(run()).values == {FAR: (1128, 1129)}
    assert unit.connections == 1


def test_two_framings_at_one_endpoint_are_refused_while_one_is_in_use():
    unit = Unit(WORDS, silent=True)

    async def run():
        async with serving(unit) as port:
            return await asyncio.gather(
                read_unit(port, deadline=0.3),
                read_unit(port, deadline=0.3, rtu=True),
                return_exceptions=True,
            )

    _, second = asyncio.run(run())
    assert second.kind is Failure.UNSUPPORTED
    assert "must agree" in second.detail


@contextmanager
def cable():
    """Two ends of a serial cable: pairs of pseudo terminals, joined by the event loop."""
    pairs = [os.openpty() for _ in range(2)]
    loop = asyncio.get_running_loop()
    (one, _), (other, _) = pairs
    loop.add_reader(one, lambda: os.write(other, os.read(one, 4_096)))
    loop.add_reader(other, lambda: os.write(one, os.read(other, 4_096)))
    try:
        yield [os.ttyname(slave) for _, slave in pairs]
    finally:
        for master, slave in pairs:
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)


@asynccontextmanager
async def on_a_line(banks, line):
    with cable() as (unit_end, our_end):
        async with ModbusServers() as servers:
            await servers.add_line(banks, unit_end, line)
            yield our_end


def test_units_on_a_serial_line_are_read_one_after_the_other():
    line = SerialLine(19_200)
    banks = {number: Words({0: number, 1: 2}) for number in (1, 7)}

    async def run():
        async with on_a_line(banks, line) as device:
            return await asyncio.gather(
                *(
                    modbus.read(
                        ModbusAddress(device, 0, number, Framing.SERIAL, line),
                        [FIRST],
                        deadline=0.5,
                        memory=CardMemory(),
                        habits=Habits(gap_seconds=0.005),
                    )
                    for number in (1, 5, 7)
                ),
                return_exceptions=True,
            )

    first, absent, seventh = asyncio.run(run())
    assert first.values == {FIRST: (1, 2)}
    assert seventh.values == {FIRST: (7, 2)}
    assert absent.kind is Failure.TIMEOUT


def test_a_serial_line_that_is_not_there_is_told_by_its_name():
    address = ModbusAddress("/dev/ttyNone7", 0, 1, Framing.SERIAL, SerialLine())
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(modbus.read(address, [FIRST], deadline=1.0, memory=CardMemory()))
    assert failed.value.kind is Failure.UNREACHABLE
    assert "/dev/ttyNone7 cannot be opened" in failed.value.detail
    assert "\n" not in failed.value.detail


def test_the_checksum_is_the_one_of_the_standard():
    # Modbus over serial line 1.02 gives no frame; this one is of the catalog of CRC algorithms,
    # CRC-16/MODBUS: the check value of "123456789" is 0x4B37.
    assert checksum(b"123456789") == bytes([0x37, 0x4B])
