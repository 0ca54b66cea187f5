"""Recording simulated devices over real sockets, and replaying what was recorded."""

import asyncio
import json

import pytest
from pysnmp.proto import rfc1902

from collector.address import parse_address
from collector.convert import decode
from collector.plan import plan_for
from collector.probe import probe
from collector.profile import profiles
from collector.raw import ReadFailed
from device_sims.recorder import own_in, read_all, walk, without_serial, write_objects
from device_sims.recordings import read_snmp
from device_sims.registers import write_registers
from device_sims.replay import serving_recording
from device_sims.scrub import masked, scrubbed_objects, scrubbed_payload
from device_sims.serve import serving
from tests.device_sims.sims import START, scenario

SYSTEM = (1, 3, 6, 1, 2, 1, 1)


def recorded(units, use):
    """Serve a unit and return what `use` makes of its address."""

    async def main():
        async with serving(scenario(units), start=START) as fleet:
            return await use(parse_address(fleet.unit("a").url), fleet)

    return asyncio.run(main())


@pytest.mark.parametrize("access", ["snmp", "snmp+v1", "snmpv3"])
def test_a_recorded_agent_replays_to_the_same_reading(access, tmp_path):
    path = tmp_path / "a.snmprec"

    async def use(address, _):
        table = await walk(address)
        write_objects(path, table.values, comment="a note")
        live = await probe(address)
        async with serving_recording(path) as port:
            again = await probe(parse_address(f"snmp://public@127.0.0.1:{port}"))
        return live, again

    live, again = recorded(f"a apc-powernet {access} tower-3k", use)
    assert again.profile == live.profile == "apc-powernet"
    assert again.points == live.points
    assert len(again.points) > 15


def test_every_type_survives_the_file(tmp_path):
    values = {
        (1, 3, 1): rfc1902.Integer32(-5),
        (1, 3, 2): rfc1902.OctetString("plain | text"),
        (1, 3, 3): rfc1902.OctetString(bytes([0, 255, 10])),
        (1, 3, 4): rfc1902.ObjectIdentifier((1, 3, 6, 1)),
        (1, 3, 5): rfc1902.Counter32(7),
        (1, 3, 6): rfc1902.Gauge32(8),
        (1, 3, 7): rfc1902.TimeTicks(9),
        (1, 3, 8): rfc1902.Counter64(2**40),
        (1, 3, 9): rfc1902.IpAddress("192.0.2.7"),
        (1, 3, 10): rfc1902.OctetString("电池".encode()),
    }
    write_objects(tmp_path / "all.snmprec", values)
    read = read_snmp(tmp_path / "all.snmprec").values
    assert {oid: (type(value), value) for oid, value in read.items()} == {
        oid: (type(value), value) for oid, value in values.items()
    }


def test_what_is_the_owners_is_masked_wherever_it_stands():
    objects = {
        (*SYSTEM, 1, 0): rfc1902.OctetString("UPS card SN9911 at 10.1.2.3, 00:c0:b7:11:22:33"),
        (*SYSTEM, 4, 0): rfc1902.OctetString("someone@example.org"),
        (*SYSTEM, 5, 0): rfc1902.OctetString("plant-7"),
        (*SYSTEM, 6, 0): rfc1902.OctetString("二号楼".encode()),
        (1, 3, 6, 1, 4, 1, 99, 1): rfc1902.OctetString("SN9911"),
        (1, 3, 6, 1, 4, 1, 99, 2): rfc1902.OctetString("name plant-7, model 3000"),
        (1, 3, 6, 1, 4, 1, 99, 3): rfc1902.IpAddress("10.1.2.3"),
        (1, 3, 6, 1, 4, 1, 99, 4): rfc1902.Gauge32(230),
        (1, 3, 6, 1, 4, 1, 99, 5): rfc1902.OctetString(bytes([255, 1, 2])),
    }
    clean = scrubbed_objects(objects, own=[(1, 3, 6, 1, 4, 1, 99, 1)])
    told = b" ".join(
        bytes(value) for value in clean.values() if isinstance(value, rfc1902.OctetString)
    )
    for secret in (b"9911", b"plant", "二号".encode(), b"10.1.2.3", b"c0:b7", b"someone"):
        assert secret not in told
    assert clean[1, 3, 6, 1, 4, 1, 99, 1] == b"XX0000"
    assert b"model 3000" in told
    assert clean[1, 3, 6, 1, 4, 1, 99, 4] == 230
    assert clean[1, 3, 6, 1, 4, 1, 99, 5] == bytes([255, 1, 2])
    assert str(clean[1, 3, 6, 1, 4, 1, 99, 3].prettyPrint()) == "192.0.2.1"


def test_the_serial_number_of_the_family_is_found_and_masked():
    async def use(address, fleet):
        table = await walk(address)
        clean = scrubbed_objects(table.values, own=own_in(table.values))
        return fleet.unit("a").spec.serial, clean

    serial, clean = recorded("a apc-powernet snmp tower-3k", use)
    texts = [bytes(v) for v in clean.values() if isinstance(v, rfc1902.OctetString)]
    assert not any(serial.encode() in text for text in texts)
    assert masked(serial).encode() in texts


def test_a_recorded_modbus_unit_replays_to_the_same_points(tmp_path):
    path = tmp_path / "a.yaml"

    async def use(address, _):
        plan, values = await read_all(address)
        write_registers(path, without_serial(plan, values))
        live = await probe(address)
        async with serving_recording(path) as port:
            again = await probe(parse_address(f"modbus://127.0.0.1:{port}/1"))
        return live, again

    live, again = recorded("a apc-modbus modbus tower-3k", use)
    assert again.profile == live.profile
    assert again.points == live.points
    assert set(again.identity.serial or "0") == {"0"}


def test_a_walk_ends_at_its_bounds_and_says_when_nothing_answers():
    async def use(address, _):
        some = await walk(address, most=7)
        with pytest.raises(ReadFailed, match="another community"):
            await walk(parse_address("snmp://public@127.0.0.1:9"), seconds=1.0)
        return some

    assert len(recorded("a rfc1628 snmp rack-5k", use).values) == 7


def test_published_json_loses_its_owners_words_and_keeps_its_values():
    payload = {"serialNumber": "AB12", "ups.load": 41.5, "location": "B 2", "note": "at 10.0.0.9"}
    clean = json.loads(scrubbed_payload(json.dumps(payload).encode()))
    assert clean == {
        "serialNumber": "XX00",
        "ups.load": 41.5,
        "location": "X 0",
        "note": "at 00.0.0.0",
    }
    assert scrubbed_payload(b"\xff\x00") == b"\xff\x00"
    assert scrubbed_payload(b"230.5") == b"230.5"


def test_a_scrubbed_recording_is_still_recognized():
    async def use(address, _):
        table = await walk(address)
        return scrubbed_objects(table.values, own=own_in(table.values))

    clean = recorded("a eaton-xups snmp rack-5k", use)
    plan = plan_for(profiles()["eaton-xups"])
    raw = {
        ref: int(clean[tuple(map(int, ref.split(".")))])
        for ref in plan.fast_refs
        if isinstance(ref, str)
        and isinstance(
            clean.get(tuple(map(int, ref.split(".")))), rfc1902.Integer32 | rfc1902.Gauge32
        )
    }
    assert "battery_charge" in decode(plan, raw).points
