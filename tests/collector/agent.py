"""A canned SNMP agent over UDP for tests: v1 and v2c, with the bad habits of real cards."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from collector.convert import encode
from collector.raw import Typed

_TAGS = {
    "integer": 2,
    "string": 4,
    "null": 5,
    "oid": 6,
    "counter": 0x41,
    "gauge": 0x42,
    "ticks": 0x43,
}
_GET, _NEXT, _RESPONSE, _BULK = 0xA0, 0xA1, 0xA2, 0xA5


@dataclass
class Agent:
    """What the agent holds and how it misbehaves; `requests` counts varbinds of each request."""

    objects: dict[str, Typed]
    most_varbinds: int | None = None
    drops_long: bool = False
    cuts_at: int | None = None
    garbage: bytes | None = None
    silent: bool = False
    late: int = 0
    requests: list[tuple[int, list[str]]] = field(default_factory=list)
    _held_back: list[bytes] = field(default_factory=list)

    def __post_init__(self):
        self._order = sorted(self.objects, key=_arcs)

    def answer(self, datagram: bytes) -> list[bytes]:
        version, community, kind, request_id, _, second, oids = _parse(datagram)
        self.requests.append((kind, oids))
        if self.silent:
            return []
        if self.garbage is not None:
            return [self.garbage]
        too_many = self.most_varbinds is not None and len(oids) > self.most_varbinds
        if too_many and self.drops_long:
            return []
        v1 = version == 0
        if too_many:
            status, index, rows = 1, 0, [(oid, Typed("null", 0)) for oid in oids]
        else:
            status, index, rows = self._rows(kind, oids, second, v1=v1)
        pdu = _tlv(2, request_id) + _integer(status) + _integer(index)
        pdu += _tlv(0x30, b"".join(_varbind(oid, value) for oid, value in rows[: self.cuts_at]))
        reply = _tlv(0x30, _integer(version) + _tlv(4, community) + _tlv(_RESPONSE, pdu))
        if self.late:
            self._held_back.append(reply)
            if len(self._held_back) <= self.late:
                return []
            return [self._held_back.pop(0)]
        return [reply]

    def _rows(self, kind, oids, repetitions, *, v1):
        rows = []
        for at, oid in enumerate(oids, start=1):
            if kind == _GET:
                value = self.objects.get(oid)
                if value is None and v1:
                    return 2, at, [(name, Typed("null", 0)) for name in oids]
                rows.append((oid, value or Typed("absent", 0)))
                continue
            following = [name for name in self._order if _arcs(name) > _arcs(oid)]
            if not following and v1:
                return 2, at, [(name, Typed("null", 0)) for name in oids]
            take = following[: repetitions if kind == _BULK else 1]
            rows += [(name, self.objects[name]) for name in take]
            if not take:
                rows.append((oid, Typed("end", 0)))
        return 0, 0, rows


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, agent):
        self.agent = agent

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        for reply in self.agent.answer(data):
            self.transport.sendto(reply, addr)


@asynccontextmanager
async def serving(agent: Agent):
    """Serve the agent on a free port of 127.0.0.1 and yield the port."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Protocol(agent), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def encoded(profile, points, identity, phases=1) -> dict[str, Typed]:
    """Return the objects of a simulated agent of this family."""
    return {str(ref): value for ref, value in encode(profile, points, identity, phases).items()}


def recording(text: str) -> dict[str, Typed]:
    """Parse a .snmprec recording: OID, tag (with x for hex), value, one a line."""
    names = {2: "integer", 4: "string", 5: "null", 6: "oid", 64: "string", 65: "counter"}
    names |= {66: "gauge", 67: "ticks"}
    objects: dict[str, Typed] = {}
    for line in text.splitlines():
        if line.count("|") < 2 or line.startswith("#"):
            continue
        oid, tag, value = line.split("|", 2)
        kind = names.get(int(tag.rstrip("x")), "string")
        if tag.endswith("x"):
            value = bytes.fromhex(value).decode("latin-1")
        if kind == "null":
            value = 0
        elif kind not in ("string", "oid"):
            value = int(value)
        objects[oid] = Typed(kind, value)
    return objects


def _arcs(oid: str) -> list[int]:
    return [int(arc) for arc in oid.split(".")]


def _tlv(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def _integer(value: int, tag: int = 2) -> bytes:
    return _tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _object_id(oid: str) -> bytes:
    arcs = _arcs(oid)
    if len(arcs) < 2:
        arcs = [0, 0]
    out = bytearray([arcs[0] * 40 + arcs[1]])
    for arc in arcs[2:]:
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        out += bytes(reversed(septets))
    return _tlv(6, bytes(out))


def _varbind(oid: str, value: Typed) -> bytes:
    match value.type:
        case "absent":
            held = _tlv(0x81, b"")
        case "end":
            held = _tlv(0x82, b"")
        case "null":
            held = _tlv(5, b"")
        case "string":
            held = _tlv(4, str(value.value).encode())
        case "oid":
            held = _object_id(str(value.value).lstrip("."))
        case kind:
            held = _integer(int(value.value), _TAGS[kind])
    return _tlv(0x30, _object_id(oid) + held)


def _read(data: bytes, at: int) -> tuple[int, bytes, int]:
    tag, size = data[at], data[at + 1]
    at += 2
    if size & 0x80:
        width = size & 0x7F
        size = int.from_bytes(data[at : at + width], "big")
        at += width
    return tag, data[at : at + size], at + size


def _parse(datagram: bytes):
    _, message, _ = _read(datagram, 0)
    _, version, at = _read(message, 0)
    _, community, at = _read(message, at)
    kind, pdu, _ = _read(message, at)
    _, request_id, at = _read(pdu, 0)
    _, first, at = _read(pdu, at)
    _, second, at = _read(pdu, at)
    _, varbinds, _ = _read(pdu, at)
    oids, at = [], 0
    while at < len(varbinds):
        _, varbind, at = _read(varbinds, at)
        oids.append(_oid_text(_read(varbind, 0)[1]))
    number = int.from_bytes
    return (
        number(version, "big"),
        community,
        kind,
        request_id,
        number(first, "big"),
        number(second, "big"),
        oids,
    )


def _oid_text(body: bytes) -> str:
    arcs, value = [body[0] // 40, body[0] % 40], 0
    for byte in body[1:]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    return ".".join(map(str, arcs))
