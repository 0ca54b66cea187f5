"""Recordings of real units: the right profile, and what another monitor reads from them too.

The recordings are not part of the project; RIDETHROUGH_CAPTURES names their folder. Beside each
stands what an established monitor takes from it. Here is told, apart from all profiles, which point
each of its readings is, so that a wrong object identifier of ours cannot hide.
"""

import asyncio
import csv
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from collector.address import parse_address
from collector.probe import ProbeResult, probe
from tests.collector.agent import Agent, recording, serving

CAPTURES = os.environ.get("RIDETHROUGH_CAPTURES", "")
pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(
        not CAPTURES, reason="RIDETHROUGH_CAPTURES names no folder of recordings of real units"
    ),
]

PROFILES = {
    "apc_powerchute": "apc-powernet",
    "apc_smart1500": "apc-powernet",
    "apc_smt750x-nmc2": "apc-powernet",
    "apc_sua750i": "apc-powernet",
    "apc_surt3000xl": "apc-powernet",
    "apc_symmetralx": "apc-powernet",
    "cyberpower": "cyberpower",
    "dell-ups_rack3750w": "dell",
    "deltaups": "delta",
    "deltaups_mini-snmp": "delta-mini",
    "eaton-mgeups_93ps": "eaton-mge",
    "eaton-mgeups_9px": "eaton-mge",
    "eatonups": "eaton-xups",
    "eatonupsm2_9px": "eaton-xups",
    "generex-ups_cs121": "rfc1628",
    "generex-ups_cs141": "rfc1628",
    # A power strip of the same maker, told by the same identifier as its units.
    "liebert": None,
    "liebert_apm": "liebert",
    "linux_ups-nut": "nut-agent",
    "netagent2": "netagent",
    "netmanplus_204": "riello",
    "poweralert_ups": "tripplite",
    "powerwalker": "powerwalker",
    "socomec-ups": "socomec",
}

