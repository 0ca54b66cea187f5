import asyncio
import json
import threading
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest

from device_sims.mqtt_publisher import Broker, LinkLost, MqttLink
from device_sims.replay import serve_recording
from device_sims.scenario import UNIT_FAULTS, WIRE_FAULTS, load_scenario
from device_sims.serve import serving
from device_sims.wire import WireFault
from service_api.embedded_broker import EmbeddedBroker
from tests.device_sims.sims import START, scenario

DEADLINE = 20
ONE = "ups-1 ridethrough-json mqtt tower-3k"
TOPIC = "ridethrough/v1/ups-1"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running.url


class Listener:
    """A subscriber in a thread of its own that keeps what it hears."""

    def __init__(self, url, name, *, with_retained=False):
        self.heard = []
        self._with_retained = with_retained
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        where = urlsplit(url)
        self._paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv311
        )
        self._paho.username_pw_set(where.username, where.password)
        self._paho.on_connect = lambda c, *_: c.subscribe("ridethrough/v1/#", qos=1)
        self._paho.on_subscribe = lambda *_: self._subscribed.set()
        self._paho.on_message = self._on_message
        self._paho.connect(where.hostname, where.port)

    def __enter__(self):
        self._paho.loop_start()
        assert self._subscribed.wait(DEADLINE)
        return self

    def __exit__(self, *_):
        self._paho.disconnect()
        self._paho.loop_stop()

    def _on_message(self, _, __, message):
        if message.retain and not self._with_retained:
            return
        with self._changed:
            self.heard.append(message)
            self._changed.notify_all()

    def said(self, leaf):
        return [bytes(m.payload) for m in self.heard if m.topic.endswith(f"/{leaf}")]

    async def until(self, condition):
        """Wait, off the loop, until what was heard fulfils a condition."""

        def wait():
            with self._changed:
                return self._changed.wait_for(lambda: condition(self), DEADLINE)

        assert await asyncio.to_thread(wait), [(m.topic, m.payload) for m in self.heard]


def hearing(broker, request, *, with_retained=False):
    return Listener(broker, request.node.name[:60], with_retained=with_retained)


def readings(listener):
    return [json.loads(payload) for payload in listener.said("reading")]


def test_a_unit_says_that_it_is_there_who_it_is_and_how_it_is(broker, request):
    async def run(listener):
        async with serving(scenario(ONE), start=START, mqtt_url=broker):
            await listener.until(lambda heard: heard.said("reading"))
        await listener.until(lambda heard: len(heard.said("availability")) == 2)

    with hearing(broker, request) as listener:
        asyncio.run(run(listener))
    assert [(m.topic, m.qos) for m in listener.heard] == [
        (f"{TOPIC}/availability", 1),
        (f"{TOPIC}/identity", 1),
        (f"{TOPIC}/reading", 1),
        (f"{TOPIC}/availability", 1),
    ]
    assert listener.said("availability") == [b"online", b"offline"]
    identity = json.loads(listener.said("identity")[0])
    assert identity["manufacturer"] == "Example Power"
    assert identity["model"] == "Smart-UPS 3000"
    assert identity["serial"].startswith("SIM")
    assert identity["points"]["ups.power.nominal"] == 3_000
    assert "battery.charge" not in identity["points"]
    (reading,) = readings(listener)
    assert reading["at"] == "2026-03-02T02:00:00.000Z"
    assert reading["points"]["battery.charge"] == 100
    assert reading["points"]["status.on_battery"] is False
    assert set(reading) == {"at", "points"}


def test_identity_and_availability_are_retained_for_those_who_come_later(broker, request):
    async def run():
        async with serving(scenario(ONE), start=START, mqtt_url=broker):
            with hearing(broker, request, with_retained=True) as late:
                await late.until(lambda heard: len(heard.heard) >= 2)
            return {m.topic: m.retain for m in late.heard}

    assert asyncio.run(run()) == {f"{TOPIC}/availability": True, f"{TOPIC}/identity": True}


def test_it_speaks_every_ten_seconds_every_five_on_battery_and_at_once_when_a_flag_changes(
    broker, request
):
    timeline = "  - {at: 23, do: mains_fail, site: s, lasting: 10}\n"

    async def run(listener):
        async with serving(scenario(ONE, timeline), start=START, mqtt_url=broker) as fleet:
            for _ in range(45):
                await fleet.advance(1)
            await listener.until(lambda heard: len(heard.said("reading")) == 7)

    with hearing(broker, request) as listener:
        asyncio.run(run(listener))
    said = [
        (int(reading["at"][17:19]), reading["points"]["status.on_battery"])
        for reading in readings(listener)
    ]
    assert said == [
        (0, False),
        (10, False),
        (20, False),
        (23, True),
        (28, True),
        (33, False),
        (43, False),
    ]


def test_a_unit_that_falls_silent_is_declared_offline_by_its_last_will(broker, request):
    async def run(listener):
        async with serving(scenario(ONE), start=START, mqtt_url=broker) as fleet:
            await listener.until(lambda heard: heard.said("reading"))
            fleet.wires["ups-1"].begin(WireFault.SILENT, fleet.now)
            await fleet.advance(5)
            await listener.until(lambda heard: heard.said("availability")[-1:] == [b"offline"])
            fleet.wires["ups-1"].end(WireFault.SILENT)
            await fleet.advance(5)
            await listener.until(lambda heard: heard.said("availability")[-1:] == [b"online"])

    with hearing(broker, request) as listener:
        asyncio.run(run(listener))


