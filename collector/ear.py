"""The ear for devices that publish: whose message it is, and what it brings.

Here live the devices known, what is remembered of each between messages, and when a picture of
one is due. What messages mean: `readers.mqtt` the product's own convention, `readers.published`
families of one value or object a topic, `readers.discovery` which topics a described device has,
`readers.sparkplug_node` Sparkplug B. The connection is `collector.listen`.
"""

import heapq
import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from collector.arrival import Arrival
from collector.directory import DISCOVERY, Directory, NodeKey, directory_of
from collector.family import Family, families
from collector.listen import EarStopped, Say
from collector.profile import profiles
from collector.readers import discovery, published, sparkplug, sparkplug_node
from collector.readers.discovery import Described, DescriptionInvalid
from collector.readers.mqtt import ROOT, Message, Session, parse_topic, understand
from collector.readers.published import Picture
from collector.readers.sparkplug_node import Node, Unit
from collector.schedule import rhythm
from collector.store import KnownDevice
from rules.facts import Rejection

log = logging.getLogger(__name__)

REBIRTH_AGAIN_SECONDS = 60.0
"""How rarely one edge node is asked for its birth."""
SPARKPLUG = "sparkplug-b"
DESCRIBED = "homeassistant"

_REFRESH_SECONDS = 60.0
_REFRESH_ON_MISS_SECONDS = 5.0
_LOAD_AGAIN_SECONDS = 1.0
_STRANGER_AGAIN_SECONDS = 3_600.0
_MOST_STRANGERS = 10_000
_FIRST_PICTURE_SECONDS = 1.0  # retained messages and a first round come in one go
_FLAG_PICTURE_SECONDS = 0.1  # what changes with a flag comes with it
_KEPT_UNRECOGNIZED = 200
_CONVENTION = f"{ROOT}/"
_SPARK = f"{sparkplug.NAMESPACE}/"


@dataclass(slots=True, eq=False)
class _Voice:
    """A device of a vendor's family; `family` is None until its topics have shown it."""

    device: KnownDevice
    family: Family | None
    picture: Picture
    due: float | None = None
    last: float | None = None
    unrecognized: deque[tuple[str, Message]] = field(
        default_factory=lambda: deque(maxlen=_KEPT_UNRECOGNIZED)
    )


