"""What a device of a publishing family says, one value or one JSON object a topic. No broker here.

Such topics repeat what holds, so what is remembered is a picture, and readings are taken of it:
at once after a flag changed, else in the device's rhythm. When that is due is `collector.ear`'s.
What nobody has said since the last reading is not in the next one. A retained message tells what
was last said and not when: it belongs to the picture, but is no sign of life.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from collector.arrival import Arrival
from collector.convert import decode
from collector.document import DocumentInvalid, flatten
from collector.family import LONGEST_TEXT, Family
from collector.form import kind_of
from collector.marks import decode_identity
from collector.raw import RawValue, Ref
from collector.readers.mqtt import LARGEST_BYTES, Message, storable
from collector.schedule import rhythm
from collector.settle import settle
from collector.store import KnownDevice
from rules.facts import Identity, Reading, Rejection, Source, Value
from rules.points import BY_COLUMN, Pace

MOST_TOPICS = 600
"""A device's further topics are refused."""
MOST_VALUES = 3_000
MOST_KINDS = 8
"""How many things alike, such as sensors, are numbered."""

_SOURCE = "mqtt"
_BEHIND = timedelta(milliseconds=1)
_TELL_AGAIN = timedelta(hours=1)
_RAW_KEPT = 2_000
_MOST_TOLD = 500


Told = dict[tuple[str, str], datetime]
"""When a refusal, by point and reason, was told of."""


@dataclass(slots=True)
class Picture:
    """What is known of a device between its messages; lost without harm.

    `topics` has what each topic said last, as a hash, and which paths that were; `heard` are those
    said since the last reading. `heard_at` is when it was last heard live, None: not since the
    last reading. `is_live` says whether it told that it lives.
    """

    values: dict[str, RawValue] = field(default_factory=dict)
    topics: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    ordinals: dict[str, dict[str, str]] = field(default_factory=dict)
    slow: dict[str, Value] = field(default_factory=dict)
    told: Told = field(default_factory=dict)
    identity: Identity | None = None
    heard_at: datetime | None = None
    last_at: datetime | None = None
    changed: set[str] = field(default_factory=set)
    is_urgent: bool = False
    is_live: bool = False
    is_offline: bool = False
    is_on_battery: bool = False
    profile_told: bool = False


def hear(
    family: Family, device: KnownDevice, picture: Picture, path: str, message: Message
) -> list[Arrival]:
    """Take a message into the picture; returns what must not wait. Never raises.

    That is the end of a session, what is refused, and the picture as it was when a flag changes
    again that has changed since the last reading: no change is lost.
    """
    known = picture.topics.get(path)
    fault = _fault(picture, message, is_new=known is None)
    if fault is not None:
        return refused(device, picture.told, message, *fault)
    if known is not None and known[0] == hash(message.payload):
        _heard(picture, path, message)
        return []
    try:
        leaves = _leaves(path, message.payload)
    except DocumentInvalid as invalid:
        return refused(device, picture.told, message, "bad_json", str(invalid))
    return take(family, device, picture, path, leaves, message)


def take(
    family: Family,
    device: KnownDevice,
    picture: Picture,
    path: str,
    leaves: Mapping[Ref, RawValue],
    message: Message,
) -> list[Arrival]:
    """Take a message's values into the picture, by their paths; returns what must not wait."""
    arrivals: list[Arrival] = []
    taken: list[str] = []
    for leaf, value in leaves.items():
        says = family.availability(str(leaf))
        if says is None:
            arrivals += _taken(family, device, picture, leaf, value, taken)
        elif (lives := _lives(value, says.online, says.offline)) is not None:
            arrivals += [] if lives else _ended(device, picture, message)
            picture.is_live = lives
    picture.topics[path] = (hash(message.payload), tuple(taken))
    _heard(picture, path, message)
    return arrivals


def _heard(picture: Picture, path: str, message: Message) -> None:
    if picture.topics[path][1]:
        picture.heard.add(path)
        if not message.is_retained or picture.is_live:
            picture.heard_at = message.received_at
            picture.is_offline = False


