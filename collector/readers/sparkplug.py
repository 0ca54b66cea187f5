"""Sparkplug B on the wire: topics, payloads and metrics, read and written. No meaning, no state.

The message class is built at run time from the field numbers and types of the public
specification (Eclipse Sparkplug 3.0, chapter 6). Names and texts are declared as bytes, which look
the same on the wire: a name that is no UTF-8 is then a fault of one metric and not of the message.
What a node's messages mean in their order is `collector.readers.sparkplug_node`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

NAMESPACE = "spBv1.0"
TYPES = ("NBIRTH", "NDEATH", "DBIRTH", "DDEATH", "NDATA", "DDATA", "NCMD", "DCMD")
BAD_QUALITY = frozenset({0, 500})
"""Values of the property `Quality` that disown a value: bad, and stale."""
MOST_METRICS = 2_000
"""A payload with more is refused."""
LONGEST_NAME = 200
LONGEST_TEXT = 1_000

INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64 = range(1, 9)
FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME, TEXT, UUID = range(9, 16)
_NAMES = {16: "a data set", 17: "bytes", 18: "a file", 19: "a template", 20: "properties"}
_SIGNED = {INT8: 8, INT16: 16, INT32: 32, INT64: 64}

Scalar = float | int | bool | str


class SparkplugInvalid(ValueError):
    """A payload cannot be read; the message says why."""


class SparkTopic(NamedTuple):
    """What a topic tells; `device` is empty for the edge node itself."""

    group: str
    type: str
    node: str
    device: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it came; `problem` says why it has no value although it should have one.

    `value` is None too where the sender says that there is none, or that it is not to be trusted.
    """

    name: str | None
    alias: int | None
    at_milliseconds: int | None
    datatype: int | None
    value: Scalar | None
    is_historical: bool = False
    unit: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """A message's content."""

    at_milliseconds: int | None
    seq: int | None
    metrics: tuple[Metric, ...] = field(default=())


def parse_topic(topic: str) -> SparkTopic | None:
    """Return what a Sparkplug topic tells; None for another topic, STATE of a host among them."""
    parts = topic.split("/")
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE or parts[2] not in TYPES:
        return None
    if not all(parts) or (parts[2][0] == "D") != (len(parts) == 5):
        return None
    return SparkTopic(parts[1], parts[2], parts[3], parts[4] if len(parts) == 5 else "")


def decode_payload(payload: bytes) -> Payload:
    """Read a payload; raise SparkplugInvalid when it is none."""
    message = _payload_class()()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise SparkplugInvalid("the payload is no Sparkplug B protobuf") from None
    if len(message.metrics) > MOST_METRICS:
        count = len(message.metrics)
        raise SparkplugInvalid(f"{count} metrics, more than {MOST_METRICS}")
    return Payload(
        message.timestamp if message.HasField("timestamp") else None,
        message.seq if message.HasField("seq") else None,
        tuple(map(_metric, message.metrics)),
    )


def _metric(raw: Any) -> Metric:  # noqa: ANN401 - a class made at run time
    kind = raw.WhichOneof("value")
    datatype = raw.datatype if raw.HasField("datatype") else None
    name, problem = None, None
    if raw.HasField("name"):
        try:
            name = raw.name.decode()[:LONGEST_NAME]
        except UnicodeDecodeError:
            problem = "a name that is no UTF-8"
    value: Scalar | None = None
    if kind is not None and not raw.is_null and problem is None:
        value, problem = _value(kind, getattr(raw, kind), datatype)
    unit, is_good = _properties(raw.properties) if raw.HasField("properties") else (None, True)
    return Metric(
        name=name,
        alias=raw.alias if raw.HasField("alias") else None,
        at_milliseconds=raw.timestamp if raw.HasField("timestamp") else None,
        datatype=datatype,
        value=value if is_good else None,
        is_historical=raw.is_historical,
        unit=unit,
        problem=problem,
    )


def _value(kind: str, value: Any, datatype: int | None) -> tuple[Scalar | None, str | None]:  # noqa: ANN401
    """Return the value, or why there is none."""
    match kind:
        case "string_value":
            return value[:LONGEST_TEXT].decode("utf-8", "replace").replace("\0", ""), None
        case "int_value" | "long_value":
            return as_signed(value, datatype), None
        case "float_value":
            # As the sender wrote it: 97.3 is not to become 97.30000305.
            return float(f"{value:.7g}"), None
        case "double_value" | "boolean_value":
            return value, None
    known = _NAMES.get(datatype or 0, kind.removesuffix("_value"))
    return None, f"{known} where a plain value belongs"


