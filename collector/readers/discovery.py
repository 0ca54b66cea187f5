"""What Home Assistant's discovery tells: which topics hold which values of a device. Pure.

A description is a retained JSON object on `PREFIX/COMPONENT/[NODE/]OBJECT/config`, or one for all
of a device on `PREFIX/device/OBJECT/config`. Only templates that pick a value are understood:
`{{ value }}`, `{{ value_json.a.b }}`, `{{ value_json['a.b'] }}`, with filters that do not change
what it says (float, int, round, default). What the values become is `collector.readers.published`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collector.document import DocumentInvalid, flatten
from collector.family import Family
from collector.form import kind_of
from collector.naming import in_our_unit, point_named
from collector.raw import RawValue, Ref
from collector.readers.mqtt import LARGEST_BYTES, storable

MOST_ENTITIES = 200
"""A device's further entities are left out."""
_LONGEST = 500

_SHORT = {
    "stat_t": "state_topic",
    "val_tpl": "value_template",
    "unit_of_meas": "unit_of_measurement",
    "dev_cla": "device_class",
    "avty_t": "availability_topic",
    "avty": "availability",
    "dev": "device",
    "mf": "manufacturer",
    "mdl": "model",
    "sw": "sw_version",
    "sn": "serial_number",
    "obj_id": "object_id",
    "uniq_id": "unique_id",
    "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available",
    "pl_on": "payload_on",
    "pl_off": "payload_off",
    "cmps": "components",
    "t": "topic",
}
_PICKS = re.compile(
    r"""\{\{-?\s*(?:value|value_json((?:\.\w+|\[\s*(?:'[^']*'|"[^"]*"|\d+)\s*\])*))\s*"""
    r"""(?:\|\s*(?:float|int|round|default|string|trim)\s*(?:\([^()]*\))?\s*)*-?\}\}"""
)
_STEP = re.compile(r"""\.(\w+)|\[\s*(?:'([^']*)'|"([^"]*)"|(\d+))\s*\]""")
_BY_CLASS = {
    "battery": "battery.charge",
    "apparent_power": "ups.power",
    "power": "ups.realpower",
    "energy": "output.energy",
}


@dataclass(frozen=True, slots=True)
class Entity:
    """One value of a device: its point, and where in the messages of its topic it stands."""

    name: str
    topic: str
    key: str | None
    unit: str | None
    on: str = "ON"
    off: str = "OFF"


@dataclass(slots=True)
class Described:
    """What descriptions have told of a device: by their topics, and taken together."""

    entities: dict[str, tuple[Entity, ...]] = field(default_factory=dict)
    by_topic: dict[str, list[Entity]] = field(default_factory=dict)
    availability: dict[str, tuple[str, str]] = field(default_factory=dict)
    identity: dict[str, RawValue] = field(default_factory=dict)

    @property
    def topics(self) -> frozenset[str]:
        """The topics that hold the device's values and tell whether it lives."""
        return frozenset(self.by_topic) | self.availability.keys()


class DescriptionInvalid(ValueError):
    """A description cannot be used; the message says why."""


def describe(described: Described, family: Family, topic: str, payload: bytes) -> None:
    """Take a description in; an empty one is taken back. Raises DescriptionInvalid."""
    if not payload:
        described.entities.pop(topic, None)
    else:
        config = _config(payload)
        known = sum(len(some) for at, some in described.entities.items() if at != topic)
        entities = tuple(_entities(config, family, topic))[: MOST_ENTITIES - known]
        described.entities[topic] = entities
        if len(described.availability) < MOST_ENTITIES:
            described.availability |= dict(_availability(config))
        described.identity |= _identity(config)
    described.by_topic = {}
    for some in described.entities.values():
        for entity in some:
            described.by_topic.setdefault(entity.topic, []).append(entity)


def values(described: Described, topic: str, payload: bytes) -> dict[Ref, RawValue]:
    """Return the values by point names in a message of a described topic; never raises."""
    found: dict[Ref, RawValue] = {}
    text = payload[:LARGEST_BYTES].decode("utf-8", "replace").replace("\0", "").strip()
    words = described.availability.get(topic)
    if words is not None and text in words:
        found["availability"] = "online" if text == words[0] else "offline"
    leaves: Mapping[Any, RawValue] | None = None
    for entity in described.by_topic.get(topic, ()):
        value: RawValue = text[:_LONGEST]
        if entity.key is not None:
            if leaves is None:
                leaves = _leaves(text)
            value = leaves.get(entity.key)
        if value is not None and value != "":
            found[entity.name] = _read(entity, value)
    return found