# Object identifiers as patterns; N is the line. A point of a line has no context on a unit that has
# one line.
RFC = "1.3.6.1.2.1.33.1."
APC = "1.3.6.1.4.1.318.1.1.1."
CPS = "1.3.6.1.4.1.3808.1.1.1."
MGE = "1.3.6.1.4.1.705.1."
XUPS = "1.3.6.1.4.1.534.1."
NUT = "1.3.6.1.4.1.8072.1.3.2.4.1.2.7.117.112.115.45.110.117.116."
MEGATEC = "1.3.6.1.4.1.935.1.1.1."
EPPC = "1.3.6.1.4.1.935.10.1.1."
TRIPP = "1.3.6.1.4.1.850.1.1.3.1."
SOCOMEC = "1.3.6.1.4.1.4555.1.1.7.1."
NUMBERS = {
    f"{RFC}2.2.0": "battery.runtime.elapsed",
    f"{RFC}2.3.0": "battery.runtime",
    f"{RFC}2.4.0": "battery.charge",
    f"{RFC}2.5.0": "battery.voltage",
    f"{RFC}2.6.0": "battery.current",
    f"{RFC}2.7.0": "battery.temperature",
    f"{RFC}3.3.1.2.N": "input.frequency",
    f"{RFC}3.3.1.3.N": "input.LN-N.voltage",
    f"{RFC}3.3.1.4.N": "input.LN.current",
    f"{RFC}3.3.1.5.N": "input.LN.realpower",
    f"{RFC}4.2.0": "output.frequency",
    f"{RFC}4.4.1.2.N": "output.LN-N.voltage",
    f"{RFC}4.4.1.3.N": "output.LN.current",
    f"{RFC}4.4.1.4.N": "output.LN.realpower",
    f"{RFC}4.4.1.5.N": "ups.LN.load",
    f"{RFC}5.1.0": "input.bypass.frequency",
    f"{RFC}5.3.1.2.N": "input.bypass.LN-N.voltage",
    f"{APC}2.2.1.0": "battery.charge",
    f"{APC}2.2.2.0": "battery.temperature",
    f"{APC}2.2.3.0": "battery.runtime",
    f"{APC}2.2.5.0": "battery.packs.external",
    f"{APC}2.2.6.0": "battery.packs.bad",
    f"{APC}2.2.8.0": "battery.voltage",
    f"{APC}2.3.1.0": "battery.charge",
    f"{APC}2.3.2.0": "battery.temperature",
    f"{APC}2.3.4.0": "battery.voltage",
    f"{APC}3.2.1.0": "input.voltage",
    f"{APC}3.2.4.0": "input.frequency",
    f"{APC}3.3.1.0": "input.voltage",
    f"{APC}3.3.4.0": "input.frequency",
    f"{APC}4.2.1.0": "output.voltage",
    f"{APC}4.2.2.0": "output.frequency",
    f"{APC}4.2.3.0": "ups.load",
    f"{APC}4.2.8.0": "ups.realpower",
    f"{APC}4.3.1.0": "output.voltage",
    f"{APC}4.3.2.0": "output.frequency",
    f"{APC}4.3.3.0": "ups.load",
    f"{APC}4.3.4.0": "output.current",
    "1.3.6.1.4.1.318.1.1.25.1.2.1.6.1.1": "ambient.temperature",
    "1.3.6.1.4.1.318.1.1.25.1.2.1.6.2.1": "ambient.2.temperature",
    f"{CPS}2.2.1.0": "battery.charge",
    f"{CPS}2.2.3.0": "battery.temperature",
    f"{CPS}2.2.4.0": "battery.runtime",
    f"{CPS}3.2.1.0": "input.voltage",
    f"{CPS}3.2.4.0": "input.frequency",
    f"{CPS}4.2.1.0": "output.voltage",
    f"{CPS}4.2.2.0": "output.frequency",
    f"{CPS}4.2.4.0": "output.current",
    "1.3.6.1.4.1.3808.1.1.4.2.1.0": "ambient.temperature",
    "1.3.6.1.4.1.3808.1.1.4.3.1.0": "ambient.humidity",
    "1.3.6.1.4.1.674.10902.2.120.2.6.0": "ups.realpower",
    "1.3.6.1.4.1.674.10902.2.120.5.3.0": "battery.runtime",
    f"{MGE}5.1.0": "battery.runtime",
    f"{XUPS}2.1.0": "battery.runtime",
    f"{XUPS}2.2.0": "battery.voltage",
    f"{XUPS}2.3.0": "battery.current",
    f"{XUPS}2.4.0": "battery.charge",
    f"{XUPS}3.1.0": "input.frequency",
    f"{XUPS}3.4.1.2.N": "input.LN-N.voltage",
    f"{XUPS}3.4.1.3.N": "input.LN.current",
    f"{XUPS}4.1.0": "ups.load",
    f"{XUPS}4.2.0": "output.frequency",
    f"{XUPS}4.4.1.2.N": "output.LN-N.voltage",
    f"{XUPS}4.4.1.3.N": "output.LN.current",
    f"{XUPS}4.4.1.4.N": "output.LN.realpower",
    f"{XUPS}5.1.0": "input.bypass.frequency",
    f"{XUPS}5.3.1.2.N": "input.bypass.LN-N.voltage",
    f"{XUPS}6.1.0": "ambient.temperature",
    f"{NUT}1": "battery.charge",
    f"{NUT}3": "battery.runtime",
    f"{NUT}4": "battery.voltage",
    f"{NUT}5": "battery.voltage.nominal",
    f"{NUT}6": "input.voltage.nominal",
    f"{NUT}7": "input.voltage",
    f"{NUT}8": "ups.load",
    f"{NUT}24": "battery.temperature",
    f"{MEGATEC}2.2.1.0": "battery.charge",
    f"{MEGATEC}2.2.3.0": "battery.temperature",
    f"{MEGATEC}2.2.4.0": "battery.runtime",
    f"{MEGATEC}8.2.1.0": "input.frequency",
    f"{MEGATEC}8.2.2.0": "input.L1-N.voltage",
    f"{MEGATEC}8.2.3.0": "input.L2-N.voltage",
    f"{MEGATEC}8.2.4.0": "input.L3-N.voltage",
    f"{MEGATEC}8.3.1.0": "output.frequency",
    f"{MEGATEC}8.3.2.0": "output.L1-N.voltage",
    f"{MEGATEC}8.3.3.0": "output.L2-N.voltage",
    f"{MEGATEC}8.3.4.0": "output.L3-N.voltage",
    f"{MEGATEC}8.3.5.0": "ups.L1.load",
    f"{MEGATEC}8.3.6.0": "ups.L2.load",
    f"{MEGATEC}8.3.7.0": "ups.L3.load",
    f"{MEGATEC}8.4.1.0": "input.bypass.frequency",
    f"{MEGATEC}8.4.2.0": "input.bypass.L1-N.voltage",
    f"{MEGATEC}8.4.3.0": "input.bypass.L2-N.voltage",
    f"{MEGATEC}8.4.4.0": "input.bypass.L3-N.voltage",
    f"{EPPC}2.2.0": "ups.temperature",
    f"{EPPC}2.16.1.2.N": "input.frequency",
    f"{EPPC}2.16.1.3.N": "input.LN-N.voltage",
    f"{EPPC}2.18.1.2.N": "output.frequency",
    f"{EPPC}2.18.1.3.N": "output.LN-N.voltage",
    f"{EPPC}2.18.1.7.N": "ups.LN.load",
    f"{EPPC}3.3.0": "battery.runtime",
    f"{EPPC}3.4.0": "battery.charge",
    f"{EPPC}3.5.0": "battery.voltage",
    f"{TRIPP}2.1.1.7.1": "ups.temperature",
    f"{TRIPP}3.1.1.1.4.1": "battery.charge",
    f"{TRIPP}3.1.2.1.1.1": "battery.voltage",
    f"{TRIPP}3.2.2.1.2.1.1": "input.frequency",
    f"{TRIPP}3.2.2.1.3.1.1": "input.voltage",
    f"{TRIPP}3.3.1.1.3.1": "output.frequency",
    f"{TRIPP}3.3.2.1.2.1.1": "output.voltage",
    f"{TRIPP}3.3.2.1.3.1.1": "output.current",
    f"{SOCOMEC}2.2.0": "battery.runtime.elapsed",
    f"{SOCOMEC}2.3.0": "battery.runtime",
    f"{SOCOMEC}2.4.0": "battery.charge",
    f"{SOCOMEC}2.5.0": "battery.voltage",
    f"{SOCOMEC}2.7.0": "ups.temperature",
    f"{SOCOMEC}3.2.0": "input.frequency",
    f"{SOCOMEC}3.3.1.2.N": "input.LN-N.voltage",
    f"{SOCOMEC}4.2.0": "output.frequency",
    f"{SOCOMEC}4.4.1.2.N": "output.LN-N.voltage",
    f"{SOCOMEC}4.4.1.3.N": "output.LN.current",
    f"{SOCOMEC}4.4.1.4.N": "ups.LN.load",
    f"{SOCOMEC}5.1.0": "input.bypass.frequency",
    f"{SOCOMEC}5.3.1.2.N": "input.bypass.LN-N.voltage",
}

