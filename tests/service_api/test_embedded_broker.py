import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest

from service_api.embedded_broker import EmbeddedBroker
from service_api.embedded_files import EmbeddedFailed

DEADLINE_SECONDS = 20


@pytest.fixture
def broker(tmp_path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path) as running:
        yield running


class Client:
    """A paho client that keeps what it hears and can be waited for."""

    def __init__(self, url: str, *, name: str, password: str | None = None, clean: bool = True):
        self.where = urlsplit(url)
        self.heard: list[mqtt.MQTTMessage] = []
        self.changed = threading.Condition()
        self.reason: mqtt.ReasonCode | None = None
        self.subscribed = False
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=name,
            clean_session=clean,
            protocol=mqtt.MQTTv311,
        )
        self.paho.username_pw_set(self.where.username, password or self.where.password)
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = self._on_subscribe
        self.paho.on_message = self._on_message

    def __enter__(self):
        self.paho.connect(self.where.hostname, self.where.port)
        self.paho.loop_start()
        self.wait(lambda: self.reason is not None)
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.paho.loop_stop()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_SECONDS)

    def subscribe(self, topic):
        self.paho.subscribe(topic, qos=1)
        self.wait(lambda: self.subscribed)

    def publish(self, topic, payload, *, retain=False):
        self.paho.publish(topic, payload, qos=1, retain=retain).wait_for_publish(DEADLINE_SECONDS)

    def _on_connect(self, _client, _data, _flags, reason, _properties):
        with self.changed:
            self.reason = reason
            self.changed.notify_all()

    def _on_subscribe(self, *_):
        with self.changed:
            self.subscribed = True
            self.changed.notify_all()

    def _on_message(self, _client, _data, message):
        with self.changed:
            self.heard.append(message)
            self.changed.notify_all()


def test_a_message_arrives_once_at_quality_1(broker):
    with Client(broker.url, name="listener") as listener, Client(broker.url, name="unit") as unit:
        listener.subscribe("ridethrough/v1/+/reading")
        for number in range(50):
            unit.publish(f"ridethrough/v1/unit-{number}/reading", str(number))
        listener.wait(lambda: len(listener.heard) >= 50)
        assert sorted(int(message.payload) for message in listener.heard) == list(range(50))
        assert {message.qos for message in listener.heard} == {1}


def test_a_kept_session_gets_what_came_while_it_was_away(broker):
    with Client(broker.url, name="daemon", clean=False) as daemon:
        daemon.subscribe("ridethrough/v1/#")
    with Client(broker.url, name="unit") as unit:
        unit.publish("ridethrough/v1/unit-1/reading", "while away")
    with Client(broker.url, name="daemon", clean=False) as daemon:
        daemon.wait(lambda: len(daemon.heard) >= 1)
        assert daemon.heard[0].payload == b"while away"


def test_a_retained_message_is_given_to_whom_subscribes_later(broker):
    with Client(broker.url, name="unit") as unit:
        unit.publish("ridethrough/v1/unit-1/availability", "online", retain=True)
    with Client(broker.url, name="listener") as listener:
        listener.subscribe("ridethrough/v1/+/availability")
        listener.wait(lambda: len(listener.heard) >= 1)
        assert listener.heard[0].payload == b"online"
        assert listener.heard[0].retain


def test_a_unit_that_vanishes_leaves_its_last_will(broker):
    with Client(broker.url, name="listener") as listener:
        listener.subscribe("ridethrough/v1/+/availability")
        unit = Client(broker.url, name="unit")
        unit.paho.will_set("ridethrough/v1/unit-1/availability", "offline", qos=1, retain=True)
        with unit:
            unit.paho.socket().shutdown(socket.SHUT_RDWR)
            listener.wait(lambda: len(listener.heard) >= 1)
        assert listener.heard[0].payload == b"offline"


def test_a_wrong_password_is_refused(broker):
    stranger = Client(broker.url, name="stranger", password="guess")
    stranger.paho.on_disconnect = lambda client, *_: client.disconnect()
    with stranger:
        assert stranger.reason.is_failure


def test_noise_before_the_first_packet_does_not_stop_the_broker(broker):
    with socket.create_connection(("127.0.0.1", broker.port), DEADLINE_SECONDS) as noise:
        noise.sendall(b"\xff\xff\xff\xff\xff GET / HTTP/1.1\r\n\r\n")
        noise.shutdown(socket.SHUT_WR)
        while noise.recv(1024):
            pass
    with Client(broker.url, name="unit") as unit:
        assert not unit.reason.is_failure


def test_it_listens_on_loopback_alone_and_stops_with_clients_connected(tmp_path):
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    silent = socket.create_connection(("127.0.0.1", broker.port), DEADLINE_SECONDS)
    with silent, Client(broker.url, name="unit") as unit:
        unit.paho.on_disconnect = lambda client, *_: client.disconnect()
        broker.stop()
        assert silent.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", broker.port), DEADLINE_SECONDS)
    assert "mqtt-broker" not in {thread.name for thread in threading.enumerate()}


def test_a_taken_port_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broker = EmbeddedBroker(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(
            EmbeddedFailed, match=r"^the embedded MQTT broker cannot start: .*in use"
        ):
            broker.start()


def test_the_password_stays_the_same_from_start_to_start(tmp_path):
    passwords = set()
    for _ in range(2):
        with EmbeddedBroker(tmp_path) as running:
            passwords.add(urlsplit(running.url).password)
    assert len(passwords) == 1
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
