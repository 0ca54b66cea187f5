"""Messages of the product's own MQTT convention, understood one at a time. No broker here.

A message becomes an `Arrival`, and a refused one too: nothing that a device sends raises. The
connection to the broker, and who the devices are, is `collector.listen`.

How long values are believed: a unit that says by `availability` that its session lives may report
by exception, so its values stay until replaced; when it goes `offline`, an empty reading follows
that is believed for 0 s, which ends them. It is placed right behind the unit's last word, in the
unit's own time, so that a clock that runs slow cannot make later readings late. Units that never
speak of availability are believed for three of their intervals.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from collector.arrival import Arrival
from collector.convert import decode
from collector.document import DocumentInvalid, flatten
from collector.marks import decode_identity
from collector.plan import Plan, plan_for
from collector.profile import profiles
from collector.raw import RawValue, Ref
from collector.store import KnownDevice
from rules.facts import Identity, Reading, Rejection, Source, Value
from rules.points import BY_COLUMN, Pace

ROOT = "ridethrough/v1"
KINDS = ("availability", "identity", "reading")
FILTERS = tuple(f"{ROOT}/+/{kind}" for kind in KINDS)
LARGEST_BYTES = 256 * 1024
"""A longer message is refused unread."""

_SOURCE = "mqtt"
_DEFAULT_PROFILE = "ridethrough-json"
_RAW_KEPT = 2_000
_MOST_REJECTIONS = 20
_NOMINAL_AGAIN = timedelta(days=1)
_BEHIND = timedelta(milliseconds=1)
_CLOCK_AHEAD = timedelta(minutes=5)  # further ahead is quarantined by ingest, and no last word


class Topic(NamedTuple):
    """What a topic of the convention tells."""

    device_key: str
    kind: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came; `acknowledge` is None where the broker expects none."""

    topic: str
    payload: bytes
    received_at: datetime
    is_retained: bool = False
    acknowledge: Callable[[], None] | None = None


@dataclass(slots=True)
class Session:
    """What is remembered of a device between messages; lost without harm.

    `last_at` is the newest time that the device gave, `is_live` whether it says that its session
    lives, `is_offline` whether its values were ended. `nominal` are the values of its identity,
    which belong to its readings again from `nominal_due_at` on.
    """

    last_at: datetime | None = None
    is_live: bool = False
    is_offline: bool = False
    nominal: Mapping[str, Value] = field(default_factory=dict)
    nominal_due_at: datetime | None = None


