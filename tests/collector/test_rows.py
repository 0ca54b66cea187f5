"""Rows that differ from card to card, words for numbers, parts of texts, tables of alarms."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.address import parse_address
from collector.convert import answers, decode, encode
from collector.form import Row
from collector.plan import plan_for
from collector.probe import probe
from collector.profile import check, load_profile, profiles
from collector.raw import CardMemory, Typed
from collector.rows import find_rows, row_of
from collector.values import part_of, whole
from rules.facts import Identity
from tests.collector.agent import Agent, serving

POINTS = "1.3.6.1.4.1.476.1.42.3.5.2.1"
UNIT = "1.3.6.1.4.1.2011.6.174.1"


@pytest.mark.parametrize(
    ("row", "table", "arcs"),
    [
        (Row(column=["1.2"]), [("1.2.7", b"UPS")], "7"),
        (Row(column=["1.2"]), [], None),
        (Row(column=["1.2"], value="kW"), [("1.2.4", b"A"), ("1.2.9", b"kW ")], "9"),
        (Row(column=["1.2"], value="kW"), [("1.2.4", b"kWh")], None),
        # An object identifier is known by its beginning, with or without a leading dot.
        (Row(column=["1.2"], value="1.3.5"), [("1.2.3", "1.3.55"), ("1.2.8", ".1.3.5.1.2")], "8"),
        # Of a row of two arcs, the point and its line, the point is meant.
        (Row(column=["1.2"], value="1.3.5"), [("1.2.6.1", "1.3.5"), ("1.2.6.2", "1.3.5")], "6"),
        (Row(column=["1.2"], usual="1.1"), [("1.2.6.3", 4)], "6.3"),
        (Row(column=["1.2"], value="2"), [("1.2.1", 1), ("1.2.2", 2)], "2"),
    ],
)
def test_the_row_that_is_meant_is_found(row, table, arcs):
    assert row_of(row, "1.2", table) == arcs


def found(objects, profile="huawei"):
    memory = CardMemory()

    async def run():
        async with serving(Agent(objects)) as port:
            address = parse_address(f"snmp://127.0.0.1:{port}")
            await find_rows(address, profiles()[profile], memory=memory, deadline=5)

    asyncio.run(run())
    return memory


def test_a_unit_that_is_not_the_first_is_read_where_it_stands():
    memory = found({f"{UNIT}.2.100.1.2.12": Typed("string", "UPS5000")})
    assert memory.aliases[f"{UNIT}.6.100.1.3.1"] == f"{UNIT}.6.100.1.3.12"
    assert memory.aliases[f"{UNIT}.3.100.1.2.1"] == f"{UNIT}.3.100.1.2.12"
    assert memory.aliases[f"{UNIT}.2.100.1.5.1"] == f"{UNIT}.2.100.1.5.12"
    assert not any(oid.startswith("1.3.6.1.2.1.33") for oid in memory.aliases)


@pytest.mark.parametrize("row", [None, 1])
def test_a_unit_at_the_usual_place_or_without_the_table_needs_no_alias(row):
    there = {} if row is None else {f"{UNIT}.2.100.1.2.{row}": Typed("string", "UPS5000")}
    memory = found({"1.3.6.1.2.1.1.1.0": Typed("string", "card"), **there})
    assert memory.aliases == {}
    assert not memory.absent


def test_a_measuring_point_that_the_card_lacks_is_not_asked():
    memory = found({"1.3.6.1.4.1.476.1.42.3.5.2.2.1.2.4": Typed("oid", f"{POINTS}.5")}, "liebert")
    line = "1.3.6.1.4.1.476.1.42.3.5.2.3.1.5"
    assert memory.aliases[f"{line}.905.2"] == f"{line}.4.2"
    assert f"{line}.901.1" in memory.absent
    assert f"{line}.905.1" not in memory.absent


@pytest.mark.parametrize(
    ("unit", "watts"), [("kW", 20_000.0), ("W", 20.0), (None, None), ("BTU", None)]
)
def test_power_of_the_flexible_table_is_scaled_by_the_unit_beside_it(unit, watts):
    table = "1.3.6.1.4.1.476.1.42.3.9.20.1"
    objects = {
        "1.3.6.1.2.1.1.2.0": Typed("oid", "1.3.6.1.4.1.476.1.42"),
        "1.3.6.1.2.1.1.1.0": Typed("string", "card"),
        f"{table}.20.1.2.1.4208": Typed("string", "20"),
        f"{table}.20.1.2.1.4153": Typed("string", "99"),
    }
    if unit is not None:
        objects[f"{table}.30.1.2.1.4208"] = Typed("string", unit)

    async def run():
        async with serving(Agent(objects)) as port:
            return await probe(parse_address(f"snmp://127.0.0.1:{port}"))

    points = asyncio.run(run()).points
    assert points["battery.charge"] == 99
    assert points.get("ups.realpower") == watts


WORDS = """\
name: example
title: {en: Example, zh: 示例}
protocol: snmp
base: 1.3.6.1.4.1.99999.1
points:
  ups.power.nominal: {oid: 1.1.0, codes: {1: 80000, 9: 240000}}
  ups.load: {oid: 1.3.0, part: data/load, type: string}
  battery.charge: {oid: 1.3.0, part: data/1/charge, type: string}
  input.voltage: {oid: 1.4.0, part: "2", type: string}
