import asyncio
import json
import os
from pathlib import Path

import pytest

from collector.address import Credentials, ModbusAddress, MqttAddress, SnmpAddress, parse_address
from collector.plan import Phases
from collector.probe import meet, probe, render
from collector.profile import profiles
from collector.raw import CardMemory, Failure, ReadFailed, Registers, Typed, Walk
from rules.facts import Identity
from tests.collector import modbus_unit
from tests.collector.agent import Agent, encoded, recording, serving

WHO = Identity("Eaton", "9PX 3000i", "G123", "02.1")
POINTS = {
    "battery_charge": 97.0,
    "battery_runtime": 1_800.0,
    "battery_voltage": 81.5,
    "input_voltage": 231.0,
    "output_voltage": 230.0,
    "output_frequency": 50.0,
    "ups_load": 41.0,
    "ups_realpower": 1_200.0,
    "status_on_line": True,
    "status_on_battery": False,
    "status_low_battery": False,
    "status_replace_battery": True,
    "alarm_fan_fault": True,
}
LINES = {f"{side}_l{n}_n_voltage": 229.0 + n for side in ("input", "output") for n in (1, 2, 3)} | {
    f"ups_l{n}_load": 20.0 * n for n in (1, 2, 3)
}


def probed(objects, *, scheme="snmp", profile=None, **habits):
    async def run():
        async with serving(Agent(objects, **habits)) as port:
            address = parse_address(f"{scheme}://public@127.0.0.1:{port}")
            return await probe(address, profile)

    return asyncio.run(run())


@pytest.mark.parametrize("scheme", ["snmp", "snmp+v1"])
@pytest.mark.parametrize("name", ["rfc1628", "eaton-xups", "delta-mini"])
def test_a_simulated_unit_is_found_and_read(name, scheme):
    result = probed(encoded(profiles()[name], POINTS, WHO), scheme=scheme)
    answer = result.to_json()
    assert answer["profile"] == name
    assert answer["identity"]["model"] == "9PX 3000i"
    assert answer["points"]["battery.charge"] == 97
    assert answer["points"]["battery.voltage"] == 81.5
    assert answer["points"]["status.on_battery"] is False
    assert answer["points"]["status.replace_battery"] is True
    assert answer["points"]["alarm.fan_fault"] is True
    assert answer["points"]["alarm.fuse_fault"] is False
    assert answer["problems"] == []


def test_the_json_form_is_the_documented_one():
    answer = json.loads(json.dumps(probed(encoded(profiles()["rfc1628"], POINTS, WHO)).to_json()))
    assert list(answer)[:4] == ["profile", "identity", "points", "problems"]
    assert list(answer["identity"]) == ["manufacturer", "model", "serial", "firmware"]
    assert isinstance(answer["points"]["battery.charge"], int)


def test_the_text_form_names_units_and_evidence():
    text = render(probed(encoded(profiles()["eaton-xups"], POINTS, WHO)))
    assert "81.5 V" in text
    assert "sysObjectID 1.3.6.1.4.1.534.1" in text
    assert "status.on_line" in text


@pytest.mark.parametrize("name", ["rfc1628", "eaton-xups"])
def test_a_three_phase_unit_is_read_line_by_line(name):
    points = probed(encoded(profiles()[name], POINTS | LINES, WHO, 3)).points
    assert points["input.L2-N.voltage"] == 231.0
    assert points["ups.L3.load"] == 60.0
    assert "input.voltage" not in points


def test_a_unit_that_does_not_count_its_lines_is_judged_by_them():
    objects = encoded(profiles()["rfc1628"], POINTS | LINES, WHO, 3)
    for count in ("3.2.0", "4.3.0", "5.2.0"):
        del objects[f"1.3.6.1.2.1.33.1.{count}"]
    assert "output.L3-N.voltage" in probed(objects).points
    for cell in [oid for oid in objects if oid.endswith((".1.3.2", ".1.3.3", ".1.2.2", ".1.2.3"))]:
        objects[cell] = Typed("integer", 0)
    assert probed(objects).points["output.voltage"] == 230.0


def test_rows_with_an_extra_arc_are_found():
    objects = encoded(profiles()["eaton-xups"], POINTS | LINES, WHO, 3)
    cells = ("1.3.6.1.4.1.534.1.3.4.", "1.3.6.1.4.1.534.1.4.4.", "1.3.6.1.2.1.33.")
    odd = {f"{oid}.0" if oid.startswith(cells[:2]) else oid: v for oid, v in objects.items()}
    points = probed({oid: v for oid, v in odd.items() if not oid.startswith(cells[2])}).points
    assert points["output.L3-N.voltage"] == 232.0


