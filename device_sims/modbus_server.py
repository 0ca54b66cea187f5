"""Modbus servers for simulated units: TCP, RTU over TCP and serial lines, read only.

An endpoint is one unit, or several behind one gateway or on one line. A block may run over
undefined registers, which read as zero; registers none of which is defined are an illegal address,
as the makers' maps say of real cards. Writing is refused. What a card does wrong on purpose is
asked of its `Bank`.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.mei_message import ReadDeviceInformationResponse
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from collector.address import Framing, SerialLine
from collector.raw import Encoded, Ref, Registers
from device_sims.wire import Wire

_FUNCTIONS = (1, 2, 3, 4)
_DEVICE_COUNT = 0x87
_LONGEST_READ = {1: 2_000, 2: 2_000, 3: 125, 4: 125}


class Bank(Protocol):
    """What stands behind one unit number."""

    @property
    def delay_seconds(self) -> float:
        """How long an answer waits."""

    @property
    def copies(self) -> int:
        """How many times an answer is sent."""

    def answers(self) -> bool:
        """Return whether a request that has just come is answered."""

    def words(self, function: int) -> Mapping[int, int]:
        """Return what function code 1 to 4 reads now, by address: words, or bits for 1 and 2."""

    def objects(self) -> Mapping[int, bytes]:
        """Return the objects of the device identification."""

    def spoiled(self, message: bytes) -> bytes:
        """Return an answer as it goes out."""


class UnitBank:
    """A simulated unit; `now` is asked for the time of each request."""

    def __init__(self, wire: Wire, now: Callable[[], datetime]) -> None:
        self._wire = wire
        self._now = now
        self._source: Mapping[Ref, Encoded] | None = None
        self._words: dict[int, dict[int, int]] = {}
        self._objects: dict[int, bytes] = {}

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
        self._refresh()
        return self._words[function]

    def objects(self) -> Mapping[int, bytes]:
        """Return the card's identification."""
        self._refresh()
        return self._objects

    def _refresh(self) -> None:
        encoded = self._wire.encoded(self._now())
        if encoded is self._source:
            return
        wrong = self._wire.has_wrong_types
        words: dict[int, dict[int, int]] = {function: {} for function in _FUNCTIONS}
        objects: dict[int, bytes] = {}
        for ref, item in encoded.items():
            if isinstance(ref, Registers) and isinstance(item, tuple):
                for offset, word in enumerate(item):
                    value = 0xFFFF if wrong else int(word) & 0xFFFF
                    words[ref.function][ref.address + offset] = value
            elif isinstance(ref, str) and ref.startswith("object/"):
                first, number = (int(part) for part in ref.split("/")[1:])
                if first == _DEVICE_COUNT:
                    objects[first] = (1).to_bytes(4, "big")
                objects[number] = str(item).encode()
        self._source, self._words, self._objects = encoded, words, objects


Banks = Bank | Mapping[int, Bank]
"""One unit that answers whatever its number, or units by number."""


class ModbusServers:
    """All Modbus endpoints of a fleet; an async context manager that closes every one."""

    def __init__(self) -> None:
        self._servers: list[_TcpServer | _SerialServer] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def add(
        self,
        banks: Banks,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        framing: Framing = Framing.TCP,
    ) -> int:
        """Serve units on a port, a free one for 0, and return the port."""
        server = _TcpServer(banks, host, port, framing)
        if not await server.listen():
            raise OSError(f"cannot listen on {host}:{port}")
        self._servers.append(server)
        return int(server.transport.sockets[0].getsockname()[1])  # type: ignore[attr-defined]

    async def add_line(self, banks: Banks, device: str, line: SerialLine) -> None:
        """Serve units on a serial line."""
        server = _SerialServer(banks, device, line)
        if not await server.listen():
            raise OSError(f"cannot open {device}")
        self._servers.append(server)

    async def close(self) -> None:
        """Close listeners, lines and connections, and wait until that is done."""
        for server in self._servers:
            listener: Any = server.transport
            await server.shutdown()  # type: ignore[no-untyped-call]
            if isinstance(server, _TcpServer):
                await listener.wait_closed()
        self._servers.clear()
        # asyncio tells each closed connection in the loop's next round.
        await asyncio.sleep(0)