class _Refused(Exception):
    """The whole message is refused: a word to count by and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def parse_topic(topic: str) -> Topic | None:
    """Return what a topic tells, None for one that is not of the convention."""
    parts = topic.split("/")
    if len(parts) != 4 or "/".join(parts[:2]) != ROOT or parts[3] not in KINDS or not parts[2]:
        return None
    return Topic(parts[2], parts[3])


def understand(message: Message, device: KnownDevice | None, session: Session) -> Arrival:
    """Return what a message brings; a refused one is an arrival with the reason. Never raises."""
    topic = parse_topic(message.topic)
    key = message.topic[:_RAW_KEPT] if topic is None else topic.device_key
    try:
        if topic is None:
            raise _Refused("unknown_topic", "the topic is not of the convention")  # noqa: TRY301
        if device is None:
            raise _Refused("unknown_device", f"no device has the key {key[:100]!r}")  # noqa: TRY301
        if len(message.payload) > LARGEST_BYTES:
            size = len(message.payload)
            raise _Refused("too_large", f"{size} bytes, more than {LARGEST_BYTES}")  # noqa: TRY301
        match topic.kind:
            case "reading":
                return _reading(message, device, session)
            case "identity":
                return _identity(message, device, session)
            case _:
                return _availability(message, device, session)
    except _Refused as refused:
        return Arrival(
            device_key=key,
            received_at=message.received_at,
            source=_SOURCE,
            device_id=None if device is None else device.device_id,
            rejections=(_rejection(message, refused.reason, refused.detail),),
        )


def _reading(message: Message, device: KnownDevice, session: Session) -> Arrival:
    document = _document(message.payload)
    at = _instant(document)
    if not isinstance(document.get("points"), dict):
        raise _Refused("no_points", 'the document has no object "points"')
    decoded = decode(_plan_of(device), _leaves(document, message.payload))
    points = decoded.points
    if at <= message.received_at + _CLOCK_AHEAD:
        if session.nominal and (session.nominal_due_at is None or at >= session.nominal_due_at):
            points = {**session.nominal, **points}
            session.nominal_due_at = at + _NOMINAL_AGAIN
        session.last_at = at if session.last_at is None else max(session.last_at, at)
        session.is_offline = False
    stays = None if session.is_live else 3 * device.poll_seconds + device.deadline_seconds
    reading = Reading(
        device_id=device.device_id,
        observed_at=at,
        received_at=message.received_at,
        points=points,
        extra=decoded.extra,
        source=Source.PUSH,
        stays_valid_seconds=stays,
    )
    return _arrival(message, device, reading=reading, rejections=decoded.rejections)


def _identity(message: Message, device: KnownDevice, session: Session) -> Arrival:
    if not message.payload:  # a retained message that was taken back
        return _arrival(message, device)
    leaves = _leaves(_document(message.payload), message.payload)
    plan = _plan_of(device)
    decoded = decode(plan, leaves)
    session.nominal = {
        column: value
        for column, value in decoded.points.items()
        if BY_COLUMN[column].pace is Pace.SLOW
    }
    session.nominal_due_at = None
    return _arrival(
        message,
        device,
        identity=decode_identity(plan, leaves),
        profile=plan.profile.name if device.profile is None else None,
        rejections=decoded.rejections,
    )


def _availability(message: Message, device: KnownDevice, session: Session) -> Arrival:
    match message.payload.strip().lower():
        case b"online":
            session.is_live = True
            return _arrival(message, device)
        case b"offline":
            session.is_live = False
        case b"":  # a retained message that was taken back
            session.is_live = False
            return _arrival(message, device)
        case _:
            raise _Refused("bad_availability", "neither online nor offline")
    if session.is_offline or session.last_at is None:
        return _arrival(message, device)
    session.is_offline = True
    session.last_at += _BEHIND
    nothing = Reading(
        device_id=device.device_id,
        observed_at=session.last_at,
        received_at=message.received_at,
        points={},
        source=Source.PUSH,
        stays_valid_seconds=0.0,
    )
    return _arrival(message, device, reading=nothing)


def _arrival(
    message: Message,
    device: KnownDevice,
    *,
    reading: Reading | None = None,
    identity: Identity | None = None,
    profile: str | None = None,
    rejections: Iterable[Rejection] = (),
) -> Arrival:
    refused = tuple(rejections)
    if len(refused) > _MOST_REJECTIONS:
        detail = f"{len(refused) - _MOST_REJECTIONS} more values were refused"
        more = _rejection(message, "many_refused", detail)
        refused = (*refused[:_MOST_REJECTIONS], more)
    return Arrival(
        device_key=device.key,
        received_at=message.received_at,
        source=_SOURCE,
        device_id=device.device_id,
        reading=reading,
        rejections=refused,
        identity=identity,
        profile=profile,
    )


def _rejection(message: Message, reason: str, detail: str) -> Rejection:
    raw = message.payload[:_RAW_KEPT].decode("utf-8", "backslashreplace")
    return Rejection(None, raw, reason, detail)


def _plan_of(device: KnownDevice) -> Plan:
    known = profiles()
    profile = known.get(device.profile or _DEFAULT_PROFILE)
    if profile is None or profile.protocol != "json":
        profile = known[_DEFAULT_PROFILE]
    return plan_for(profile)


def _document(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in a payload; refuse anything else."""
    try:
        document = _DECODER.decode(payload.decode("utf-8"))
    except UnicodeDecodeError:
        raise _Refused("bad_json", "the payload is no UTF-8") from None
    except RecursionError:
        raise _Refused("too_deep", "the document is nested too deeply") from None
    except ValueError as problem:
        raise _Refused("bad_json", f"the payload is no JSON: {problem}"[:200]) from None
    if not isinstance(document, dict):
        raise _Refused("bad_json", "the document is no JSON object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused("not_finite", f"{name} is no JSON: leave out what is not known")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _leaves(document: Mapping[str, Any], payload: bytes) -> dict[Ref, RawValue]:
    try:
        leaves = flatten(document)
    except DocumentInvalid as invalid:
        raise _Refused("too_deep", str(invalid)) from None
    if b"\\u" not in payload:
        return leaves
    return {_storable(str(ref)): storable(value) for ref, value in leaves.items()}


def storable(value: RawValue) -> RawValue:
    """Return a value without what a database refuses in texts."""
    return _storable(value) if isinstance(value, str) else value


def _storable(text: str) -> str:
    """Return a text without what a database refuses: NUL and lone halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _instant(document: Mapping[str, Any]) -> datetime:
    told = document.get("at")
    if told is None:
        raise _Refused("no_time", 'the document has no time "at"')
    try:
        at = datetime.fromisoformat(told)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise _Refused("bad_time", 'give "at" as 2026-11-22T08:00:00.000Z, with its offset')