def test_a_card_of_an_unknown_maker_gives_what_the_standard_promises():
    objects = encoded(profiles()["rfc1628"], POINTS, WHO)
    objects["1.3.6.1.2.1.1.2.0"] = Typed("oid", "1.3.6.1.4.1.99999.7")
    result = probed(objects)
    assert result.profile == "rfc1628"
    assert result.points["battery.charge"] == 97.0


def test_a_makers_card_without_the_makers_tongue_is_read_by_the_standard():
    objects = encoded(profiles()["rfc1628"], POINTS, WHO)
    objects["1.3.6.1.2.1.1.2.0"] = Typed("oid", "1.3.6.1.4.1.318.1.3.27")
    result = probed(objects)
    assert result.profile == "apc-powernet"
    assert "none of its own objects answers" in result.evidence
    assert result.points["output.voltage"] == 230.0
    assert result.sources["output.voltage"] == "1.3.6.1.2.1.33.1.4.4.1.2.1"


def test_a_card_with_two_mibs_is_read_point_by_point_from_the_better_one():
    objects = encoded(profiles()["eaton-xups"], POINTS, WHO)
    del objects["1.3.6.1.4.1.534.1.2.4.0"]
    objects["1.3.6.1.2.1.33.1.4.4.1.2.1"] = Typed("integer", 23)
    objects["1.3.6.1.4.1.534.1.4.2.0"] = Typed("integer", 5_000)
    result = probed(objects)
    answer = result.to_json()
    assert answer["points"]["battery.charge"] == 97
    assert answer["sources"]["battery.charge"] == "1.3.6.1.2.1.33.1.2.4.0"
    assert answer["sources"]["battery.voltage"] == "1.3.6.1.2.1.33.1.2.5.0"
    assert answer["sources"]["output.voltage"] == "1.3.6.1.4.1.534.1.4.4.1.2.1"
    # 500 Hz cannot be, and the standard has a better answer.
    assert answer["points"]["output.frequency"] == 50
    assert answer["sources"]["output.frequency"] == "1.3.6.1.2.1.33.1.4.2.0"
    assert [problem.split(":")[0] for problem in answer["problems"]] == ["output.frequency"]
    (found,) = answer["disagreements"]
    assert (found["point"], found["primary"], found["check"]) == ("output.voltage", 230, 23)
    text = render(result)
    assert "output.voltage: 230 at 1.3.6.1.4.1.534.1.4.4.1.2.1, but 23 at" in text
    assert "1.3.6.1.2.1.33.1.2.5.0" in text


def test_a_repeated_line_is_one_line():
    points = POINTS | {f"output_l{n}_n_voltage": 229.0 for n in (1, 2, 3)}
    points |= {f"output_l{n}_current": 7.0 for n in (1, 2, 3)}
    points |= {f"ups_l{n}_load": 59.0 for n in (1, 2, 3)}
    objects = encoded(profiles()["eaton-mge"], points, WHO, Phases(1, 3, 1))
    counts = ("1.3.6.1.4.1.705.1.6.1.0", "1.3.6.1.4.1.705.1.7.1.0")
    standard = "1.3.6.1.2.1.33."
    silent = {o: v for o, v in objects.items() if not o.startswith(standard) and o not in counts}
    points = probed(silent).points
    assert points["output.voltage"] == 229.0
    assert points["ups.load"] == 59.0
    assert not any(".L2" in name for name in points)


@pytest.mark.parametrize("scheme", ["snmp", "snmp+v1"])
@pytest.mark.parametrize(
    ("form", "evidence"),
    [
        (lambda oid: oid.removesuffix(".0"), "objects of the UPS-MIB answer, but lack the final 0"),
        (lambda oid: f"{oid}.0", "objects of the UPS-MIB answer, but have a 0 too many"),
    ],
)
def test_the_standard_is_found_at_odd_instances(form, evidence, scheme):
    objects = encoded(profiles()["rfc1628"], POINTS, WHO)
    odd = {form(oid) if oid.startswith("1.3.6.1.2.1.33.") else oid: v for oid, v in objects.items()}
    odd["1.3.6.1.2.1.1.2.0"] = Typed("oid", "1.3.6.1.4.1.99999.7")
    result = probed(odd, scheme=scheme)
    assert (result.profile, result.evidence) == ("rfc1628", (evidence,))
    assert result.points["battery.charge"] == 97.0
    assert result.points["status.on_line"] is True
    assert result.points["output.voltage"] == 230.0
    assert result.identity.model == "9PX 3000i"