class _Units:
    """What pymodbus asks for the registers of a unit."""

    def __init__(self, banks: Banks) -> None:
        self._banks = banks

    def bank(self, unit: int) -> Bank:
        """Return the unit of a number; NoSuchIdException when there is none."""
        if not isinstance(self._banks, Mapping):
            return self._banks
        if unit not in self._banks:
            raise NoSuchIdException(f"no unit {unit}")
        return self._banks[unit]

    def device_ids(self) -> list[int]:
        """Return the unit numbers."""
        return sorted(self._banks) if isinstance(self._banks, Mapping) else [1]

    async def async_getValues(  # noqa: N802 - pymodbus calls it so
        self, unit: int, function: int, address: int, count: int = 1
    ) -> list[int] | ExcCodes:
        words = self.bank(unit).words(function)
        asked = range(address, address + count)
        if count > _LONGEST_READ[function]:
            return ExcCodes.ILLEGAL_VALUE
        if not any(register in words for register in asked):
            return ExcCodes.ILLEGAL_ADDRESS
        return [words.get(register, 0) for register in asked]

    async def async_setValues(  # noqa: N802 - pymodbus calls it so
        self, unit: int, function: int, address: int, values: object
    ) -> ExcCodes:
        del unit, function, address, values
        return ExcCodes.ILLEGAL_FUNCTION


class _WhoAreYou(ModbusPDU):
    """The request for the device identification, answered by the unit's own objects."""

    function_code = 0x2B
    rtu_frame_size = 7

    def decode(self, data: bytes) -> None:
        self.read_code, self.first = data[1], data[2]

    async def datastore_update(self, context: Any, device_id: int) -> ModbusPDU:  # noqa: ANN401
        objects = context.bank(device_id).objects()
        told = {number: text for number, text in objects.items() if number >= self.first}
        if not told:
            code = ExcCodes.ILLEGAL_ADDRESS if objects else ExcCodes.ILLEGAL_FUNCTION
            return ExceptionResponse(self.function_code, code)
        return ReadDeviceInformationResponse(self.read_code, dict(sorted(told.items())))


_NO_DEVICE = SimDevice(1, simdata=[SimData(0, values=0, count=1, datatype=DataType.REGISTERS)])


class _TcpServer(ModbusTcpServer):
    def __init__(self, banks: Banks, host: str, port: int, framing: Framing) -> None:
        is_rtu = framing is not Framing.TCP
        super().__init__(
            _NO_DEVICE,
            framer=FramerType.RTU if is_rtu else FramerType.SOCKET,
            address=(host, port),
            ignore_missing_devices=is_rtu,
            custom_pdu=[_WhoAreYou],
        )
        self.units = _Units(banks)
        self.context: Any = self.units

    def callback_new_connection(self) -> "_Connection":
        return _Connection(self)


class _SerialServer(ModbusSerialServer):
    def __init__(self, banks: Banks, device: str, line: SerialLine) -> None:
        super().__init__(
            _NO_DEVICE,
            port=device,
            baudrate=line.baud,
            parity=line.parity,
            stopbits=line.stop_bits,
            reconnect_delay=0,
            ignore_missing_devices=True,
            custom_pdu=[_WhoAreYou],
        )
        self.units = _Units(banks)
        self.context: Any = self.units

    def callback_new_connection(self) -> "_Connection":
        return _Connection(self)


class _Connection(ServerRequestHandler):
    """One client's connection, on which a card's faults show."""

    def __init__(self, server: _TcpServer | _SerialServer) -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]
        self._units = server.units
        self._speaker: Bank | None = None

    def server_send(self, pdu: ModbusPDU | None, addr: tuple[Any, ...] | None) -> None:
        if pdu is None:
            return
        try:
            bank = self._units.bank(pdu.dev_id)
        except NoSuchIdException:
            self.pdu_send(pdu, addr=addr)
            return
        if not bank.answers():
            return
        delay = bank.delay_seconds
        if delay == 0.0:
            self._answer(bank, pdu, addr)
        else:
            # The client may have hung up before a late answer is ready.
            self.loop.call_later(delay, self._answer, bank, pdu, addr)

    def send(self, data: bytes, addr: tuple[Any, ...] | None = None) -> None:
        super().send(data if self._speaker is None else self._speaker.spoiled(data), addr)

    def _answer(self, bank: Bank, pdu: ModbusPDU, addr: tuple[Any, ...] | None) -> None:
        self._speaker = bank
        for _ in range(bank.copies):
            if self.transport is not None:
                self.pdu_send(pdu, addr=addr)
        self._speaker = None
