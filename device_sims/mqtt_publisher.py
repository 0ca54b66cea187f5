"""Units that publish over MQTT, QoS 1: by the product's own convention, or with another voice.

`MqttLink` is one connection, driven by asyncio without a thread; `UnitPublisher` decides what its
unit says when; other forms than the convention's are `mqtt_voices`. A unit keeps its own
connection, because the broker must tell of its death.
"""

import asyncio
import json
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from collector.document import nest
from device_sims.fleet import topic
from device_sims.mqtt_voices import Said, voice_for
from device_sims.wire import Wire, WireFault
from rules.points import BY_COLUMN, Kind, Pace

INTERVAL = timedelta(seconds=10)
INTERVAL_ON_BATTERY = timedelta(seconds=5)

_KEEPALIVE = 30
_DEADLINE = 10.0
"""Seconds within which the broker must answer."""


class LinkLost(ConnectionError):
    """The broker refused, did not answer in time, or hung up."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish to."""

    host: str
    port: int = 1883
    user: str | None = None
    password: str | None = None
    tls: bool = False
    context: ssl.SSLContext | None = None

    @classmethod
    def at(cls, url: str, context: ssl.SSLContext | None = None) -> "Broker":
        """Return the broker of an `mqtt://user:password@host:port` URL; `context` is for TLS."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError("a broker is mqtt://HOST:PORT or mqtts://HOST:PORT")
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            parts.port or (8883 if tls else 1883),
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
            tls,
            context,
        )


class MqttLink:
    """One connection to a broker, an async context manager."""

    def __init__(
        self,
        client_id: str,
        broker: Broker,
        *,
        will: tuple[str, bytes] | None = None,
        retains_will: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._broker = broker
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set_context(broker.context or ssl.create_default_context())
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=retains_will)
        self._welcome: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self._acks: dict[int, asyncio.Future[None]] = {}
        self._tending: asyncio.Task[None] | None = None
        self._bind()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def is_up(self) -> bool:
        """The broker has welcomed us and has not gone since."""
        return not self._gone.is_set()

    async def connect(self) -> None:
        """Connect and wait for the broker's welcome; raise LinkLost."""
        self._welcome = self._loop.create_future()
        try:
            self._client.connect(self._broker.host, self._broker.port, _KEEPALIVE)
            async with asyncio.timeout(_DEADLINE):
                await self._welcome
        except (OSError, TimeoutError) as problem:
            self.break_off()
            raise LinkLost(f"{self._broker.host}:{self._broker.port}: {problem}") from problem
        self._tending = asyncio.create_task(self._tend())

    async def publish(
        self, name: str, payload: bytes, *, retain: bool = False, qos: int = 1
    ) -> None:
        """Publish, with QoS 1 waiting for the broker's acknowledgement; raise LinkLost."""
        if not self.is_up:
            raise LinkLost("not connected")
        sent = self._client.publish(name, payload, qos=qos, retain=retain)
        if qos == 0:
            return
        acknowledged = self._acks[sent.mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(_DEADLINE):
                await acknowledged
        except TimeoutError as problem:
            raise LinkLost("no acknowledgement") from problem
        finally:
            self._acks.pop(sent.mid, None)

    def break_off(self) -> None:
        """Drop the connection without a word, so that the broker tells of our death."""
        stream: Any = self._client.socket()
        if stream is not None:
            # Shut, not closed: paho must find the end by itself, and then closes and forgets it.
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            self._client.loop_read()

    async def close(self) -> None:
        """Take leave of the broker and wait until the connection is closed."""
        if self.is_up:
            self._client.disconnect()
            try:
                async with asyncio.timeout(_DEADLINE):
                    await self._gone.wait()
            except TimeoutError:
                self.break_off()
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
            self._tending = None

    async def _tend(self) -> None:
        while self.is_up:
            self._client.loop_misc()
            await asyncio.sleep(1.0)

    def _bind(self) -> None:
        client, loop = self._client, self._loop

        def watch(_: mqtt.Client, __: object, sock: Any) -> None:  # noqa: ANN401 — a socket or TLS
            loop.add_reader(sock, client.loop_read)

        def forget(_: mqtt.Client, __: object, sock: Any) -> None:  # noqa: ANN401 — as above
            loop.remove_reader(sock)

        def watch_writes(_: mqtt.Client, __: object, sock: Any) -> None:  # noqa: ANN401 — as above
            loop.add_writer(sock, client.loop_write)

        def forget_writes(_: mqtt.Client, __: object, sock: Any) -> None:  # noqa: ANN401 — as above
            loop.remove_writer(sock)

        client.on_socket_open = watch
        client.on_socket_close = forget
        client.on_socket_register_write = watch_writes
        client.on_socket_unregister_write = forget_writes
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def _on_connect(self, _: mqtt.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:  # noqa: ANN401 — paho's callback
        if self._welcome is None or self._welcome.done():
            return
        if reason.is_failure:
            self._welcome.set_exception(ConnectionRefusedError(str(reason)))
        else:
            self._gone.clear()
            self._welcome.set_result(None)

    def _on_disconnect(self, *_: object) -> None:
        self._gone.set()
        lost = LinkLost("the broker hung up")
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(lost)
        for waiting in self._acks.values():
            if not waiting.done():
                waiting.set_exception(lost)

    def _on_publish(self, _: mqtt.Client, __: Any, mid: int, *___: object) -> None:  # noqa: ANN401 — paho's callback
        waiting = self._acks.get(mid)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


class UnitPublisher:
    """One unit's voice: `step` says what is due by now, and can be called as often as one likes."""

    def __init__(self, key: str, wire: Wire, broker: Broker) -> None:
        self._key = key
        self._wire = wire
        self._topic = topic(key)
        self._broker = broker
        self._link: MqttLink | None = None
        self._last_at: datetime | None = None
        self._last_flags: dict[str, object] = {}
        self._late: list[tuple[datetime, Said]] = []
        self._voice = voice_for(wire.profile, key)
        self._will: Said | None = None

    async def step(self, now: datetime) -> None:
        """Connect, publish or fall silent as the unit's state and its card's faults demand.

        A broker that is away is no error of the unit: it tries again at the next step.
        """
        if not self._wire.is_alive(now):
            await self._fall_silent()
            return
        try:
            link = await self._connected(now)
            await self._publish_due(link, now)
        except LinkLost:
            await self._fall_silent()

    async def close(self) -> None:
        """Say goodbye: a unit that is switched off in order is offline, not lost."""
        if self._link is not None:
            if self._link.is_up:
                try:
                    if self._will is not None:
                        await _say(self._link, self._will)
                except LinkLost:
                    self._link.break_off()
            await self._link.close()
            self._link = None

    async def _fall_silent(self) -> None:
        if self._link is not None:
            self._link.break_off()
            await self._link.close()
            self._link = None
        self._last_at = None
        self._late.clear()

    async def _connected(self, now: datetime) -> MqttLink:
        if self._link is not None and self._link.is_up:
            return self._link
        await self._fall_silent()
        clock = self._wire.clock(now)
        offline = Said(f"{self._topic}/availability", b"offline", retain=True)
        self._will = will = offline if self._voice is None else self._voice.will(clock)
        self._link = MqttLink(
            f"sim-{self._key}",
            self._broker,
            will=None if will is None else (will.topic, will.payload),
            retains_will=will is not None and will.retain,
        )
        await self._link.connect()
        if self._voice is None:
            hello = [
                Said(f"{self._topic}/availability", b"online", retain=True),
                Said(f"{self._topic}/identity", self.identity(), retain=True),
            ]
        else:
            hello = self._voice.hello(self._wire.encoded(now), clock)
        for one in hello:
            await _say(self._link, one)
        return self._link

    async def _publish_due(self, link: MqttLink, now: datetime) -> None:
        wire = self._wire
        row = wire.points(now)
        flags: dict[str, object] = {column: row[column] for column in _FLAGS if column in row}
        interval = INTERVAL_ON_BATTERY if row.get("status_on_battery") else INTERVAL
        is_due = self._last_at is None or now - self._last_at >= interval
        if is_due or flags != self._last_flags:
            self._last_at, self._last_flags = now, flags
            if wire.answers(now):
                due_at = now + timedelta(seconds=wire.delay_seconds)
                self._late += [(due_at, one) for one in self._readings(now)] * wire.copies
        while self._late and self._late[0][0] <= now:
            _, one = self._late.pop(0)
            await link.publish(one.topic, wire.spoiled(one.payload), retain=one.retain)

    def _readings(self, now: datetime) -> list[Said]:
        if self._voice is None:
            return [Said(f"{self._topic}/reading", self.reading(now))]
        return self._voice.reading(self._wire.encoded(now), self._wire.clock(now))

    def reading(self, now: datetime) -> bytes:
        """Return the reading document of this instant."""
        wire = self._wire
        document: dict[str, object] = {"at": _instant(wire.clock(now))}
        points = _points(nest(wire.encoded(now)))
        if WireFault.WRONG_TYPE in wire.faults:
            points = {
                name: "--" if isinstance(value, float) else value for name, value in points.items()
            }
        document["points"] = points
        return json.dumps(document, ensure_ascii=False).encode()

    def identity(self) -> bytes:
        """Return the identity document: who the unit is, and its nominal values."""
        document = nest(self._wire.encoded(self._wire.unit.now))
        document["points"] = {
            name: value for name, value in _points(document).items() if name in _NOMINAL
        }
        return json.dumps(document, ensure_ascii=False).encode()


async def _say(link: MqttLink, said: Said) -> None:
    await link.publish(said.topic, said.payload, retain=said.retain)


_FLAGS = tuple(column for column, point in BY_COLUMN.items() if point.kind is Kind.FLAG)
_NOMINAL = frozenset(point.name for point in BY_COLUMN.values() if point.pace is Pace.SLOW)


def _points(document: dict[str, object]) -> dict[str, object]:
    points = document.get("points")
    return dict(points) if isinstance(points, dict) else {}


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