def test_an_implausible_value_is_told_and_the_rest_is_read():
    objects = encoded(profiles()["rfc1628"], POINTS, WHO)
    objects["1.3.6.1.2.1.33.1.2.4.0"] = Typed("integer", 180)
    objects["1.3.6.1.2.1.33.1.2.3.0"] = Typed("string", "soon")
    result = probed(objects)
    assert "battery.charge" not in result.points
    assert [problem.split(":")[0] for problem in result.problems] == [
        "battery.charge",
        "battery.runtime",
    ]
    assert result.points["ups.load"] == 41.0


@pytest.mark.parametrize("habits", [{"most_varbinds": 4}, {"cuts_at": 2}])
def test_a_poor_card_is_read_all_the_same(habits):
    result = probed(encoded(profiles()["rfc1628"], POINTS, WHO), **habits)
    assert result.points["alarm.fan_fault"] is True
    assert result.points["ups.realpower"] == 1_200.0


def test_a_card_that_lost_its_unit_says_that_and_nothing_else():
    objects = encoded(profiles()["rfc1628"], POINTS, WHO)
    objects["1.3.6.1.2.1.33.1.6.2.1.2.1"] = Typed("oid", "1.3.6.1.2.1.33.1.6.3.20")
    objects["1.3.6.1.2.1.33.1.6.1.0"] = Typed("gauge", 1)
    assert probed(objects).points == {"alarm.comm_lost": True}


def test_after_a_meeting_only_what_is_there_is_asked():
    objects = encoded(profiles()["apc-powernet"], POINTS, WHO)
    memory = CardMemory()

    async def run():
        async with serving(Agent(objects)) as port:
            return await meet(SnmpAddress("127.0.0.1", port), None, memory=memory)

    met = asyncio.run(run())
    assert met.plan.phases == Phases()
    refs = {*met.plan.fast_refs, *met.plan.slow_refs}
    walks = {ref for ref in refs if isinstance(ref, Walk)}
    asked = {*(refs - walks), *(walk.counter for walk in walks)}
    assert asked <= objects.keys()
    assert "1.3.6.1.4.1.318.1.1.1.2.2.1.0" in objects.keys() - asked


def test_a_smart_ups_is_found_and_read_by_modbus():
    held = encoded_registers(
        {"battery_charge": 88.0, "battery_voltage": 54.5, "status_on_battery": True}
    )

    async def run():
        async with modbus_unit.serving(modbus_unit.Unit(held)) as port:
            return await probe(ModbusAddress("127.0.0.1", port))

    result = asyncio.run(run())
    assert result.profile == "apc-modbus"
    assert result.identity.model == "Smart-UPS 1500"
    assert result.identity.serial == "AS1234"
    assert result.points["battery.charge"] == 88.0
    assert result.points["battery.voltage"] == 54.5
    assert result.points["status.on_battery"] is True
    assert result.points["status.on_line"] is False


def encoded_registers(points):
    from collector.convert import encode

    who = Identity("APC", "Smart-UPS 1500", "AS1234", "UPS 12.3")
    words = {}
    for ref, value in encode(profiles()["apc-modbus"], points, who).items():
        assert isinstance(ref, Registers)
        words |= {ref.address + at: word for at, word in enumerate(value)}
    return words


def test_a_profile_can_be_named():
    objects = encoded(profiles()["eaton-xups"], POINTS, WHO)
    assert probed(objects, profile="eaton-xups").profile == "eaton-xups"


@pytest.mark.parametrize("name", ["apc-modbus", "nonsense"])
def test_a_profile_that_cannot_be_is_refused_with_those_that_can(name):
    with pytest.raises(ReadFailed, match=r"use one of .*rfc1628"):
        probed({}, profile=name)


def test_what_is_no_unit_is_told_from_what_is_silent():
    with pytest.raises(ReadFailed) as failed:
        probed({"1.3.6.1.2.1.1.2.0": Typed("oid", "1.3.6.1.4.1.9.1.1")})
    assert failed.value.kind is Failure.UNSUPPORTED
    address = SnmpAddress("127.0.0.1", 1, credentials=Credentials("public"))
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(probe(address, deadline=1.0))
    assert failed.value.kind in (Failure.TIMEOUT, Failure.REFUSED)


def test_a_topic_cannot_be_asked():
    with pytest.raises(ReadFailed, match="listened to"):
        asyncio.run(probe(MqttAddress("127.0.0.1", "a/b")))


CAPTURES = os.environ.get("RIDETHROUGH_CAPTURES", "")


