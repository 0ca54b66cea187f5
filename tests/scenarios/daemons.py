"""Real daemons as processes of their own, killed without warning; a line that can be cut."""

import asyncio
import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

from collector.profile import profiles
from rules.facts import Identity
from tests.collector.agent import Agent, encoded, serving

DEADLINE_SECONDS = 180.0


def until(condition, *, seconds: float = DEADLINE_SECONDS, told=lambda: "in vain") -> None:
    """Wait for what another process makes true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


class Daemon:
    """`ridethrough` with some arguments, from entering to leaving."""

    def __init__(self, arguments: list[str], log: Path, **environment: str) -> None:
        kept = {name: v for name, v in os.environ.items() if not name.startswith("RIDETHROUGH_")}
        self._environment = kept | environment
        self._arguments = arguments
        self._log = log
        self._process: subprocess.Popen | None = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service_api.cli", *self._arguments],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DEADLINE_SECONDS)

    def require_alive(self) -> None:
        assert self._process.poll() is None, self.said


class Line:
    """A TCP line to a server on this machine, which can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for one in self._pairs:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._pairs.clear()

    def mend(self) -> None:
        with self._lock:
            self._is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._to), 5)
                except OSError:
                    client.close()
                    continue
                self._pairs |= {client, server}
            threading.Thread(target=_carry, args=(client, server), daemon=True).start()


def _carry(client: socket.socket, server: socket.socket) -> None:
    other = {client: server, server: client}
    with selectors.DefaultSelector() as ready, client, server, contextlib.suppress(OSError):
        for one in other:
            ready.register(one, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                data = key.fileobj.recv(65_536)
                if not data:
                    return
                other[key.fileobj].sendall(data)


class Units:
    """Simulated SNMP units on ports of 127.0.0.1, which note when they were asked."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self.ports: list[int] = []
        self.asked: defaultdict[int, list[float]] = defaultdict(list)

    def __enter__(self):
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        assert self._ready.wait(DEADLINE_SECONDS)
        return self

    def __exit__(self, *_) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        points = {"battery_charge": 90.0, "ups_load": 40.0, "status_on_line": True}
        objects = encoded(profiles()["rfc1628"], points, Identity("Maker", "Model A"))
        async with contextlib.AsyncExitStack() as stack:
            for number in range(self._count):
                agent = _Noting(objects, self.asked[number])
                self.ports.append(await stack.enter_async_context(serving(agent)))
            self._ready.set()
            await self._stop.wait()


class _Noting(Agent):
    def __init__(self, objects, asked: list[float]) -> None:
        super().__init__(objects)
        self._asked = asked

    def answer(self, datagram: bytes) -> list[bytes]:
        self._asked.append(time.monotonic())
        self.requests.clear()
        return super().answer(datagram)