def _fault(picture: Picture, message: Message, *, is_new: bool) -> tuple[str, str] | None:
    """Return why a message is not even looked at."""
    size = len(message.payload)
    if size > LARGEST_BYTES:
        return "too_large", f"{size} bytes, more than {LARGEST_BYTES}"
    if is_new and len(picture.topics) >= MOST_TOPICS:
        return "too_many_topics", f"more than {MOST_TOPICS} topics of one device"
    if is_new and len(picture.values) >= MOST_VALUES:
        return "too_many_values", f"more than {MOST_VALUES} values of one device"
    return None


def paths(path: str, payload: bytes) -> tuple[str, ...]:
    """Return the paths of the values in a payload, none where it cannot be read."""
    try:
        return tuple(map(str, _leaves(path, payload[:LARGEST_BYTES])))
    except DocumentInvalid:
        return ()


def _leaves(path: str, payload: bytes) -> Mapping[Ref, RawValue]:
    """Return the values in a payload by their paths: those of a JSON object, else the one text."""
    text = payload.decode("utf-8", "replace").replace("\0", "").strip()
    if text in ("", "null"):
        return {}
    if text[0] in '{["':
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            if text[0] == "{":
                raise DocumentInvalid("the payload begins like JSON, but is none") from None
        else:
            if isinstance(document, dict):
                below = f"{path}/" if path else ""
                return {f"{below}{key}": storable(v) for key, v in flatten(document).items()}
            text = document if isinstance(document, str) else ""
    return {path: text[:LONGEST_TEXT]} if text else {}


def _lives(value: RawValue, online: str, offline: str) -> bool | None:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    word = text.strip().lower()
    return True if word == online.lower() else False if word == offline.lower() else None


def _taken(
    family: Family,
    device: KnownDevice,
    picture: Picture,
    leaf: Ref,
    value: RawValue,
    taken: list[str],
) -> list[Arrival]:
    """Put one value into the picture; returns the picture before, if it would be lost."""
    before: list[Arrival] = []
    path = _numbered(family, picture, str(leaf))
    if path is None:
        return before
    spot = family.spot(path)
    for ref, raw in spot.read(value):
        taken.append(ref)
        if ref in picture.values and picture.values[ref] == raw:
            continue
        if spot.is_urgent or ref in family.urgent:
            picture.is_urgent = True
            if ref in picture.changed:
                before += reading(family, device, picture)
            picture.changed.add(ref)
        picture.values[ref] = raw
    return before


def _numbered(family: Family, picture: Picture, path: str) -> str | None:
    """Return a path with the names of things alike numbered; None for one too many of them."""
    for beginning in family.block.numbered:
        if path.startswith(f"{beginning}/"):
            name, _, rest = path[len(beginning) + 1 :].partition("/")
            alike = picture.ordinals.setdefault(beginning, {})
            if name not in alike:
                if len(alike) >= MOST_KINDS:
                    return None
                alike[name] = str(len(alike) + 1)
            return f"{beginning}/{alike[name]}/{rest}"
    return path


def reading(family: Family, device: KnownDevice, picture: Picture) -> list[Arrival]:
    """Take a reading of the picture, of what was said since the last; empty when there is none."""
    heard_at = picture.heard_at
    if heard_at is None:
        return []
    refs = {
        ref for path in picture.heard if path in picture.topics for ref in picture.topics[path][1]
    }
    raw: dict[Ref, RawValue] = {
        ref: picture.values[ref] for ref in refs | family.urgent if ref in picture.values
    }
    points, extra, rejections = _decoded(family, picture, raw)
    identity = _identity(family, picture)
    picture.heard.clear()
    picture.changed.clear()
    picture.heard_at, picture.is_urgent = None, False
    on_battery = points.get("status_on_battery")
    if isinstance(on_battery, bool):
        picture.is_on_battery = on_battery
    fresh = news(picture.told, rejections, heard_at)
    profile = None
    if device.profile != family.name and not picture.profile_told:
        profile, picture.profile_told = family.name, True
    told = None
    if points or extra:
        at = heard_at
        if picture.last_at is not None and at <= picture.last_at:
            at = picture.last_at + _BEHIND
        picture.last_at = at
        told = Reading(
            device_id=device.device_id,
            observed_at=at,
            received_at=max(at, heard_at),
            points=points,
            extra=extra,
            source=Source.PUSH,
            stays_valid_seconds=_believed(family, device, picture),
        )
    if told is None and not fresh and identity is None and profile is None:
        return []
    return [arrival(device, heard_at, told, fresh, identity, profile)]