@pytest.mark.captures
@pytest.mark.skipif(
    not CAPTURES, reason="RIDETHROUGH_CAPTURES names no folder of recordings of real units"
)
@pytest.mark.parametrize(
    ("name", "profile", "points"),
    [
        (
            "apc_smart1500",
            "apc-powernet",
            {
                "battery.charge": 100,
                "battery.runtime": 4_560,
                "battery.voltage": 27,
                "battery.temperature": 30,
                "input.voltage": 247.6,
                "output.voltage": 247.6,
                "output.current": 1,
                "ups.load": 17.6,
                "ups.realpower": 169,
                "ups.test.result": "aborted",
                "status.on_line": True,
                "status.on_battery": False,
                "status.replace_battery": False,
            },
        ),
        (
            "apc_symmetralx",
            "apc-powernet",
            {"battery.voltage": 138.7, "output.current": 34.7, "battery.packs.external": 4},
        ),
        (
            "apc_powerchute",
            "apc-powernet",
            {"battery.runtime": 7_560, "input.voltage": 244, "ups.load": 31},
        ),
        ("eatonupsm2_9px", "eaton-xups", {"battery.charge": 98, "battery.voltage": 55.4}),
        ("eatonups", "eaton-xups", {"input.L3-N.voltage": 231, "output.L2.realpower": 944}),
        # Tenths of volts, which the standard does not know: 2302 is 230.2 V.
        ("deltaups_mini-snmp", "delta-mini", {"output.voltage": 230.2, "battery.voltage": 221.1}),
        ("generex-ups_cs121", "rfc1628", {"output.L1.current": 80, "battery.voltage": 273}),
        # Idle lines at -4 and -26 W are lines at 0 W.
        ("generex-ups_cs141", "rfc1628", {"ups.realpower": 469, "status.bypass": True}),
        ("cyberpower", "cyberpower", {"battery.runtime": 1_740, "output.voltage": 120.2}),
        ("deltaups", "delta", {"ups.load": 79, "battery.voltage": 41.2, "ups.realpower": 951}),
        ("dell-ups_rack3750w", "dell", {"battery.runtime": 11_179, "ups.realpower": 307}),
        ("eaton-mgeups_93ps", "eaton-mge", {"output.L3.current": 8.6, "ups.L2.load": 19}),
        ("liebert_apm", "liebert", {"output.L2-N.voltage": 231, "input.L2.current": 40}),
        ("linux_ups-nut", "nut-agent", {"input.voltage": 252, "battery.runtime": 2_280}),
        ("netagent2", "netagent", {"input.L3-N.voltage": 237.9, "ups.L1.load": 23.5}),
        ("powerwalker", "powerwalker", {"input.voltage": 238.2, "battery.runtime": 36_000}),
        ("poweralert_ups", "tripplite", {"input.voltage": 210.9, "output.current": 1.4}),
        # 65535 minutes is no runtime, and 0 °C no battery sensor.
        ("socomec-ups", "socomec", {"battery.runtime": None, "battery.temperature": None}),
        ("netmanplus_204", "riello", {"output.voltage": 231, "ups.load": 8, "input.voltage": 242}),
    ],
)
def test_a_recording_of_a_real_unit_is_read_right(name, profile, points):
    text = Path(CAPTURES, f"{name}.snmprec").read_text(encoding="utf-8")
    result = probed(recording(text))
    assert result.profile == profile
    found = result.to_json()["points"]
    assert {point: found.get(point) for point in points} == points
    assert result.problems == ()


def test_a_transfer_switch_whose_table_of_alarms_is_empty_is_no_unit():
    switch = {
        "1.3.6.1.2.1.1.1.0": Typed("string", "Linux, software: PowerAlert 20.2.1"),
        "1.3.6.1.2.1.1.2.0": Typed("oid", "1.3.6.1.4.1.850.1.1.1"),
        "1.3.6.1.2.1.33.1.6.1.0": Typed("gauge", 0),
        "1.3.6.1.4.1.850.1.1.3.4.3.1.2.1.5.1.1.1": Typed("gauge", 1171),
    }
    with pytest.raises(ReadFailed, match="tells nothing") as caught:
        probed(switch)
    assert caught.value.kind is Failure.UNSUPPORTED


def test_a_power_center_behind_a_unit_is_no_unit():
    objects = {
        "1.3.6.1.2.1.1.1.0": Typed("string", "300kVA FPC"),
        "1.3.6.1.2.1.1.2.0": Typed("oid", "1.3.6.1.4.1.476.1.42"),
        "1.3.6.1.4.1.476.1.42.3.5.2.2.1.2.2": Typed("oid", "1.3.6.1.4.1.476.1.42.3.5.2.1.5"),
        "1.3.6.1.4.1.476.1.42.3.5.2.2.1.6.2": Typed("integer", 60),
    }
    with pytest.raises(ReadFailed, match="it may be no UPS"):
        probed(objects)
    objects["1.3.6.1.2.1.1.1.0"] = Typed("string", "300kVA NX")
    assert probed(objects).to_json()["points"]["output.frequency"] == 60
