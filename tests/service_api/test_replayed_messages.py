"""`ridethrough replay` of message logs, probed as the devices they were recorded from."""

import json
import socket
import subprocess
import sys

import pytest

from collector.readers.sparkplug import DOUBLE, Metric, Payload, encode_payload
from device_sims.message_log import Message, write_messages
from service_api.embedded_broker import EmbeddedBroker

ALIAS = Metric(None, 4, None, DOUBLE, 61.0)
BORN = Metric("battery/charge", 4, None, DOUBLE, 62.0, unit="%")
MESSAGES = [
    Message(0.0, "home/rack/ups/status", b"OL", retain=True),
    Message(0.1, "home/rack/battery/charge", b"88"),
    Message(0.2, "spBv1.0/plant/DBIRTH/gate/ups", encode_payload(Payload(1, 0, (BORN,))), qos=0),
    Message(30.0, "spBv1.0/plant/DDATA/gate/ups", encode_payload(Payload(2, 1, (ALIAS,))), qos=0),
]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def command(*words):
    return [sys.executable, "-m", "service_api.cli", *words]


def probed(url):
    run = subprocess.run(
        command("probe", url, "--json"), capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(run.stdout)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    write_messages(path, MESSAGES)
    return path


def test_a_log_is_served_over_and_over_by_a_broker_of_its_own(log):
    port = free_port()
    words = command("replay", str(log), "--port", str(port), "--speed", "100")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as serving:
        try:
            url = serving.stdout.readline().split(" at ")[1].split(",")[0]
            rack = probed(f"{url}/home/rack/%23")
            gate = probed(f"{url}/spBv1.0/plant/+/gate/ups")
        finally:
            serving.terminate()
    assert (rack["profile"], rack["points"]["battery.charge"]) == ("nut-mqtt", 88)
    assert gate["profile"] == "sparkplug-b"
    assert gate["points"]["battery.charge"] in (61, 62)


def test_a_log_is_published_once_to_a_broker(log, tmp_path):
    with EmbeddedBroker(tmp_path) as broker:
        words = command("replay", str(log), "--broker", broker.url, "--speed", "100")
        run = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        assert run.stdout == "4 messages are published\n"
        kept = probed(f"{broker.url}/home/rack/%23")
    assert kept["points"]["status.on_line"] is True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--speed", "0"), "is no speed"),
        (("--broker", "http://x"), "a broker is mqtt://"),
        (("--broker", "mqtt://127.0.0.1:1"), "cannot be published"),
    ],
)
def test_wrong_usage_is_told_in_one_line(log, words, told):
    run = subprocess.run(
        command("replay", str(log), *words), capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert told in run.stderr.strip().splitlines()[-1]
