"""The listener against real brokers: the embedded one (MQTT 3.1.1) and Mosquitto (both)."""

import datetime as dt
import ipaddress
import json
import logging
import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collector import ear, listen
from collector.address import AddressInvalid
from collector.ear import DeviceEar
from collector.listen import Listener
from collector.store import KnownDevice
from service_api.embedded_broker import EmbeddedBroker
from tests.collector.brokers import Mosquitto, Publisher, until

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class Fixture:
    """A broker with its address and the MQTT version to speak to it."""

    def __init__(self, broker, version):
        self.broker, self.url, self.version = broker, broker.url, version


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("mosquitto-3", marks=pytest.mark.mosquitto),
        pytest.param("mosquitto-5", marks=pytest.mark.mosquitto),
    ]
)
def any_broker(request, tmp_path):
    if request.param == "embedded":
        with EmbeddedBroker(tmp_path) as broker:
            yield Fixture(broker, 3)
    else:
        with Mosquitto(tmp_path) as broker:
            yield Fixture(broker, int(request.param[-1]))


@pytest.fixture(params=[3, 5])
def mosquitto(request, tmp_path):
    with Mosquitto(tmp_path) as broker:
        yield Fixture(broker, request.param)


class Ingest:
    """Takes arrivals up to a bound and commits them when told, or at once."""

    def __init__(self, capacity=10_000, *, at_once=False):
        self.capacity = capacity
        self.at_once = at_once
        self.waiting = []
        self.taken = []

    def offer(self, arrival):
        if len(self.waiting) >= self.capacity:
            return False
        self.waiting.append(arrival)
        self.taken.append(arrival)
        if self.at_once:
            self.commit()
        return True

    def commit(self, most=None):
        batch = self.waiting[:most]
        for arrival in batch:
            if arrival.acknowledge is not None:
                arrival.acknowledge()
        del self.waiting[: len(batch)]

    @property
    def charges(self):
        readings = [arrival.reading for arrival in self.taken if arrival.reading]
        return [reading.points.get("battery_charge") for reading in readings]

    @property
    def reasons(self):
        return [one.reason for arrival in self.taken for one in arrival.rejections]


def known(key="u1", number=1, **more):
    address = f"mqtt://broker/ridethrough/v1/{key}"
    return KnownDevice(number, key, "mqtt", address, None, None, 30.0, 2.0, False, **more)


def reading(number):
    at = (NOW + timedelta(milliseconds=number)).isoformat()
    return json.dumps({"at": at, "points": {"battery.charge": number}})


@contextmanager
def listening(where, ingest, *, devices=None, load=None, connected=True, **options):
    devices = [known()] if devices is None else devices
    ear = DeviceEar(load=load or (lambda: devices))
    options = {"version": where.version, "client_id": "hub", "ear": ear} | options
    listener = Listener(where.url, offer=ingest.offer, now=lambda: NOW, **options)
    listener.start()
    try:
        if connected:
            until(lambda: listener.is_connected)
        yield listener
    finally:
        listener.stop()


def break_line(listener):
    listener._client.socket().shutdown(socket.SHUT_RDWR)


def test_what_units_say_arrives_and_is_understood(any_broker):
    ingest = Ingest(at_once=True)
    with Publisher(any_broker.url) as unit:
        unit.say("u1/identity", '{"model": "Model A", "serial": "S1"}', retain=True)
        unit.say("u1/availability", "online", retain=True)
        with listening(any_broker, ingest) as listener:
            until(lambda: len(ingest.taken) == 2)
            unit.say("u1/reading", reading(50))
            unit.say("u1/reading", reading(51), qos=0)
            until(lambda: ingest.charges == [50, 51])
            unit.say("u1/availability", "offline", retain=True)
            until(lambda: len(ingest.taken) == 5)
            assert listener.counters.messages == 5
        identities = [arrival.identity for arrival in ingest.taken if arrival.identity]
        assert [identity.serial for identity in identities] == ["S1"]
        stays = [arrival.reading.stays_valid_seconds for arrival in ingest.taken if arrival.reading]
        assert stays == [None, None, 0]
        assert not listener.is_connected


def test_hostile_messages_are_refused_one_by_one_and_the_next_is_heard(any_broker):
    ingest = Ingest()
    hostile = {
        b"": "bad_json",
        b"{": "bad_json",
        b"\xff" * 50: "bad_json",
        b'{"at": "2026-03-02T08:00:00Z", "points": {"ups.load": NaN}}': "not_finite",
        b"[" * 100_000: "too_deep",
        b" " * 300_000: "too_large",
        b'{"points": {}}': "no_time",
    }
    with listening(any_broker, ingest) as listener, Publisher(any_broker.url) as unit:
        for payload in hostile:
            unit.say("u1/reading", payload)
        unit.say("u1/reading", reading(50))
        until(lambda: ingest.charges == [50])
        assert ingest.reasons == list(hostile.values())
        assert listener.counters.errors == 0


