"""A canned SNMP agent in a process of its own, as cheap as can be: `python -m bench.responder`.

Standard input brings a JSON object, OID → [type, value], and the number of devices. Each device
has an address of its own in 127/8 and a socket on it; all have the same port, which is printed.
The agent answers GET and GETNEXT (v2c, any community) until it is killed. An answer is encoded
when a question comes the first time; after that only the request id is put into the kept bytes.
A further line with a number makes so many of the last devices fall silent, 0 all speak again; how
many questions were answered so far is printed.
"""

import json
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from collector.raw import Encoded, Typed

_TAGS = {"integer": 0x02, "gauge": 0x42, "counter": 0x41, "ticks": 0x43}
_RESPONSE, _GET_NEXT = 0xA2, 0xA1
_NO_SUCH_INSTANCE, _END_OF_MIB = b"\x81\x00", b"\x82\x00"
_FIRST_ADDRESS = 127 << 24 | 16 << 16 | 1
_SILENT_BUFFER_BYTES = 4096  # what nobody reads must not fill the memory


class Responder:
    """A running agent of `count` devices."""

    def __init__(self, process: "subprocess.Popen[bytes]", count: int) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the responder has no pipes")
        self.process_id = process.pid
        self._orders = process.stdin
        self._answers = process.stdout
        self._count = count
        self._silent = 0
        self.port = 0

    def begin(self, held: Mapping[str, Encoded]) -> None:
        """Tell what the devices hold and wait until they answer."""
        told = {oid: value for oid, value in held.items() if isinstance(value, Typed)}
        self._orders.write(json.dumps([told, self._count]).encode() + b"\n")
        self._orders.flush()
        self.port = int(self._answers.readline())

    @property
    def hosts(self) -> list[str]:
        """The addresses of the devices, those that fall silent first at the end."""
        return [_host(number) for number in range(self._count)]

    def silence(self, count: int) -> None:
        """Let so many of the last devices answer nothing any more; 0: all answer."""
        self._order(count)

    def answered(self) -> int:
        """Return how many questions were answered so far."""
        return self._order(self._silent)

    def _order(self, silent: int) -> int:
        self._silent = silent
        self._orders.write(b"%d\n" % silent)
        self._orders.flush()
        return int(self._answers.readline())


@contextmanager
def responding(held: Mapping[str, Encoded], count: int = 1) -> Iterator[Responder]:
    """Run an agent of so many devices that hold these objects."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.responder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        responder = Responder(process, count)
        responder.begin(held)
        yield responder
    finally:
        process.kill()
        process.communicate()


def serve(held: Mapping[bytes, bytes], count: int) -> None:
    """Answer for ever; `held` maps encoded OIDs to encoded values."""
    agents = _bound(count)
    waiting = select.epoll()
    for agent in agents:
        waiting.register(agent, select.EPOLLIN)
    waiting.register(0, select.EPOLLIN)
    print(agents[0].getsockname()[1], flush=True)
    by_number = {agent.fileno(): agent for agent in agents}
    kept: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}
    silent = answers = 0
    while True:
        for number, _ in waiting.poll():
            if number == 0:
                silent = _silenced(agents, waiting, silent)
                print(answers, flush=True)
                continue
            agent = by_number[number]
            question, asker = agent.recvfrom(65_535)
            try:
                begin, end = request_id(question)
                rest = question[:begin], question[end:]
                answer = kept.get(rest)
                if answer is None:
                    answer = kept[rest] = answered(question, begin, end, held)
            except IndexError:
                continue  # version 3 asks otherwise, and gets no answer
            agent.sendto(answer[0] + question[begin:end] + answer[1], asker)
            answers += 1


def _bound(count: int) -> list[socket.socket]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port = 0
    agents = []
    for number in range(count):
        agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        agent.bind((_host(number), port))
        port = agent.getsockname()[1]
        agents.append(agent)
    return agents


def _host(number: int) -> str:
    return socket.inet_ntoa((_FIRST_ADDRESS + number).to_bytes(4, "big"))


def _silenced(agents: list[socket.socket], waiting: select.epoll, before: int) -> int:
    """Do as the next line of the orders says; returns how many devices are silent now."""
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    silent = int(line)
    for agent in agents[len(agents) - before :]:
        waiting.register(agent, select.EPOLLIN)
    for agent in agents[len(agents) - silent :]:
        waiting.unregister(agent)
        agent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SILENT_BUFFER_BYTES)
    return silent


def request_id(message: bytes) -> tuple[int, int]:
    """Return where the request id's value stands, the community being shorter than 128 bytes."""
    at = _inside(message, 0) + 3  # the version is one byte
    at += 2 + message[at + 1]
    at = _inside(message, at)
    return at + 2, at + 2 + message[at + 1]


def _inside(message: bytes, at: int) -> int:
    length = message[at + 1]
    return at + 2 + (length & 0x7F if length & 0x80 else 0)


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


def _serve_as_told() -> None:
    held, count = json.loads(sys.stdin.readline())
    serve(
        {encoded_oid(oid): encoded(kind, value) for oid, (kind, value) in held.items()},
        count,
    )


if __name__ == "__main__":
    _serve_as_told()