def as_signed(value: int, datatype: int | None) -> int:
    """Return a number that travels as two's complement; senders pad short ones differently."""
    bits = _SIGNED.get(datatype or 0)
    if bits is None:
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _properties(raw: Any) -> tuple[str | None, bool]:  # noqa: ANN401 - a class made at run time
    """Return the unit, and whether the sender vouches for the value."""
    unit, is_good = None, True
    for key, one in zip(raw.keys[:20], raw.values[:20], strict=False):
        if key == b"engUnit" and one.HasField("string_value"):
            unit = one.string_value[:20].decode("utf-8", "replace")
        elif key.lower() == b"quality" and one.HasField("int_value"):
            is_good = one.int_value not in BAD_QUALITY
    return unit, is_good


def encode_payload(payload: Payload) -> bytes:
    """Write a payload, as an edge node does."""
    message = _payload_class()()
    if payload.at_milliseconds is not None:
        message.timestamp = payload.at_milliseconds
    if payload.seq is not None:
        message.seq = payload.seq
    for metric in payload.metrics:
        _write(message.metrics.add(), metric)
    return bytes(message.SerializeToString())


def _write(raw: Any, metric: Metric) -> None:  # noqa: ANN401 - a class made at run time
    if metric.name is not None:
        raw.name = metric.name.encode()
    if metric.alias is not None:
        raw.alias = metric.alias
    if metric.at_milliseconds is not None:
        raw.timestamp = metric.at_milliseconds
    if metric.datatype is not None:
        raw.datatype = metric.datatype
    if metric.is_historical:
        raw.is_historical = True
    if metric.unit is not None:
        raw.properties.keys.append(b"engUnit")
        one = raw.properties.values.add()
        one.type, one.string_value = STRING, metric.unit.encode()
    _write_value(raw, metric)


def _write_value(raw: Any, metric: Metric) -> None:  # noqa: ANN401 - a class made at run time
    value = metric.value
    if value is None:
        raw.is_null = True
    elif isinstance(value, bool):
        raw.boolean_value = value
    elif isinstance(value, str):
        raw.string_value = value.encode()
    elif metric.datatype == FLOAT:
        raw.float_value = value
    elif isinstance(value, float):
        raw.double_value = value
    elif metric.datatype in (INT64, UINT64, DATETIME):
        raw.long_value = value & (1 << 64) - 1
    else:
        raw.int_value = value & (1 << 32) - 1


def rebirth_request(at_milliseconds: int) -> bytes:
    """Return the payload of an NCMD that asks an edge node to say again what it has."""
    wish = Metric("Node Control/Rebirth", None, at_milliseconds, BOOLEAN, value=True)
    return encode_payload(Payload(at_milliseconds, None, (wish,)))


_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "bool": _Field.TYPE_BOOL,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "bytes": _Field.TYPE_BYTES,
}
_MESSAGES: Mapping[str, Iterable[tuple[str, int, str]]] = {
    "Value": [
        *[("type", 1, "uint32"), ("is_null", 2, "bool"), ("int_value", 3, "uint32")],
        *[("long_value", 4, "uint64"), ("float_value", 5, "float"), ("double_value", 6, "double")],
        *[("boolean_value", 7, "bool"), ("string_value", 8, "bytes")],
    ],
    "Properties": [("keys", 1, "bytes*"), ("values", 2, "Value*")],
    "Metric": [
        *[("name", 1, "bytes"), ("alias", 2, "uint64"), ("timestamp", 3, "uint64")],
        *[("datatype", 4, "uint32"), ("is_historical", 5, "bool"), ("is_transient", 6, "bool")],
        *[("is_null", 7, "bool"), ("properties", 9, "Properties")],
        *[("int_value", 10, "uint32?"), ("long_value", 11, "uint64?")],
        *[("float_value", 12, "float?"), ("double_value", 13, "double?")],
        *[("boolean_value", 14, "bool?"), ("string_value", 15, "bytes?")],
        *[("bytes_value", 16, "bytes?"), ("dataset_value", 17, "bytes?")],
        ("template_value", 18, "bytes?"),
    ],
    "Payload": [
        *[("timestamp", 1, "uint64"), ("metrics", 2, "Metric*"), ("seq", 3, "uint64")],
        *[("uuid", 4, "bytes"), ("body", 5, "bytes")],
    ],
}
"""Fields with their numbers; * is a list, ? one of the alternatives of a metric's value."""


@cache
def _payload_class() -> Any:  # noqa: ANN401 - a class made at run time
    file = descriptor_pb2.FileDescriptorProto(
        name="ridethrough/sparkplug.proto", package="ridethrough.sparkplug", syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "Metric":
            message.oneof_decl.add(name="value")
        for field_name, number, told in fields:
            kind = told.rstrip("*?")
            one = message.field.add(
                name=field_name,
                number=number,
                label=_Field.LABEL_REPEATED if told.endswith("*") else _Field.LABEL_OPTIONAL,
            )
            if kind in _KINDS:
                one.type = _KINDS[kind]
            else:
                one.type = _Field.TYPE_MESSAGE
                one.type_name = f".{file.package}.{kind}"
            if told.endswith("?"):
                one.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("ridethrough.sparkplug.Payload")
    )
