"""A unit that publishes, overheard at a real broker."""

import asyncio
import json
import threading

import pytest

from collector.address import parse_address
from collector.overhear import overhear
from collector.raw import Failure, ReadFailed
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
        profile, identity, points, problems = hear(broker, "ridethrough/v1/ups-1/%23", deadline=20)
    finally:
        stop.set()
        speaking.join()
    assert profile == "ridethrough-json"
    assert (identity.model, identity.serial) == ("M1", "S1")
    assert points == {"battery.charge": 97.5, "status.on_battery": False}
    assert any("ups.load" in problem for problem in problems)


def test_a_unit_that_says_nothing_is_a_timeout_in_one_line(broker):
    with pytest.raises(ReadFailed, match="nobody published a reading") as failed:
        hear(broker, "ridethrough/v1/ups-1/%23", deadline=0.5)
    assert failed.value.kind is Failure.TIMEOUT


def test_a_wrong_password_is_told(broker):
    address = parse_address(f"mqtt://someone:wrong@127.0.0.1:{broker.port}/ridethrough/v1/u/%23")
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(overhear(address, now=lambda: START, deadline=5))
    assert failed.value.kind is Failure.AUTH
