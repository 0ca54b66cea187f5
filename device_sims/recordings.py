"""Recordings of devices read from files: SNMP objects and MQTT messages.

Every fault is a RecordingInvalid that names the line. Those of Modbus units are `registers`,
serving all of them is `replay`.

- `NAME.snmprec`: one object a line, `OID|tag|value`; the tag is the ASN.1 tag number, with an `x`
  behind it the value is hexadecimal, with an `e` it has backslash escapes.
- `NAME.jsonl`: see `message_log`.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from pysnmp.proto import rfc1902

from device_sims.snmp_agent import Oid, Table, Untyped

_OID = re.compile(r"\.?[0-2](\.\d{1,10})+\.?")
_LARGEST_ARC = 2**32 - 1


class RecordingInvalid(ValueError):
    """A recording cannot be used: the line, counted from 1, and what is wrong with it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


def read_snmp(path: Path, left_out: list[RecordingInvalid] | None = None) -> Table:
    """Read a `.snmprec` file; lines may stand in any order, of two for one object the first counts.

    A table that changed while it was walked is in many recordings twice. Where a list `left_out` is
    given, lines that cannot be used are put there and the rest is read: somebody may have blotted
    out what nobody was to see.
    """
    values: dict[Oid, Untyped] = {}
    for number, line in lines_of(path):
        try:
            oid, value = _object(line, number)
        except RecordingInvalid as invalid:
            if left_out is None:
                raise
            left_out.append(invalid)
        else:
            values.setdefault(oid, value)
    if not values and left_out:
        raise left_out[0]
    if not values:
        raise RecordingInvalid(1, "the recording holds no object")
    return Table.of(values)


def _object(line: str, number: int) -> tuple[Oid, Untyped]:
    parts = line.split("|", 2)
    if len(parts) < 3:
        raise RecordingInvalid(number, "a line is OID|tag|value")
    return _oid(parts[0], number), _value(parts[1], parts[2], number)


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Return the lines with their numbers, without empty ones and comments."""
    found: list[tuple[int, str]] = []
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError as problem:
            raise RecordingInvalid(number, "the line is not UTF-8") from problem
        if line.strip() and not line.startswith("#"):
            found.append((number, line))
    return found


def _oid(text: str, line: int) -> Oid:
    if not _OID.fullmatch(text):
        raise RecordingInvalid(line, f"{text!r} is no object identifier")
    oid = tuple(int(arc) for arc in text.strip(".").split("."))
    if max(oid) > _LARGEST_ARC or (oid[0] < 2 and oid[1] > 39):
        raise RecordingInvalid(line, f"{text!r} is no object identifier: an arc is too large")
    return oid


def _value(tag: str, text: str, line: int) -> Untyped:
    number = tag[:-1] if tag.endswith(("x", "e")) else tag
    make = _TYPES.get(number)
    if make is None:
        known = ", ".join(_TYPES)
        how = f"use one of {known}, with x for hex, e for escapes"
        raise RecordingInvalid(line, f"unknown tag {tag!r}: {how}")
    if tag != number:
        content = _from_hex(text, line) if tag.endswith("x") else _unescaped(text, line)
        if number not in _FROM_BYTES:
            raise RecordingInvalid(line, f"tag {number} cannot be hexadecimal or escaped")
        if number == "64" and len(content) != 4:
            raise RecordingInvalid(line, "an address has four bytes")
        return _FROM_BYTES[number](content)
    return make(text, line)


def _from_hex(text: str, line: int) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as problem:
        raise RecordingInvalid(line, f"{text!r} is not hexadecimal") from problem


def _unescaped(text: str, line: int) -> bytes:
    try:
        plain = text.encode("raw_unicode_escape").decode("unicode_escape")
    except UnicodeDecodeError as problem:
        raise RecordingInvalid(line, f"{text!r} ends in the middle of an escape") from problem
    try:
        return plain.encode("latin-1")
    except UnicodeEncodeError:
        return plain.encode()


def _integer(low: int, high: int, kind: Callable[[int], Untyped]) -> Callable[[str, int], Untyped]:
    def made(text: str, line: int) -> Untyped:
        if not re.fullmatch(r"\s*-?\d{1,20}\s*", text) or not low <= int(text) <= high:
            raise RecordingInvalid(line, f"{text!r} is no whole number from {low} to {high}")
        return kind(int(text))

    return made


def _null(text: str, line: int) -> Untyped:
    if text.strip():
        raise RecordingInvalid(line, "a NULL has no value")
    return rfc1902.Null("")


def _address(text: str, line: int) -> Untyped:
    try:
        return rfc1902.IpAddress(IPv4Address(text.strip()).packed)
    except AddressValueError as problem:
        raise RecordingInvalid(line, f"{text!r} is no IPv4 address") from problem


_TYPES: Mapping[str, Callable[[str, int], Untyped]] = {
    "2": _integer(-(2**31), 2**31 - 1, rfc1902.Integer32),
    "4": lambda text, _: rfc1902.OctetString(text.encode()),
    "5": _null,
    "6": lambda text, line: rfc1902.ObjectIdentifier(_oid(text.strip(), line)),
    "64": _address,
    "65": _integer(0, 2**32 - 1, rfc1902.Counter32),
    "66": _integer(0, 2**32 - 1, rfc1902.Gauge32),
    "67": _integer(0, 2**32 - 1, rfc1902.TimeTicks),
    "68": lambda text, _: rfc1902.Opaque(text.encode()),
    "70": _integer(0, 2**64 - 1, rfc1902.Counter64),
}
_FROM_BYTES: Mapping[str, Callable[[bytes], Untyped]] = {
    "4": rfc1902.OctetString,
    "64": rfc1902.IpAddress,
    "68": rfc1902.Opaque,
}
