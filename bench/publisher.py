"""A publisher of readings in a process of its own: `python -m bench.publisher URL PREFIX DEVICES`.

Speaks MQTT 3.1.1, QoS 1, from packets encoded beforehand, so that it is never what is measured.
Orders come on standard input, one JSON list a line; each is answered by one line of JSON:
["burst", count] publishes as fast as the broker takes it → the last one's [key, instant];
["pace", rate, seconds, sick_prefix, sick] publishes evenly, and among it one failed self-test of
each of `sick` other devices → [[key, monotonic seconds when published], …].
"""

import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from bench import card

_WINDOW = 2_000
_PAUSE_SECONDS = 0.002


@contextmanager
def publishing(url: str, prefix: str, devices: int) -> Iterator["Publisher"]:
    """Run a publisher for devices with the keys PREFIX-1, PREFIX-2 and so on."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "bench.publisher", url, prefix, str(devices)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Publisher(process)
    finally:
        process.kill()
        process.communicate()


class Publisher:
    """The other end of a publisher process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def order(self, *words: object) -> Any:  # noqa: ANN401 - as the order says
        """Give an order and wait for its answer."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the publisher has no pipes")
        print(json.dumps(words), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


class Connection:
    """A connection to a broker that only publishes."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 1883))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._packet_id = 0
        self._unconfirmed = 0
        self._begun = b""
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        flags = 0x02 | (0xC0 if user else 0)
        body = _text("MQTT") + bytes((4, flags)) + struct.pack("!H", 0) + _text("bench-publisher")
        body += _text(user) + _text(password) if user else b""
        self._socket.sendall(bytes((0x10,)) + _length(len(body)) + body)
        if self._socket.recv(4)[3:] != b"\x00":
            raise RuntimeError("the broker refuses the publisher")

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1, waiting while too much is unconfirmed."""
        while self._unconfirmed >= _WINDOW:
            self.confirm(wait_seconds=1.0)
        self._packet_id = self._packet_id % 65_535 + 1
        body = _text(topic) + struct.pack("!H", self._packet_id) + payload
        self._socket.sendall(bytes((0x32,)) + _length(len(body)) + body)
        self._unconfirmed += 1
        if self._packet_id % 100 == 0:
            self.confirm(wait_seconds=0.0)

    def confirm(self, *, wait_seconds: float) -> None:
        """Take in confirmations, waiting so long for one."""
        if select.select([self._socket], [], [], wait_seconds)[0]:
            self._begun += self._socket.recv(65_536)
            count = len(self._begun) // 4  # nothing else comes, and each is four bytes
            self._begun = self._begun[4 * count :]
            self._unconfirmed -= count

    def finish(self) -> None:
        """Wait until everything is confirmed."""
        while self._unconfirmed:
            self.confirm(wait_seconds=1.0)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("!H", len(encoded)) + encoded


def _length(size: int) -> bytes:
    encoded = b""
    while True:
        size, low = divmod(size, 128)
        encoded += bytes((low | (0x80 if size else 0),))
        if not size:
            return encoded


def _topic(key: str) -> str:
    return f"ridethrough/v1/{key}/reading"


def _body(points: str) -> tuple[str, bytes]:
    at = datetime.now(UTC).isoformat()
    return at, f'{{"at":"{at}","points":{points}}}'.encode()


def _burst(broker: Connection, keys: list[str], points: str, count: int) -> list[str]:
    key = at = ""
    for number in range(count):
        key = keys[number % len(keys)]
        at, body = _body(points)
        broker.publish(_topic(key), body)
    broker.finish()
    return [key, at]


def _pace(
    broker: Connection, keys: list[str], points: str, rate: float, seconds: float, sick: list[str]
) -> list[list[object]]:
    failed = json.dumps({"battery.charge": 98.0, "ups.test.result": "failed"})
    began, published, told = time.monotonic(), 0, []
    while (passed := time.monotonic() - began) < seconds:
        while published < rate * passed:
            broker.publish(_topic(keys[published % len(keys)]), _body(points)[1])
            published += 1
        if len(told) < len(sick) * passed / seconds:
            key = sick[len(told)]
            told.append([key, time.monotonic()])
            broker.publish(_topic(key), _body(failed)[1])
        broker.confirm(wait_seconds=0.0)
        time.sleep(_PAUSE_SECONDS)
    broker.finish()
    return told


def _serve(url: str, prefix: str, devices: int) -> None:
    broker = Connection(url)
    keys = [f"{prefix}-{number}" for number in range(1, devices + 1)]
    points = json.dumps(card.points_by_name())
    for line in sys.stdin:
        match json.loads(line):
            case ["burst", count]:
                answer: object = _burst(broker, keys, points, count)
            case ["pace", rate, seconds, sick_prefix, sick]:
                others = [f"{sick_prefix}-{number}" for number in range(1, sick + 1)]
                answer = _pace(broker, keys, points, rate, seconds, others)
            case other:
                raise ValueError(f"no such order: {other}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
