"""A canned SNMP agent in a process of its own, as cheap as can be: `python -m bench.responder`.

Standard input brings a JSON object, OID → [type, value]; the port is printed, and the agent
answers GET and GETNEXT (v2c, any community) until it is killed. An answer is encoded when a
question comes the first time; after that only the request id is put into the kept bytes.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from collector.raw import Encoded, Typed

_TAGS = {"integer": 0x02, "gauge": 0x42, "counter": 0x41, "ticks": 0x43}
_RESPONSE, _GET_NEXT = 0xA2, 0xA1
_NO_SUCH_INSTANCE, _END_OF_MIB = b"\x81\x00", b"\x82\x00"


@dataclass(frozen=True, slots=True)
class Responder:
    """A running agent."""

    port: int
    process_id: int


@contextmanager
def responding(held: Mapping[str, Encoded]) -> Iterator[Responder]:
    """Run an agent that holds these objects."""
    told = {oid: value for oid, value in held.items() if isinstance(value, Typed)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.responder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the responder has no pipes")
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
        yield Responder(int(process.stdout.readline()), process.pid)
    finally:
        process.kill()
        process.communicate()


def serve(held: Mapping[bytes, bytes]) -> None:
    """Answer for ever; `held` maps encoded OIDs to encoded values."""
    agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    agent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    agent.bind(("127.0.0.1", 0))
    print(agent.getsockname()[1], flush=True)
    kept: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}
    while True:
        question, asker = agent.recvfrom(65_535)
        begin, end = request_id(question)
        rest = question[:begin], question[end:]
        answer = kept.get(rest)
        if answer is None:
            answer = kept[rest] = answered(question, begin, end, held)
        agent.sendto(answer[0] + question[begin:end] + answer[1], asker)


def request_id(message: bytes) -> tuple[int, int]:
    """Return where the request id's value stands."""
    _, inside, _ = element(message, 0)
    _, _, at = element(message, inside)  # version
    _, _, at = element(message, at)  # community
    _, inside, _ = element(message, at)  # PDU
    _, begin, end = element(message, inside)
    return begin, end


def answered(
    question: bytes, begin: int, end: int, held: Mapping[bytes, bytes]
) -> tuple[bytes, bytes]:
    """Return the bytes of an answer before and behind its request id."""
    _, inside, _ = element(question, 0)
    _, _, community = element(question, inside)
    _, _, pdu = element(question, community)
    kind = question[pdu]
    _, _, at = element(question, end)  # error status
    _, _, at = element(question, at)  # error index
    _, at, last = element(question, at)  # variable bindings
    bindings = b""
    while at < last:
        _, name, at = element(question, at)
        _, _, name_end = element(question, name)
        oid = question[name:name_end]
        missing = _END_OF_MIB if kind == _GET_NEXT else _NO_SUCH_INSTANCE
        value = missing if kind == _GET_NEXT else held.get(oid, missing)
        bindings += tagged(0x30, oid + value)
    behind = b"\x02\x01\x00\x02\x01\x00" + tagged(0x30, bindings)
    length = end - begin
    whole = tagged(_RESPONSE, bytes((0x02, length)) + bytes(length) + behind)
    message = tagged(0x30, question[inside:pdu] + whole)
    head = len(message) - len(behind) - length
    return message[:head], behind


def element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, begin and end of the value of the BER element that begins at `at`."""
    length = data[at + 1]
    begin = at + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[begin : begin + count], "big")
        begin += count
    return data[at], begin, begin + length


def tagged(tag: int, value: bytes) -> bytes:
    """Return a BER element."""
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + value


def encoded_oid(dotted: str) -> bytes:
    """Return an object identifier as a BER element."""
    first, second, *arcs = map(int, dotted.split("."))
    content = bytes((40 * first + second,))
    for arc in arcs:
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.insert(0, arc & 0x7F | 0x80)
        content += bytes(septets)
    return tagged(0x06, content)


def encoded(kind: str, value: int | str) -> bytes:
    """Return a value of a type of `collector.raw.Typed` as a BER element."""
    if kind == "oid":
        return encoded_oid(str(value))
    if kind == "string":
        return tagged(0x04, str(value).encode())
    number = int(value)
    return tagged(_TAGS[kind], number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


if __name__ == "__main__":
    serve(
        {
            encoded_oid(oid): encoded(kind, value)
            for oid, (kind, value) in json.loads(sys.stdin.readline()).items()
        }
    )
