"""Home Assistant's discovery: which topics hold which values, and how they are heard."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import ear
from collector.address import parse_address
from collector.family import families
from collector.overhear import overhear
from collector.readers.discovery import (
    MOST_ENTITIES,
    Described,
    DescriptionInvalid,
    describe,
    values,
)
from tests.cast import START
from tests.collector.brokers import Publisher, until
from tests.collector.test_listener import any_broker
from tests.collector.test_vendors_heard import Hub, known

__all__ = ["any_broker"]

FAMILY = families()["homeassistant"]
DEVICE = {"identifiers": ["x"], "manufacturer": "Maker", "model": "M5", "sw_version": "1.2"}
SINGLE = {
    "homeassistant/sensor/ups1/battery_charge/config": {
        "name": "Battery",
        "state_topic": "ups/1/state",
        "value_template": "{{ value_json['battery.charge'] | float(0) | round(1) }}",
        "unit_of_measurement": "%",
        "availability_topic": "ups/1/lwt",
        "device": DEVICE,
    },
    "homeassistant/sensor/ups1/runtime/config": {
        "~": "ups/1",
        "stat_t": "~/state",
        "val_tpl": "{{value_json.battery.runtime}}",
        "unit_of_meas": "min",
    },
    "homeassistant/sensor/ups1/xyz/config": {
        "stat_t": "ups/1/va",
        "dev_cla": "apparent_power",
        "unit_of_meas": "kVA",
    },
    "homeassistant/binary_sensor/ups1/on_battery/config": {
        "stat_t": "ups/1/ob",
        "pl_on": "yes!",
        "pl_off": "no!",
    },
}
WHOLE = {
    "homeassistant/device/ups1/config": {
        "device": DEVICE,
        "state_topic": "ups/1/state",
        "availability": [{"topic": "ups/1/lwt"}],
        "components": {
            "battery_charge": {"p": "sensor", "val_tpl": "{{ value_json['battery.charge'] }}"},
            "r": {
                "name": "Battery Runtime",
                "val_tpl": "{{ value_json.battery.runtime }}",
                "unit_of_meas": "min",
            },
            "ups_power": {"stat_t": "ups/1/va", "unit_of_meas": "kVA"},
            "on_battery": {"stat_t": "ups/1/ob", "pl_on": "yes!", "pl_off": "no!"},
        },
    }
}
SAID = {
    "ups/1/state": '{"battery.charge": 88.5, "battery": {"runtime": 12}}',
    "ups/1/va": "0.75",
    "ups/1/ob": "no!",
}


def described(configs):
    found = Described()
    for topic, config in configs.items():
        describe(found, FAMILY, topic, json.dumps(config).encode())
    return found


@pytest.mark.parametrize("configs", [SINGLE, WHOLE], ids=["single", "whole"])
def test_descriptions_tell_points_units_and_where_they_stand(configs):
    found = described(configs)
    assert found.topics == {*SAID, "ups/1/lwt"}
    told = {}
    for topic, payload in SAID.items():
        told |= values(found, topic, payload.encode())
    assert told == {
        "battery.charge": 88.5,
        "battery.runtime": 720.0,
        "ups.power": 750.0,
        "status.on_battery": "OFF",
    }
    assert values(found, "ups/1/lwt", b"offline") == {"availability": "offline"}
    assert found.identity["device.model"] == "M5"


@pytest.mark.parametrize(
    "template",
    ["{{ value_json.a * 60 }}", "{% if x %}1{% endif %}", "{{ states('x') }}", "{{ value }} x"],
)
def test_a_template_that_computes_is_left_out(template):
    config = {"state_topic": "a", "value_template": template}
    assert described({"homeassistant/sensor/u/battery_charge/config": config}).topics == set()


@pytest.mark.parametrize("topic", ["a/#", "+/b", "$SYS/x", "", "a" * 600])
def test_a_description_cannot_make_us_subscribe_to_everything(topic):
    config = {"state_topic": topic, "availability_topic": topic}
    assert described({"homeassistant/sensor/u/battery_charge/config": config}).topics == set()


def test_an_empty_description_is_taken_back_and_their_number_is_bounded():
    found = described(SINGLE)
    describe(found, FAMILY, "homeassistant/binary_sensor/ups1/on_battery/config", b"")
    assert "ups/1/ob" not in found.topics
    many = {
        f"homeassistant/sensor/n{at}/battery_charge/config": {"state_topic": f"t{at}"}
        for at in range(MOST_ENTITIES + 50)
    }
    assert len(described(many).by_topic) == MOST_ENTITIES


@pytest.mark.parametrize("payload", [b"{", b"[]", b"[" * 100_000, b"x" * 300_000])
def test_what_is_no_description_is_refused(payload):
    with pytest.raises(DescriptionInvalid):
        describe(Described(), FAMILY, "homeassistant/sensor/u/x/config", payload)


keys = st.sampled_from(
    ["state_topic", "stat_t", "val_tpl", "~", "device", "dev", "cmps", "avty", "unit_of_meas", "x"]
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(keys, anything, max_size=6), st.binary(max_size=30))
def test_no_description_whatever_does_more_than_be_refused(config, payload):
    found = Described()
    describe(
        found, FAMILY, "homeassistant/sensor/u/battery_charge/config", json.dumps(config).encode()
    )
    for topic in found.topics:
        values(found, topic, payload)


@pytest.mark.parametrize("configs", [SINGLE, WHOLE], ids=["single", "whole"])
def test_a_described_unit_is_heard_where_its_descriptions_say(any_broker, configs, monkeypatch):
    monkeypatch.setattr(ear, "_FIRST_PICTURE_SECONDS", 0.3)
    wanted = (
        "homeassistant/device/ups1/config" if configs is WHOLE else "homeassistant/+/ups1/+/config"
    )
    devices = [known(1, wanted)]
    with Hub(any_broker, devices) as hub, Publisher(any_broker.url) as unit:
        hub.subscribed(wanted)
        for topic, config in configs.items():
            unit.publish(topic, json.dumps(config), retain=True)
        hub.subscribed("ups/1/lwt", *SAID)
        unit.publish("ups/1/lwt", "online", retain=True)
        for topic, payload in SAID.items():
            unit.publish(topic, payload)
        until(lambda: hub.readings(1))
        (first, *_) = [one for one in hub.ingest.taken if one.reading]
        assert first.reading.points == {
            "battery_charge": 88.5,
            "battery_runtime": 720.0,
            "ups_power": 750.0,
            "status_on_battery": False,
        }
        assert first.reading.stays_valid_seconds is None
        assert (first.identity.model, first.profile) == ("M5", "homeassistant")
        unit.publish("ups/1/lwt", "offline", retain=True)
        until(lambda: hub.readings(1)[-1] == {})
        assert hub.listener.counters.errors == 0


def test_a_described_unit_is_probed(any_broker):
    with Publisher(any_broker.url) as unit:
        for topic, config in SINGLE.items():
            unit.publish(topic, json.dumps(config), retain=True)
        for topic, payload in SAID.items():
            unit.publish(topic, payload, retain=True)
        address = parse_address(f"{any_broker.url}/homeassistant/+/ups1/+/config")
        found = asyncio.run(overhear(address, now=lambda: START))
    assert found.profile == "homeassistant"
    assert found.points["battery.charge"] == 88.5
    assert found.identity.model == "M5"
