"""Brokers and publishers for tests of the listener."""

import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest

DEADLINE_SECONDS = 30


def until(condition):
    """Wait for a condition that another thread makes true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.005)


class Mosquitto:
    """A real broker on a free port, with one login; it forgets everything when restarted."""

    def __init__(self, folder: Path, *, settings: str = "", tls: bool = False) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        passwords = folder / "passwords"
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", passwords, "hub", "hush"],
            check=True,
            capture_output=True,
        )
        passwords.chmod(0o600)
        config = folder / "mosquitto.conf"
        config.write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {passwords}\npersistence false\n{settings}\n"
        )
        self._command = [program, "-c", str(config)]
        self._log = folder / "mosquitto.log"
        self._running: subprocess.Popen | None = None
        self.url = f"mqtt{'s' * tls}://hub:hush@127.0.0.1:{self.port}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(self._command, stdout=log, stderr=log)
        until(self._listens)

    def stop(self):
        if self._running is not None:
            self._running.terminate()
            self._running.wait()
            self._running = None

    def _listens(self):
        assert self._running.poll() is None, self._log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Publisher:
    """A unit that publishes and waits until the broker has taken each message."""

    def __init__(self, url: str) -> None:
        self._broker = urlsplit(url)
        self._is_up = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self._client.username_pw_set(self._broker.username, self._broker.password)
        self._client.on_connect = lambda *_: self._is_up.set()

    def __enter__(self):
        self._client.connect(self._broker.hostname, self._broker.port)
        self._client.loop_start()
        assert self._is_up.wait(DEADLINE_SECONDS)
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False) -> None:
        self.publish(f"ridethrough/v1/{topic}", payload, qos=qos, retain=retain)

    def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False
    ) -> None:
        sent = self._client.publish(topic, payload, qos=qos, retain=retain)
        sent.wait_for_publish(DEADLINE_SECONDS)