def test_what_is_published_while_we_are_away_arrives_in_order(any_broker):
    ingest = Ingest(at_once=True)
    with listening(any_broker, ingest), Publisher(any_broker.url) as unit:
        unit.say("u1/reading", reading(1))
        until(lambda: ingest.charges == [1])
    with Publisher(any_broker.url) as unit:
        for number in range(2, 15):
            unit.say("u1/reading", reading(number))
    with listening(any_broker, ingest):
        until(lambda: ingest.charges == list(range(1, 15)))


@pytest.mark.mosquitto
@pytest.mark.parametrize("how", ["line", "process"])
def test_what_was_not_acknowledged_comes_again_and_the_rest_does_not(mosquitto, how):
    ingest = Ingest()
    with Publisher(mosquitto.url) as unit, listening(mosquitto, ingest) as listener:
        for number in range(1, 11):
            unit.say("u1/reading", reading(number))
        until(lambda: len(ingest.taken) == 10)
        ingest.commit(4)
        unit.say("u1/reading", reading(11))
        until(lambda: len(ingest.taken) == 11)
        lost, ingest.taken = ingest.waiting, []
        ingest.waiting = []
        if how == "line":
            break_line(listener)
            until(lambda: ingest.charges == list(range(5, 12)))
            assert listener.counters.redelivered == 7
    if how == "process":
        with listening(mosquitto, ingest):
            until(lambda: ingest.charges == list(range(5, 12)))
    for arrival in lost:
        arrival.acknowledge()  # of a connection that is gone: says nothing


@pytest.mark.mosquitto
def test_an_acknowledgement_of_a_lost_session_is_not_taken_for_another_message(mosquitto):
    ingest = Ingest()
    with listening(mosquitto, ingest) as listener:
        with Publisher(mosquitto.url) as unit:
            unit.say("u1/reading", reading(1))
            until(lambda: ingest.charges == [1])
        mosquitto.broker.stop()
        until(lambda: not listener.is_connected)
        mosquitto.broker.start()
        until(lambda: listener.is_connected)
        with Publisher(mosquitto.url) as unit:
            unit.say("u1/reading", reading(2))
            until(lambda: ingest.charges == [1, 2])
            ingest.waiting[0].acknowledge()
            ingest.waiting.clear()
            break_line(listener)
            until(lambda: ingest.charges == [1, 2, 2])


@pytest.mark.mosquitto
def test_a_full_queue_holds_the_broker_back_and_nothing_is_lost(mosquitto):
    ingest = Ingest(capacity=3)
    with (
        listening(mosquitto, ingest, receive_maximum=8) as listener,
        Publisher(mosquitto.url) as unit,
    ):
        for number in range(1, 101):
            unit.say("u1/reading", reading(number % 100))
        until(lambda: listener.counters.queue_full)
        assert len(ingest.taken) == 3
        while len(ingest.taken) < 100 or ingest.waiting:
            until(lambda: ingest.waiting)
            ingest.commit(2)
    assert ingest.charges == [number % 100 for number in range(1, 101)]
    assert listener.counters.redelivered == 0


@pytest.mark.mosquitto
def test_no_more_than_the_receive_maximum_waits_for_its_commit(tmp_path):
    ingest = Ingest()
    with Mosquitto(tmp_path) as broker:
        where = Fixture(broker, 5)
        with listening(where, ingest, receive_maximum=8), Publisher(broker.url) as unit:
            for number in range(50):
                unit.say("u1/reading", reading(number))
            unit.say("u1/availability", "online", qos=0)  # needs no commit, so it overtakes
            until(lambda: len(ingest.taken) == 9)
            assert ingest.charges == list(range(8))
            while len(ingest.taken) < 51 or ingest.waiting:
                ingest.commit()
        assert ingest.charges == list(range(50))


def test_stopping_while_the_queue_is_full_does_not_hang(any_broker):
    ingest = Ingest(capacity=0)
    with listening(any_broker, ingest) as listener, Publisher(any_broker.url) as unit:
        unit.say("u1/reading", reading(1))
        until(lambda: listener.counters.queue_full)
    assert ingest.taken == []
    assert not [one for one in threading.enumerate() if one.name.startswith("paho-mqtt-client-hub")]


@pytest.mark.mosquitto
def test_a_broker_that_restarts_is_found_again_and_told_of_once(mosquitto, caplog):
    caplog.set_level(logging.INFO, "collector.listen")
    ingest = Ingest()
    with listening(mosquitto, ingest) as listener:
        mosquitto.broker.stop()
        until(lambda: not listener.is_connected)
        mosquitto.broker.start()
        until(lambda: listener.is_connected)
        with Publisher(mosquitto.url) as unit:
            unit.say("u1/reading", reading(1))
        until(lambda: ingest.charges == [1])
    told = [record.getMessage().split(" 127.0.0.1")[0] for record in caplog.records]
    assert told == ["listening to the broker", "the broker", "listening to the broker"]


