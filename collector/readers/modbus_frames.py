"""Modbus frames: requests written, answers cut out of a stream of bytes and checked strictly.

Two framings: the MBAP header of Modbus TCP, and RTU with its checksum, which knows no numbers.
Pure; sockets and serial lines are `collector.readers.modbus_line`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from collector.raw import BIT_FUNCTIONS, Registers

_READS: Mapping[int, type[ModbusPDU]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}
_IDENTIFICATION = 0x2B
_DEVICE_IDENTIFICATION = 0x0E
_ERROR = 0x80
_HEADER = 7
_LONGEST_PDU = 253
LONGEST_STREAM = 512
"""More bytes than this without a proper answer are noise."""

_DECODER = DecodePDU(is_server=False)


class BadFrame(Exception):
    """What came is no answer to the request; the text says why."""


class Refused(Exception):
    """The unit answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(EXCEPTIONS.get(code, f"exception {code}"))
        self.code = code


EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the unit, the function, and the message itself."""

    unit: int
    function: int
    message: bytes

    def over_tcp(self, number: int) -> bytes:
        """Return the request with the header of Modbus TCP."""
        length = len(self.message) + 1
        header = number.to_bytes(2, "big") + b"\0\0" + length.to_bytes(2, "big")
        return header + bytes([self.unit]) + self.message

    def over_rtu(self) -> bytes:
        """Return the request with unit and checksum."""
        return with_checksum(bytes([self.unit]) + self.message)


def with_checksum(frame: bytes) -> bytes:
    """Return an RTU frame with its checksum behind it."""
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


def ask_for(run: Registers, unit: int) -> Request:
    """Return the request that reads a run of registers or bits."""
    pdu = _READS[run.function](address=run.address, count=run.length)
    return Request(unit, run.function, bytes([run.function]) + pdu.encode())


def ask_who(first: int, unit: int) -> Request:
    """Return the request for the device identification from object `first` on.

    The code says which kind of objects is meant: basic, regular, or a maker's own.
    """
    code = 1 if first < 3 else 2 if first < 0x80 else 3
    pdu = ReadDeviceInformationRequest(read_code=code, object_id=first)
    return Request(unit, _IDENTIFICATION, bytes([_IDENTIFICATION]) + pdu.encode())


def cut_tcp(stream: bytearray, request: Request, number: int) -> bytes | None:
    """Take the answer out of a Modbus TCP stream, None while it is not complete.

    Answers that carry another number belong to earlier requests and are dropped. BadFrame means
    that the stream is lost: it cannot be told where the next message begins.
    """
    while len(stream) >= _HEADER:
        told = int.from_bytes(stream[0:2], "big")
        protocol = int.from_bytes(stream[2:4], "big")
        length = int.from_bytes(stream[4:6], "big")
        if protocol != 0:
            raise BadFrame(f"no Modbus TCP: protocol number {protocol} instead of 0")
        if not 2 <= length <= _LONGEST_PDU + 1:
            raise BadFrame(f"a message of {length} bytes cannot be")
        if len(stream) < 6 + length:
            return None
        unit, message = stream[6], bytes(stream[_HEADER : 6 + length])
        del stream[: 6 + length]
        if told != number:
            continue
        # A card that is its own unit may be called 0 or 255 and still say 1.
        if unit != request.unit and request.unit not in (0, 255):
            raise BadFrame(f"unit {unit} answered instead of unit {request.unit}")
        return message
    return None


def cut_rtu(stream: bytearray, request: Request) -> bytes | None:
    """Take the answer out of an RTU stream, None while there is none.

    Noise before it is skipped, and so are answers of other units: what counts is unit, function
    and checksum.
    """
    for start in range(len(stream) - 4):
        if stream[start] != request.unit or stream[start + 1] & ~_ERROR != request.function:
            continue
        size = _rtu_size(stream, start)
        if size is None or len(stream) < start + size:
            continue
        frame = bytes(stream[start : start + size])
        if with_checksum(frame[:-2]) == frame:
            del stream[: start + size]
            return frame[1:-2]
    return None


def _rtu_size(stream: bytearray, start: int) -> int | None:
    """Return how long the frame that begins here is, None while that cannot be told."""
    if stream[start + 1] & _ERROR:
        return 5
    if stream[start + 1] != _IDENTIFICATION:
        return 5 + stream[start + 2]
    at = start + 8
    if len(stream) < at:
        return None
    for _ in range(stream[start + 7]):
        if len(stream) < at + 2:
            return None
        at += 2 + stream[at + 1]
    return at + 2 - start


def leftover(stream: bytes, *, is_rtu: bool) -> str | None:
    """Say what is wrong with bytes that never became an answer, None where nothing came."""
    if not stream:
        return None
    count = len(stream)
    if not is_rtu:
        return f"an answer broke off after {count} bytes"
    whole = count >= 5 and (stream[1] & _ERROR or count >= 5 + stream[2])
    told = "with a wrong checksum, or for another request" if whole else "that broke off"
    return f"an answer {told} ({count} bytes)"


def registers_of(message: bytes, run: Registers) -> tuple[int, ...] | int:
    """Return the words of an answer, or the bits as one number; raise Refused or BadFrame."""
    _check(message, run.function)
    if run.function in BIT_FUNCTIONS:
        if message[1] != (run.length + 7) // 8 or len(message) != 2 + message[1]:
            raise BadFrame(f"{message[1]} bytes of bits instead of {(run.length + 7) // 8}")
        return int.from_bytes(message[2:], "little") & (1 << run.length) - 1
    if message[1] != 2 * run.length or len(message) != 2 + message[1]:
        raise BadFrame(f"{message[1]} bytes in an answer of {run.length} words")
    pdu = _DECODER.decode(message)
    if pdu is None:
        raise BadFrame("an answer that cannot be taken apart")
    return tuple(pdu.registers)


def objects_of(message: bytes) -> dict[int, bytes]:
    """Return the identification objects of an answer by their number; raise Refused or BadFrame."""
    _check(message, _IDENTIFICATION)
    if len(message) < 7 or message[1] != _DEVICE_IDENTIFICATION:
        raise BadFrame("an answer of another kind of identification")
    found: dict[int, bytes] = {}
    at = 7
    for _ in range(message[6]):
        if len(message) < at + 2 or len(message) < at + 2 + message[at + 1]:
            raise BadFrame("an identification that broke off")
        found[message[at]] = message[at + 2 : at + 2 + message[at + 1]]
        at += 2 + message[at + 1]
    return found


def _check(message: bytes, function: int) -> None:
    """Raise Refused for an exception, BadFrame for what answers another function."""
    if message[0] == function | _ERROR and len(message) == 2:
        raise Refused(message[1])
    if message[0] != function or len(message) < 3:
        raise BadFrame(f"an answer of function {message[0]} instead of {function}")
