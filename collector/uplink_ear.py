"""The center's ears for collectors away from it: their arrivals, shard by shard, and their lives.

What a message is stands in `collector.uplink_wire`; the connection is `collector.listen`, the rows
of collectors' lives are `collector.uplink_lives`.
"""

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from collector.arrival import Arrival
from collector.listen import EarStopped, Say
from collector.readers.mqtt import Message
from collector.shards import shard_of
from collector.skew import HeardSkew
from collector.uplink_wire import (
    ROOT,
    Beat,
    UplinkRefused,
    collector_topic,
    decode,
    filter_of,
    parse_collector_topic,
    parse_topic,
    read_beat,
)
from rules.facts import Rejection

log = logging.getLogger(__name__)

SOURCE = "uplink"
_REFRESH_SECONDS = 60.0
_REFRESH_ON_MISS_SECONDS = 5.0
_LOAD_AGAIN_SECONDS = 1.0
_STRANGER_AGAIN_SECONDS = 3_600.0
_MOST_STRANGERS = 10_000
_MOST_COLLECTORS = 10_000
_RAW_KEPT = 2_000
_LIVES = frozenset({collector_topic("+", "availability"), collector_topic("+", "beat")})


class Directory:
    """Which devices there are, by key, and how wrong collectors' clocks are; for several ears.

    `load` returns the devices' numbers by key, `load_skews` seconds by collector; they are asked
    every minute, and at most every 5 s for a device that is not known.
    """

    def __init__(
        self,
        *,
        load: Callable[[], Mapping[str, int]],
        load_skews: Callable[[], Mapping[str, float]],
    ) -> None:
        self._load = load
        self._load_skews = load_skews
        self._devices: Mapping[str, int] = {}
        self._skews: Mapping[str, float] = {}
        self._refresh_at = self._refresh_on_miss_at = 0.0
        self._generation = 0
        self._has_failed = False
        self._loading = threading.Lock()
        self._strangers: OrderedDict[str, float] = OrderedDict()

    def refresh(self) -> None:
        """Load when it is time."""
        if time.monotonic() >= self._refresh_at:
            self._loads()

    def forget(self) -> None:
        """Load anew before the next answer: other devices are asked for from now on."""
        self._generation += 1
        self._refresh_at = self._refresh_on_miss_at = 0.0

    def device_id(self, key: str, stopping: threading.Event) -> int | None:
        """Return a device's number, None for a stranger; wait while nobody can tell.

        Raises EarStopped when told to stop meanwhile.
        """
        while (known := self._devices.get(key)) is None:
            if time.monotonic() < self._refresh_on_miss_at:
                return None
            if not self._loads() and stopping.wait(_LOAD_AGAIN_SECONDS):
                raise EarStopped
        return known

    def skew(self, collector: str) -> float | None:
        """Return by how many seconds a collector's clock is ahead of ours, as far as is known."""
        return self._skews.get(collector)

    def is_news(self, stranger: str) -> bool:
        """Tell whether a stranger has not been told of within the hour."""
        now = time.monotonic()
        with self._loading:
            if now < self._strangers.get(stranger, 0.0):
                return False
            self._strangers[stranger] = now + _STRANGER_AGAIN_SECONDS
            self._strangers.move_to_end(stranger)
            if len(self._strangers) > _MOST_STRANGERS:
                self._strangers.popitem(last=False)
        return True

    def _loads(self) -> bool:
        with self._loading:
            now, generation = time.monotonic(), self._generation
            self._refresh_at = now + _REFRESH_ON_MISS_SECONDS  # until it has succeeded
            try:
                self._devices, self._skews = self._load(), self._load_skews()
            except Exception:  # the loop's edge: the last good list is kept
                if not self._has_failed:
                    log.exception("the devices cannot be loaded; %d are known", len(self._devices))
                self._has_failed = True
                return False
            self._has_failed = False
            # What was forgotten meanwhile is no answer: the next look loads again.
            is_current = generation == self._generation
            self._refresh_at = now + _REFRESH_SECONDS if is_current else 0.0
            self._refresh_on_miss_at = now + _REFRESH_ON_MISS_SECONDS if is_current else 0.0
        return True