class DeviceEar:
    """Hears the devices that `load` returns; it is asked at most every 5 s.

    `strangers` counts messages of unknown devices; each is quarantined once an hour. With
    `asks_for_births` a Sparkplug edge node is asked to say again what it has, when something
    cannot be understood without: the one thing that is ever said to a device.
    """

    def __init__(
        self, *, load: Callable[[], Sequence[KnownDevice]], asks_for_births: bool = False
    ) -> None:
        self.strangers: Counter[str] = Counter()
        self.births_asked = 0
        self._load = load
        self._asks_for_births = asks_for_births
        self._directory = Directory()
        self._refresh_at = self._refresh_on_miss_at = 0.0
        self._has_loaded = self._load_failed = False
        self._loading = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._voices: dict[str, _Voice] = {}
        self._nodes: dict[NodeKey, Node] = {}
        self._asked_at: dict[NodeKey, float] = {}
        self._described: dict[str, Described] = {}
        self._described_topics: dict[str, list[str]] = {}
        self._filters = self._directory.filters
        self._due: list[tuple[float, int, _Voice]] = []
        self._told: OrderedDict[str, float] = OrderedDict()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Read the profiles before the first message rather than while it waits."""
        self._stopping.clear()
        profiles()
        families()

    def stop(self) -> None:
        """Let a message that waits for the devices be left alone."""
        self._stopping.set()

    def refresh(self) -> None:
        """Load the devices when it is time."""
        if time.monotonic() >= self._refresh_at:
            self._loads()

    def filters(self) -> frozenset[str]:
        """Return what brings the devices' topics, those of the convention always."""
        return self._filters

    def qos(self, wanted: str) -> int:
        """Return 0 for topics that repeat what holds: kept by the broker, they would be lies."""
        is_snapshot = wanted in self._directory.snapshots or wanted in self._described_topics
        return 0 if is_snapshot else 1

    def hear(self, message: Message) -> Sequence[Arrival]:
        """Return what a message brings, nothing for a stranger's who was told of lately."""
        topic = message.topic
        if topic.startswith(_CONVENTION):
            return self._of_convention(message)
        if not self._has_loaded:
            self._device("")  # waits until it can be told who the devices are
        if topic.startswith(_SPARK):
            return self._of_sparkplug(message)
        if topic in self._described_topics:
            return self._of_described(message)
        if topic.endswith(f"/{DISCOVERY}"):
            described = self._directory.described_by(topic)
            if described is not None:
                return self._of_description(described, message)
        found = self._directory.root_of(topic)
        if found is None:
            return self._of_stranger(message, "unknown_topic", "no device publishes here")
        return self._of_family(*found, message)

    def tend(self, say: Say) -> Sequence[Arrival]:
        """Return the pictures that are due; ask for births, if that is wanted."""
        if self._asks_for_births:
            self._ask_for_births(say)
        now = time.monotonic()
        arrivals: list[Arrival] = []
        while self._due and self._due[0][0] <= now:
            due, _, voice = heapq.heappop(self._due)
            if voice.due == due and voice.family is not None:
                voice.due, voice.last = None, now
                arrivals += published.reading(voice.family, voice.device, voice.picture)
        return arrivals

    # The product's own convention

    def _of_convention(self, message: Message) -> Sequence[Arrival]:
        topic = parse_topic(message.topic)
        key = "" if topic is None else topic.device_key
        device = self._device(key)
        if device is None and not self._is_news(message.topic if topic is None else key):
            self.strangers["unknown_device" if topic else "unknown_topic"] += 1
            return ()
        session = self._sessions.get(key)
        if session is None:
            session = Session()
            if device is not None:
                session.last_at, session.is_offline = device.observed_at, device.is_offline
                self._sessions[key] = session
        return (understand(message, device, session),)

    # Sparkplug B

    def _of_sparkplug(self, message: Message) -> Sequence[Arrival]:
        topic = sparkplug.parse_topic(message.topic)
        if topic is None:
            return ()  # the state of a host
        key = (topic.group, topic.node)
        node = self._node(key)
        if node is None or topic.device not in node.units:
            name = f"{topic.group}/{topic.node}/{topic.device}".rstrip("/")
            if topic.type in ("DBIRTH", "DDATA") or node is None:
                told = self._of_stranger(message, "unknown_device", f"no device is {name}", name)
                return [*told, *(sparkplug_node.hear(node, topic, message) if node else ())]
        return sparkplug_node.hear(node, topic, message)

    def _node(self, key: NodeKey) -> Node | None:
        devices = self._directory.nodes.get(key)
        if devices is None:
            return None
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node(*key)
        if len(node.units) != len(devices) or any(
            name not in node.units or node.units[name].device is not device
            for name, device in devices.items()
        ):
            node.units = {
                name: self._unit(node.units.get(name), device) for name, device in devices.items()
            }
        return node

    def _unit(self, known: Unit | None, device: KnownDevice) -> Unit:
        family = families().get(device.profile or SPARKPLUG)
        if family is None or family.block.shape != "sparkplug":
            family = families()[SPARKPLUG]
        if known is None or known.device.device_id != device.device_id:
            return Unit(device, family, last_at=device.observed_at, is_offline=device.is_offline)
        known.device, known.family = device, family
        return known

    def _ask_for_births(self, say: Say) -> None:
        now = time.monotonic()
        for key, node in self._nodes.items():
            at = node.heard_at
            if not node.wants_birth or at is None or now < self._asked_at.get(key, 0.0):
                continue
            self._asked_at[key] = now + REBIRTH_AGAIN_SECONDS
            self.births_asked += 1
            wish = sparkplug.rebirth_request(int(at.timestamp() * 1_000))
            say(f"{_SPARK}{node.group}/NCMD/{node.name}", wish)

    # Vendors' families

    def _of_family(self, device: KnownDevice, path: str, message: Message) -> Sequence[Arrival]:
        voice = self._voice(device)
        if voice.family is not None:
            return self._heard(voice, path, message)
        voice.unrecognized.append((path, message))
        voice.family = recognized(path, message)
        if voice.family is None:
            if len(voice.unrecognized) < _KEPT_UNRECOGNIZED:
                return ()
            detail = "no profile knows these topics: name one in the device's record"
            return self._of_stranger(message, "unknown_family", detail, device.key)
        arrivals = [one for some in voice.unrecognized for one in self._heard(voice, *some)]
        voice.unrecognized.clear()
        return arrivals

    def _voice(self, device: KnownDevice) -> _Voice:
        voice = self._voices.get(device.key)
        if voice is None or voice.device.device_id != device.device_id:
            picture = Picture(last_at=device.observed_at, is_offline=device.is_offline)
            voice = self._voices[device.key] = _Voice(device, _family_named(device), picture)
        elif voice.device is not device:
            named = _family_named(device)
            if named is not None and named is not voice.family:
                voice.family, voice.picture = named, Picture(last_at=voice.picture.last_at)
            voice.device = device
        return voice

    def _heard(self, voice: _Voice, path: str, message: Message) -> Sequence[Arrival]:
        family, picture = voice.family, voice.picture
        if family is None:
            return ()
        arrivals = published.hear(family, voice.device, picture, path, message)
        self._plan(voice)
        return arrivals

    def _plan(self, voice: _Voice) -> None:
        """Note when the next picture of a device is due, if it was heard."""
        picture = voice.picture
        if picture.heard_at is not None:
            now = time.monotonic()
            if voice.last is None:
                due = now + _FIRST_PICTURE_SECONDS
            elif picture.is_urgent:
                due = now + _FLAG_PICTURE_SECONDS
            else:
                interval = voice.device.poll_seconds
                due = voice.last + rhythm(interval, on_battery=picture.is_on_battery)
            if voice.due is None or due < voice.due:
                voice.due = due
                heapq.heappush(self._due, (due, id(voice), voice))

    # Devices that are described

    def _of_description(self, device: KnownDevice, message: Message) -> Sequence[Arrival]:
        voice = self._voice(device)
        family = voice.family = voice.family or families()[DESCRIBED]
        described = self._described.setdefault(device.key, Described())
        before = described.topics
        try:
            discovery.describe(described, family, message.topic, message.payload)
        except DescriptionInvalid as invalid:
            told = voice.picture.told
            return published.refused(device, told, message, "bad_description", str(invalid))
        voice.picture.values.update(described.identity)
        if described.topics != before:
            with self._loading:
                self._follow(self._directory)
        return ()

    def _of_described(self, message: Message) -> Sequence[Arrival]:
        arrivals: list[Arrival] = []
        for key in self._described_topics[message.topic]:
            device, described = self._directory.by_key.get(key), self._described.get(key)
            if device is None or described is None:
                continue
            voice = self._voice(device)
            voice.family = voice.family or families()[DESCRIBED]
            leaves = discovery.values(described, message.topic, message.payload)
            arrivals += published.take(
                voice.family, device, voice.picture, message.topic, leaves, message
            )
            self._plan(voice)
        return arrivals

    def _follow(self, directory: Directory) -> None:
        """Want the topics that the devices' descriptions name, beside the directory's own."""
        topics: dict[str, list[str]] = {}
        for key, described in tuple(self._described.items()):
            for topic in described.topics if key in directory.by_key else ():
                topics.setdefault(topic, []).append(key)
        self._described_topics = topics
        filters = directory.filters | topics.keys()
        if filters != self._filters:  # else the same object: nothing to subscribe anew
            self._filters = filters

    # Strangers and devices

    def _of_stranger(
        self, message: Message, reason: str, detail: str, name: str | None = None
    ) -> Sequence[Arrival]:
        name = message.topic[:2_000] if name is None else name
        if not self._is_news(f"{reason} {name}"):
            self.strangers[reason] += 1
            return ()
        raw = message.payload[:2_000].decode("utf-8", "backslashreplace")
        one = Rejection(None, raw, reason, f"{message.topic[:200]}: {detail}")
        return [Arrival(name, message.received_at, "mqtt", rejections=(one,))]

    def _is_news(self, stranger: str) -> bool:
        """Tell whether an unknown device has not been quarantined within the hour."""
        now = time.monotonic()
        if now < self._told.get(stranger, 0.0):
            return False
        self._told[stranger] = now + _STRANGER_AGAIN_SECONDS
        self._told.move_to_end(stranger)
        if len(self._told) > _MOST_STRANGERS:
            self._told.popitem(last=False)
        return True

    def _device(self, key: str) -> KnownDevice | None:
        """Return the device of a key; wait while it cannot be told who the devices are."""
        known = self._directory.by_key.get(key)
        if known is not None:
            return known
        while not self._stopping.is_set():
            if time.monotonic() < self._refresh_on_miss_at or self._loads():
                return self._directory.by_key.get(key)
            self._stopping.wait(_LOAD_AGAIN_SECONDS)
        raise EarStopped

    def _loads(self) -> bool:
        with self._loading:
            now = time.monotonic()
            self._refresh_at = now + _REFRESH_ON_MISS_SECONDS  # until it has succeeded
            try:
                directory = directory_of(self._load())
            except Exception:  # the loop's edge: the last good list is kept
                if not self._load_failed:
                    known = len(self._directory.by_key)
                    log.exception("the devices cannot be loaded; %d are known", known)
                self._load_failed = True
                return False
            self._tell_unusable(directory)
            self._follow(directory)
            self._directory, self._has_loaded, self._load_failed = directory, True, False
            self._refresh_at = now + _REFRESH_SECONDS
            self._refresh_on_miss_at = now + _REFRESH_ON_MISS_SECONDS
        # What is remembered of a device goes with it; the network thread may add some meanwhile.
        _forget(self._sessions, directory.by_key)
        _forget(self._voices, directory.by_key)
        _forget(self._described, directory.by_key)
        _forget(self._nodes, directory.nodes)
        _forget(self._asked_at, directory.nodes)
        return True

    def _tell_unusable(self, directory: Directory) -> None:
        known = self._directory.unusable
        fresh = {k: why for k, why in directory.unusable.items() if known.get(k) != why}
        if fresh:
            key, why = next(iter(fresh.items()))
            log.warning("%d devices cannot be listened to, such as %s: %s", len(fresh), key, why)


def recognized(path: str, message: Message) -> Family | None:
    """Return the family that a message of a device shows it to be of, None when it does not."""
    leaves = published.paths(path, message.payload)
    for family in families().values():
        if family.block.shape != "values" or family.root_of(message.topic) is None:
            continue
        if any(map(family.recognizes, leaves)):
            return family
    return None


def _family_named(device: KnownDevice) -> Family | None:
    family = families().get(device.profile or "")
    return family if family is not None and family.block.shape != "sparkplug" else None


_K = TypeVar("_K")


def _forget(remembered: dict[_K, Any], known: Container[_K]) -> None:
    for key in [key for key in tuple(remembered) if key not in known]:
        remembered.pop(key, None)
