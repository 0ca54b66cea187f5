"""Probing a unit that publishes: listen to its topics until it has said a reading.

The same messages are understood as in the daemon, and by what they show their family is found;
nothing is acknowledged to a session, so what is overheard here is missing nowhere else.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from collector.address import MqttAddress
from collector.arrival import Arrival
from collector.directory import Discovered, Root, Spark, TopicUnusable, Where, where_of
from collector.ear import DESCRIBED, SPARKPLUG, recognized
from collector.family import Family, families
from collector.probe import ProbeResult
from collector.raw import Failure, ReadFailed
from collector.readers import discovery, published, sparkplug, sparkplug_node
from collector.readers.discovery import Described, DescriptionInvalid
from collector.readers.mqtt import ROOT, Message, Session, parse_topic, understand
from collector.readers.published import Picture
from collector.readers.sparkplug_node import Node, Unit
from collector.store import KnownDevice
from rules.facts import Identity, Value
from rules.plausibility import believed
from rules.points import BY_COLUMN

OVERHEAR_SECONDS = 15.0
_MORE_SECONDS = 1.0  # retained messages come at once: so long is waited for an identity
_CONVENTION = "ridethrough-json"
_MOST_HEARD = 200
_MOST_PROBLEMS = 50


@dataclass(slots=True)
class _Heard:
    """One unit that was overheard, and what it has said so far."""

    profile: str
    evidence: list[str]
    session: Session = field(default_factory=Session)
    family: Family | None = None
    picture: Picture = field(default_factory=Picture)
    identity: Identity = field(default_factory=Identity)
    points: dict[str, Value] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    waiting: list[tuple[str, Message]] = field(default_factory=list)

    def take(self, arrivals: Iterable[Arrival]) -> None:
        """Add what arrivals bring."""
        for arrival in arrivals:
            self.identity = arrival.identity or self.identity
            told = [f"{one.point or 'message'}: {one.detail}" for one in arrival.rejections]
            self.problems = [*self.problems, *told][:_MOST_PROBLEMS]
            if arrival.reading is not None:
                points = arrival.reading.points
                self.points |= {BY_COLUMN[key].name: v for key, v in points.items()}
                self.points |= believed(arrival.reading.extra)


async def overhear(
    address: MqttAddress,
    profile: str | None = None,
    *,
    now: Callable[[], datetime],
    deadline: float = OVERHEAR_SECONDS,
    tls: ssl.SSLContext | None = None,
) -> ProbeResult:
    """Return what the first unit that speaks below the address's topic says.

    Raises ReadFailed when the broker refuses or nobody publishes a reading within `deadline`.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[Message | ReadFailed] = asyncio.Queue()
    client = listening(address, loop, heard, now, tls)
    try:
        return await _first_unit(_Crowd(address, profile), client, heard, loop.time() + deadline)
    finally:
        client.disconnect()
        client.loop_stop()


def filters_of(topic: str) -> tuple[str, ...]:
    """Return what to subscribe to for the topic of an address."""
    try:
        place = where_of(topic)
    except TopicUnusable:
        return (topic,)
    match place:
        case Root(root):
            return (f"{root}/#",)
        case Spark(group, node, _):
            return (f"{sparkplug.NAMESPACE}/{group}/+/{node}/#",)
    return (topic,)


