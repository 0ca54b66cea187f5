"""The loop against agents, servers and dead addresses on real sockets."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from collector.convert import encode
from collector.poll import PollLoop
from collector.profile import profiles
from collector.raw import Failure, ReadFailed, Registers, Typed
from collector.store import KnownDevice
from rules.facts import Identity
from tests.collector.agent import Agent, encoded, serving

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DEADLINE_SECONDS = 30
WHO = Identity("Maker", "Model A", "S1", "1.0")
POINTS = {
    "battery_charge": 90.0,
    "battery_runtime": 1_800.0,
    "input_voltage": 230.0,
    "output_voltage": 230.0,
    "ups_load": 40.0,
    "status_on_line": True,
    "status_on_battery": False,
}
UPTIME = "1.3.6.1.2.1.1.3.0"


def agent(profile="rfc1628", **points):
    objects = encoded(profiles()[profile], POINTS | points, WHO)
    objects.setdefault("1.3.6.1.2.1.1.2.0", Typed("oid", "1.3.6.1.2.1.33"))
    return Agent(objects | {UPTIME: Typed("ticks", 1_000)})


def device(number, address, **changes):
    known = KnownDevice(
        device_id=number,
        key=f"u{number}",
        protocol=address.partition(":")[0],
        address=address,
        sealed_credentials=None,
        profile=None,
        poll_seconds=1.0,
        deadline_seconds=1.0,
        is_on_battery=False,
    )
    return replace(known, **changes)


class Harness:
    """A loop over given devices; readings can be waited for."""

    def __init__(self, devices, **options):
        self.devices = devices
        self.arrivals = []
        self.changed = asyncio.Condition()
        self.loop = PollLoop(
            load=lambda: self.devices,
            unseal=lambda token: token.decode(),
            offer=self.offer,
            now=lambda: NOW,
            **options,
        )

    def offer(self, arrival):
        self.arrivals.append(arrival)
        return True

    def of(self, number):
        return [a for a in self.arrivals if a.device_id == number and a.reading is not None]

    async def until(self, condition):
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():  # noqa: ASYNC110 - any condition may be waited for
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def running(self):
        stop = asyncio.Event()
        task = asyncio.create_task(self.loop.run(stop))
        try:
            yield self
        finally:
            stop.set()
            await task


@contextmanager
def dead_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


@asynccontextmanager
async def modbus_serving(points):
    held = encode(profiles()["apc-modbus"], points, replace(WHO, model="Smart-UPS 1500"))
    words = {
        ref.address + at: word
        for ref, value in held.items()
        if isinstance(ref, Registers)
        for at, word in enumerate(value)
    }
    data = SimData(0, values=[words.get(at, 0) for at in range(3_000)], datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(id=1, simdata=[data]), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


def test_a_device_is_identified_read_and_read_again():
    async def main():
        async with serving(agent()) as port:
            harness = Harness([device(1, f"snmp://127.0.0.1:{port}")])
            async with harness.running():
                await harness.until(lambda: len(harness.of(1)) >= 3)
            first, second, *_ = harness.of(1)
            assert (first.profile, second.profile) == ("rfc1628", None)
            assert first.identity.model == "Model A"
            assert second.identity is None
            for arrival in (first, second):
                got = {key: arrival.reading.points.get(key) for key in POINTS}
                assert got == POINTS
            assert first.reading.stays_valid_seconds == 4

    asyncio.run(main())


@pytest.mark.parametrize(
    ("habit", "kind"),
    [
        ({"silent": True}, Failure.TIMEOUT),
        ({"garbage": b"\x30\x03no"}, Failure.MALFORMED),
        ({"garbage": b"\xff" * 60}, Failure.MALFORMED),
        ({"garbage": b""}, Failure.TIMEOUT),
    ],
)
def test_poll_once_tells_why_nothing_came(habit, kind):
    async def main():
        canned = agent()
        vars(canned).update(habit)
        async with serving(canned) as port:
            known = device(1, f"snmp://127.0.0.1:{port}", deadline_seconds=1.5)
            harness = Harness([])
            with pytest.raises(ReadFailed) as failed:
                await harness.loop.poll_once(known)
            assert failed.value.kind is kind
            vars(canned).update(silent=False, garbage=None)
            arrival = await harness.loop.poll_once(known)
            assert arrival.reading.points["battery_charge"] == 90
            assert harness.arrivals == [arrival]

    asyncio.run(main())


def test_a_unit_that_goes_on_battery_is_seen_and_one_that_restarts_is_asked_who_it_is():
    async def main():
        canned = agent()
        async with serving(canned) as port:
            harness = Harness([device(1, f"snmp://127.0.0.1:{port}", poll_seconds=0.2)])
            async with harness.running():
                await harness.until(lambda: len(harness.of(1)) >= 3)
                canned.objects.update(agent(status_on_battery=True, status_on_line=False).objects)
                await harness.until(
                    lambda: harness.of(1)[-1].reading.points.get("status_on_battery") is True
                )
                seen = len(harness.of(1))
                canned.objects[UPTIME] = Typed("ticks", 5)
                await harness.until(lambda: any(a.identity for a in harness.of(1)[seen:]))

    asyncio.run(main())


def test_dead_and_garbling_devices_leave_the_others_alone():
    async def main():
        garbling = agent()
        garbling.garbage = b"\xff" * 60
        async with AsyncExitStack() as stack:
            good = await stack.enter_async_context(serving(agent()))
            bad = await stack.enter_async_context(serving(garbling))
            unit = await stack.enter_async_context(modbus_serving(POINTS))
            dead = stack.enter_context(dead_port())
            with socket.create_server(("127.0.0.1", 0)) as closed:
                refusing = closed.getsockname()[1]
            harness = Harness(
                [
                    device(1, f"snmp://127.0.0.1:{good}"),
                    device(2, f"snmp://127.0.0.1:{bad}"),
                    device(3, f"modbus://127.0.0.1:{unit}/1"),
                    device(4, f"snmp://127.0.0.1:{dead}"),
                    device(5, f"modbus://127.0.0.1:{refusing}/1"),
                ]
            )
            async with harness.running():
                await harness.until(lambda: min(len(harness.of(n)) for n in (1, 3)) >= 4)
                await harness.until(lambda: harness.loop.counters.unreachable == 3)
            assert harness.of(3)[0].profile == "apc-modbus"
            assert harness.of(3)[-1].reading.points["battery_charge"] == 90
            assert not harness.of(2) + harness.of(4) + harness.of(5)

    asyncio.run(main())


def test_a_stop_in_the_middle_of_polls_leaves_no_task_behind():
    async def main():
        with dead_port() as port:
            devices = [device(n, f"snmp://127.0.0.1:{port}") for n in range(20)]
            harness = Harness(devices, in_flight=10)
            async with harness.running():
                await harness.until(lambda: harness.loop.counters.in_flight == 5)
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