@pytest.mark.parametrize("fault", [WireFault.DUPLICATE, WireFault.MALFORMED, WireFault.WRONG_TYPE])
def test_what_a_card_says_wrong(broker, request, fault):
    async def run(listener):
        async with serving(scenario(ONE), start=START, mqtt_url=broker) as fleet:
            await listener.until(lambda heard: heard.said("reading"))
            fleet.wires["ups-1"].begin(fault, fleet.now)
            await fleet.advance(10)
            wanted = 3 if fault is WireFault.DUPLICATE else 2
            await listener.until(lambda heard: len(heard.said("reading")) == wanted)

    with hearing(broker, request) as listener:
        asyncio.run(run(listener))
    first, *wrong = listener.said("reading")
    assert json.loads(first)["points"]["battery.charge"] == 100
    match fault:
        case WireFault.DUPLICATE:
            assert wrong[0] == wrong[1]
        case WireFault.MALFORMED:
            with pytest.raises(json.JSONDecodeError):
                json.loads(wrong[0])
        case _:
            points = json.loads(wrong[0])["points"]
            assert points["battery.charge"] == "--"
            assert points["status.on_battery"] is False


def test_a_clock_that_leaps_shows_in_the_instant_of_the_reading(broker, request):
    async def run(listener):
        async with serving(scenario(ONE), start=START, mqtt_url=broker) as fleet:
            fleet.wires["ups-1"].begin(WireFault.CLOCK_JUMP, fleet.now, -3_600.0)
            await fleet.advance(10)
            await listener.until(lambda heard: len(heard.said("reading")) == 2)

    with hearing(broker, request) as listener:
        asyncio.run(run(listener))
    assert readings(listener)[1]["at"] == "2026-03-02T01:00:10.000Z"


def test_a_slow_card_says_later_what_it_measured_before(broker, request):
    async def run(listener):
        async with serving(scenario(ONE), start=START, mqtt_url=broker) as fleet:
            await listener.until(lambda heard: heard.said("reading"))
            fleet.wires["ups-1"].begin(WireFault.SLOW, fleet.now, 4.0)
            await fleet.advance(10)
            await fleet.advance(3)
            before = len(listener.said("reading"))
            await fleet.advance(1)
            await listener.until(lambda heard: len(heard.said("reading")) == before + 1)

    with hearing(broker, request) as listener:
        asyncio.run(run(listener))
    assert readings(listener)[1]["at"] == "2026-03-02T02:00:10.000Z"


def test_a_broker_that_is_away_stops_no_unit_and_is_found_again(free_broker):
    async def run():
        with free_broker.start() as url:
            pass
        async with serving(scenario(ONE), start=START, mqtt_url=url) as fleet:
            await fleet.advance(5)
            with free_broker.start() as again, Listener(again, "finds-again") as listener:
                await fleet.advance(5)
                await listener.until(lambda heard: heard.said("reading"))

    asyncio.run(run())


def test_the_scenario_of_faults_plays_every_one_of_them_and_ends_in_peace(broker):
    seen = set()

    async def run():
        async with serving(load_scenario("faults"), start=START, mqtt_url=broker) as fleet:
            for _ in range(160):
                await fleet.advance(10)
                for wire in fleet.wires.values():
                    seen.update(fault.value for fault in wire.faults)
                    seen.update(fault.value for fault in wire.unit.faults)
            return [
                (key, wire.faults, wire.unit.faults)
                for key, wire in fleet.wires.items()
                if wire.faults or wire.unit.faults or not wire.unit.mains_is_on
            ]

    assert asyncio.run(run()) == []
    assert seen == {*UNIT_FAULTS, *WIRE_FAULTS}


@pytest.fixture
def free_broker(tmp_path):
    """A broker that can be started again at the same port with the same login."""

    class Restartable:
        port = 0

        def start(self):
            broker = EmbeddedBroker(tmp_path, port=self.port)
            outer = self

            class Running:
                def __enter__(self):
                    broker.__enter__()
                    outer.port = broker.port
                    return broker.url

                def __exit__(self, *exit_arguments):
                    broker.__exit__(*exit_arguments)

            return Running()

    return Restartable()


def test_a_message_log_is_replayed_to_a_broker_in_the_order_of_its_offsets(
    broker, request, tmp_path
):
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"topic": "ridethrough/v1/old/reading", "payload": {"at": "later"}, "offset": 0.02}\n'
        '{"topic": "ridethrough/v1/old/reading", "payload": "first", "offset": 0}\n'
    )

    async def run(listener):
        await serve_recording(log, mqtt_url=broker)
        await listener.until(lambda heard: len(heard.said("reading")) == 2)

    with hearing(broker, request) as listener:
        asyncio.run(run(listener))
    assert listener.said("reading") == [b"first", b'{"at": "later"}']


def test_a_refused_login_is_a_lost_link(broker):
    async def run():
        where = Broker.at(broker)
        link = MqttLink("stranger", Broker(where.host, where.port, "nobody", "wrong"))
        with pytest.raises(LinkLost):
            await link.connect()
        await link.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://localhost", Broker("localhost", 1883)),
        ("mqtt://u:p%40ss@10.0.0.7:1884", Broker("10.0.0.7", 1884, "u", "p@ss")),
        ("mqtts://example.org", Broker("example.org", 8883, tls=True)),
    ],
)
def test_a_brokers_url_tells_host_port_and_login(url, broker):
    assert Broker.at(url) == broker


def test_what_is_no_brokers_url_is_refused():
    with pytest.raises(ValueError, match="mqtt://HOST:PORT"):
        Broker.at("http://example.org")