def listening(
    address: MqttAddress,
    loop: asyncio.AbstractEventLoop,
    heard: "asyncio.Queue[Message | ReadFailed]",
    now: Callable[[], datetime],
    tls: ssl.SSLContext | None,
) -> mqtt.Client:
    """Put what is published below an address into a queue, until the client returned is stopped.

    Raises ReadFailed when there is no broker; its refusal comes through the queue.
    """

    def put(item: Message | ReadFailed) -> None:
        with contextlib.suppress(RuntimeError):  # the probe has ended meanwhile
            loop.call_soon_threadsafe(heard.put_nowait, item)

    def connected(
        client: mqtt.Client, _: object, __: object, code: ReasonCode, ___: object
    ) -> None:
        if code.is_failure:
            put(ReadFailed(Failure.AUTH, f"{address.public} refuses: {code}"))
        else:
            client.subscribe([(one, 0) for one in filters_of(address.topic)])

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    client.on_connect = connected
    client.on_message = lambda _, __, said: put(
        Message(said.topic, bytes(said.payload), now(), said.retain)
    )
    if address.credentials.user:
        client.username_pw_set(address.credentials.user, address.credentials.password)
    if address.tls:
        client.tls_set_context(tls or ssl.create_default_context())
    try:
        client.connect(address.host, address.port)
    except ssl.SSLError as error:
        raise ReadFailed(Failure.AUTH, f"no TLS with {address.public}: {error}") from error
    except OSError as error:
        raise ReadFailed(Failure.REFUSED, f"no broker at {address.public}: {error}") from error
    client.loop_start()
    return client


