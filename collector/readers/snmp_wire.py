"""The bytes of a plain SNMP question, versions 1 and 2c, and of the answer it usually gets. Pure.

A fleet asks the same objects again and again, and the answers of a card differ in hardly more than
the values' bytes. So a question is put together once, and an answer taken apart once: its layout,
kept, reads the next one in a single step. What is not exactly as it should be is None here and left
to the careful reader, `collector.readers.snmp`, and its library.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from collector.raw import Scalar

LARGEST_ANSWER_BYTES = 8_192

_INTEGER, _STRING, _OBJECT_ID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_ADDRESS, _UNSIGNED = 0x40, (0x41, 0x42, 0x43, 0x46)  # counter, gauge, ticks, counter of 64 bits
_GET, _RESPONSE = 0xA0, 0xA2
_SIGNED_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}
_UNSIGNED_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_LONGEST_NUMBER = 9
_LAYOUTS_KEPT = 1_000
_NUMBER = Struct("!I")
_LOWEST_NUMBER = 1 << 30  # with it, every number takes four bytes
_Span = tuple[int, int, int]


class _Malformed(Exception):  # control flow: the answer is left to the careful reader
    """The bytes are not those of a proper answer to the question."""


class Layout(NamedTuple):
    """Where the values of an answer stand: `fixed` are the bytes between them.

    `converted` are the values that `unpack` leaves as bytes though they are none.
    """

    unpack: Struct
    fixed: tuple[bytes, ...]
    converted: tuple[tuple[int, Callable[[bytes], Scalar]], ...]

    def values(self, answer: bytes) -> Sequence[Scalar] | None:
        """Return the values of an answer that is laid out like this, else None."""
        if len(answer) != self.unpack.size:
            return None
        parts = self.unpack.unpack(answer)
        if parts[::2] != self.fixed:
            return None
        if not self.converted:
            return parts[3::2]
        values = list(parts[3::2])
        for at, convert in self.converted:
            values[at] = convert(values[at])
        return values


class Question:
    """A GET request for some objects, the same for every card of a family."""

    def __init__(self, version: str, community: str, oids: Sequence[str]) -> None:
        self.oids = tuple(oids)
        self._names = [encoded_oid(oid) for oid in oids]
        self._version = {"1": 0, "2c": 1}[version]
        self._community = community.encode()
        self._layouts: dict[tuple[_Span, ...], Layout] = {}
        bindings = b"".join(_tagged(_SEQUENCE, name + b"\x05\x00") for name in self._names)
        behind = b"\x02\x01\x00\x02\x01\x00" + _tagged(_SEQUENCE, bindings)
        request = _tagged(_GET, b"\x02\x04" + bytes(4) + behind)
        head = b"\x02\x01" + bytes((self._version,)) + _tagged(_STRING, self._community)
        message = _tagged(_SEQUENCE, head + request)
        self._head, self._tail = message[: -len(behind) - 4], behind

    def datagram(self, number: int) -> bytes:
        """Return the bytes to send; `number` is found again in the answer."""
        return self._head + _NUMBER.pack(number) + self._tail

    def layout_of(self, answer: bytes) -> Layout | None:
        """Return how a proper answer that has a value for each object is laid out, else None."""
        try:
            at, values = self._taken_apart(answer)
            layout = self._layouts.get(values)
            if layout is None:
                layout = _layout(answer, at, values)
        except (_Malformed, IndexError):
            return None
        if len(self._layouts) >= _LAYOUTS_KEPT:
            self._layouts.clear()
        self._layouts[values] = layout
        return layout

    def _taken_apart(self, answer: bytes) -> tuple[int, tuple[_Span, ...]]:
        """Return where the number stands, and tag, begin and end of each value."""
        begin, end = _inside(answer, 0, len(answer), _SEQUENCE)
        begin, at = _inside(answer, begin, end, _INTEGER)
        if answer[begin:at] != bytes((self._version,)):
            raise _Malformed
        begin, at = _inside(answer, at, end, _STRING)
        if answer[begin:at] != self._community:
            raise _Malformed
        begin, end = _inside(answer, at, end, _RESPONSE)
        number, at = _inside(answer, begin, end, _INTEGER)
        begin, behind = _inside(answer, at, end, _INTEGER)
        if at - number != _NUMBER.size or any(answer[begin:behind]):  # an error status
            raise _Malformed
        _, at = _inside(answer, behind, end, _INTEGER)
        return number, self._bindings(answer, *_inside(answer, at, end, _SEQUENCE))

    def _bindings(self, answer: bytes, at: int, end: int) -> tuple[_Span, ...]:
        """Return tag, begin and end of each value, the names being those that were asked."""
        values = []
        for name in self._names:
            begin = at + 2  # nearly every binding is shorter than 128 bytes
            following = begin + answer[at + 1]
            if answer[at] != _SEQUENCE or following > begin + 0x7F:
                begin, following = _inside(answer, at, end, _SEQUENCE)
            if not answer.startswith(name, begin, following):
                raise _Malformed
            begin += len(name)
            tag = answer[begin]
            at = begin + 2 + answer[begin + 1]
            begin, at = (begin + 2, at) if at == following else _inside(answer, begin, end, tag)
            if at != following:
                raise _Malformed
            values.append((tag, begin, at))
        if at != end:
            raise _Malformed
        return tuple(values)


def number_for(some: int) -> int:
    """Return a request's number for any 30 bits."""
    return _LOWEST_NUMBER | some


