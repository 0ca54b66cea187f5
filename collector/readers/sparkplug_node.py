"""What an edge node's Sparkplug B messages mean in their order: births, data, deaths.

A birth tells every metric with its name; data tell what changed since, often by alias only, so
what is known of a node is kept here; the form on the wire is `collector.readers.sparkplug`. While
a session lives, values are believed until replaced; its death ends them. We are no host that edge
nodes wait for, and command nothing: asking for a new birth is a setting of `collector.ear`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from collector.arrival import Arrival
from collector.convert import decode
from collector.family import Family
from collector.form import kind_of
from collector.marks import decode_identity
from collector.naming import in_our_unit
from collector.raw import RawValue, Ref
from collector.readers.mqtt import LARGEST_BYTES, Message
from collector.readers.published import Told, arrival, ending, news, refused
from collector.readers.sparkplug import (
    Metric,
    Payload,
    SparkplugInvalid,
    SparkTopic,
    decode_payload,
)
from collector.schedule import rhythm
from collector.settle import settle
from collector.store import KnownDevice
from rules.facts import Identity, Reading, Rejection, Source, Value
from rules.points import BY_COLUMN, Pace

MOST_ALIASES = 5_000
MOST_VALUES = 3_000
MOST_INSTANTS = 200
"""A message may tell values of so many instants; those of further ones are left out."""

_SEQUENCE = 256
_BD_SEQ = "bdSeq"
_CONTROL = ("Node Control/", "Device Control/")
_MILLISECOND = timedelta(milliseconds=1)  # no payload tells time more finely
_STEP = timedelta(microseconds=1)
_CLOCK_AHEAD = timedelta(minutes=5)
_MOST_REJECTIONS = 20


@dataclass(frozen=True, slots=True)
class Named:
    """What a birth told of an alias."""

    device: str
    name: str
    datatype: int | None
    unit: str | None


@dataclass(slots=True)
class Unit:
    """One registered device of a node, or the node itself."""

    device: KnownDevice
    family: Family
    last_at: datetime | None = None
    is_offline: bool = False
    is_on_battery: bool = False
    values: dict[str, RawValue] = field(default_factory=dict)
    slow: dict[str, Value] = field(default_factory=dict)
    told: Told = field(default_factory=dict)
    identity: Identity | None = None
    profile_told: bool = False


@dataclass(slots=True)
class Node:
    """What is remembered of an edge node; lost without harm but for aliases until the next birth.

    `seq` is the last sequence number, `bd_seq` that of its birth; None: not known.
    `wants_birth` is set when something can only be understood after another one.
    """

    group: str
    name: str
    units: dict[str, Unit] = field(default_factory=dict)
    aliases: dict[int, Named] = field(default_factory=dict)
    seq: int | None = None
    bd_seq: int | None = None
    wants_birth: bool = False
    heard_at: datetime | None = None
    gaps: int = 0


def hear(node: Node, topic: SparkTopic, message: Message) -> list[Arrival]:
    """Return what a message of a node brings; never raises.

    1. What is no payload is refused; commands of others are not ours.
    2. A repeated number is a repeated message; a gap is told, and its message used all the same.
    3. A death ends values; a birth makes names known; values become readings by their instants.
    """
    if topic.type in ("NCMD", "DCMD"):
        return []
    unit = node.units.get(topic.device)
    someone = unit or next(iter(node.units.values()), None)
    if someone is None:
        return []
    node.heard_at = message.received_at
    try:
        payload = _payload(message)
    except SparkplugInvalid as invalid:
        return refused(someone.device, someone.told, message, "bad_sparkplug", str(invalid))
    if topic.type == "NDEATH":
        return _death(node, payload, message)
    if topic.type == "NBIRTH":
        node.aliases.clear()
        node.bd_seq, node.seq, node.wants_birth = _bd_seq(payload), payload.seq, False
        gap = None
    elif payload.seq is not None and payload.seq == node.seq:
        return []
    else:
        gap = _gap(node, payload.seq)
    arrivals = refused(someone.device, someone.told, message, "sequence_gap", gap) if gap else []
    if unit is None:
        return arrivals
    if topic.type == "DDEATH":
        return arrivals + _ended(unit, message)
    if topic.type in ("NBIRTH", "DBIRTH"):
        _learn(node, topic.device, payload)
    return arrivals + list(_told(node, unit, topic, payload, message))


def _gap(node: Node, seq: int | None) -> str | None:
    """Take over a message's number; return what is to be told when some before it are missing."""
    last, node.seq = node.seq, node.seq if seq is None else seq
    if seq is None or last is None or seq == (last + 1) % _SEQUENCE:
        return None
    node.gaps += 1
    node.wants_birth = True
    return f"message {seq} follows {last}: something was lost on the way"