def test_a_wrong_password_is_told_once_and_does_not_count_as_connected(any_broker, caplog):
    any_broker.url = any_broker.url.replace(any_broker.url.split(":")[2].split("@")[0], "wrong")
    with listening(any_broker, Ingest(), connected=False) as listener:
        until(lambda: "refuses us" in caplog.text or "is lost" in caplog.text)
        assert not listener.is_connected
    assert len(caplog.records) == 1


def test_an_address_where_nobody_listens_is_told_once(caplog):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = type("Where", (), {"url": f"mqtt://127.0.0.1:{port}", "version": 5})
    with listening(where, Ingest(), connected=False) as listener:
        until(lambda: "cannot be reached" in caplog.text)
        assert not listener.is_connected


@pytest.mark.parametrize(
    "url", ["", "broker", "http://broker", "snmp://h", "mqtt://", "mqtt://h:0"]
)
def test_an_address_that_is_no_broker_is_refused_at_once(url):
    with pytest.raises(AddressInvalid):
        Listener(
            url, ear=DeviceEar(load=list), offer=lambda _: True, now=lambda: NOW, client_id="hub"
        )


def test_an_unknown_device_is_quarantined_once_and_known_when_registered(any_broker, monkeypatch):
    monkeypatch.setattr(ear, "_REFRESH_ON_MISS_SECONDS", 0.0)
    devices, ingest = [known()], Ingest()
    with (
        listening(any_broker, ingest, devices=devices) as listener,
        Publisher(any_broker.url) as unit,
    ):
        for number in range(5):
            unit.say("u2/reading", reading(number))
        until(lambda: listener.counters.messages == 5)
        assert ingest.reasons == ["unknown_device"]
        devices.append(known("u2", 2))
        unit.say("u2/reading", reading(50))
        until(lambda: ingest.charges == [50])
        assert listener._ear.strangers["unknown_device"] == 4


def test_while_the_devices_cannot_be_loaded_messages_wait(any_broker, monkeypatch):
    monkeypatch.setattr(ear, "_LOAD_AGAIN_SECONDS", 0.01)
    tries, ingest = [], Ingest()

    def load():
        tries.append(None)
        if len(tries) < 4:
            raise OSError("the database is away")
        return [known()]

    with listening(any_broker, ingest, load=load), Publisher(any_broker.url) as unit:
        unit.say("u1/reading", reading(1))
        until(lambda: ingest.charges == [1])
    assert len(tries) == 4
    assert ingest.reasons == []


def test_a_unit_whose_end_was_told_before_a_restart_is_not_ended_again(any_broker):
    devices = [
        known("u1", 1, observed_at=NOW),
        known("u2", 2, observed_at=NOW, is_offline=True),
    ]
    ingest = Ingest()
    with Publisher(any_broker.url) as unit:
        for key in ("u1", "u2"):
            unit.say(f"{key}/availability", "offline", retain=True)
        with listening(any_broker, ingest, devices=devices):
            until(lambda: len(ingest.taken) == 2)
    ended = [arrival.reading for arrival in ingest.taken if arrival.reading]
    assert [(one.device_id, one.observed_at) for one in ended] == [
        (1, NOW + timedelta(milliseconds=1))
    ]


def test_signs_of_life_are_given_only_while_connected(tmp_path, monkeypatch):
    monkeypatch.setattr(listen, "BEAT_SECONDS", 0.01)
    beats, alive = [], threading.Event()

    def beat():
        beats.append(listener.is_connected)
        alive.set()
        raise OSError("the database is away")

    with EmbeddedBroker(tmp_path) as broker:
        where = Fixture(broker, 3)
        with listening(where, Ingest(), on_alive=beat) as listener:
            until(lambda: len(beats) > 3)
            broker.stop()
            until(lambda: not listener.is_connected)
            count = len(beats)
            alive.clear()
            assert not alive.wait(0.2)
            assert len(beats) <= count + 1


def certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime(2024, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36_500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


# paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.mosquitto
def test_tls_is_spoken_and_a_certificate_of_nobody_is_refused(tmp_path, caplog):
    cert, key = certificate(tmp_path)
    settings = f"certfile {cert}\nkeyfile {key}"
    with Mosquitto(tmp_path, settings=settings, tls=True) as broker:
        where = Fixture(broker, 5)
        trusting = ssl.create_default_context(cafile=str(cert))
        with listening(where, Ingest(), tls=trusting) as listener:
            assert listener.is_connected
        with listening(where, Ingest(), connected=False) as listener:
            until(lambda: "cannot be reached" in caplog.text)
            assert not listener.is_connected
