"""Families that publish one value, or one object, a topic: what their messages become."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.directory import TopicUnusable, directory_of, where_of
from collector.ear import recognized
from collector.family import families
from collector.naming import in_our_unit, point_named
from collector.profile import check
from collector.readers import published
from collector.readers.mqtt import Message
from collector.readers.published import Picture
from collector.store import KnownDevice

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def known(profile=None, topic="a/b/#", number=1, key="u1", **more):
    address = f"mqtt://broker/{topic}"
    return KnownDevice(number, key, "mqtt", address, None, profile, 30.0, 2.0, False, **more)


class Heard:
    """A device of a family, and what it has said."""

    def __init__(self, name, **more):
        self.family = families()[name]
        self.device = known(name)
        self.picture = Picture(**more)
        self.now = NOW

    def say(self, path, value, *, retain=False):
        payload = value if isinstance(value, bytes) else value.encode()
        if not isinstance(value, str | bytes):
            payload = json.dumps(value).encode()
        message = Message(f"root/{path}", payload, self.now, retain)
        return published.hear(self.family, self.device, self.picture, path, message)

    def read(self):
        self.now += timedelta(seconds=1)
        arrivals = published.reading(self.family, self.device, self.picture)
        assert len(arrivals) <= 1
        return arrivals[0] if arrivals else None

    def points(self):
        arrival = self.read()
        return {} if arrival is None or arrival.reading is None else dict(arrival.reading.points)


def raised(points):
    return {name for name, value in points.items() if value is True}


EATON = {
    "managers/1/identification": {"vendor": "EATON", "firmwareVersion": "3.1.15"},
    "powerDistributions/1/identification": {
        "vendor": "EATON",
        "model": "5PX 2200 G2",
        "serialNumber": "S1",
        "firmwareVersion": "01.05",
    },
    "powerDistributions/1/status": {
        "mode": "on line interactive normal",
        "health": "ok",
        "shutdownImminent": False,
        "internalFailure": False,
        "communicationFault": False,
    },
    "powerDistributions/1/inputs/1/measures": {"voltage": 231.4, "current": 2.1, "frequency": 50.0},
    "powerDistributions/1/inputs/1/status": {"inRange": True},
    "powerDistributions/1/outputs/1/measures": {
        "voltage": 230.1,
        "activePower": 431,
        "apparentPower": 470,
        "percentLoad": 24,
        "efficiency": 97,
    },
    "powerDistributions/1/outputs/1/status": {"overload": False, "shortCircuit": False},
    "powerDistributions/1/backupSystem/powerBank/measures": {
        "stateOfCharge": 99,
        "remainingTime": 2710,
        "voltage": 54.4,
    },
    "powerDistributions/1/backupSystem/powerBank/status": {
        "lowStateOfCharge": False,
        "lcmExpired": False,
        "lcmInstallationDate": "2023-05-17T00:00:00.000Z",
        "lastTestResult": "success",
        "testStatus": 3,
        "storagePresent": "present",
    },
    "sensors/devices/8f2/channels/temperatures/1/measures": {"current": 301.05},
    "alarmService/activeAlarms": {"members@count": 0, "members": [], "mostCriticalAlarm": None},
}


def test_an_eaton_card_is_read_point_by_point():
    heard = Heard("eaton-mqtt")
    for path, value in EATON.items():
        assert heard.say(path, json.dumps(value)) == []
    heard.say("powerDistributions/1/outputs/2", "null")
    arrival = heard.read()
    points = dict(arrival.reading.points)
    assert points["battery_charge"] == 99.0
    assert points["battery_runtime"] == 2710.0
    assert points["ups_load"] == 24.0
    assert points["input_voltage"] == pytest.approx(231.4)
    assert points["ambient_temperature"] == pytest.approx(27.9)
    assert points["ups_test_result"] == "passed"
    assert raised(points) == {"status_on_line"}
    assert points["status_low_battery"] is False
    assert points["status_replace_battery"] is False
    assert arrival.identity.model == "5PX 2200 G2"
    assert arrival.identity.details["battery.date"] == "2023-05-17"
    assert arrival.identity.details["ups.firmware.aux"] == "3.1.15"
    assert arrival.rejections == ()


def test_the_numbers_of_older_firmware_and_the_compact_summary_are_read_too():
    heard = Heard("eaton-mqtt")
    summary = {
        "mode": 4,
        "loadPercent": 12,
        "protectionCapacityPercent": 88,
        "protectionCapacityRuntime": 1800,
        "protectionLowCapacityAlarm": False,
        "protectingFor": -1,
    }
    heard.say("powerService/suppliers/1/summary", json.dumps(summary))
    heard.say("powerDistributions/1/status", json.dumps({"mode": 4, "operating": 7}))
    points = heard.points()
    assert (points["ups_load"], points["battery_charge"]) == (12.0, 88.0)
    assert raised(points) == {"status_on_line"}


def test_what_is_repeated_unchanged_is_still_told_and_what_is_not_repeated_is_not():
    heard = Heard("nut-mqtt")
    heard.say("battery/charge", "90")
    heard.say("ups/load", "20")
    assert heard.points() == {"battery_charge": 90.0, "ups_load": 20.0}
    heard.say("ups/load", "20")
    assert heard.points() == {"ups_load": 20.0}
    assert heard.points() == {}


@pytest.mark.parametrize(
    "said",
    [
        {"battery/charge": "90", "battery/runtime": "600", "ups/status": "OL CHRG"},
        {
            "state": json.dumps(
                {
                    "variables": {
                        "battery.charge": "90",
                        "battery.runtime": 600,
                        "ups.status": "OL CHRG",
                    },
                    "computed": {"x": 1},
                }
            )
        },
        {"": json.dumps({"battery_charge": 90, "battery_runtime": 600, "ups_status": "OL CHRG"})},
        {"": json.dumps({"batterycharge": 90, "batteryruntime": 600, "upsstatus": "OL CHRG"})},
        {"battery.charge": "90", "battery.runtime": '"600"', "ups.status": '"OL CHRG"'},
    ],
)
def test_a_nut_bridge_is_understood_in_every_layout(said):
    heard = Heard("nut-mqtt")
    for path, value in said.items():
        assert heard.say(path, value) == []
    points = heard.points()
    assert (points["battery_charge"], points["battery_runtime"]) == (90.0, 600.0)
    assert raised(points) == {"status_on_line", "status_charging"}
    assert points["status_on_battery"] is False


def test_a_bridge_of_words_and_minutes_is_brought_to_seconds():
    heard = Heard("nut-mqtt-minutes")
    heard.say("battery.runtime", "45")
    heard.say("ups.status", "Online, Charging")
    points = heard.points()
    assert points["battery_runtime"] == 2700.0
    assert raised(points) == {"status_on_line", "status_charging"}


def test_a_tasmota_gateway_is_understood():
    heard = Heard("tasmota")
    heard.say("LWT", "Online", retain=True)
    energy = {"Voltage": 229, "Power": 400, "Factor": 0.9, "Total": 12.5}
    ups = {"BatteryCharge": 91, "OnBattery": False, "Status": "OL"}
    heard.say("SENSOR", json.dumps({"Time": "2026-03-02T09:00:00", "ENERGY": energy, "UPS": ups}))
    arrival = heard.read()
    points = arrival.reading.points
    assert points["output_energy"] == 12_500.0
    assert (points["ups_realpower"], points["battery_charge"]) == (400.0, 91.0)
    assert points["status_on_battery"] is False
    assert arrival.reading.stays_valid_seconds is None
    (end,) = heard.say("LWT", "Offline", retain=True)
    assert end.reading.stays_valid_seconds == 0


def test_an_esphome_gateway_is_understood():
    heard = Heard("esphome")
    heard.say("sensor/ups_battery_charge/state", "93.5")
    heard.say("sensor/load_percent/state", "31")
    heard.say("sensor/input_voltage/state", "nan")
    heard.say("binary_sensor/on_battery/state", "ON")
    heard.say("text_sensor/model/state", "M9")
    arrival = heard.read()
    points = arrival.reading.points
    assert (points["battery_charge"], points["ups_load"]) == (93.5, 31.0)
    assert points["status_on_battery"] is True
    assert "input_voltage" not in points
    assert arrival.identity.model == "M9"
    assert arrival.reading.stays_valid_seconds == 900


def test_a_retained_message_is_no_sign_of_life_but_belongs_to_the_picture():
    heard = Heard("nut-mqtt")
    heard.say("battery/charge", "90", retain=True)
    assert heard.points() == {}
    heard.say("ups/load", "20")
    assert heard.points() == {"battery_charge": 90.0, "ups_load": 20.0}


def test_retained_messages_count_while_the_device_says_that_it_lives():
    heard = Heard("nut-mqtt")
    heard.say("status", "online", retain=True)
    heard.say("battery/charge", "90", retain=True)
    arrival = heard.read()
    assert arrival.reading.points == {"battery_charge": 90.0}
    assert arrival.reading.stays_valid_seconds is None


def test_a_last_will_ends_values_once_and_the_same_values_count_again_afterwards():
    heard = Heard("nut-mqtt")
    heard.say("online", "true")
    heard.say("ups/load", "20")
    heard.points()
    (end,) = heard.say("online", "false")
    assert (end.reading.points, end.reading.stays_valid_seconds) == ({}, 0.0)
    assert heard.say("online", "false") == []
    heard.say("online", "true")
    heard.say("ups/load", "20")
    assert heard.points() == {"ups_load": 20.0}


def test_a_flag_that_changes_twice_before_a_reading_loses_no_change():
    heard = Heard("nut-mqtt")
    heard.say("ups/status", "OL")
    heard.points()
    assert heard.say("ups/status", "OB") == []
    (before,) = heard.say("ups/status", "OL")
    assert before.reading.points["status_on_battery"] is True
    assert heard.points()["status_on_battery"] is False


def test_readings_of_one_instant_keep_their_order():
    heard = Heard("nut-mqtt")
    times = []
    for status in ("OL", "OB", "OL", "OB"):
        times += [one.reading.observed_at for one in heard.say("ups/status", status)]
    times.append(heard.read().reading.observed_at)
    assert times == sorted(set(times))
    assert len(times) == 4


def test_thresholds_heard_earlier_tell_a_low_battery():
    heard = Heard("nut-mqtt")
    heard.say("battery/charge/low", "20")
    heard.points()
    heard.say("ups/status", "OB DISCHRG")
    heard.say("battery/charge", "15")
    assert "status_low_battery" in raised(heard.points())


@pytest.mark.parametrize(
    ("value", "reason"),
    [("{broken", "bad_json"), (b"x" * 300_000, "too_large"), (json.dumps({"a": [[[]]]}), None)],
)
def test_what_cannot_be_read_is_refused_once_an_hour(value, reason):
    heard = Heard("nut-mqtt")
    told = [one.reason for arrival in heard.say("x", value) for one in arrival.rejections]
    assert told == ([] if reason is None else [reason])
    assert heard.say("x", value) == []
    heard.now += timedelta(hours=2)
    assert bool(heard.say("x", value)) is (reason is not None)


def test_an_absurd_value_is_refused_and_the_others_kept():
    heard = Heard("nut-mqtt")
    heard.say("ups/load", "9e9")
    heard.say("battery/charge", "many")
    heard.say("input/voltage", "230")
    arrival = heard.read()
    assert arrival.reading.points == {"input_voltage": 230.0}
    assert {(one.point, one.reason) for one in arrival.rejections} == {
        ("ups.load", "implausible"),
        ("battery.charge", "wrong_type"),
    }


def test_what_is_remembered_of_a_device_is_bounded():
    heard = Heard("nut-mqtt")
    for number in range(published.MOST_TOPICS + 50):
        heard.say(f"t{number}", json.dumps(dict.fromkeys(map(str, range(20)), 1)))
    assert len(heard.picture.topics) <= published.MOST_TOPICS
    assert len(heard.picture.values) <= published.MOST_VALUES + 20
    eaton = Heard("eaton-mqtt")
    for number in range(50):
        eaton.say(f"sensors/devices/{number}/x", '{"current": 1}')
    assert len(eaton.picture.ordinals["sensors/devices"]) == published.MOST_KINDS


paths = st.sampled_from(
    ["battery/charge", "ups/status", "state", "online", "", "sensors/devices/1/x", "SENSOR", "LWT"]
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=10,
)
said_payloads = st.one_of(st.binary(max_size=60), json_values.map(lambda v: json.dumps(v).encode()))


@settings(deadline=None)
@given(
    st.sampled_from(["nut-mqtt", "nut-mqtt-minutes", "eaton-mqtt", "tasmota", "esphome"]),
    st.lists(st.tuples(paths, said_payloads, st.booleans()), max_size=8),
)
def test_no_message_whatever_stops_a_family(name, said):
    heard = Heard(name)
    for path, payload, retain in said:
        heard.say(path, payload, retain=retain)
        heard.read()


@pytest.mark.parametrize(
    ("topic", "path", "payload", "family"),
    [
        (
            "mbdetnrs/2.0/powerDistributions/1/status",
            "powerDistributions/1/status",
            '{"a": 1}',
            "eaton-mqtt",
        ),
        ("ups/r1/battery/charge", "battery/charge", "90", "nut-mqtt"),
        ("ups/r1", "", '{"battery_charge": 1}', "nut-mqtt"),
        ("v1/ups/r1/battery.charge", "battery.charge", "90", "nut-mqtt-minutes"),
        ("tele/gw/SENSOR", "SENSOR", '{"Time": "x"}', "tasmota"),
        ("gw/sensor/load/state", "sensor/load/state", "1", "esphome"),
        ("shop/door", "door", "open", None),
    ],
)
def test_a_family_is_recognized_by_its_topics(topic, path, payload, family):
    found = recognized(path, Message(topic, payload.encode(), NOW))
    assert (found and found.name) == family


@pytest.mark.parametrize(
    "topic", ["a/+/b", "#", "spBv1.0/g/+/n/#/x", "spBv1.0/+/+/n", "spBv1.0/g/n", "+"]
)
def test_an_address_that_tells_no_device_is_refused_with_the_cure(topic):
    with pytest.raises(TopicUnusable, match=r"give the one|write"):
        where_of(topic)


def test_filters_follow_from_where_devices_publish_and_nothing_comes_twice():
    devices = [
        known(topic="ridethrough/v1/u1/+", key="u1"),
        known(topic="site/ups-1/#", number=2, key="u2"),
        known(topic="site/ups-1/inner", number=3, key="u3"),
        known(topic="spBv1.0/g/+/n/d1", number=4, key="u4"),
        known(topic="spBv1.0/g/DDATA/n/d2", number=5, key="u5"),
        known(topic="a/+/b", number=6, key="u6"),
    ]
    directory = directory_of(devices)
    vendors = {one for one in directory.filters if not one.startswith("ridethrough/")}
    assert vendors == {"site/ups-1/#", "spBv1.0/g/+/n/#"}
    assert directory.snapshots == {"site/ups-1/#"}
    assert directory.root_of("site/ups-1/x/y")[0].key == "u2"
    assert directory.root_of("site/ups-1/inner/y")[1] == "y"
    assert directory.root_of("site/ups-10/x") is None
    assert directory.root_of("site/ups-1")[1] == ""
    assert list(directory.unusable) == ["u6"]
    assert directory.nodes["g", "n"].keys() == {"d1", "d2"}


def test_a_topic_of_any_depth_is_looked_up_at_a_bounded_cost():
    directory = directory_of([known(topic="a/#")])
    assert directory.root_of("/".join("a" * 10_000)) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Battery Charge", "battery.charge"),
        ("input/L1-N/voltage", "input.L1-N.voltage"),
        ("inputL1NVoltage", "input.L1-N.voltage"),
        ("status_on_battery", "status.on_battery"),
        ("something", None),
    ],
)
def test_points_are_found_by_any_spelling(text, name):
    assert point_named(text, {}) == name


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [(2, "min", 120), (1.5, "kW", 1500), (212, "°F", 100), (5, "furlong", 5), (5, None, 5)],
)
def test_units_are_brought_to_ours(value, unit, told):
    assert in_our_unit(value, unit) == pytest.approx(told)


def test_names_in_a_profile_that_are_no_points_are_told_with_line_and_cure(tmp_path):
    text = (Path(str(files("collector"))) / "profiles" / "esphome.yaml").read_text(encoding="utf-8")
    wrong = text.replace("    load: ups.load\n", "    load: ups.lod\n")
    wrong = wrong.replace("OB: [status.on_battery]", "OB: [status.onbattery]")
    (tmp_path / "p.yaml").write_text(wrong, encoding="utf-8")
    line = wrong.split("\n").index("    load: ups.lod") + 1
    told = check(tmp_path / "p.yaml")
    assert [(one.line, one.cure) for one in told][:1] == [(line, "did you mean ups.load?")]
    assert any("status.onbattery" in one.message for one in told)


def test_a_broker_without_a_topic_is_enough_for_a_unit_told_by_its_key():
    device = replace(known(), address="mqtt://127.0.0.1:1883")
    directory = directory_of([device])
    assert directory.unusable == {}
    assert directory.by_key == {"u1": device}