def _payload(message: Message) -> Payload:
    size = len(message.payload)
    if size > LARGEST_BYTES:
        raise SparkplugInvalid(f"{size} bytes, more than {LARGEST_BYTES}")
    return decode_payload(message.payload)


def _bd_seq(payload: Payload) -> int | None:
    found = next((one.value for one in payload.metrics if one.name == _BD_SEQ), None)
    return found if isinstance(found, int) else None


def _death(node: Node, payload: Payload, message: Message) -> list[Arrival]:
    """End every unit of a node, unless the death is that of an earlier session."""
    died = _bd_seq(payload)
    if died is not None and node.bd_seq is not None and died != node.bd_seq:
        return []
    node.seq = None
    return [told for unit in node.units.values() for told in _ended(unit, message)]


def _ended(unit: Unit, message: Message) -> list[Arrival]:
    if unit.is_offline or unit.last_at is None:
        return []
    unit.is_offline = True
    unit.last_at += _STEP
    unit.values.clear()
    end = ending(unit.device, unit.last_at, message)
    return [arrival(unit.device, message.received_at, end)]


def _learn(node: Node, device: str, payload: Payload) -> None:
    """Take over the aliases that a birth tells; those of the same device from before are gone."""
    for alias in [one for one, named in node.aliases.items() if named.device == device]:
        del node.aliases[alias]
    for metric in payload.metrics:
        if metric.alias is None or metric.name is None or len(node.aliases) >= MOST_ALIASES:
            continue
        node.aliases[metric.alias] = Named(device, metric.name, metric.datatype, metric.unit)


def _told(
    node: Node, unit: Unit, topic: SparkTopic, payload: Payload, message: Message
) -> Iterator[Arrival]:
    """Yield an arrival an instant; the last has what was refused and who the unit is."""
    now_at = _instant(payload.at_milliseconds) or message.received_at
    instants, problems = _by_instant(node, unit, topic.device, payload, now_at)
    newest = instants.pop(now_at, None)
    for at in sorted(instants):
        told, refusals = _reading(unit, instants[at], at, message, is_past=True)
        problems += refusals
        if told is not None:
            yield arrival(unit.device, message.received_at, told)
    told = None
    if newest is not None:
        _remember(unit, newest)
        told, refusals = _reading(unit, newest, now_at, message, is_past=False)
        problems += refusals
    fresh = news(unit.told, problems[:_MOST_REJECTIONS], message.received_at)
    identity = _identity(unit) if newest is not None else None
    profile = None
    if unit.device.profile != unit.family.name and not unit.profile_told:
        profile, unit.profile_told = unit.family.name, True
    if told is not None or fresh or identity is not None or profile is not None:
        yield arrival(unit.device, message.received_at, told, fresh, identity, profile)


def _by_instant(
    node: Node, unit: Unit, device: str, payload: Payload, now_at: datetime
) -> tuple[dict[datetime, dict[str, RawValue]], list[Rejection]]:
    """Return the values of a payload by their instants, and what of it cannot be used."""
    problems: list[Rejection] = []
    instants: dict[datetime, dict[str, RawValue]] = {}
    unknown = 0
    for metric in payload.metrics:
        named = _named(node, device, metric)
        if named is None:
            unknown += metric.name is None
            continue
        if metric.problem is not None:
            problems.append(Rejection(named.name[:100], "", "wrong_type", metric.problem))
        at = now_at
        if metric.is_historical:
            at = _instant(metric.at_milliseconds) or now_at
        if metric.value is not None and (at in instants or len(instants) < MOST_INSTANTS):
            _put(unit, named, metric, instants.setdefault(at, {}))
    if unknown:
        node.wants_birth = True
        detail = f"{unknown} values by alias, but no birth has told their names yet"
        problems.append(Rejection(None, "", "no_birth", detail))
    return instants, problems


