import asyncio
from contextlib import asynccontextmanager

import pytest
from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from collector.address import parse_address
from collector.probe import probe
from device_sims.modbus_server import ModbusServers
from device_sims.serve import serving
from device_sims.wire import WireFault
from tests.device_sims.sims import START, scenario

ONE = "ups-1 apc-modbus modbus tower-3k"
CHARGE = 130  # % × 512
STATUS = 0  # 32 bits; bit 1 on line, bit 2 on battery


class Words:
    """A card without faults that holds these registers."""

    delay_seconds = 0.0
    copies = 1

    def __init__(self, holding, inputs=(), bits=(), objects=()):
        self._words = {1: {}, 2: dict(bits), 3: dict(holding), 4: dict(inputs)}
        self._objects = dict(objects)

    def objects(self):
        return self._objects

    def answers(self):
        return True

    def spoiled(self, message):
        return message

    def words(self, function):
        return self._words[function]


@asynccontextmanager
async def client(port, patience=3.0):
    connected = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=patience, retries=0)
    assert await connected.connect()
    try:
        yield connected
    finally:
        connected.close()
        await asyncio.sleep(0)


def test_a_unit_holds_its_state_in_its_familys_registers():
    async def run():
        async with (
            serving(scenario(ONE), start=START) as fleet,
            client(fleet.unit("ups-1").port) as card,
        ):
            before = await card.read_holding_registers(STATUS, count=2, device_id=1)
            charge = await card.read_holding_registers(CHARGE, device_id=1)
            fleet.machine("ups-1").fail_mains()
            await fleet.advance(30)
            after = await card.read_holding_registers(STATUS, count=2, device_id=1)
            return before.registers, charge.registers, after.registers

    before, charge, after = asyncio.run(run())
    assert before[1] & 0b110 == 0b010
    assert charge == [100 * 512]
    assert after[1] & 0b110 == 0b100


def test_a_block_over_undefined_registers_reads_zeros_and_a_single_one_is_an_illegal_address():
    async def run():
        async with ModbusServers() as servers:
            port = await servers.add(Words({10: 7, 12: 0xFFFF}))
            async with client(port) as card:
                block = await card.read_holding_registers(8, count=6, device_id=1)
                single = await card.read_holding_registers(11, count=1, device_id=1)
                other = await card.read_input_registers(10, count=1, device_id=1)
                return block.registers, single.exception_code, other.exception_code

    assert asyncio.run(run()) == ([0, 0, 7, 0, 0xFFFF, 0], 2, 2)


def test_holding_and_input_registers_are_kept_apart():
    async def run():
        async with ModbusServers() as servers:
            port = await servers.add(Words({1: 3}, {1: 4}))
            async with client(port) as card:
                holding = await card.read_holding_registers(1, device_id=1)
                inputs = await card.read_input_registers(1, device_id=1)
                return holding.registers, inputs.registers

    assert asyncio.run(run()) == ([3], [4])


def test_nothing_can_be_written():
    async def run():
        async with (
            serving(scenario(ONE), start=START) as fleet,
            client(fleet.unit("ups-1").port) as card,
        ):
            wrote = await card.write_register(CHARGE, 0, device_id=1)
            charge = await card.read_holding_registers(CHARGE, device_id=1)
            return wrote.exception_code, charge.registers

    assert asyncio.run(run()) == (1, [100 * 512])


def test_every_unit_has_its_own_port():
    async def run():
        two = f"{ONE}; ups-2 apc-modbus modbus desk-1k"
        async with serving(scenario(two), start=START) as fleet:
            ratings = []
            for key in ("ups-1", "ups-2"):
                async with client(fleet.unit(key).port) as card:
                    ratings += (await card.read_holding_registers(588, device_id=1)).registers
            return ratings

    assert asyncio.run(run()) == [3_000, 1_000]