def _believed(family: Family, device: KnownDevice, picture: Picture) -> float | None:
    if picture.is_live:
        return None
    if family.block.silence_seconds is not None:
        return family.block.silence_seconds
    interval = rhythm(device.poll_seconds, on_battery=picture.is_on_battery)
    return 3 * interval + device.deadline_seconds


def _decoded(
    family: Family, picture: Picture, raw: Mapping[Ref, RawValue]
) -> tuple[dict[str, Value], dict[str, Value], Iterable[Rejection]]:
    by_name = family.block.names is not None
    if by_name:
        raw = {ref: value for ref, value in raw.items() if kind_of(str(ref)) is not None}
    decoded = decode(family.plan, raw, picture.slow)
    points = decoded.points
    if by_name:
        settle(points, picture.slow, 3 if "ups_l2_load" in points else 1)
    for column, value in points.items():
        if BY_COLUMN[column].pace is Pace.SLOW:
            picture.slow[column] = value
    return points, decoded.extra, decoded.rejections


def _identity(family: Family, picture: Picture) -> Identity | None:
    """Return who the device says it is, when that has changed."""
    raw: dict[Ref, RawValue] = {
        ref: picture.values[ref] for ref in family.identity if ref in picture.values
    }
    if not raw:
        return None
    identity = decode_identity(family.plan, raw)
    if identity == picture.identity:
        return None
    picture.identity = identity
    return identity


def _ended(device: KnownDevice, picture: Picture, message: Message) -> list[Arrival]:
    """Return the end of a session: an empty reading that ends the device's values."""
    picture.is_live = False
    picture.heard.clear()
    picture.changed.clear()
    picture.topics.clear()  # what it says when it is back counts, even if it is the same
    picture.heard_at, picture.is_urgent = None, False
    if picture.is_offline or picture.last_at is None:
        return []
    picture.is_offline = True
    picture.last_at += _BEHIND
    return [arrival(device, message.received_at, ending(device, picture.last_at, message))]


def ending(device: KnownDevice, at: datetime, message: Message) -> Reading:
    """Return the empty reading that ends what was believed of a device."""
    return Reading(
        device_id=device.device_id,
        observed_at=at,
        received_at=message.received_at,
        points={},
        source=Source.PUSH,
        stays_valid_seconds=0.0,
    )


def news(told: Told, rejections: Iterable[Rejection], now: datetime) -> tuple[Rejection, ...]:
    """Return refusals not told of within the hour, and note that they are."""
    fresh = []
    for one in rejections:
        key = (one.point or "", one.reason)
        told_at = told.get(key)
        if told_at is None and len(told) >= _MOST_TOLD:
            continue
        if told_at is None or now - told_at >= _TELL_AGAIN:
            told[key] = now
            fresh.append(one)
    return tuple(fresh)


def refused(
    device: KnownDevice, told: Told, message: Message, reason: str, detail: str
) -> list[Arrival]:
    """Return what quarantines a message, if that was not told of within the hour."""
    raw = message.payload[:_RAW_KEPT].decode("utf-8", "backslashreplace")
    one = Rejection(None, raw, reason, f"{message.topic[:200]}: {detail}")
    fresh = news(told, (one,), message.received_at)
    return [arrival(device, message.received_at, rejections=fresh)] if fresh else []


def arrival(
    device: KnownDevice,
    received_at: datetime,
    told: Reading | None = None,
    rejections: tuple[Rejection, ...] = (),
    identity: Identity | None = None,
    profile: str | None = None,
) -> Arrival:
    """Return what a device's message brings."""
    more: dict[str, Any] = {"identity": identity, "profile": profile, "rejections": rejections}
    return Arrival(
        device_key=device.key,
        received_at=received_at,
        source=_SOURCE,
        device_id=device.device_id,
        reading=told,
        **more,
    )
