"""An MQTT 3.1.1 broker in this process, for the demo and for tests, where no other is at hand.

What lives here: amqtt on a loopback port with one login, in a thread and an event loop of its own.
What does not: MQTT 5, storage (a restart forgets sessions and retained messages), real brokers.
"""

import asyncio
import contextlib
import hmac
import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from amqtt.broker import Broker
from amqtt.errors import BrokerError, PluginError
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from service_api.embedded_files import EmbeddedFailed, load_secrets

USER = "ridethrough"
HOST = "127.0.0.1"
START_SECONDS = 30.0
SHUTDOWN_SECONDS = 10.0

log = logging.getLogger(__name__)


class OneLogin(BaseAuthPlugin):  # type: ignore[misc] # amqtt carries no types
    """Admit those who know the data directory's password, and nobody else."""

    @dataclass
    class Config:
        """What the broker's settings hand to this plugin."""

        username: str
        password: str

    async def authenticate(self, *, session: Session) -> bool:
        """Return whether a session that wants to connect may."""
        config: OneLogin.Config = self.config
        return hmac.compare_digest(
            f"{session.username}\0{session.password}".encode(),
            f"{config.username}\0{config.password}".encode(),
        )


class EmbeddedBroker:
    """One broker, from `start` to `stop`; `port` 0 takes any free port."""

    def __init__(self, data_dir: Path, *, port: int = 0) -> None:
        self._data_dir = data_dir
        self._wanted_port = port
        self._password = ""
        self.port = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._listening: Future[int] = Future()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address with its login, as RIDETHROUGH_MQTT_URL wants it."""
        return f"mqtt://{USER}:{quote(self._password, safe='')}@{HOST}:{self.port}"

    def start(self) -> None:
        """Start the broker and wait until it listens, or raise `EmbeddedFailed`."""
        if self._thread is not None:
            return
        self._password = load_secrets(self._data_dir)["mqtt"]
        self._listening = Future()
        self._thread = threading.Thread(target=self._run, name="mqtt-broker", daemon=True)
        self._thread.start()
        try:
            self.port = self._listening.result(START_SECONDS)
        except (OSError, BrokerError, PluginError) as error:
            self.stop()
            reason = str(error) or f"no answer in {START_SECONDS:.0f} s"
            raise EmbeddedFailed(f"the embedded MQTT broker cannot start: {reason}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Disconnect everybody and end the thread."""
        if self._thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(2 * SHUTDOWN_SECONDS)
        self._thread = self._loop = self._stopping = None

    def _run(self) -> None:
        # amqtt reports each connection as news and each rude disconnect as a warning.
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.WARNING)
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._listening.done():
                log.exception("the embedded MQTT broker ended")
            else:
                self._listening.set_exception(error)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        broker = Broker(
            {
                # The listening socket is ours, so that it can take any free port and say which.
                "listeners": {"default": {"type": "external", "bind": "ours"}},
                "plugins": {
                    f"{OneLogin.__module__}.{OneLogin.__qualname__}": {
                        "username": USER,
                        "password": self._password,
                    }
                },
            }
        )
        await broker.start()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await broker.stream_connected(reader, writer, listener_name="default")
            except Exception:  # one client's failure is not the broker's
                log.warning("an MQTT connection ended", exc_info=True)
            finally:
                writer.close()

        try:
            server = await asyncio.start_server(connected, HOST, self._wanted_port)
            try:
                self._listening.set_result(server.sockets[0].getsockname()[1])
                await self._stopping.wait()
            finally:
                server.close()
        finally:
            await asyncio.wait_for(broker.shutdown(), SHUTDOWN_SECONDS)
