"""The broker that messages go through: mosquitto where it is on the PATH, else the embedded one."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.stage import wait_until
from service_api.embedded_broker import EmbeddedBroker

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
persistence false
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker; `version` is the newest of MQTT that it speaks."""

    name: str
    url: str
    version: int
    process_id: int


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """Run a broker in a process of its own, on a free port of this machine."""
    path = shutil.which("mosquitto")
    if path is None:
        with _embedded(folder) as found:
            yield found
        return
    port = _free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(_MOSQUITTO.format(port=port))
    process = subprocess.Popen(  # noqa: S603 - found on the PATH on purpose
        [path, "-c", str(settings)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _answers(port), "mosquitto listens")
        yield Broker("mosquitto", f"mqtt://127.0.0.1:{port}", 5, process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _embedded(folder: Path) -> Iterator[Broker]:
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "bench.brokers", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the broker has no pipe")
        yield Broker("amqtt", process.stdout.readline().strip(), 3, process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def host_and_port(url: str) -> tuple[str, int]:
    """Return where a broker's URL leads."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 1883


if __name__ == "__main__":
    with EmbeddedBroker(Path(sys.argv[1])) as embedded:
        print(embedded.url, flush=True)
        sys.stdin.read()