class UplinkEar:
    """Hears what collectors away from the center send of the devices in some shards."""

    def __init__(self, shards: Sequence[int], directory: Directory) -> None:
        self._filters = frozenset(map(filter_of, shards))
        self._directory = directory
        self._stopping = threading.Event()

    def start(self) -> None:
        """Make ready."""
        self._stopping.clear()

    def stop(self) -> None:
        """Let a message that waits for the devices be left alone."""
        self._stopping.set()

    def refresh(self) -> None:
        """Load the devices when it is time."""
        self._directory.refresh()

    def filters(self) -> frozenset[str]:
        """Return a filter a shard."""
        return self._filters

    def qos(self, wanted: str) -> int:  # noqa: ARG002 - an ear's form
        """Return that every message has to arrive."""
        return 1

    def tend(self, say: Say) -> Sequence[Arrival]:  # noqa: ARG002 - an ear's form
        """Return nothing: nothing is held back."""
        return ()

    def hear(self, message: Message) -> Sequence[Arrival]:
        """Return what a collector read, or why it is refused."""
        place = parse_topic(message.topic)
        if place is None:
            return (_refused(message, message.topic, "unknown_topic", "no topic of the uplink"),)
        shard, key = place
        if shard_of(key) != shard:
            # In another shard its order would be nobody's care.
            detail = f"this device belongs into shard {shard_of(key):02}"
            return (_refused(message, key, "wrong_shard", detail),)
        device_id = self._directory.device_id(key, self._stopping)
        if device_id is None:
            if not self._directory.is_news(key):
                return ()
            detail = f"no device has the key {key[:100]!r}"
            return (_refused(message, key, "unknown_device", detail),)
        try:
            told = decode(
                message.payload, received_at=message.received_at, skew_of=self._directory.skew
            )
        except UplinkRefused as refused:
            arrival = _refused(message, key, refused.reason, refused.detail)
            return (replace(arrival, device_id=device_id),)
        if told.device_key != key:
            detail = f"the message is of {told.device_key[:100]!r}"
            return (_refused(message, key, "wrong_device", detail),)
        reading = told.reading
        if reading is not None:
            reading = replace(reading, device_id=device_id)
        return (replace(told, device_id=device_id, reading=reading),)


class LivesEar:
    """Hears collectors away from the center live and die, and answers when it heard them.

    `note_beat(name, beat, skew)` and `note_end(name)` keep what was heard; what they raise is the
    listener's to tell. `list_of(group)` returns digest and message of the group's devices, for
    collectors that have no other list; None while nobody can tell.
    """

    def __init__(
        self,
        *,
        note_beat: Callable[[str, Beat, float], None],
        note_end: Callable[[str], None],
        list_of: Callable[[str], tuple[str, bytes] | None],
    ) -> None:
        self._list_of = list_of
        self._note_beat = note_beat
        self._note_end = note_end
        self._skews: OrderedDict[tuple[str, str], HeardSkew] = OrderedDict()
        self._answers: list[tuple[str, bytes]] = []

    def start(self) -> None:
        """Make ready."""

    def stop(self) -> None:
        """Nothing is waited for."""

    def refresh(self) -> None:
        """Nothing is to be learned."""

    def filters(self) -> frozenset[str]:
        """Return the filters of collectors' lives."""
        return _LIVES

    def qos(self, wanted: str) -> int:
        """Return that an end has to be heard, while a beat that is late is worth nothing."""
        return 0 if wanted.endswith("/beat") else 1

    def tend(self, say: Say) -> Sequence[Arrival]:
        """Answer the beats that were heard."""
        answers, self._answers = self._answers, []
        for topic, payload in answers:
            say(topic, payload)
        return ()

    def hear(self, message: Message) -> Sequence[Arrival]:
        """Keep a sign of life or of its end; what is refused goes to quarantine."""
        place = parse_collector_topic(message.topic)
        if place is None or len(place[0]) > 100:
            return (_refused(message, message.topic, "unknown_topic", "no topic of the uplink"),)
        name, kind = place
        if kind == "availability":
            if message.payload.strip().lower() == b"offline" and not message.is_retained:
                self._note_end(name)
            return ()
        try:
            beat = read_beat(message.payload)
        except UplinkRefused as refused:
            return (_refused(message, f"{ROOT}/{name}", refused.reason, refused.detail),)
        answer = {
            "life": beat.life,
            "number": beat.number,
            "at": message.received_at.isoformat(),
        }
        self._answers.append((collector_topic(name, "clock"), json.dumps(answer).encode()))
        if beat.devices is not None:
            listed = self._list_of(beat.group)
            if listed is not None and listed[0] != beat.devices:
                self._answers.append((collector_topic(name, "devices"), listed[1]))
        known = self._skews.setdefault((name, beat.life), HeardSkew())
        self._skews.move_to_end((name, beat.life))
        if len(self._skews) > _MOST_COLLECTORS:
            self._skews.popitem(last=False)
        self._note_beat(name, beat, known.hear(beat.at, message.received_at))
        return ()


def _refused(message: Message, key: str, reason: str, detail: str) -> Arrival:
    raw = message.payload[:_RAW_KEPT].decode("utf-8", "backslashreplace")
    return Arrival(
        device_key=key[:_RAW_KEPT],
        received_at=message.received_at,
        source=SOURCE,
        rejections=(Rejection(None, raw, reason, detail),),
    )