def number_of(answer: bytes) -> int:
    """Return the number of the request that a datagram seems to answer, 0 if it seems to be none.

    No request has the number 0.
    """
    try:
        at = _behind_head(answer, 0) + 3  # the version is one byte
        at = _behind_head(answer, at) + answer[at + 1]
        at = _behind_head(answer, at)
        number: int = _NUMBER.unpack_from(answer, at + 2)[0]
    except (IndexError, struct_error):
        return 0
    return number


def encoded_oid(dotted: str) -> bytes:
    """Return an object identifier as a BER element."""
    first, second, *arcs = map(int, dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *arcs):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        content += bytes(reversed(septets))
    return _tagged(_OBJECT_ID, bytes(content))


def _dotted(content: bytes) -> str:
    arcs, arc = [], 0
    for byte in content:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _behind_head(data: bytes, at: int) -> int:
    """Return where the content of the element at `at` begins."""
    length = data[at + 1]
    return at + 2 + (length & 0x7F if length & 0x80 else 0)


def _inside(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Return begin and end of the content of the element at `at`, which ends by `end`."""
    if data[at] != tag:
        raise _Malformed
    begin = _behind_head(data, at)
    length = data[at + 1]
    if length & 0x80:
        length = int.from_bytes(data[at + 2 : begin], "big")
    if begin + length > end:
        raise _Malformed
    return begin, begin + length


def _layout(answer: bytes, number_at: int, values: Sequence[_Span]) -> Layout:
    codes: list[str] = [f"!{number_at}sI"]
    fixed = [answer[:number_at]]
    converted: list[tuple[int, Callable[[bytes], Scalar]]] = []
    at = number_at + _NUMBER.size
    for place, (tag, begin, end) in enumerate(values):
        code, convert = _code(tag, answer[begin:end])
        codes.append(f"{begin - at}s{code}")
        fixed.append(answer[at:begin])
        if convert is not None:
            converted.append((place, convert))
        at = end
    codes.append(f"{len(answer) - at}s")
    fixed.append(answer[at:])
    return Layout(Struct("".join(codes)), tuple(fixed), tuple(converted))


def _code(tag: int, content: bytes) -> tuple[str, Callable[[bytes], Scalar] | None]:
    """Return how a value is unpacked, and what makes a value of it if unpacking does not."""
    size = len(content)
    whole = f"{size}s"
    if tag == _STRING:
        return whole, None
    if tag == _OBJECT_ID and size and not content[-1] & 0x80:
        return whole, _dotted
    if tag == _ADDRESS and size == 4:
        return whole, socket.inet_ntoa
    if not 1 <= size <= _LONGEST_NUMBER:
        raise _Malformed
    if tag == _INTEGER:
        code = _SIGNED_CODES.get(size)
        return (code, None) if code else (whole, _signed)
    if tag in _UNSIGNED:
        code = _UNSIGNED_CODES.get(size)
        return (code, None) if code else (whole, _unsigned)
    raise _Malformed  # null, or no such object: what the card lacks is learned with care


_signed = partial(int.from_bytes, byteorder="big", signed=True)
_unsigned = partial(int.from_bytes, byteorder="big", signed=False)
