"""A canned Modbus TCP unit for tests, with the bad habits of real cards."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Unit:
    """Registers by address; `refuses` are addresses of which none may be in a request."""

    registers: dict[int, int]
    refuses: dict[int, int] = field(default_factory=dict)
    silent: bool = False
    shortens: bool = False
    wrong_number: bool = False
    hangs_up_after: int | None = None
    requests: list[tuple[int, int, int]] = field(default_factory=list)
    connections: int = 0

    def answer(self, request: bytes) -> bytes | None:
        number, unit, function = request[:2], request[6], request[7]
        address, count = (int.from_bytes(request[at : at + 2], "big") for at in (8, 10))
        self.requests.append((function, address, count))
        if self.silent:
            return None
        if self.wrong_number:
            number = (int.from_bytes(number, "big") + 7).to_bytes(2, "big")
        asked = range(address, address + count)
        code = next((self.refuses[at] for at in asked if at in self.refuses), None)
        if code is None and not any(at in self.registers for at in asked):
            code = 2
        if code is not None:
            return number + b"\0\0\0\3" + bytes([unit, function | 0x80, code])
        words = [self.registers.get(at, 0) for at in asked]
        body = b"".join(word.to_bytes(2, "big") for word in words[: -1 if self.shortens else None])
        length = (len(body) + 3).to_bytes(2, "big")
        return number + b"\0\0" + length + bytes([unit, function, len(body)]) + body


@asynccontextmanager
async def serving(unit: Unit):
    """Serve the unit on a free port of 127.0.0.1 and yield the port."""

    async def talk(reader, writer):
        unit.connections += 1
        try:
            while True:
                request = await reader.readexactly(12)
                if unit.hangs_up_after is not None and len(unit.requests) >= unit.hangs_up_after:
                    return
                reply = unit.answer(request)
                if reply is not None:
                    writer.write(reply)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
