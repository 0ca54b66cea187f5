import asyncio
import socket

import pytest
from gufo.snmp import NoSuchInstance, SnmpError
from pysnmp.proto import rfc1902

from device_sims.serve import serving
from device_sims.snmp_agent import SnmpAgents, Table
from device_sims.wire import WireFault
from tests.device_sims.sims import START, answers, get_request, scenario, session

CHARGE = "1.3.6.1.2.1.33.1.2.4.0"
ON_BATTERY = "1.3.6.1.2.1.33.1.2.2.0"
SOURCE = "1.3.6.1.2.1.33.1.4.1.0"
UPTIME = "1.3.6.1.2.1.1.3.0"
NAME = "1.3.6.1.2.1.1.5.0"
ONE = "ups-1 rfc1628 snmp tower-3k"


class Values:
    """A card without faults that holds these values."""

    delay_seconds = 0.0
    copies = 1

    def __init__(self, values):
        self._table = Table.of(values)

    def answers(self):
        return True

    def spoiled(self, message):
        return message

    def table(self):
        return self._table


MIXED = {
    (1, 3, 6, 1, 2, 1, 1, 1, 0): rfc1902.OctetString("card"),
    (1, 3, 6, 1, 2, 1, 33, 1, 2, 4, 0): rfc1902.Integer32(97),
    (1, 3, 6, 1, 2, 1, 33, 1, 10, 1): rfc1902.Gauge32(7),
    (1, 3, 6, 1, 2, 1, 33, 1, 10, 2): rfc1902.Counter64(2**40),
    (1, 3, 6, 1, 2, 1, 33, 1, 10, 10): rfc1902.TimeTicks(8),
}


@pytest.mark.parametrize("version", ["1", "2c", "3"])
def test_every_version_gets_values_by_the_port_of_their_unit(version):
    async def run():
        async with serving(scenario(f"{ONE}; ups-2 rfc1628 snmp tower-3k"), start=START) as fleet:
            for key in ("ups-1", "ups-2"):
                async with session(fleet.unit(key).port, version) as client:
                    found = await client.get_many([CHARGE, SOURCE, NAME])
                assert found == {CHARGE: 100, SOURCE: 3, NAME: key.encode()}

    asyncio.run(run())


@pytest.mark.parametrize("version", ["1", "2c", "3"])
def test_a_walk_sees_every_object_once_in_the_order_of_their_numbers(version):
    async def run():
        async with SnmpAgents() as agents:
            port = await agents.add(Values(MIXED))
            async with session(port, version) as client:
                return [name async for name, _ in client.getnext("1.3.6.1.2.1")]

    walked = asyncio.run(run())
    names = [".".join(map(str, oid)) for oid in sorted(MIXED)]
    if version == "1":
        # RFC 2576: version 1 has no 64-bit counters and passes them over.
        names.remove("1.3.6.1.2.1.33.1.10.2")
    assert walked == names


@pytest.mark.parametrize("repetitions", [1, 2, 10, 200])
def test_getbulk_walks_to_the_end_whatever_its_size(repetitions):
    async def run():
        async with SnmpAgents() as agents:
            port = await agents.add(
                Values(
                    {(1, 3, 6, 1, 4, 1, 1, row): rfc1902.Integer32(row) for row in range(1, 150)}
                )
            )
            async with session(port) as client:
                rows = client.getbulk("1.3.6.1.4.1.1", max_repetitions=repetitions)
                return [value async for _, value in rows]

    assert asyncio.run(run()) == list(range(1, 150))


def test_a_missing_object_is_no_such_instance_in_version_2c_and_no_such_name_in_version_1():
    async def run():
        async with SnmpAgents() as agents:
            port = await agents.add(Values(MIXED))
            async with session(port) as client:
                found = await client.get_many([CHARGE, "1.3.6.1.2.1.33.1.99.0"])
                with pytest.raises(NoSuchInstance):
                    await client.get("1.3.6.1.2.1.33.1.99.0")
            async with session(port, "1") as client:
                refused = await client.get("1.3.6.1.2.1.33.1.99.0")
            return found, refused

    found, refused = asyncio.run(run())
    assert found == {CHARGE: 97}
    assert refused is None