NO = {1: True, 2: False}
STATES = {
    f"{RFC}2.1.0": ("status.low_battery", {2: False, 3: True, 4: True}),
    f"{RFC}7.3.0": ("ups.test.result", {1: "passed", 3: "failed"}),
    f"{APC}2.2.4.0": ("status.replace_battery", {1: False, 2: True}),
    f"{APC}3.2.5.0": ("input.transfer.reason", {1: "none", 9: "self-test"}),
    f"{APC}4.1.1.0": ("status.on_line", {2: True, 3: False}),
    f"{APC}7.2.3.0": ("ups.test.result", {1: "passed", 2: "failed", 3: "aborted"}),
    f"{CPS}2.1.1.0": ("status.low_battery", {2: False, 3: True}),
    f"{CPS}2.2.5.0": ("status.replace_battery", {1: False, 2: True}),
    f"{CPS}4.1.1.0": ("status.on_line", {2: True, 3: False}),
    f"{MGE}5.9.0": ("alarm.battery_fault", NO),
    f"{MGE}5.11.0": ("status.replace_battery", NO),
    f"{MGE}5.14.0": ("status.low_battery", NO),
    f"{MGE}5.15.0": ("alarm.charger_fault", NO),
    f"{MGE}5.16.0": ("status.low_battery", NO),
    f"{MGE}6.3.0": ("alarm.input_bad", NO),
    f"{MGE}6.4.0": ("input.transfer.reason", {1: "none"}),
    f"{MGE}7.3.0": ("status.on_battery", NO),
    f"{MGE}7.4.0": ("status.bypass", NO),
    f"{MGE}7.7.0": ("status.off", NO),
    f"{MGE}7.10.0": ("status.overload", NO),
    f"{MGE}7.11.0": ("alarm.over_temperature", NO),
    f"{XUPS}2.5.0": ("battery.charger.status", {1: "charging", 2: "discharging", 4: "resting"}),
    f"{XUPS}8.2.0.0": ("ups.test.result", {2: "passed", 3: "failed"}),
    f"{MEGATEC}2.1.1.0": ("status.low_battery", {2: False, 3: True}),
    f"{EPPC}3.1.0": ("status.low_battery", {2: False, 3: True}),
    f"{SOCOMEC}6.3.2.0": ("status.overload", {0: False, 1: True}),
    f"{SOCOMEC}6.3.3.0": ("alarm.over_temperature", {0: False, 1: True}),
    f"{SOCOMEC}6.3.32.0": ("alarm.fan_fault", {0: False, 1: True}),
}
SOURCES = {2: "status.off", 3: "status.on_line", 4: "status.bypass", 5: "status.on_battery"}

