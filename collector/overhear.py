"""Probing a unit that publishes: listen to its topics until it has said a reading.

The same messages are understood by `collector.readers.mqtt` as in the daemon; nothing is
acknowledged to a session, so what is overheard here is missing nowhere else.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from collector.address import MqttAddress
from collector.raw import Failure, ReadFailed
from collector.readers.mqtt import Message, Session, parse_topic, understand
from collector.store import KnownDevice
from rules.facts import Identity, Value
from rules.points import BY_COLUMN

if TYPE_CHECKING:
    from collector.arrival import Arrival

OVERHEAR_SECONDS = 15.0
_MORE_SECONDS = 1.0  # retained messages come at once: so long is waited for an identity
_PROFILE = "ridethrough-json"

Overheard = tuple[str, Identity, MappingProxyType[str, Value], tuple[str, ...]]


async def overhear(
    address: MqttAddress, *, now: Callable[[], datetime], deadline: float = OVERHEAR_SECONDS
) -> Overheard:
    """Return (profile, identity, points by name, problems) of the first unit that speaks.

    Raises ReadFailed when the broker refuses or nobody publishes a reading within `deadline`.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[Message | ReadFailed] = asyncio.Queue()
    client = _listening(address, loop, heard, now)
    try:
        return await _first_unit(address, heard, loop.time() + deadline)
    finally:
        client.disconnect()
        client.loop_stop()


def _listening(
    address: MqttAddress,
    loop: asyncio.AbstractEventLoop,
    heard: "asyncio.Queue[Message | ReadFailed]",
    now: Callable[[], datetime],
) -> mqtt.Client:
    def put(item: Message | ReadFailed) -> None:
        with contextlib.suppress(RuntimeError):  # the probe has ended meanwhile
            loop.call_soon_threadsafe(heard.put_nowait, item)

    def connected(
        client: mqtt.Client, _: object, __: object, code: ReasonCode, ___: object
    ) -> None:
        if code.is_failure:
            put(ReadFailed(Failure.AUTH, f"{address.public} refuses: {code}"))
        else:
            client.subscribe(address.topic, qos=0)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    client.on_connect = connected
    client.on_message = lambda _, __, said: put(Message(said.topic, bytes(said.payload), now()))
    if address.credentials.user:
        client.username_pw_set(address.credentials.user, address.credentials.password)
    if address.tls:
        client.tls_set()
    try:
        client.connect(address.host, address.port)
    except OSError as error:
        raise ReadFailed(Failure.REFUSED, f"no broker at {address.public}: {error}") from error
    client.loop_start()
    return client


async def _first_unit(
    address: MqttAddress, heard: "asyncio.Queue[Message | ReadFailed]", ends_at: float
) -> Overheard:
    """Follow the first unit of the convention until it has said a reading."""
    loop = asyncio.get_running_loop()
    sessions: dict[str, tuple[Session, list[Arrival]]] = {}
    problems: list[str] = []
    while True:
        try:
            async with asyncio.timeout_at(ends_at):
                item = await heard.get()
        except TimeoutError:
            break
        if isinstance(item, ReadFailed):
            raise item
        topic = parse_topic(item.topic)
        if topic is None:
            problems.append(f"{item.topic}: not a topic of ridethrough/v1")
            continue
        session, arrivals = sessions.setdefault(topic.device_key, (Session(), []))
        arrivals.append(understand(item, _stranger(topic.device_key, address), session))
        if any(one.reading is not None and one.reading.points for one in arrivals):
            ends_at = min(ends_at, loop.time() + _MORE_SECONDS)
    for arrivals in (found for _, found in sessions.values()):
        points: dict[str, Value] = {}
        identity = Identity()
        for arrival in arrivals:
            identity = arrival.identity or identity
            problems += [f"{one.point or 'message'}: {one.detail}" for one in arrival.rejections]
            if arrival.reading is not None:
                points |= {BY_COLUMN[key].name: v for key, v in arrival.reading.points.items()}
                points |= arrival.reading.extra
        if points:
            return _PROFILE, identity, MappingProxyType(points), tuple(problems)
    said = f" ({'; '.join(problems)})" if problems else ""
    raise ReadFailed(Failure.TIMEOUT, f"nobody published a reading on {address.public}{said}")


def _stranger(key: str, address: MqttAddress) -> KnownDevice:
    return KnownDevice(
        device_id=0,
        key=key,
        protocol="mqtt",
        address=address.public,
        sealed_credentials=None,
        profile=None,
        poll_seconds=30.0,
        deadline_seconds=2.0,
        is_on_battery=False,
    )
