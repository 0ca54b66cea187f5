"""The uplink against a real broker: nothing leaves the disk before somebody has it."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import paho.mqtt.client as mqtt
import pytest

from collector.address import AddressInvalid
from collector.arrival import Arrival
from collector.skew import HeardSkew
from collector.spool import Spool
from collector.uplink import Self, Uplink, broker_of
from collector.uplink_wire import decode
from rules.facts import Reading
from tests.collector.brokers import Mosquitto, until

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
EVERYTHING = "ridethrough/v1/uplink/#"
pytestmark = pytest.mark.mosquitto


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path, settings="max_queued_messages 0") as running:
        yield running


class Center:
    """A worker that has everything in a session of its own, and answers beats."""

    def __init__(self, broker, *, answers_at=None) -> None:
        self.messages = []
        self._answers_at = answers_at
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "center", protocol=mqtt.MQTTv5)
        self._client.username_pw_set("hub", "hush")
        self._client.on_message = self._hear
        self._client.on_connect = lambda client, *_: client.subscribe(EVERYTHING, qos=1)
        self._port = broker.port
        self.is_subscribed = False
        self._client.on_subscribe = lambda *_: setattr(self, "is_subscribed", True)

    def __enter__(self):
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        until(lambda: self.is_subscribed)
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, client, _, message) -> None:
        self.messages.append((message.topic, bytes(message.payload)))
        if message.topic.endswith("/beat") and self._answers_at is not None:
            told = json.loads(message.payload)
            answer = {"life": told["life"], "number": told["number"], "at": self._answers_at()}
            client.publish(message.topic.replace("/beat", "/clock"), json.dumps(answer))

    def said(self, ending: str) -> list[bytes]:
        return [payload for topic, payload in self.messages if topic.endswith(ending)]

    @property
    def loads(self) -> list[float]:
        told = [
            decode(one, received_at=AT, skew_of=lambda _: None) for one in self.said("/reading")
        ]
        return [one.reading.points["ups_load"] for one in told]


@contextmanager
def uplink(broker, folder, **more):
    spool = Spool(folder, limit_bytes=1_000_000)
    options = {"who": Self("site-3", "site-3", "life"), "now": lambda: AT} | more
    made = Uplink(broker_of(broker.url), spool=spool, **options)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        spool.close()


def arrival(load: int, key="ups-1") -> Arrival:
    at = AT + timedelta(milliseconds=load)
    return Arrival(key, at, "snmp", reading=Reading(0, at, at, {"ups_load": float(load)}))


@pytest.mark.parametrize("version", [3, 5])
def test_what_is_read_arrives_in_order_and_leaves_the_disk(broker, tmp_path, version):
    with Center(broker) as center, uplink(broker, tmp_path / "spool", version=version) as site:
        for load in range(100):
            assert site.offer(arrival(load))
        until(lambda: len(center.said("/reading")) == 100)
        assert center.loads == list(range(100))
        until(lambda: site.waiting == 0)
        assert site.counters.acknowledged == 100
    until(lambda: center.said("/availability")[-1] == b"offline")
    assert center.said("/availability")[0] == b"online"


def test_what_nobody_takes_stays_on_disk(broker, tmp_path, caplog):
    """With MQTT 5 a broker says that nobody subscribes: it would throw the message away."""
    with uplink(broker, tmp_path / "spool") as site:
        site.offer(arrival(1))
        until(lambda: site.counters.not_taken)
        assert site.waiting == 1
        assert "nobody who takes our messages" in caplog.text
    with Center(broker) as center, uplink(broker, tmp_path / "spool"):
        until(lambda: center.loads == [1])


def test_after_a_cut_the_old_comes_before_the_new(broker, tmp_path):
    with uplink(broker, tmp_path / "spool") as site:
        until(lambda: site.counters.connects == 1)
        broker.stop()
        for load in range(50):
            site.offer(arrival(load))
        until(lambda: site.waiting == 50)
        broker.start()
        with Center(broker) as center:
            for load in range(50, 60):
                site.offer(arrival(load))
            until(lambda: site.waiting == 0)
            assert sorted(set(center.loads)) == list(range(60))
            once = list(dict.fromkeys(center.loads))
            assert once == sorted(once)


def test_a_beat_tells_of_clock_and_spool_and_its_answer_sets_the_clock_right(broker, tmp_path):
    behind = (AT - timedelta(seconds=30)).isoformat()
    with (
        Center(broker, answers_at=lambda: behind) as center,
        uplink(broker, tmp_path / "spool") as site,
    ):
        until(lambda: site.skew is not None)
        assert site.skew == pytest.approx(30, abs=1)
        beat = json.loads(center.said("/beat")[0])
        assert (beat["group"], beat["life"], beat["spooled"], beat["dropped"]) == (
            "site-3",
            "life",
            0,
            0,
        )
        told = HeardSkew().hear(datetime.fromisoformat(beat["at"]), AT)
        assert told == 0.0
        site.offer(arrival(1))
        until(lambda: center.said("/reading"))
        document = json.loads(center.said("/reading")[0])
        assert document["skew"] == pytest.approx(30, abs=1)
        assert document["collector"] == "site-3"


def test_what_cannot_be_written_keeps_nothing_else_back(broker, tmp_path, caplog):
    odd = Arrival("ups-1", AT, "snmp", reading=Reading(0, AT, AT, {"no_such_point": 1.0}))
    with uplink(broker, tmp_path / "spool") as site:
        site.offer(odd)
        site.offer(arrival(1))
        until(lambda: site.waiting == 1)
        assert site.counters.not_written == 1
        assert "cannot be written" in caplog.text


def test_what_is_nobodys_is_not_kept(broker, tmp_path):
    with uplink(broker, tmp_path / "spool") as site:
        assert site.offer(arrival(1, key=""))
        assert site.waiting == 0


def test_a_broker_is_an_mqtt_address():
    assert broker_of("mqtts://u:p@h").port == 8883
    with pytest.raises(AddressInvalid):
        broker_of("https://h")
