import asyncio
from datetime import timedelta

import pytest

from collector.address import parse_address
from collector.probe import probe
from device_sims.scenario import ScenarioInvalid, load_scenario
from device_sims.serve import serve, serving
from device_sims.ups import Fault
from device_sims.wire import WireFault
from tests.device_sims.sims import START, scenario

PAIR = "ups-1 rfc1628 snmp tower-3k; ups-2 rfc1628 snmp tower-3k"


def test_each_event_happens_at_its_own_time_however_far_the_clock_moves():
    timeline = """\
  - {at: 10, do: mains_fail, site: s, lasting: 60}
  - {at: 100, do: fan_fault, unit: ups-1, lasting: 50}
  - {at: 120, do: silent, unit: ups-2}
  - {at: 130, do: self_test, unit: ups-1}
"""

    async def run():
        async with serving(scenario(PAIR, timeline), start=START) as fleet:
            one, other = fleet.machine("ups-1"), fleet.machine("ups-2")
            await fleet.advance(40)
            # The outage began 30 s ago.
            assert one.at(fleet.now).points()["battery_runtime_elapsed"] == 30.0
            assert other.at(fleet.now).points()["status_on_battery"] is True
            await fleet.advance(85)
            assert one.is_on_battery is False
            assert one.faults == {Fault.FAN_FAULT}
            assert other.faults == set()
            assert fleet.wires["ups-2"].faults == {WireFault.SILENT: None}
            await fleet.advance(6)
            assert one.is_testing
            await fleet.advance(40)
            assert not one.at(fleet.now).is_testing
            assert one.faults == set()

    asyncio.run(run())


def test_clear_ends_every_fault_of_a_unit():
    timeline = """\
  - {at: 1, do: overload, unit: ups-1}
  - {at: 1, do: scale_x10, unit: ups-1}
  - {at: 2, do: clear, unit: ups-1}
"""

    async def run():
        async with serving(scenario(PAIR, timeline), start=START) as fleet:
            await fleet.advance(1)
            before = len(fleet.machine("ups-1").faults), len(fleet.wires["ups-1"].faults)
            await fleet.advance(1)
            return before, len(fleet.machine("ups-1").faults), len(fleet.wires["ups-1"].faults)

    assert asyncio.run(run()) == ((1, 1), 0, 0)


def test_the_same_scenario_plays_the_same_twice():
    async def play():
        text = "  - {at: 30, do: mains_fail, site: s, lasting: 45}\n"
        async with serving(scenario(PAIR, text), start=START) as fleet:
            rows = []
            for _ in range(20):
                await fleet.advance(7)
                rows.append([dict(wire.points(fleet.now)) for wire in fleet.wires.values()])
            return rows

    assert asyncio.run(play()) == asyncio.run(play())


def test_serving_follows_its_clock_and_tells_when_every_port_is_open():
    ready = []
    now = START

    def clock():
        return now

    async def run():
        nonlocal now
        text = "  - {at: 20, do: mains_fail, site: s}\n"
        opened = asyncio.Event()

        def on_ready(units):
            ready.extend(units)
            opened.set()

        running = asyncio.create_task(
            serve(scenario(PAIR, text), base_port=0, clock=clock, on_ready=on_ready)
        )
        async with asyncio.timeout(20):
            await opened.wait()
            address = parse_address(ready[0].url)
            before = await probe(address, "rfc1628")
            now = START + timedelta(seconds=30)
            while True:
                after = await probe(address, "rfc1628")
                if after.points["status.on_battery"]:
                    break
        running.cancel()
        await asyncio.wait([running])
        return before

    before = asyncio.run(run())
    assert before.points["status.on_battery"] is False
    assert [unit.key for unit in ready] == ["ups-1", "ups-2"]
    assert all(unit.port > 0 and str(unit.port) in unit.url for unit in ready)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("u no-such-profile snmp tower-3k", "no profile 'no-such-profile'"),
        ("u rfc1628 modbus tower-3k", "not spoken over modbus"),
        ("u ridethrough-json mqtt tower-3k", "give an MQTT broker"),
    ],
)
def test_a_unit_that_cannot_be_served_is_refused_with_its_reason(unit, message):
    async def run():
        async with serving(scenario(unit), start=START):
            pass

    with pytest.raises(ScenarioInvalid, match=message):
        asyncio.run(run())


def without_mqtt(name):
    whole = load_scenario(name)
    kept = [unit for unit in whole.units if unit.access != "mqtt"]
    return whole.model_copy(update={"units": kept})


def test_the_collector_recognizes_every_unit_of_the_demo_and_reads_what_it_measures():
    """The round trip: physics, encoding, a real socket, identification, decoding."""

    async def run():
        async with serving(without_mqtt("demo"), start=START) as fleet:
            await fleet.advance(30)
            for unit in fleet.units:
                if unit.silent_since is not None:
                    continue
                found = await probe(parse_address(unit.url))
                real = fleet.machine(unit.key).points()
                assert found.profile == unit.profile, unit.key
                assert found.problems == (), unit.key
                assert found.identity.model == unit.spec.model
                assert found.points["status.on_battery"] == (unit.site_key == "shanghai")
                # Families round differently: whole percent and volts at worst.
                assert found.points["battery.charge"] == pytest.approx(
                    real["battery_charge"], abs=0.6
                )
                assert found.points["ups.load"] == pytest.approx(real["ups_load"], abs=1.6)
                assert found.points["battery.temperature"] == pytest.approx(
                    real["battery_temperature"], abs=0.6
                )

    asyncio.run(run())


def test_a_unit_silent_since_days_does_not_answer():
    async def run():
        async with serving(without_mqtt("demo"), start=START) as fleet:
            (silent,) = (unit for unit in fleet.units if unit.silent_since is not None)
            return silent.silent_since, fleet.wires[silent.key].answers(fleet.now)

    assert asyncio.run(run()) == (START - timedelta(days=2), False)