NO_READING = {
    ("eaton-mgeups_9px", f"{RFC}2.7.0"): "0 °C is a card without a battery sensor",
    ("apc_surt3000xl", f"{APC}2.2.6.0"): "-1 stands for a number of bad packs that is not told",
    ("netmanplus_204", f"{RFC}2.6.0"): "-1 is what this card says instead of a battery current",
    ("netmanplus_204", f"{RFC}3.3.1.4.1"): "-1 is what this card says instead of an input current",
    ("poweralert_ups", f"{RFC}2.7.0"): "-273 °C is a sensor that is not there",
    ("socomec-ups", f"{SOCOMEC}2.3.0"): "65535 minutes stand for an estimate that is not made",
}
"""What the other monitor takes for a reading and is none: we tell nothing."""

OTHERWISE = {
    ("generex-ups_cs141", f"{RFC}4.4.1.4.1"): "an idle line at -4 W is a line at 0 W",
    ("generex-ups_cs141", f"{RFC}4.4.1.4.3"): "an idle line at -26 W is a line at 0 W",
    # This card has volts in tenths against the standard, which the other monitor takes for volts.
    ("deltaups_mini-snmp", f"{RFC}3.3.1.3.1"): "2313 is 231.3 V",
    ("deltaups_mini-snmp", f"{RFC}4.4.1.2.1"): "2302 is 230.2 V",
    ("deltaups_mini-snmp", f"{RFC}5.3.1.2.1"): "2308 is 230.8 V",
}
"""What we read otherwise than the other monitor, one by one, with the reason."""


@cache
def probed(name: str) -> ProbeResult:
    text = Path(CAPTURES, f"{name}.snmprec").read_text(encoding="utf-8")

    async def run():
        async with serving(Agent(recording(text))) as port:
            return await probe(parse_address(f"snmp://public@127.0.0.1:{port}"))

    return asyncio.run(run())


def expected(name: str) -> Iterator[dict[str, str]]:
    with Path(CAPTURES, f"{name}.expected.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def number_of(oid: str, points) -> tuple[str, int] | None:
    """Return the point that an object identifier is on this unit, and its line, if it is one."""
    for pattern, name in NUMBERS.items():
        found = re.fullmatch(re.escape(pattern).replace("N", r"(\d)"), oid)
        if found is None:
            continue
        line = found[1] if found.groups() else "1"
        lined = name.replace("LN", f"L{line}")
        single = re.sub(r"\.L\d(-N)?", "", lined)
        if single == "output.realpower":
            single = "ups.realpower"
        return (lined if lined in points else single), int(line)
    return None


def compared(name: str) -> Iterator[tuple[str, str, object, object, bool]]:
    """Yield each reading that is a point: its place, point, both values, whether they are equal."""
    points = probed(name).points
    lines = 3 if any(".L3" in point for point in points) else 1
    for row in expected(name):
        oid, told = row["oid"], float(row["value"])
        if row["class"] == "state":
            if oid == f"{RFC}4.1.0" and told in SOURCES:
                flag = SOURCES[told]
                yield oid, flag, points.get(flag), True, points.get(flag) is True
            elif oid in STATES and told in STATES[oid][1]:
                point, meanings = STATES[oid]
                yield (
                    oid,
                    point,
                    points.get(point),
                    meanings[told],
                    points.get(point) == meanings[told],
                )
            continue
        found = number_of(oid, points)
        if found is None or (lines == 1 and found[1] > 1):
            continue  # no point, or a line that the unit does not have
        grain = float(row["multiplier"]) / float(row["divisor"])
        if row["class"] == "runtime":
            told, grain = told * 60, max(grain * 60, 60.0)
        value = points.get(found[0])
        equal = isinstance(value, float) and abs(value - told) <= max(grain, 1e-6 * told)
        yield oid, found[0], value, told, equal


def test_every_recording_is_known_here():
    assert {path.name.removesuffix(".snmprec") for path in Path(CAPTURES).glob("*.snmprec")} == set(
        PROFILES
    )


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile])
def test_a_recording_is_read_as_another_monitor_reads_it(name):
    assert probed(name).profile == PROFILES[name]
    rows = list(compared(name))
    assert rows
    explained = NO_READING.keys() | OTHERWISE.keys()
    assert [row for row in rows if not row[4] and (name, row[0]) not in explained] == []
    assert [row[2] for row in rows if (name, row[0]) in NO_READING and row[2] is not None] == []
    assert probed(name).problems == ()


def test_nearly_all_readings_of_all_recordings_are_equal():
    rows = [(name, *row) for name, profile in PROFILES.items() if profile for row in compared(name)]
    readings = [row for row in rows if (row[0], row[1]) not in NO_READING]
    assert len(readings) > 400
    assert sum(row[5] for row in readings) >= 0.98 * len(readings)
    unequal = {(row[0], row[1]) for row in rows if not row[5]}
    assert unequal == NO_READING.keys() | OTHERWISE.keys()
