"""Good units, simulated and recorded, are not doubted, whatever happens to them."""

import asyncio
import os
from datetime import timedelta
from importlib import resources
from pathlib import Path

import pytest

from collector.address import parse_address
from collector.convert import answers, decode, encode
from collector.plan import Phases, plan_for
from collector.probe import probe
from collector.profile import profiles
from collector.raw import ReadFailed
from device_sims.fleet import units
from device_sims.replay import serving_recording
from device_sims.scenario import parse_scenario
from device_sims.serve import _do
from device_sims.timeline import Timeline
from device_sims.ups import SimulatedUps
from device_sims.wire import Wire
from rules.plausibility import NOMINALS, Table, check, explained, suspicions
from rules.points import column_of
from tests.conftest import NOW

SCENARIOS = sorted(
    file.name
    for file in resources.files("device_sims").joinpath("scenarios").iterdir()
    if file.name.endswith(".yaml")
)


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_simulated_unit_is_doubted_in_any_scenario(name):
    """Each unit says what is true: through outages, faults, tests, overload, wear and heat."""
    text = resources.files("device_sims").joinpath("scenarios", name).read_text("utf-8")
    scenario = parse_scenario(text)
    members = units(scenario, epoch=NOW, mqtt_url="mqtt://127.0.0.1")
    known = profiles()
    wires = [
        Wire(SimulatedUps(one.spec, one.seed, start=NOW), known[one.profile], seed=one.seed)
        for one in members
    ]
    timeline = Timeline(scenario)
    rows, decoded = [], []
    for second in range(0, 3_600, 60):
        for event in timeline.due(second):
            for member, wire in zip(members, wires, strict=True):
                if event.unit == member.key or event.site == member.site_key:
                    _do(event, wire, NOW + timedelta(seconds=event.at))
        for member, wire in zip(members[:40], wires, strict=False):
            points = wire.unit.at(NOW + timedelta(seconds=second)).points()
            rows.append((member.key, second, points))
            if second % 300 == 0:
                decoded.append((member.key, second, told(wire, points)))
    for of_kind in (rows, decoded):
        table = Table([row for *_, row in of_kind])
        outcomes = check(table)
        found = [
            (*of_kind[place][:2], one)
            for place in range(table.size)
            if any(outcome.odd[place] for outcome in outcomes)
            for one in explained(outcomes, place).values()
        ]
        assert found == []


def told(wire, points):
    """Return what the collector understands of a unit that says these points."""
    profile = wire.profile
    phases = Phases(*([wire.unit.spec.phases] * 3))
    plan = plan_for(profile, phases)
    raw = answers(plan, encode(profile, points, wire.identity, phases))
    return dict(decode(plan, raw).points)


CAPTURES = os.environ.get("RIDETHROUGH_CAPTURES", "")

EXPLAINED = {
    # These cards do not measure the input's power, and say 0 for it.
    ("eaton-mgeups_9px", "input_realpower", "zero_while_live"),
    ("eaton-mgeups_9px", "input_current", "zero_while_live"),
    ("netmanplus_204", "input_realpower", "zero_while_live"),
    # Recorded with every flag up at once, which no unit is.
    ("linux_ups-nut", "status_charging", "charging_and_discharging"),
}


@pytest.mark.captures
@pytest.mark.skipif(not CAPTURES, reason="RIDETHROUGH_CAPTURES names no folder of recordings")
def test_recorded_units_are_doubted_only_where_their_cards_do_lie():
    async def read(path):
        async with serving_recording(path) as port:
            return await probe(parse_address(f"snmp://127.0.0.1:{port}"))

    found = set()
    for path in sorted(Path(CAPTURES).glob("*.snmprec")):
        try:
            answer = asyncio.run(read(path)).to_json()
        except ReadFailed:
            continue
        row = {column_of(name): value for name, value in answer["points"].items()}
        found |= {(path.stem, one.column, one.rule) for one in suspicions(row)}
    assert found == EXPLAINED


def test_the_nominal_columns_are_the_last_of_the_table():
    """A table completes them in place."""
    table = Table([{}], [[float(place) for place in range(len(NOMINALS))]])
    assert [table[column][0] for column in NOMINALS] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
