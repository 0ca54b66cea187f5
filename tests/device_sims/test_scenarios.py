import csv
import io
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.address import MqttAddress, SnmpAddress, parse_address
from collector.profile import profiles
from device_sims.fleet import CSV_COLUMNS, import_csv, units, with_devices
from device_sims.models import HARDWARE
from device_sims.scenario import (
    UNIT_FAULTS,
    WIRE_FAULTS,
    ScenarioInvalid,
    load_scenario,
    parse_scenario,
    scenario_names,
)
from device_sims.timeline import Timeline
from device_sims.ups import Fault, SimulatedUps
from device_sims.wire import WireFault

EPOCH = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)

SMALL = """
name: small
title: {en: Small, zh: 小}
customers: [{key: c, name: {en: C, zh: 客}}]
sites: [{key: s, customer: c, name: {en: S, zh: 站}, latitude: 31.2, longitude: 121.5}]
units:
  - key: u-{n}
    count: 2
    site: s
    name: {en: "Unit {n}", zh: "{n} 号机"}
    model: tower-3k
    profile: rfc1628
"""


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_that_ships_loads_and_speaks_through_profiles_that_ship(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    fleet = units(scenario, epoch=EPOCH, base_port=20_000, mqtt_url="mqtt://127.0.0.1:1883")
    assert {unit.profile for unit in fleet} <= set(profiles())
    for unit in fleet:
        parse_address(unit.url)
        assert SimulatedUps(unit.spec, unit.seed, start=EPOCH).points()


def test_the_four_scenarios_are_there():
    assert set(scenario_names()) >= {"demo", "quiet", "outage", "faults"}


def test_the_words_of_scenarios_are_the_faults_that_exist():
    assert set(UNIT_FAULTS) == {fault.value for fault in Fault}
    assert set(WIRE_FAULTS) == {fault.value for fault in WireFault}


def test_the_faults_scenario_shows_every_fault_once():
    done = [step.do for step in load_scenario("faults").timeline]
    for fault in (*UNIT_FAULTS, *WIRE_FAULTS, "self_test", "mains_fail", "mains_return", "clear"):
        assert done.count(fault) == 1


def test_the_demo_has_24_units_at_6_sites_of_4_customers_over_every_protocol():
    scenario = load_scenario("demo")
    fleet = units(scenario, epoch=EPOCH, base_port=20_000, mqtt_url="mqtt://127.0.0.1:1883")
    assert len(fleet) == 24
    assert len({unit.site_key for unit in fleet}) == 6
    assert len({unit.customer_key for unit in fleet}) == 4
    assert {unit.access for unit in fleet} == {"snmp", "snmp+v1", "snmpv3", "modbus", "mqtt"}
    assert {unit.spec.phases for unit in fleet} == {1, 3}
    assert len({unit.key for unit in fleet}) == len({unit.spec.serial for unit in fleet}) == 24
    ports = [unit.port for unit in fleet if unit.access != "mqtt"]
    assert ports == list(range(20_000, 20_000 + len(ports)))
    silent = [unit for unit in fleet if unit.silent_since is not None]
    assert [unit.key for unit in silent] == ["cd-signal-2"]
    assert silent[0].silent_since == EPOCH - timedelta(days=2)
    ageing = next(unit for unit in fleet if unit.key == "hz-server-room")
    assert 0.5 < SimulatedUps(ageing.spec, ageing.seed, start=EPOCH).battery.index < 0.7


@pytest.mark.parametrize("month", range(1, 13))
@pytest.mark.parametrize("hour", [1, 9, 17])
def test_the_demos_worn_battery_runs_low_after_65_to_80_seconds_on_any_day(month, hour):
    start = datetime(2027, month, 3, hour, 0, tzinfo=UTC)
    scenario = load_scenario("demo")
    worn = next(unit for unit in units(scenario, epoch=start) if unit.key == "sh-pump-house")
    device = SimulatedUps(worn.spec, worn.seed, start=start)
    device.advance(5)
    device.fail_mains()
    seconds = 0
    while not device.is_low:
        device.advance(1)
        seconds += 1
    assert 65 <= seconds <= 80
    device.advance(90 - seconds)
    assert not device.is_off


def test_the_demos_other_units_ride_through_its_first_outage():
    scenario = load_scenario("demo")
    plant = [
        unit
        for unit in units(scenario, epoch=EPOCH, mqtt_url="mqtt://127.0.0.1:1883")
        if unit.site_key == "shanghai"
    ]
    assert len(plant) == 5
    for unit in plant:
        device = SimulatedUps(unit.spec, unit.seed, start=EPOCH)
        device.fail_mains()
        device.advance(90)
        assert device.is_low == (unit.key == "sh-pump-house")
        assert not device.is_off


def test_the_demos_first_outage_begins_after_3_seconds_and_ends_after_91():
    first = Timeline(load_scenario("demo")).due(599.0)
    assert [(event.at, event.do, event.site, event.is_end) for event in first] == [
        (3.0, "mains_fail", "shanghai", False),
        (91.0, "mains_fail", "shanghai", True),
    ]


def test_the_demos_cycle_tells_each_story_before_any_again_and_never_the_same_twice_running():
    scenario = load_scenario("demo")
    timeline = Timeline(scenario)
    timeline.due(599.0)
    count = len(scenario.cycle.variants)
    stories = []
    for turn in range(3 * count):
        begin = 600.0 + 600.0 * turn
        events = timeline.due(begin + 599.0)
        assert all(begin <= event.at < begin + 600.0 for event in events)
        stories.append(tuple((event.do, event.site, event.unit) for event in events))
    assert len(set(stories[:count])) == len(set(stories[count : 2 * count])) == count
    assert all(one != other for one, other in itertools.pairwise(stories))


def test_events_come_in_order_once_and_in_the_order_of_the_file_within_an_instant():
    scenario = parse_scenario(
        SMALL
        + """
timeline:
  - {at: 9, do: clear, site: s}
  - {at: 3, do: overload, unit: u-1, lasting: 6}
  - {at: 3, do: slow, unit: u-2, amount: 2}
"""
    )
    timeline = Timeline(scenario)
    assert timeline.next_at() == 3.0
    assert timeline.due(2.9) == []
    due = timeline.due(100.0)
    assert [(event.at, event.do, event.is_end) for event in due] == [
        (3.0, "overload", False),
        (3.0, "slow", False),
        (9.0, "clear", False),
        (9.0, "overload", True),
    ]
    assert due[1].amount == 2.0
    assert timeline.due(100.0) == []
    assert timeline.next_at() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("site: s\n", "site: x\n"), "no site 'x'"),
        (("customer: c,", "customer: x,"), "no customer 'x'"),
        (("model: tower-3k", "model: tower-9"), "unknown model 'tower-9'"),
        (("key: u-{n}", "key: u"), "unit 'u' is there twice"),
        (("profile: rfc1628", "profile: rfc1628\n    colour: red"), "Extra inputs"),
        (("name: small", "name: [small"), "not YAML"),
        (("units:", "timeline: [{at: 1, do: overload}]\nunits:"), "needs a site or a unit"),
        (("units:", "timeline: [{at: 1, do: overload, unit: u-3}]\nunits:"), "no unit 'u-3'"),
        (("units:", "timeline: [{at: 1, do: explode, unit: u-1}]\nunits:"), "Input should be"),
        (
            ("units:", "timeline: [{at: 1, do: clear, unit: u-1, lasting: 3}]\nunits:"),
            "takes no time",
        ),
        (
            ("units:", "timeline: [{at: 1, do: frozen, unit: u-1, amount: 3}]\nunits:"),
            "knows no amount",
        ),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused_with_its_reason(change, message):
    with pytest.raises(ScenarioInvalid, match=message) as caught:
        parse_scenario(SMALL.replace(*change), source="small.yaml")
    assert str(caught.value).startswith("small.yaml: ")