states:
  - oid: 1.2.0
    words: {Inactive Event: 0, Active Event: 1}
    codes: {0: [], 1: [status.overload]}
alarms:
  - {column: "2.1", count: 2.2.0, codes: {1.3.6.1.4.1.99999.5: {1: [alarm.fan_fault]}}}
  - {column: "3.1", codes: {1.3.6.1.4.1.99999.6: {1: [alarm.epo], 2: [alarm.fan_fault]}}}
"""
BASE = "1.3.6.1.4.1.99999.1"


@pytest.fixture
def plan(tmp_path):
    path = Path(tmp_path, "example.yaml")
    path.write_text(WORDS, encoding="utf-8")
    assert check(path) == []
    return plan_for(load_profile(path))


def test_a_coded_number_is_what_its_code_stands_for(plan):
    assert decode(plan, {f"{BASE}.1.1.0": 9}).points == {"ups_power_nominal": 240_000.0}
    unknown = decode(plan, {f"{BASE}.1.1.0": 3})
    assert unknown.points == {}
    assert [refused.reason for refused in unknown.rejections] == ["unknown_code"]


@pytest.mark.parametrize(
    ("raw", "points", "reasons"),
    [
        (b"Active Event", {"status_overload": True}, []),
        (b" inactive event\x00", {"status_overload": False}, []),
        (b"", {}, []),
        (b"Sleepy Event", {}, ["unknown_code"]),
        (1, {"status_overload": True}, []),
    ],
)
def test_a_word_stands_for_a_code(plan, raw, points, reasons):
    told = decode(plan, {f"{BASE}.1.2.0": raw})
    assert told.points == points
    assert [refused.reason for refused in told.rejections] == reasons


def test_parts_of_one_text_are_points_of_their_own(plan):
    document = b'{"data": {"load": "31.5", "1": {"charge": 88}}}'
    told = decode(plan, {f"{BASE}.1.3.0": document, f"{BASE}.1.4.0": b"17\n229.5\n"})
    assert told.points == {"ups_load": 31.5, "battery_charge": 88.0, "input_voltage": 229.5}
    assert told.rejections == ()


def test_each_table_of_alarms_raises_its_own(plan):
    first, second = (table.ref for table in plan.alarms)
    assert decode(plan, {first: (), second: ("1.3.6.1.4.1.99999.6.2",)}).points == {
        "alarm_fan_fault": True,
        "alarm_epo": False,
    }
    assert decode(plan, {first: ("1.3.6.1.4.1.99999.5.1",)}).points == {"alarm_fan_fault": True}
    other = decode(plan, {first: ("1.3.6.1.9.1",), second: ("1.3.6.1.9.2",)})
    assert other.extra["ups.alarm"] == "1.3.6.1.9.1, 1.3.6.1.9.2"


def test_what_a_simulated_unit_says_in_words_and_parts_is_read_again(plan):
    points = {
        "ups_power_nominal": 80_000.0,
        "ups_load": 12.5,
        "battery_charge": 99.0,
        "status_overload": True,
        "alarm_epo": True,
        "alarm_fan_fault": False,
    }
    held = encode(plan.profile, points, Identity())
    assert held[f"{BASE}.1.2.0"] == Typed("string", "active event")
    assert decode(plan, answers(plan, held)).points == points


@pytest.mark.parametrize(
    ("value", "part", "told"),
    [
        (b"a\nb\r\nc", "2", "b"),
        (b"a", "2", None),
        (b"a", "0", None),
        (b'{"a": 1}', "1", None),
        (b'{"a": {"b": 2}}', "a/b", 2),
        (b'{"a": [5, {"b": "x"}]}', "a/1/b", "x"),
        (b'{"a": [5]}', "a/7", None),
        (b'{"a": {}}', "a", None),
        (b"{", "a", None),
        (b"[" * 5_000, "a", None),
        (None, "a", None),
        (7, "a", 7),
        (b"a", None, b"a"),
    ],
)
def test_a_part_of_a_text_is_picked(value, part, told):
    assert part_of(value, part) == told


@given(st.binary(max_size=200), st.sampled_from(["1", "a", "a/b", "a/0/b"]))
def test_no_text_breaks_the_picking(value, part):
    part_of(value, part)


@given(st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "e/f/g"]), st.integers(), min_size=1))
def test_a_document_made_of_parts_holds_them(parts):
    assert {part: part_of(whole(parts), part) for part in parts} == parts


def test_a_row_that_no_profile_explains_is_told_with_its_line(tmp_path):
    path = Path(tmp_path, "example.yaml")
    path.write_text(WORDS.replace("oid: 1.1.0", 'oid: "1.1.{unit}"'), encoding="utf-8")
    assert [(fault.line, fault.cure) for fault in check(path)] == [(6, "name it under `rows:`")]


@pytest.mark.parametrize(
    ("version", "profile"),
    [
        ("12.04.0055", "tripplite"),
        ("12.04.0056", "tripplite-whole"),
        ("12.05.0001", "tripplite-whole"),
        ("12.06.0063", "tripplite-whole"),
        ("12.06.0064", "tripplite-load"),
        ("12.06.0067", "tripplite-whole"),
        ("12.06.0068", "tripplite"),
        ("15.5.1", "tripplite"),
        ("20.1.0.87", "tripplite"),
    ],
)
def test_the_firmware_of_a_tripp_lite_card_tells_its_scales(version, profile):
    objects = {
        "1.3.6.1.2.1.1.2.0": Typed("oid", "1.3.6.1.4.1.850.1"),
        "1.3.6.1.2.1.1.1.0": Typed("string", "POWERALERT 12"),
        "1.3.6.1.2.1.33.1.1.4.0": Typed("string", version),
        "1.3.6.1.2.1.33.1.4.1.0": Typed("integer", 3),
        "1.3.6.1.2.1.33.1.4.3.0": Typed("integer", 1),
        "1.3.6.1.2.1.33.1.4.4.1.3.1": Typed("integer", 30),
    }

    async def run():
        async with serving(Agent(objects)) as port:
            return await probe(parse_address(f"snmp://127.0.0.1:{port}"))

    result = asyncio.run(run())
    assert result.profile == profile
    assert result.points["output.current"] == (3 if profile == "tripplite" else 30)
