"""A canned Modbus unit for tests, in either framing over TCP, with the bad habits of cards."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


def checksum(frame):
    """Modbus over serial line specification 1.02, appendix B."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


@dataclass
class Unit:
    """Registers by address; `refuses` are addresses of which none may be in a request.

    `only_function` is the one read function that the unit knows, `longest` the most registers it
    gives at once, `busy` how many requests it puts off. `raw` makes the answers: it gets the
    request and the proper answer's frame, and returns the chunks that are sent.
    """

    registers: dict[int, int]
    refuses: dict[int, int] = field(default_factory=dict)
    silent: bool = False
    shortens: bool = False
    wrong_number: bool = False
    hangs_up_after: int | None = None
    hangs_up_each_time: bool = False
    only_function: int | None = None
    longest: int | None = None
    too_long: int = 3
    busy: int = 0
    rtu: bool = False
    units: tuple[int, ...] | None = None
    bits: dict[int, int] = field(default_factory=dict)
    objects: dict[int, bytes] = field(default_factory=dict)
    raw: object = None
    requests: list[tuple[int, int, int]] = field(default_factory=list)
    asked_units: list[int] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0

    def answer(self, request: bytes) -> bytes | None:
        number, unit, function = request[:2], request[6], request[7]
        address, count = (int.from_bytes(request[at : at + 2], "big") for at in (8, 10))
        self.requests.append((function, address, count))
        self.asked_units.append(unit)
        if self.silent or (self.units is not None and unit not in self.units):
            return None
        if self.wrong_number:
            number = (int.from_bytes(number, "big") + 7).to_bytes(2, "big")
        code = self._refusal(function, address, count)
        if code is not None:
            return self._framed(number, bytes([unit, function | 0x80, code]))
        if function == 43:
            held = {key: text for key, text in self.objects.items() if key >= request[10]}
            body = b"".join(bytes([key, len(text)]) + text for key, text in held.items())
            head = bytes([unit, 43, 14, request[9], 3, 0, 0, len(held)])
            return self._framed(number, head + body)
        asked = range(address, address + count)
        if function in (1, 2):
            bits = sum(self.bits.get(at, 0) << (at - address) for at in asked)
            body = bits.to_bytes((count + 7) // 8, "little")
        else:
            words = [self.registers.get(at, 0) for at in asked]
            cut = words[: -1 if self.shortens else None]
            body = b"".join(word.to_bytes(2, "big") for word in cut)
        return self._framed(number, bytes([unit, function, len(body)]) + body)

    def _refusal(self, function: int, address: int, count: int) -> int | None:
        if self.busy:
            self.busy -= 1
            return 6
        if function == 43:
            return None if self.objects else 1
        if self.only_function not in (None, function):
            return 1
        if self.longest is not None and count > self.longest:
            return self.too_long
        asked = range(address, address + count)
        code = next((self.refuses[at] for at in asked if at in self.refuses), None)
        held = self.bits if function in (1, 2) else self.registers
        return 2 if code is None and not any(at in held for at in asked) else code

    def _framed(self, number: bytes, body: bytes) -> bytes:
        if self.rtu:
            return body + checksum(body)
        return number + b"\0\0" + len(body).to_bytes(2, "big") + body

    def chunks(self, request: bytes) -> list[bytes]:
        reply = self.answer(request)
        if self.raw is not None:
            return list(self.raw(request, reply))
        return [] if reply is None else [reply]


async def _request(reader, *, rtu):
    """Return the next request as Modbus TCP has it; nothing when the client hung up."""
    if not rtu:
        head = await reader.readexactly(8)
        return head + await reader.readexactly(int.from_bytes(head[4:6], "big") - 2)
    head = await reader.readexactly(2)
    rest = await reader.readexactly(5 if head[1] == 43 else 6)
    assert checksum(head + rest[:-2]) == rest[-2:]
    return b"\0\1\0\0\0\6" + head + rest[:-2]


@asynccontextmanager
async def serving(unit: Unit):
    """Serve the unit on a free port of 127.0.0.1 and yield the port."""
    talks = set()

    async def talk(reader, writer):
        talks.add(asyncio.current_task())
        unit.connections += 1
        unit.open_now += 1
        unit.most_open = max(unit.most_open, unit.open_now)
        try:
            while True:
                request = await _request(reader, rtu=unit.rtu)
                if unit.hangs_up_after is not None and len(unit.requests) >= unit.hangs_up_after:
                    return
                for chunk in unit.chunks(request):
                    writer.write(chunk)
                    await writer.drain()
                if unit.hangs_up_each_time:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            unit.open_now -= 1
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
