"""A unit that publishes, overheard at a real broker."""

import asyncio
import json
import threading

import pytest

from collector.address import parse_address
from collector.overhear import overhear
from collector.raw import Failure, ReadFailed
from collector.readers.sparkplug import DOUBLE, Metric, Payload, encode_payload
from service_api.embedded_broker import EmbeddedBroker
from tests.cast import START
from tests.collector.brokers import Publisher


@pytest.fixture
def broker(tmp_path):
    with EmbeddedBroker(tmp_path) as running:
        yield running


def hear(broker, topic: str, *, deadline: float):
    address = parse_address(f"{broker.url}/{topic}")
    return asyncio.run(overhear(address, now=lambda: START, deadline=deadline))


def test_a_published_unit_is_told_with_its_identity_and_what_is_wrong_with_it(broker):
    stop = threading.Event()

    def speak() -> None:
        with Publisher(broker.url) as publisher:
            publisher.say(
                "ups-1/identity",
                json.dumps({"manufacturer": "Maker", "model": "M1", "serial": "S1"}),
                retain=True,
            )
            points = {"battery.charge": 97.5, "status.on_battery": False, "ups.load": 9e9}
            while not stop.wait(0.1):
                publisher.say(
                    "ups-1/reading", json.dumps({"at": START.isoformat(), "points": points})
                )

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        found = hear(broker, "ridethrough/v1/ups-1/%23", deadline=20)
    finally:
        stop.set()
        speaking.join()
    assert found.profile == "ridethrough-json"
    assert found.evidence == ("published to ridethrough/v1/ups-1",)
    assert (found.identity.model, found.identity.serial) == ("M1", "S1")
    assert found.points == {"battery.charge": 97.5, "status.on_battery": False}
    assert any("ups.load" in problem for problem in found.problems)


def test_a_sparkplug_device_is_recognized_by_its_topics(broker):
    birth = Payload(1, 0, (Metric("battery/charge", 1, None, DOUBLE, 88.0),))
    wire = encode_payload(birth)
    with Publisher(broker.url) as publisher:
        publisher.publish("spBv1.0/plant/DBIRTH/gate/ups-1", wire, retain=True)
        found = hear(broker, "%23", deadline=20)
    assert found.profile == "sparkplug-b"
    assert found.points == {"battery.charge": 88.0}
    assert found.evidence[1] == "DBIRTH tells its metrics"


@pytest.mark.parametrize("topic", ["%23", "home/rack-1/%23", "home/rack-1"])
def test_a_bridge_is_recognized_by_its_topics_whatever_comes_first(broker, topic):
    said = {"device/model": "M7", "ups/status": "OL", "battery/charge": "77", "driver/name": "x"}
    with Publisher(broker.url) as publisher:
        for path, value in said.items():
            publisher.publish(f"home/rack-1/{path}", value, retain=True)
        found = hear(broker, topic, deadline=20)
    assert found.profile == "nut-mqtt"
    assert found.points["battery.charge"] == 77.0
    assert found.points["status.on_line"] is True
    assert found.identity.model == "M7"
    assert "the broker had kept some of it" in found.evidence[1]


def test_a_unit_that_says_nothing_is_a_timeout_in_one_line(broker):
    with pytest.raises(ReadFailed, match="nobody published a reading") as failed:
        hear(broker, "ridethrough/v1/ups-1/%23", deadline=0.5)
    assert failed.value.kind is Failure.TIMEOUT


def test_a_wrong_password_is_told(broker):
    address = parse_address(f"mqtt://someone:wrong@127.0.0.1:{broker.port}/ridethrough/v1/u/%23")
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(overhear(address, now=lambda: START, deadline=5))
    assert failed.value.kind is Failure.AUTH