def test_version_1_names_the_position_of_the_missing_object_and_echoes_the_request():
    request = get_request(CHARGE, "1.3.6.1.2.1.33.1.99.0")

    async def run():
        async with SnmpAgents() as agents:
            port = await agents.add(Values(MIXED))
            return await answers(port, request, count=1)

    (answer,) = asyncio.run(run())
    # GetResponse, request id 7, noSuchName (2) at position 2.
    assert bytes.fromhex("020107020102020102") in answer


@pytest.mark.parametrize("version", ["1", "2c"])
def test_a_wrong_community_gets_no_answer(version):
    async def run():
        async with (
            serving(scenario(ONE), start=START) as fleet,
            session(fleet.unit("ups-1").port, version, "private", timeout=0.3) as client,
        ):
            with pytest.raises(TimeoutError):
                await client.get(CHARGE)

    asyncio.run(run())


def test_rubbish_is_dropped_and_the_agent_goes_on():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            port = fleet.unit("ups-1").port
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rude:
                rude.setblocking(False)
                for rubbish in (b"\x00", b"0", b"\x30\x82\xff\xff", bytes(range(256))):
                    await loop.sock_sendto(rude, rubbish, ("127.0.0.1", port))
            async with session(port) as client:
                return await client.get(CHARGE)

    assert asyncio.run(run()) == 100


def test_values_follow_the_unit_through_an_outage():
    async def run():
        timeline = "  - {at: 5, do: mains_fail, site: s, lasting: 30}\n"
        async with (
            serving(scenario(ONE, timeline), start=START) as fleet,
            session(fleet.unit("ups-1").port) as client,
        ):
            seen = [await client.get_many([SOURCE, ON_BATTERY])]
            for seconds in (4.0, 11.0, 30.0):
                await fleet.advance(seconds)
                seen.append(await client.get_many([SOURCE, ON_BATTERY]))
        return [(row[SOURCE], row[ON_BATTERY]) for row in seen]

    assert asyncio.run(run()) == [(3, 0), (3, 0), (5, 10), (3, 0)]


def test_a_three_phase_unit_has_three_lines_and_says_so():
    async def run():
        async with (
            serving(scenario("hall rfc1628 snmp cabinet-60k"), start=START) as fleet,
            session(fleet.unit("hall").port) as client,
        ):
            lines = await client.get("1.3.6.1.2.1.33.1.3.2.0")
            volts = [v async for _, v in client.getnext("1.3.6.1.2.1.33.1.3.3.1.3")]
            return lines, volts

    lines, volts = asyncio.run(run())
    assert lines == len(volts) == 3
    assert all(210 < volt < 235 for volt in volts)


def test_uptime_counts_on_and_starts_anew_after_a_restart_that_nothing_answers():
    async def run():
        timeline = "  - {at: 10, do: restarting, unit: ups-1, lasting: 60}\n"
        async with serving(scenario(ONE, timeline), start=START) as fleet:
            port = fleet.unit("ups-1").port
            async with session(port) as client:
                first = await client.get(UPTIME)
                await fleet.advance(5)
                second = await client.get(UPTIME)
            await fleet.advance(15)
            async with session(port, timeout=0.3) as client:
                with pytest.raises(TimeoutError):
                    await client.get(UPTIME)
            await fleet.advance(30)
            async with session(port) as client:
                third = await client.get(UPTIME)
            return first, second, third

    first, second, third = asyncio.run(run())
    assert second - first == 500
    assert third == 1_000
    assert first > 100 * 86_400


