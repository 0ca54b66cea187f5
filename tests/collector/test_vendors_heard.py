"""Vendors' topics at real brokers: subscribed to as devices come and go, heard as they publish."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from collector import ear
from collector.ear import DeviceEar
from collector.listen import Listener
from collector.readers.sparkplug import (
    DOUBLE,
    INT64,
    Metric,
    Payload,
    decode_payload,
    encode_payload,
)
from collector.store import KnownDevice
from tests.collector.brokers import Mosquitto, Publisher, until
from tests.collector.test_listener import Fixture, Ingest, any_broker, break_line, mosquitto

__all__ = ["any_broker", "mosquitto"]

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(ear, "_FIRST_PICTURE_SECONDS", 0.2)
    monkeypatch.setattr(ear, "_REFRESH_SECONDS", 0.2)


def known(number, topic, profile=None, *, poll_seconds=0.3, **more):
    address = f"mqtt://broker/{topic}"
    key = f"u{number}"
    return KnownDevice(
        number, key, "mqtt", address, None, profile, poll_seconds, 2.0, False, **more
    )


class Hub:
    """A listener with its ear, what it took in, and a clock that runs."""

    def __init__(self, where, devices, **options):
        self.ingest = Ingest(at_once=options.pop("at_once", True))
        most = {"receive_maximum": options.pop("receive_maximum", 100)}
        self.ear = DeviceEar(load=lambda: devices, **options)
        self.start = time.monotonic()
        self.listener = Listener(
            where.url,
            ear=self.ear,
            offer=self.ingest.offer,
            now=lambda: NOW + timedelta(seconds=time.monotonic() - self.start),
            client_id="hub",
            version=where.version,
            **most,
        )

    def __enter__(self):
        self.listener.start()
        until(lambda: self.listener.is_connected)
        return self

    def __exit__(self, *_):
        self.listener.stop()

    def subscribed(self, *filters):
        until(lambda: set(filters) <= self.listener._subscribed)

    def readings(self, number):
        return [
            dict(one.reading.points)
            for one in self.ingest.taken
            if one.reading and one.reading.device_id == number
        ]


def births(load, *, seq=0, alias=7):
    node = Payload(1, seq, (Metric("bdSeq", None, None, INT64, 0),))
    device = Payload(2, seq + 1, (Metric("ups/load", alias, None, DOUBLE, load),))
    return encode_payload(node), encode_payload(device)


def data(load, seq, alias=7):
    return encode_payload(Payload(10 + seq, seq, (Metric(None, alias, None, DOUBLE, load),)))


def test_units_of_several_families_are_heard_at_one_broker(any_broker):
    devices = [
        known(1, "ridethrough/v1/u1/+"),
        known(2, "home/rack/%23"),
        known(3, "spBv1.0/plant/+/gate/ups"),
        known(4, "site/mbdetnrs/2.0"),
    ]
    with Hub(any_broker, devices) as hub, Publisher(any_broker.url) as unit:
        hub.subscribed("home/rack/#", "spBv1.0/plant/+/gate/#", "site/mbdetnrs/2.0/#")
        unit.say("u1/reading", f'{{"at": "{NOW.isoformat()}", "points": {{"ups.load": 1}}}}')
        for path, value in {"ups/model": "M", "ups/status": "OL", "battery/charge": "77"}.items():
            unit.publish(f"home/rack/{path}", value)
        born, told = births(3.0)
        unit.publish("spBv1.0/plant/NBIRTH/gate", born, qos=0)
        unit.publish("spBv1.0/plant/DBIRTH/gate/ups", told, qos=0)
        unit.publish("spBv1.0/plant/DDATA/gate/ups", data(4.0, 2), qos=0)
        measures = "powerDistributions/1/outputs/1/measures"
        unit.publish(f"site/mbdetnrs/2.0/{measures}", '{"percentLoad": 5}')
        until(lambda: all(hub.readings(number) for number in (1, 2, 3, 4)))
        until(lambda: len(hub.readings(3)) == 2)
        assert hub.readings(1) == [{"ups_load": 1.0}]
        assert hub.readings(2)[0]["battery_charge"] == 77.0
        assert hub.readings(2)[0]["status_on_line"] is True
        assert hub.readings(3) == [{"ups_load": 3.0}, {"ups_load": 4.0}]
        assert hub.readings(4) == [{"ups_load": 5.0}]
        profiles = {one.device_key: one.profile for one in hub.ingest.taken if one.profile}
        assert profiles == {"u2": "nut-mqtt", "u3": "sparkplug-b", "u4": "eaton-mqtt"}
        (model,) = [one.identity.model for one in hub.ingest.taken if one.identity]
        assert model == "M"
        assert hub.listener.counters.errors == 0


def test_what_is_registered_is_subscribed_to_and_what_is_removed_no_more(any_broker):
    devices = []
    with Hub(any_broker, devices) as hub, Publisher(any_broker.url) as unit:
        devices.append(known(1, "home/rack/%23", "nut-mqtt"))
        hub.subscribed("home/rack/#")

        def heard():
            unit.publish("home/rack/ups/load", "20")
            return hub.readings(1)

        until(heard)
        devices.clear()
        until(lambda: "home/rack/#" not in hub.listener._subscribed)
        # What follows on the line proves that nothing of the removed unit is still delivered.
        unit.publish("home/rack/ups/load", "30")
        seen = hub.listener.counters.messages
        unit.say("nobody/reading", "{}")
        until(lambda: hub.listener.counters.messages > seen)
        assert hub.ear.strangers["unknown_topic"] == 0


def test_values_repeated_unchanged_keep_the_unit_alive_in_its_rhythm(any_broker):
    devices = [known(1, "home/rack/%23", "nut-mqtt")]
    with Hub(any_broker, devices) as hub, Publisher(any_broker.url) as unit:
        hub.subscribed("home/rack/#")

        def told_often():
            unit.publish("home/rack/ups/load", "20")
            return len(hub.readings(1)) >= 4

        until(told_often)
        assert hub.listener.counters.messages > len(hub.readings(1))
        times = [one.reading.observed_at for one in hub.ingest.taken if one.reading]
        assert times == sorted(set(times))


@pytest.mark.mosquitto
@pytest.mark.parametrize("version", [3, 5])
def test_a_message_of_several_instants_is_acknowledged_after_all_are_stored(tmp_path, version):
    devices = [known(1, "spBv1.0/plant/+/gate/ups", "sparkplug-b")]
    # One message at a time: the next comes only when the one before is acknowledged.
    with Mosquitto(tmp_path, settings="max_inflight_messages 1") as broker:
        where = Fixture(broker, version)
        with (
            Hub(where, devices, at_once=False, receive_maximum=1) as hub,
            Publisher(broker.url) as unit,
        ):
            hub.subscribed("spBv1.0/plant/+/gate/#")
            past = [
                Metric("ups/load", None, 1_000 + at, DOUBLE, float(at), is_historical=True)
                for at in range(3)
            ]
            payload = encode_payload(Payload(9_000, 5, tuple(past)))
            unit.publish("spBv1.0/plant/DDATA/gate/ups", payload)
            unit.publish("spBv1.0/plant/DDATA/gate/ups", data(4.0, 6))
            until(lambda: len(hub.ingest.taken) == 3)
            hub.ingest.commit(2)
            hub.ingest.taken, hub.ingest.waiting = [], []
            hub.ear._nodes.clear()
            break_line(hub.listener)
            until(lambda: len(hub.ingest.taken) == 3)  # it comes again, whole
            assert hub.ingest.reasons == []
            hub.ingest.commit()
            until(lambda: hub.ingest.reasons == ["no_birth"])


@pytest.mark.mosquitto
@pytest.mark.parametrize("asks", [True, False])
def test_an_edge_node_is_asked_for_its_birth_only_if_that_is_wanted(mosquitto, asks):
    heard = []
    devices = [known(1, "spBv1.0/plant/+/gate/ups", "sparkplug-b")]
    with (
        Hub(mosquitto, devices, asks_for_births=asks) as hub,
        Publisher(mosquitto.url) as unit,
    ):
        hub.subscribed("spBv1.0/plant/+/gate/#")
        unit._client.on_message = lambda _, __, said: heard.append(said)
        unit._client.subscribe("spBv1.0/plant/NCMD/gate")
        for seq in (5, 6):
            unit.publish("spBv1.0/plant/DDATA/gate/ups", data(4.0, seq))
        until(lambda: hub.ingest.reasons == ["no_birth"])
        if not asks:
            unit.publish("spBv1.0/plant/NCMD/gate", b"end")  # a mark on the same way
        until(lambda: heard)
        if asks:
            (wish,) = decode_payload(heard[0].payload).metrics
            assert (wish.name, wish.value) == ("Node Control/Rebirth", True)
        else:
            assert [said.payload for said in heard] == [b"end"]
        assert hub.ear.births_asked == asks
        born, told = births(3.0)
        unit.publish("spBv1.0/plant/NBIRTH/gate", born)
        unit.publish("spBv1.0/plant/DBIRTH/gate/ups", told)
        until(lambda: hub.readings(1))


def test_unregistered_devices_of_a_node_are_told_once(any_broker):
    devices = [known(1, "spBv1.0/plant/+/gate/ups", "sparkplug-b")]
    with Hub(any_broker, devices) as hub, Publisher(any_broker.url) as unit:
        hub.subscribed("spBv1.0/plant/+/gate/#")
        for seq in range(3):
            unit.publish("spBv1.0/plant/DDATA/gate/other", data(4.0, seq))
        unit.publish("spBv1.0/plant/DDATA/gate/ups", data(4.0, 3))
        until(lambda: hub.ingest.reasons == ["unknown_device", "no_birth"])
        assert hub.ingest.taken[0].device_key == "plant/gate/other"


def test_thousands_of_devices_are_subscribed_to(any_broker):
    devices = [known(number, f"site-{number}/ups/%23", "nut-mqtt") for number in range(3000)]
    with Hub(any_broker, devices) as hub, Publisher(any_broker.url) as unit:
        until(lambda: len(hub.listener._subscribed) == 3003)
        until(lambda: not hub.listener._asked)
        unit.publish("site-2999/ups/ups/load", "20")
        until(lambda: hub.readings(2999))
