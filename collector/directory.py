"""Whose topic it is: the devices that publish, by where they do, and the filters that this needs.

Rebuilt whenever the devices are loaded; a topic is then found by as many look-ups as it has
levels, however many devices there are. Pure; what is heard is `collector.ear`'s.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

from collector.address import AddressInvalid, MqttAddress, parse_address
from collector.readers import sparkplug
from collector.readers.mqtt import FILTERS, ROOT
from collector.store import KnownDevice

DISCOVERY = "config"
"""The last level of a topic by which Home Assistant discovers."""
_BROKER = re.compile(r"mqtts?://[^/]*/?")
_MOST_LEVELS = 24
_MOST_DESCRIBED_LEVELS = 7

NodeKey = tuple[str, str]
"""Group and edge node of Sparkplug."""


class TopicUnusable(ValueError):
    """An address tells no device from another; the message says what would."""


@dataclass(frozen=True, slots=True)
class Convention:
    """A device of the product's own convention: told by its key."""


@dataclass(frozen=True, slots=True)
class Root:
    """A device whose topics all begin alike."""

    topic: str


@dataclass(frozen=True, slots=True)
class Spark:
    """A device of a Sparkplug edge node; an empty name is the node itself."""

    group: str
    node: str
    device: str


@dataclass(frozen=True, slots=True)
class Discovered:
    """A device that Home Assistant's discovery describes, by the filter of its descriptions."""

    filter: str


Where = Convention | Root | Spark | Discovered


@lru_cache(maxsize=200_000)
def where(address: str) -> Where:
    """Return how an address tells a device's topics; raise TopicUnusable.

    A broker without a topic is enough for the convention, which knows devices by their keys.
    """
    if _BROKER.fullmatch(address):
        return Convention()
    try:
        parsed = parse_address(address)
    except AddressInvalid as invalid:
        raise TopicUnusable(str(invalid)) from invalid
    if not isinstance(parsed, MqttAddress):
        raise TopicUnusable(f"{address} is no MQTT address")
    return where_of(parsed.topic)


def where_of(topic: str) -> Where:
    """Return how a topic of an address tells a device's topics; raise TopicUnusable."""
    levels = topic.split("/")
    if topic.startswith(f"{ROOT}/"):
        return Convention()
    if levels[0] == sparkplug.NAMESPACE:
        return _spark(levels)
    if levels[-1] == DISCOVERY:
        return Discovered(topic)
    if levels[-1] in ("#", "+"):
        levels.pop()
    root = "/".join(levels)
    if not root or "+" in levels or "#" in levels:
        raise TopicUnusable(
            f"{topic!r} fits the topics of several devices: give the one below which all topics "
            "of this device stand, such as site-3/ups-1/#"
        )
    return Root(root)


def _spark(levels: list[str]) -> Spark:
    kinds = (*sparkplug.TYPES, "+")
    if len(levels) == 5 and levels[4] == "#":
        levels = levels[:4]
    if len(levels) in (4, 5) and levels[2] in kinds:
        names = [levels[1], levels[3], *levels[4:], ""]
        if not {"+", "#"} & set(names) and names[0] and names[1]:
            return Spark(names[0], names[1], names[2])
    raise TopicUnusable(
        f"{'/'.join(levels)!r} names no Sparkplug device: write spBv1.0/GROUP/+/NODE/DEVICE, or "
        "spBv1.0/GROUP/+/NODE for the edge node itself"
    )


@dataclass(frozen=True, slots=True)
class Directory:
    """Devices by key, by root, by Sparkplug node and name; and the filters that bring them all.

    Of `filters`, those in `snapshots` bring topics that repeat what holds.
    """

    by_key: Mapping[str, KnownDevice] = field(default_factory=dict)
    roots: Mapping[str, KnownDevice] = field(default_factory=dict)
    nodes: Mapping[NodeKey, Mapping[str, KnownDevice]] = field(default_factory=dict)
    discovered: Mapping[str, KnownDevice] = field(default_factory=dict)
    filters: frozenset[str] = frozenset(FILTERS)
    snapshots: frozenset[str] = frozenset()
    unusable: Mapping[str, str] = field(default_factory=dict)

    def root_of(self, topic: str) -> tuple[KnownDevice, str] | None:
        """Return the device below whose root a topic stands, and the path below it."""
        end = len(topic)
        for _ in range(_MOST_LEVELS):
            device = self.roots.get(topic[:end])
            if device is not None:
                return device, topic[end + 1 :]
            end = topic.rfind("/", 0, end)
            if end < 0:
                return None
        return None

    def described_by(self, topic: str) -> KnownDevice | None:
        """Return the device whose descriptions stand on a topic."""
        levels = topic.split("/")
        if not self.discovered or len(levels) > _MOST_DESCRIBED_LEVELS:
            return None
        # As many look-ups as the topic has ways to be written with wildcards, not one a device.
        for wild in product((False, True), repeat=len(levels) - 1):
            some = ["+" if is_wild else one for is_wild, one in zip(wild, levels, strict=False)]
            device = self.discovered.get("/".join((*some, levels[-1])))
            if device is not None:
                return device
        return None


def directory_of(devices: Iterable[KnownDevice]) -> Directory:
    """Sort devices by where they publish; one whose address is unusable is only known by key."""
    by_key: dict[str, KnownDevice] = {}
    roots: dict[str, KnownDevice] = {}
    nodes: dict[NodeKey, dict[str, KnownDevice]] = {}
    discovered: dict[str, KnownDevice] = {}
    unusable: dict[str, str] = {}
    for device in devices:
        by_key[device.key] = device
        try:
            place = where(device.address)
        except TopicUnusable as problem:
            unusable[device.key] = str(problem)
            continue
        match place:
            case Root(topic):
                roots[topic] = device
            case Spark(group, node, name):
                nodes.setdefault((group, node), {})[name] = device
            case Discovered(wanted):
                discovered[wanted] = device
    snapshots = frozenset(_outermost(roots)) | discovered.keys()
    spark = {f"{sparkplug.NAMESPACE}/{group}/+/{node}/#" for group, node in nodes}
    return Directory(
        by_key,
        roots,
        nodes,
        discovered,
        frozenset(FILTERS) | spark | snapshots,
        snapshots,
        unusable,
    )


def _outermost(roots: Iterable[str]) -> Iterator[str]:
    """Yield a filter a root, but for roots below others: nothing is to come twice."""
    known = set(roots)
    for root in known:
        end = len(root)
        while (end := root.rfind("/", 0, end)) > 0:
            if root[:end] in known:
                break
        else:
            yield f"{root}/#"