def test_a_unit_that_ran_empty_takes_its_card_with_it_until_mains_is_back():
    async def run():
        timeline = (
            "  - {at: 0, do: mains_fail, site: s}\n  - {at: 7200, do: mains_return, site: s}\n"
        )
        async with serving(scenario(ONE, timeline), start=START) as fleet:
            port = fleet.unit("ups-1").port
            await fleet.advance(3_600)
            async with session(port, timeout=0.3) as client:
                with pytest.raises(TimeoutError):
                    await client.get(CHARGE)
            await fleet.advance(3_601)
            async with session(port) as client:
                return await client.get(CHARGE)

    assert 0 <= asyncio.run(run()) < 5


def test_wrong_types_are_texts_where_numbers_belong():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            fleet.wires["ups-1"].begin(WireFault.WRONG_TYPE, fleet.now)
            async with session(fleet.unit("ups-1").port) as client:
                return await client.get(CHARGE)

    assert asyncio.run(run()) == b"--"


def test_a_frozen_card_repeats_itself_through_an_outage():
    async def run():
        timeline = "  - {at: 1, do: frozen, unit: ups-1}\n  - {at: 2, do: mains_fail, site: s}\n"
        async with serving(scenario(ONE, timeline), start=START) as fleet:
            await fleet.advance(60)
            async with session(fleet.unit("ups-1").port) as client:
                return await client.get(SOURCE)

    assert asyncio.run(run()) == 3


def test_a_scale_ten_times_too_large_shows_in_the_volts():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            fleet.wires["ups-1"].begin(WireFault.SCALE_X10, fleet.now)
            async with session(fleet.unit("ups-1").port) as client:
                return await client.get("1.3.6.1.2.1.33.1.4.4.1.2.1")

    assert 2_100 < asyncio.run(run()) < 2_300


def test_a_malformed_answer_is_no_answer_to_a_client():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            fleet.wires["ups-1"].begin(WireFault.MALFORMED, fleet.now)
            async with session(fleet.unit("ups-1").port, timeout=0.5) as client:
                with pytest.raises((SnmpError, TimeoutError)):
                    await client.get(CHARGE)

    asyncio.run(run())


def test_a_duplicating_card_answers_twice_alike():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            fleet.wires["ups-1"].begin(WireFault.DUPLICATE, fleet.now)
            return await answers(fleet.unit("ups-1").port, get_request(CHARGE), count=2)

    first, second = asyncio.run(run())
    assert first == second


def test_a_slow_card_answers_late():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            port = fleet.unit("ups-1").port
            fleet.wires["ups-1"].begin(WireFault.SLOW, fleet.now, 60.0)
            in_time = await answers(port, get_request(CHARGE), count=1, seconds=0.2)
            fleet.wires["ups-1"].begin(WireFault.SLOW, fleet.now, 0.05)
            return in_time, await answers(port, get_request(CHARGE), count=1)

    in_time, late = asyncio.run(run())
    assert in_time == []
    assert len(late) == 1


def test_a_lossy_line_loses_some_requests_and_not_all():
    async def run():
        async with serving(scenario(ONE), start=START) as fleet:
            fleet.wires["ups-1"].begin(WireFault.LOSSY, fleet.now, 0.5)
            request = get_request(CHARGE)
            return await answers(fleet.unit("ups-1").port, *[request] * 30, count=30, seconds=1.0)

    assert 5 < len(asyncio.run(run())) < 25


def test_many_units_are_served_by_one_engine():
    async def run():
        async with SnmpAgents() as agents:
            ports = [
                await agents.add(Values({(1, 3, 6, 1, 4, 1, 1, 0): rfc1902.Integer32(number)}))
                for number in range(300)
            ]
            assert len(set(ports)) == 300
            found = []
            for port in ports[::50]:
                async with session(port) as client:
                    found.append(await client.get("1.3.6.1.4.1.1.0"))
            return found

    assert asyncio.run(run()) == [0, 50, 100, 150, 200, 250]
