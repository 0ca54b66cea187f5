"""Modbus TCP servers for simulated units: one port a unit, unit 1, read only.

A block may run over undefined registers, which read as zero; a single undefined register is an
illegal address, as the makers' maps say of real cards. Writing is refused. What a card does wrong
on purpose is asked of its `Bank`.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from collector.raw import Encoded, Ref, Registers
from device_sims.wire import Wire

_HOLDING, _INPUT = 3, 4
_READS = (_HOLDING, _INPUT)
_SPACE = 65_535


class Bank(Protocol):
    """What stands behind one port."""

    @property
    def delay_seconds(self) -> float:
        """How long an answer waits."""

    @property
    def copies(self) -> int:
        """How many times an answer is sent."""

    def answers(self) -> bool:
        """Return whether a request that has just come is answered."""

    def words(self, function: int) -> Mapping[int, int]:
        """Return the registers by address that function code 3 or 4 reads now."""

    def spoiled(self, message: bytes) -> bytes:
        """Return an answer as it goes out."""


class UnitBank:
    """A simulated unit behind a port; `now` is asked for the time of each request."""

    def __init__(self, wire: Wire, now: Callable[[], datetime]) -> None:
        self._wire = wire
        self._now = now
        self._source: Mapping[Ref, Encoded] | None = None
        self._words: dict[int, dict[int, int]] = {}

    @property
    def delay_seconds(self) -> float:
        """How long an answer waits."""
        return self._wire.delay_seconds

    @property
    def copies(self) -> int:
        """How many times an answer is sent."""
        return self._wire.copies

    def answers(self) -> bool:
        """Return whether a request that has just come is answered."""
        return self._wire.answers(self._now())

    def spoiled(self, message: bytes) -> bytes:
        """Return an answer as it goes out."""
        return self._wire.spoiled(message)

    def words(self, function: int) -> Mapping[int, int]:
        """Return the card's registers; with wrong types they hold nothing but ones."""
        encoded = self._wire.encoded(self._now())
        if encoded is not self._source:
            wrong = self._wire.has_wrong_types
            words: dict[int, dict[int, int]] = {_HOLDING: {}, _INPUT: {}}
            for ref, item in encoded.items():
                if isinstance(ref, Registers) and isinstance(item, tuple):
                    for offset, word in enumerate(item):
                        value = 0xFFFF if wrong else int(word) & 0xFFFF
                        words[ref.function][ref.address + offset] = value
            self._source, self._words = encoded, words
        return self._words[function]


class ModbusServers:
    """All Modbus ports of a fleet; an async context manager that closes every socket."""

    def __init__(self) -> None:
        self._servers: list[_Server] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def add(self, bank: Bank, *, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve a bank on a port, a free one for 0, and return the port."""
        server = _Server(bank, host, port)
        if not await server.listen():
            raise OSError(f"cannot listen on {host}:{port}")
        self._servers.append(server)
        return int(server.transport.sockets[0].getsockname()[1])  # type: ignore[attr-defined]

    async def close(self) -> None:
        """Close listeners and connections, and wait until that is done."""
        for server in self._servers:
            listener: Any = server.transport
            await server.shutdown()  # type: ignore[no-untyped-call]
            await listener.wait_closed()
        self._servers.clear()
        # asyncio tells each closed connection in the loop's next round.
        await asyncio.sleep(0)


class _Server(ModbusTcpServer):
    def __init__(self, bank: Bank, host: str, port: int) -> None:
        self.bank = bank
        # The whole address space exists; `_read` decides what each request really sees.
        space = SimData(0, values=0, count=_SPACE, datatype=DataType.REGISTERS)
        device = SimDevice(1, simdata=[space], action=self._read)
        super().__init__(device, address=(host, port))

    def callback_new_connection(self) -> "_Connection":
        return _Connection(self)

    async def _read(
        self,
        function_code: int,
        start_address: int,
        address: int,
        count: int,
        current_registers: list[int],
        set_values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Lay the bank's present values where pymodbus will read them."""
        if set_values is not None or function_code not in _READS:
            return ExcCodes.ILLEGAL_FUNCTION
        words = self.bank.words(function_code)
        if not words or (count == 1 and address not in words):
            return ExcCodes.ILLEGAL_ADDRESS
        place = address - start_address
        current_registers[place : place + count] = [
            words.get(register, 0) for register in range(address, address + count)
        ]
        return None


class _Connection(ServerRequestHandler):
    """One client's connection, on which a card's faults show."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]
        self._bank = server.bank

    def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
        if not self._bank.answers():
            return len(data)
        return super().callback_data(data, addr)

    def server_send(self, pdu: ModbusPDU | None, addr: tuple[Any, ...] | None) -> None:
        if pdu is None:
            return
        delay = self._bank.delay_seconds
        if delay == 0.0:
            self._answer(pdu, addr)
        else:
            # The client may have hung up before a late answer is ready.
            self.loop.call_later(delay, self._answer, pdu, addr)

    def send(self, data: bytes, addr: tuple[Any, ...] | None = None) -> None:
        super().send(self._bank.spoiled(data), addr)

    def _answer(self, pdu: ModbusPDU, addr: tuple[Any, ...] | None) -> None:
        for _ in range(self._bank.copies):
            if self.transport is not None:
                self.pdu_send(pdu, addr=addr)
