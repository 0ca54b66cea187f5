"""What can be read off an SNMP datagram without a key, and whether it is one at all. Pure.

The library decodes; but its decoder, written in Rust, panics on some malformed datagrams, and it
does not tell which report of version 3 came or which error a card answered. Every look here is
bounded by the datagram's length. The quick reader has its own eyes, `collector.readers.snmp_wire`.
"""

from collections.abc import Iterator
from typing import NamedTuple

_INTEGER, _STRING, _NULL, _OBJECT_ID, _SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
_RESPONSE, _REPORT = 0xA2, 0xA8
_REAL = 0x09
_EXCEPTIONS = (0x80, 0x81, 0x82)  # noSuchObject, noSuchInstance, endOfMibView (RFC 3416)
_CONSTRUCTED = 0x20
_MULTI_BYTE_TAG = 0x1F
_DEEPEST = 8
_VERSION_3 = 3
_LONGEST_INTEGER = 8


class BerInvalid(ValueError):
    """The bytes are no proper SNMP message."""


class Element(NamedTuple):
    """A tagged element: its contents are `data[start:stop]`."""

    tag: int
    start: int
    stop: int


class Varbind(NamedTuple):
    """An object's identifier, and the tag of its value."""

    oid: str
    tag: int

    @property
    def is_null(self) -> bool:
        """Whether the value is an ASN.1 NULL, as some cards say for what they lack."""
        return self.tag == _NULL

    @property
    def is_exception(self) -> bool:
        """Whether the agent says in the value's place that it does not have the object."""
        return self.tag in _EXCEPTIONS


class Answer(NamedTuple):
    """The readable part of an answer of version 1 or 2c."""

    error_status: int
    error_index: int
    varbinds: tuple[Varbind, ...]


class Header(NamedTuple):
    """What stands unencrypted before every message of version 3 (RFC 3414 section 2.4).

    `report` is the counter that a report names, None for any other message.
    """

    engine_id: bytes
    boots: int
    time: int
    user: bytes
    report: str | None


def element(data: bytes, at: int, stop: int) -> Element:
    """Return the element at `at`; raise BerInvalid unless it ends by `stop`."""
    if at + 2 > stop:
        raise BerInvalid("an element is cut off")
    tag, size = data[at], data[at + 1]
    if tag & 0x1F == _MULTI_BYTE_TAG:
        raise BerInvalid("a tag that SNMP does not have")
    at += 2
    if size & 0x80:
        width = size & 0x7F
        if not 1 <= width <= 4 or at + width > stop:
            raise BerInvalid("a length is cut off or boundless")
        size = int.from_bytes(data[at : at + width], "big")
        at += width
    if at + size > stop:
        raise BerInvalid("an element is longer than what holds it")
    return Element(tag, at, at + size)


def _elements(data: bytes, outer: Element) -> Iterator[Element]:
    at = outer.start
    while at < outer.stop:
        inner = element(data, at, outer.stop)
        yield inner
        at = inner.stop


def check(data: bytes) -> None:
    """Raise BerInvalid unless the datagram is a message whose elements all end where they may."""
    outer = element(data, 0, len(data))
    if outer.tag != _SEQUENCE:
        raise BerInvalid("not a sequence")
    _check_inside(data, outer, 1)


def _check_inside(data: bytes, outer: Element, depth: int) -> None:
    if depth > _DEEPEST:
        raise BerInvalid("nested too deep")
    if outer.start == outer.stop and depth > 2:
        raise BerInvalid("an empty element where something has to be")
    for inner in _elements(data, outer):
        if inner.tag == _REAL:
            raise BerInvalid("a type that SNMP does not have")
        if inner.tag == _INTEGER and inner.stop - inner.start > _LONGEST_INTEGER:
            raise BerInvalid("a number too long")
        if inner.tag == _OBJECT_ID and inner.start == inner.stop:
            raise BerInvalid("an object without a name")
        is_bindings = inner.tag == _SEQUENCE and outer.tag & 0xE0 == 0xA0
        if inner.tag & _CONSTRUCTED and not (is_bindings and inner.start == inner.stop):
            _check_inside(data, inner, depth + 1)


def answer_of(data: bytes) -> Answer:
    """Read a response of version 1 or 2c; raise BerInvalid for anything else."""
    outer = element(data, 0, len(data))
    version, community, pdu = _first(data, outer, 3)
    if _integer(data, version) == _VERSION_3 or community.tag != _STRING or pdu.tag != _RESPONSE:
        raise BerInvalid("not a response of version 1 or 2c")
    _, status, index, bindings = _first(data, pdu, 4)
    return Answer(_integer(data, status), _integer(data, index), _varbinds(data, bindings))


def header_of(data: bytes) -> Header:
    """Read the open part of a message of version 3; raise BerInvalid for anything else."""
    outer = element(data, 0, len(data))
    version, _, security, body = _first(data, outer, 4)
    if _integer(data, version) != _VERSION_3 or security.tag != _STRING:
        raise BerInvalid("not a message of version 3")
    model = element(data, security.start, security.stop)
    engine, boots, time, user = _first(data, model, 4)
    return Header(
        data[engine.start : engine.stop],
        _integer(data, boots),
        _integer(data, time),
        data[user.start : user.stop],
        _report(data, body),
    )


def _report(data: bytes, body: Element) -> str | None:
    """Return which counter a report names; None for what is encrypted or no report."""
    if body.tag != _SEQUENCE:
        return None
    _, _, pdu = _first(data, body, 3)
    if pdu.tag != _REPORT:
        return None
    *_, bindings = _first(data, pdu, 4)
    varbinds = _varbinds(data, bindings)
    return varbinds[0].oid if varbinds else ""


def _varbinds(data: bytes, bindings: Element) -> tuple[Varbind, ...]:
    found = []
    for binding in _elements(data, bindings):
        name, value = _first(data, binding, 2)
        if name.tag != _OBJECT_ID:
            raise BerInvalid("a binding without a name")
        found.append(Varbind(_dotted(data[name.start : name.stop]), value.tag))
    return tuple(found)


def _first(data: bytes, outer: Element, count: int) -> list[Element]:
    found = []
    for inner in _elements(data, outer):
        found.append(inner)
        if len(found) == count:
            return found
    raise BerInvalid("something is left out")


def _integer(data: bytes, number: Element) -> int:
    if number.tag != _INTEGER:
        raise BerInvalid("not a number")
    return int.from_bytes(data[number.start : number.stop], "big", signed=True)


def _dotted(body: bytes) -> str:
    if not body:
        raise BerInvalid("an object without a name")
    arcs, arc = [], 0
    for byte in body:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    if not arcs:
        raise BerInvalid("an object's name is cut off")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