async def _first_unit(
    crowd: "_Crowd",
    client: mqtt.Client,
    heard: "asyncio.Queue[Message | ReadFailed]",
    ends_at: float,
) -> ProbeResult:
    """Follow the units heard until one has said a reading, and a moment longer."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout_at(ends_at):
                item = await heard.get()
        except TimeoutError:
            break
        if isinstance(item, ReadFailed):
            raise item
        if crowd.hear(item):
            ends_at = min(ends_at, loop.time() + _MORE_SECONDS)
        while crowd.wanted:
            client.subscribe(crowd.wanted.pop())
    return crowd.result()


class _Crowd:
    """The units that are heard below one address; `wanted` are topics to subscribe to next."""

    def __init__(self, address: MqttAddress, profile: str | None) -> None:
        self._address = address
        self._named = None if profile is None else families().get(profile)
        self._units: dict[str, _Heard] = {}
        self._nodes: dict[str, Node] = {}
        self._problems: list[str] = []
        self._unplaced: list[Message] = []
        self._described = Described()
        self.wanted: set[str] = set()
        self._placed = 0
        self._where: Where | None = None
        with contextlib.suppress(TopicUnusable):
            self._where = where_of(address.topic)

    def hear(self, message: Message) -> bool:
        """Take in a message; tell whether its unit has said a reading by now."""
        topic = message.topic
        unit: _Heard | None
        if topic.startswith(f"{ROOT}/"):
            unit = self._of_convention(message)
        elif topic.startswith(f"{sparkplug.NAMESPACE}/"):
            unit = self._of_sparkplug(message)
        elif isinstance(self._where, Discovered):
            unit = self._of_description(message)
        else:
            unit = self._of_family(message)
        if unit is None:
            if len(self._unplaced) < _MOST_HEARD:
                self._unplaced.append(message)
            return False
        if len(self._units) > self._placed:  # what came before may have been this unit's
            self._placed = len(self._units)
            waiting, self._unplaced = self._unplaced, []
            for earlier in waiting:
                self.hear(earlier)
        return bool(unit.points)

    def result(self) -> ProbeResult:
        """Return what the first unit with points has said; raise ReadFailed when none has."""
        unknown = [f"{one.topic[:200]}: of no family that is known" for one in self._unplaced]
        self._problems += unknown[:_MOST_PROBLEMS]
        best = max(self._units.values(), key=lambda unit: len(unit.points), default=None)
        if best is not None and best.points:
            problems = tuple(dict.fromkeys((*best.problems, *self._problems)))
            points = MappingProxyType(dict(sorted(best.points.items())))
            return ProbeResult(best.profile, tuple(best.evidence), best.identity, points, problems)
        found = [*self._problems, *(one for unit in self._units.values() for one in unit.problems)]
        said = f" ({'; '.join(found[:5])})" if found else ""
        raise ReadFailed(
            Failure.TIMEOUT, f"nobody published a reading on {self._address.public}{said}"
        )

    def _unit(self, name: str, profile: str, evidence: str) -> _Heard | None:
        unit = self._units.get(name)
        if unit is None and len(self._units) < _MOST_HEARD:
            unit = self._units[name] = _Heard(profile, [evidence])
        return unit

    def _of_convention(self, message: Message) -> _Heard | None:
        topic = parse_topic(message.topic)
        if topic is None:
            return None
        unit = self._unit(
            f"{ROOT}/{topic.device_key}", _CONVENTION, f"published to {ROOT}/{topic.device_key}"
        )
        if unit is not None:
            device = _stranger(topic.device_key, self._address)
            unit.take([understand(message, device, unit.session)])
        return unit

    def _of_sparkplug(self, message: Message) -> _Heard | None:
        topic = sparkplug.parse_topic(message.topic)
        if topic is None or not self._is_meant(topic):
            return None
        family = self._named or families()[SPARKPLUG]
        place = f"{topic.group}/{topic.node}"
        node = self._nodes.setdefault(place, Node(topic.group, topic.node))
        name = f"{place}/{topic.device}".rstrip("/")
        unit = self._unit(name, family.name, f"{message.topic} is a Sparkplug B topic")
        if unit is None:
            return None
        if topic.device not in node.units:
            node.units[topic.device] = Unit(_stranger(name, self._address), family)
        if topic.type in ("NBIRTH", "DBIRTH"):
            unit.evidence.append(f"{topic.type} tells its metrics")
        unit.take(sparkplug_node.hear(node, topic, message))
        return unit

    def _is_meant(self, topic: sparkplug.SparkTopic) -> bool:
        place = self._where
        return not isinstance(place, Spark) or topic.device in ("", place.device)

    def _of_family(self, message: Message) -> _Heard | None:
        found = self._rooted(message)
        if found is None:
            return None
        root, path, family = found
        known = root in self._units
        shown = f"{message.topic} is laid out like {family.name if family else 'no family'}"
        unit = self._unit(root, family.name if family else "", shown)
        if unit is None:
            return None
        if unit.family is None:
            unit.family = family
            if family is not None and known:
                unit.profile, unit.evidence = family.name, [shown]
        if len(unit.waiting) < _MOST_HEARD:
            unit.waiting.append((path, message))
        if unit.family is None:
            return None
        device = _stranger(root, self._address)
        for at, said in unit.waiting:
            if said.is_retained and len(unit.evidence) == 1:
                unit.evidence.append("the broker had kept some of it: nobody knows since when")
            live = replace(said, is_retained=False)
            unit.take(published.hear(unit.family, device, unit.picture, at, live))
        unit.waiting.clear()
        unit.take(published.reading(unit.family, device, unit.picture))
        return unit

    def _of_description(self, message: Message) -> _Heard | None:
        family = self._named or families()[DESCRIBED]
        described, topic = self._described, message.topic
        shown = f"{topic} describes it to Home Assistant"
        unit = self._unit(self._address.topic, family.name, shown)
        if unit is None:
            return None
        device = _stranger(self._address.topic, self._address)
        if topic in described.topics:
            leaves = discovery.values(described, topic, message.payload)
            live = replace(message, is_retained=False)
            unit.take(published.take(family, device, unit.picture, topic, leaves, live))
            unit.take(published.reading(family, device, unit.picture))
            return unit
        before = described.topics
        try:
            discovery.describe(described, family, topic, message.payload)
        except DescriptionInvalid as invalid:
            unit.problems.append(f"{topic[:200]}: {invalid}")
        unit.picture.values.update(described.identity)
        self.wanted |= described.topics - before
        return unit

    def _rooted(self, message: Message) -> tuple[str, str, Family | None] | None:
        """Return the root of the unit, the path below it, and its family if the path shows it."""
        topic = message.topic
        place = self._where
        if isinstance(place, Root):
            if topic != place.topic and not topic.startswith(f"{place.topic}/"):
                return None
            path = topic[len(place.topic) + 1 :]
            return place.topic, path, self._named or recognized(path, message)
        for family in (self._named,) if self._named else families().values():
            root = family.root_of(topic)
            if root is None or family.block.shape != "values":
                continue
            path = topic[len(root) + 1 :]
            leaves = published.paths(path, message.payload)
            if root in self._units or any(map(family.recognizes, leaves)):
                return root, path, family
        return None


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