def test_a_scenario_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ScenarioInvalid, match="demo"):
        load_scenario("nowhere")


def test_a_scenario_is_read_from_a_file(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL, encoding="utf-8")
    assert [unit.key for unit in units(load_scenario(path), epoch=EPOCH)] == ["u-1", "u-2"]


def test_a_template_makes_units_alike_with_seeds_and_serials_of_their_own():
    one, other = units(parse_scenario(SMALL), epoch=EPOCH)
    assert (one.name_en, other.name_zh) == ("Unit 1", "2 号机")
    assert one.seed != other.seed
    assert one.spec.serial != other.spec.serial
    assert one.spec.rated_va == other.spec.rated_va == HARDWARE["tower-3k"].rated_va


def test_the_same_epoch_gives_the_same_fleet():
    scenario = load_scenario("demo")
    assert units(scenario, epoch=EPOCH) == units(scenario, epoch=EPOCH)


@pytest.mark.parametrize("count", [3, 24, 60])
def test_the_demo_can_be_made_smaller_and_larger_and_keeps_its_story(count):
    scenario = with_devices(load_scenario("demo"), count)
    fleet = units(scenario, epoch=EPOCH)
    assert len({unit.key for unit in fleet}) == count
    stories = {step.unit for step in scenario.every_step() if step.unit is not None}
    assert stories <= {unit.key for unit in fleet}
    assert parse_scenario(scenario.model_dump_json()) == scenario


def test_units_that_publish_stand_behind_the_broker_without_its_login():
    fleet = units(load_scenario("demo"), epoch=EPOCH, mqtt_url="mqtt://me:secret@10.0.0.7:1884")
    address = parse_address(next(unit.url for unit in fleet if unit.access == "mqtt"))
    assert isinstance(address, MqttAddress)
    assert (address.host, address.port) == ("10.0.0.7", 1884)
    assert address.topic == "ridethrough/v1/sh-warehouse/#"
    assert "secret" not in "".join(unit.url for unit in fleet)


def test_an_snmp_v3_unit_carries_its_user_and_algorithms():
    fleet = units(load_scenario("demo"), epoch=EPOCH, base_port=20_000)
    address = parse_address(next(unit.url for unit in fleet if unit.access == "snmpv3"))
    assert isinstance(address, SnmpAddress)
    assert (address.version, address.auth, address.priv) == ("3", "sha256", "aes128")


def test_the_csv_for_import_names_every_unit_with_place_and_dates():
    scenario = load_scenario("demo")
    fleet = units(scenario, epoch=EPOCH, base_port=20_000)
    rows = list(csv.DictReader(io.StringIO(import_csv(scenario, fleet))))
    assert len(rows) == 24
    assert tuple(rows[0]) == CSV_COLUMNS
    assert rows[0]["key"] == "sh-line-1"
    assert (rows[0]["site"], rows[0]["site_name_zh"]) == ("shanghai", "上海工厂")
    assert rows[0]["address"] == "snmp://public@127.0.0.1:20000"
    assert rows[0]["latitude"] == "30.9010"
    for row in rows:
        assert row["installed_on"] <= row["battery_installed_on"] < EPOCH.date().isoformat()