def _named(node: Node, device: str, metric: Metric) -> Named | None:
    """Return which metric of the device this is; None for one unknown, or none of its values."""
    known = None if metric.alias is None else node.aliases.get(metric.alias)
    if metric.name is not None:
        if metric.name == _BD_SEQ or metric.name.startswith(_CONTROL):
            return None
        unit = metric.unit or (known.unit if known else None)
        return Named(device, metric.name, metric.datatype, unit)
    return known if known is not None and known.device == device else None


def _put(unit: Unit, named: Named, metric: Metric, raw: dict[str, RawValue]) -> None:
    value = metric.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = in_our_unit(value, named.unit)
    raw.update(unit.family.spot(named.name).read(value))


def _remember(unit: Unit, raw: Mapping[str, RawValue]) -> None:
    if len(unit.values) + len(raw) <= MOST_VALUES:
        unit.values.update(raw)


def _reading(
    unit: Unit, told: Mapping[str, RawValue], at: datetime, message: Message, *, is_past: bool
) -> tuple[Reading | None, tuple[Rejection, ...]]:
    """Return the reading of what one instant tells, and what of it was refused."""
    family, device = unit.family, unit.device
    raw: dict[Ref, RawValue] = {}
    if not is_past and not family.urgent.isdisjoint(told):
        # A flag with several sources is the sum of them all, also of those that did not change.
        raw = {ref: unit.values[ref] for ref in family.urgent if ref in unit.values}
    raw.update(told)
    by_name = family.block.names is not None
    if by_name:
        raw = {ref: value for ref, value in raw.items() if kind_of(str(ref)) is not None}
    decoded = decode(family.plan, raw, unit.slow)
    points = decoded.points
    if by_name:
        settle(points, unit.slow, 3 if "ups_l2_load" in points else 1)
    if not points and not decoded.extra:
        return None, decoded.rejections
    if not is_past:
        at = _noted(unit, points, at, message.received_at)
    interval = rhythm(device.poll_seconds, on_battery=unit.is_on_battery)
    reading = Reading(
        device_id=device.device_id,
        observed_at=at,
        received_at=message.received_at,
        points=points,
        extra=decoded.extra,
        source=Source.PUSH,
        stays_valid_seconds=3 * interval + device.deadline_seconds if unit.is_offline else None,
    )
    return reading, decoded.rejections


def _noted(
    unit: Unit, points: Mapping[str, Value], at: datetime, received_at: datetime
) -> datetime:
    """Remember what a newest reading tells; return its instant, its own among the unit's."""
    for column, value in points.items():
        if BY_COLUMN[column].pace is Pace.SLOW:
            unit.slow[column] = value
    on_battery = points.get("status_on_battery")
    if isinstance(on_battery, bool):
        unit.is_on_battery = on_battery
    if at <= received_at + _CLOCK_AHEAD:
        if unit.last_at is not None and at <= unit.last_at < at + _MILLISECOND:
            at = unit.last_at + _STEP
        unit.last_at = at if unit.last_at is None else max(unit.last_at, at)
        unit.is_offline = False
    return at


def _identity(unit: Unit) -> Identity | None:
    """Return who the unit says it is, when that has changed."""
    raw: dict[Ref, RawValue] = {
        ref: unit.values[ref] for ref in unit.family.identity if ref in unit.values
    }
    if not raw:
        return None
    identity = decode_identity(unit.family.plan, raw)
    if identity == unit.identity:
        return None
    unit.identity = identity
    return identity


def _instant(milliseconds: int | None) -> datetime | None:
    """Return an instant of a payload; None for none, and for what no clock shows."""
    if not milliseconds:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
