"""How units publish that do not speak the product's own convention: vendors' topics, Sparkplug B.

What is said when is `mqtt_publisher`'s; here is what it looks like. No connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Protocol

from collector.family import Family, family_of
from collector.form import Profile
from collector.raw import Encoded, Ref
from collector.readers.publishing import messages
from collector.readers.sparkplug import (
    BOOLEAN,
    DOUBLE,
    INT64,
    NAMESPACE,
    STRING,
    Metric,
    Payload,
    Scalar,
    encode_payload,
)

GROUP = "sims"


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a unit."""

    topic: str
    payload: bytes
    retain: bool = False


class Voice(Protocol):
    """What a unit says, and in which form."""

    def will(self, now: datetime) -> Said | None:
        """Return what the broker is to say when the unit is lost; asked before each connection."""

    def hello(self, encoded: Mapping[Ref, Encoded], now: datetime) -> list[Said]:
        """Return what is said after connecting."""

    def reading(self, encoded: Mapping[Ref, Encoded], now: datetime) -> list[Said]:
        """Return what is said of the unit as it stands."""


def voice_for(profile: Profile, key: str) -> Voice | None:
    """Return how a unit of a family publishes; None for the product's own convention."""
    family = family_of(profile)
    if family is None:
        return None
    if family.block.shape == "sparkplug":
        return SparkVoice(key)
    if family.block.written is None:
        raise ValueError(f"units of profile {profile.name} cannot be simulated")
    return TopicsVoice(family, family.block.written.root.replace("{key}", key))


def address_topic(profile: Profile, key: str) -> str | None:
    """Return the topic by which such a unit is registered; None for the own convention."""
    voice = voice_for(profile, key)
    if isinstance(voice, SparkVoice):
        return f"{NAMESPACE}/{GROUP}/+/{voice.node}/{key}"
    return f"{voice.root}/#" if isinstance(voice, TopicsVoice) else None


@dataclass(slots=True)
class TopicsVoice:
    """A family of one value, or one JSON object, a topic."""

    family: Family
    root: str

    def will(self, now: datetime) -> Said | None:  # noqa: ARG002 - a voice's form
        """Return the family's word for offline, if it has one."""
        return self._availability(lives=False)

    def hello(self, encoded: Mapping[Ref, Encoded], now: datetime) -> list[Said]:  # noqa: ARG002
        """Return the family's word for online, if it has one."""
        online = self._availability(lives=True)
        return [] if online is None else [online]

    def reading(self, encoded: Mapping[Ref, Encoded], now: datetime) -> list[Said]:  # noqa: ARG002
        """Return every topic, as such devices repeat them."""
        told = messages(self.family, encoded)
        return [Said(f"{self.root}/{path}", payload) for path, payload in told.items()]

    def _availability(self, *, lives: bool) -> Said | None:
        told = next(iter(self.family.block.availability), None)
        if told is None:
            return None
        word = told.online if lives else told.offline
        return Said(f"{self.root}/{told.path}", word.encode(), retain=True)


@dataclass(slots=True)
class SparkVoice:
    """An edge node with one device: births with names and aliases, then what changed by alias."""

    key: str
    bd_seq: int = -1
    seq: int = 0
    aliases: dict[str, int] = field(default_factory=dict)
    last: dict[str, Scalar] = field(default_factory=dict)

    @property
    def node(self) -> str:
        """The edge node's name."""
        return f"gate-{self.key}"

    def will(self, now: datetime) -> Said:
        """Return the node's death, numbered as the birth that follows."""
        self.bd_seq = (self.bd_seq + 1) % 256
        death = Payload(_milliseconds(now), None, (self._bd_seq(),))
        return Said(f"{NAMESPACE}/{GROUP}/NDEATH/{self.node}", encode_payload(death))

    def hello(self, encoded: Mapping[Ref, Encoded], now: datetime) -> list[Said]:
        """Return the births of node and device."""
        at, self.seq, self.last = _milliseconds(now), 0, _scalars(encoded)
        numbers = count()
        self.aliases = {name: next(numbers) for name in self.last}
        control = Metric("Node Control/Rebirth", None, at, BOOLEAN, value=False)
        told = [
            Metric(name.replace(".", "/"), self.aliases[name], at, _datatype(value), value)
            for name, value in self.last.items()
        ]
        node = encode_payload(Payload(at, 0, (self._bd_seq(), control)))
        return [
            Said(f"{NAMESPACE}/{GROUP}/NBIRTH/{self.node}", node),
            self._numbered("DBIRTH", at, told),
        ]

    def reading(self, encoded: Mapping[Ref, Encoded], now: datetime) -> list[Said]:
        """Return what changed since the last; nothing when nothing did."""
        at, values = _milliseconds(now), _scalars(encoded)
        changed = [
            Metric(
                None if name in self.aliases else name.replace(".", "/"),
                self.aliases.get(name),
                at,
                _datatype(value),
                value,
            )
            for name, value in values.items()
            if self.last.get(name) != value
        ]
        self.last = values
        return [self._numbered("DDATA", at, changed)] if changed else []

    def _numbered(self, kind: str, at: int, metrics: list[Metric]) -> Said:
        self.seq = (self.seq + 1) % 256
        payload = encode_payload(Payload(at, self.seq, tuple(metrics)))
        return Said(f"{NAMESPACE}/{GROUP}/{kind}/{self.node}/{self.key}", payload)

    def _bd_seq(self) -> Metric:
        return Metric("bdSeq", None, None, INT64, self.bd_seq)


def _scalars(encoded: Mapping[Ref, Encoded]) -> dict[str, Scalar]:
    return {
        str(ref): value for ref, value in encoded.items() if isinstance(value, bool | float | str)
    }


def _datatype(value: Scalar) -> int:
    if isinstance(value, bool):
        return BOOLEAN
    return STRING if isinstance(value, str) else DOUBLE


def _milliseconds(now: datetime) -> int:
    return int(now.timestamp() * 1_000)