@pytest.mark.parametrize("fault", [WireFault.SILENT, WireFault.RESTARTING, WireFault.MALFORMED])
def test_a_card_at_fault_gives_no_usable_answer(fault):
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            fleet.wires["ups-1"].begin(fault, fleet.now)
            async with client(fleet.unit("ups-1").port, patience=0.3) as card:
                with pytest.raises(ModbusException):
                    await card.read_holding_registers(CHARGE, device_id=1)

    asyncio.run(run())


def test_a_slow_card_answers_late_with_the_right_transaction():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            fleet.wires["ups-1"].begin(WireFault.SLOW, fleet.now, 0.1)
            async with client(fleet.unit("ups-1").port) as card:
                return [
                    (await card.read_holding_registers(CHARGE, device_id=1)).registers
                    for _ in range(3)
                ]

    assert asyncio.run(run()) == [[51_200]] * 3


def test_wrong_types_are_registers_full_of_ones():
    async def run():
        async with (
            serving(scenario(ONE), start=START) as fleet,
            client(fleet.unit("ups-1").port) as card,
        ):
            fleet.wires["ups-1"].begin(WireFault.WRONG_TYPE, fleet.now)
            return (await card.read_holding_registers(CHARGE, device_id=1)).registers

    assert asyncio.run(run()) == [0xFFFF]


@pytest.mark.parametrize("access", ["modbus", "modbus+rtu"])
@pytest.mark.parametrize(
    ("family", "profile"),
    [
        ("apc-modbus", None),
        ("huawei-ups2000", "huawei-ups2000"),
        ("riello-modbus", None),
        ("socomec-jbus", None),
        ("manageups-modbus", "manageups-modbus"),
        ("delta-modbus", None),
        ("liebert-gxt-modbus", "liebert-gxt-modbus"),
        ("generex-modbus", None),
    ],
)
def test_a_simulated_unit_of_a_family_is_read_like_a_real_one(family, profile, access):
    async def run():
        units = f"ups-1 {family} {access} tower-3k"
        async with serving(scenario(units), start=START) as fleet:
            address = parse_address(fleet.unit("ups-1").url)
            calm = await probe(address, profile)
            fleet.machine("ups-1").fail_mains()
            await fleet.advance(30)
            return calm, await probe(address, profile), fleet.machine("ups-1").at(fleet.now)

    calm, dark, unit = asyncio.run(run())
    assert calm.profile == dark.profile == family
    assert calm.points["status.on_line"] is True
    assert dark.points["status.on_battery"] is True
    charge = unit.points()["battery_charge"]
    assert dark.points["battery.charge"] == pytest.approx(charge, abs=1.0)


def test_several_units_answer_behind_one_gateway_by_their_number():
    async def run():
        async with ModbusServers() as servers:
            port = await servers.add({3: Words({0: 30}), 9: Words({0: 90})})
            async with client(port) as card:
                third, ninth, other = [
                    await card.read_holding_registers(0, device_id=unit) for unit in (3, 9, 4)
                ]
                return third.registers, ninth.registers, other.exception_code

    assert asyncio.run(run()) == ([30], [90], 11)


def test_bits_and_the_identification_are_served():
    async def run():
        async with ModbusServers() as servers:
            card_of = Words({}, bits={8: 1, 9: 0, 10: 1}, objects={0: b"Maker", 1: b"GW-7"})
            port = await servers.add(card_of)
            async with client(port) as card:
                bits = await card.read_discrete_inputs(8, count=3, device_id=1)
                who = await card.read_device_information(read_code=1, object_id=0, device_id=1)
                return bits.bits[:3], who.information

    assert asyncio.run(run()) == ([True, False, True], {0: b"Maker", 1: b"GW-7"})


def test_a_port_in_use_is_refused_by_name():
    async def run():
        async with ModbusServers() as servers:
            port = await servers.add(Words({1: 1}))
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
                await servers.add(Words({1: 1}), port=port)

    asyncio.run(run())