def _read(entity: Entity, value: RawValue) -> RawValue:
    if isinstance(value, str):
        if value == entity.on:
            return "ON"
        if value == entity.off:
            return "OFF"
        if entity.unit is None:
            return storable(value)
        try:
            value = float(value)
        except ValueError:
            return storable(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return in_our_unit(value, entity.unit)
    return value


def _leaves(text: str) -> Mapping[Any, RawValue]:
    try:
        return flatten(json.loads(text))
    except (ValueError, RecursionError, DocumentInvalid):
        return {}


def _config(payload: bytes) -> dict[str, Any]:
    if len(payload) > LARGEST_BYTES:
        raise DescriptionInvalid(f"{len(payload)} bytes, more than {LARGEST_BYTES}")
    try:
        config = json.loads(payload)
    except (ValueError, RecursionError) as problem:
        raise DescriptionInvalid("the description is no JSON") from problem
    if not isinstance(config, dict):
        raise DescriptionInvalid("the description is no JSON object")
    return _full(config)


def _full(config: dict[str, Any]) -> dict[str, Any]:
    """Return a description with its abbreviations written out, and `~` too."""
    base = config.get("~")
    full: dict[str, Any] = {}
    for key, value in config.items():
        name = _SHORT.get(key, key)
        if isinstance(value, dict) and name == "device":
            value = {_SHORT.get(one, one): item for one, item in value.items()}  # noqa: PLW2901
        if isinstance(value, str) and isinstance(base, str) and name.endswith("topic"):
            if value.startswith("~"):
                value = base + value[1:]  # noqa: PLW2901
            elif value.endswith("~"):
                value = value[:-1] + base  # noqa: PLW2901
        full[name] = value
    return full


def _entities(config: Mapping[str, Any], family: Family, topic: str) -> Iterator[Entity]:
    parts = config.get("components")
    described: list[tuple[str, Mapping[str, Any]]] = [(topic.split("/")[-2:][0], config)]
    if isinstance(parts, dict):
        shared = {key: config[key] for key in ("state_topic",) if key in config}
        described = [
            (str(name), shared | _full(part))
            for name, part in list(parts.items())[:MOST_ENTITIES]
            if isinstance(part, dict)
        ]
    for name, part in described:
        state_topic = part.get("state_topic")
        if not isinstance(state_topic, str) or not _is_plain(state_topic):
            continue
        picked = _picked(part.get("value_template"))
        if picked is None:
            continue
        point = _point(part, family, name, picked, state_topic)
        if point is not None:
            unit = part.get("unit_of_measurement")
            yield Entity(
                point,
                state_topic,
                picked or None,
                unit if isinstance(unit, str) else None,
                str(part.get("payload_on", "ON")),
                str(part.get("payload_off", "OFF")),
            )


def _is_plain(topic: str) -> bool:
    return bool(topic) and len(topic) <= _LONGEST and not {"+", "#", "\0", "$"} & set(topic)


def _picked(template: object) -> str | None:
    """Return which leaf a template picks, empty for the whole payload, None for any other."""
    if template is None:
        return ""
    found = _PICKS.fullmatch(str(template)[:_LONGEST].strip())
    if found is None:
        return None
    return "/".join(next(filter(None, step), "") for step in _STEP.findall(found[1] or ""))


def _point(
    part: Mapping[str, Any], family: Family, name: str, picked: str, state_topic: str
) -> str | None:
    tail = state_topic.removesuffix("/state").split("/")
    labels = [picked, part.get("object_id"), name, part.get("name")]
    labels += ["/".join(tail[-count:]) for count in (2, 3, 1)]
    for label in labels:
        if not isinstance(label, str) or not label:
            continue
        for beginning in ("", *family.block.drop):
            if label.startswith(beginning):
                point = point_named(label[len(beginning) :], family.names)
                if point is not None and (kind_of(point) or point in family.block.flags):
                    return point
    device_class = part.get("device_class")
    has_unit = isinstance(part.get("unit_of_measurement"), str)
    return _BY_CLASS.get(device_class) if has_unit and isinstance(device_class, str) else None


def _availability(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the topics that tell whether the device lives, with their words."""
    told = config.get("availability")
    many = (
        [_full(one) for one in told[:5] if isinstance(one, dict)] if isinstance(told, list) else []
    )
    one = config.get("availability_topic")
    if isinstance(one, str):
        many.append({**config, "topic": one})
    for some in many:
        topic = some.get("topic")
        if isinstance(topic, str) and _is_plain(topic):
            online = str(some.get("payload_available", "online"))
            yield topic, (online, str(some.get("payload_not_available", "offline")))


def _identity(config: Mapping[str, Any]) -> dict[str, RawValue]:
    device = config.get("device")
    if not isinstance(device, dict):
        return {}
    names = {
        "manufacturer": "device.mfr",
        "model": "device.model",
        "serial_number": "device.serial",
        "sw_version": "ups.firmware",
    }
    return {
        ref: storable(device[key][:_LONGEST])
        for key, ref in names.items()
        if isinstance(device.get(key), str)
    }
