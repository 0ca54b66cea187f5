"""What readers are asked for and what they hand over: references, raw values, failures, memory.

No meaning here: a raw value becomes a point only in `collector.convert`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import NamedTuple

from collector.patience import Seen


class Registers(NamedTuple):
    """A run of Modbus registers: function code, 0-based wire address, how many.

    Function 3 reads holding and 4 input registers, each a word. Function 1 reads coils and 2
    discrete inputs, each a bit: their raw value is one number, the first bit being bit 0.
    """

    function: int
    address: int
    length: int


class Walk(NamedTuple):
    """All rows of an SNMP table column; skipped while the object `counter` says 0.

    The raw value is the tuple of the rows' values in the agent's order.
    """

    column: str
    counter: str | None = None


BIT_FUNCTIONS = (1, 2)
"""The Modbus functions that read bits instead of words."""

Ref = str | Registers | Walk
"""SNMP: a dotted OID without leading dot, or a Walk. JSON: keys with `/`.

Modbus: Registers, or `object/FIRST/NUMBER`, an object of the device identification (function 43),
asked for from object FIRST on.
"""

Scalar = int | float | str | bytes | None
RawValue = Scalar | tuple[Scalar, ...]
"""Modbus: the tuple of words, or a number for bits.

An SNMP object identifier or IP address is a str, a string bytes.
"""


class Typed(NamedTuple):
    """An SNMP value with its type, as an agent serves it.

    Types: integer, gauge, counter, ticks, string, oid.
    """

    type: str
    value: int | str


Encoded = Typed | tuple[int, ...] | float | bool | str
"""Typed for SNMP, words for Modbus, plain for JSON."""


class Failure(Enum):
    """Why a device could not be read, a word to count by."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    AUTH = "auth"
    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    GATEWAY = "gateway"
    """The gateway answers, the device behind it does not."""
    BUSY = "busy"
    """The device, or the line that it shares with others, had no time."""


class ReadFailed(Exception):
    """Nothing could be read from the device; `detail` is one line for people."""

    def __init__(self, kind: Failure, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RawReply:
    """What one read brought: values by reference, what the device lacks, what went wrong.

    `missing` is what the device said it does not have; what the deadline cut off is in neither.
    `seen` is what the read showed about how the card wants to be asked, None for nothing of note.
    """

    values: Mapping[Ref, RawValue]
    missing: frozenset[Ref] = frozenset()
    problems: tuple[str, ...] = ()
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Habits:
    """How a device family wants to be asked.

    `bulk` allows GETBULK, `varbinds` bounds one SNMP request, `gap_seconds` is kept between
    requests, `blocks` are runs known to be readable whole, (address, count) or (address,
    count, function), `block_limit` bounds any other Modbus request.
    """

    bulk: bool = True
    varbinds: int = 30
    gap_seconds: float = 0.0
    blocks: tuple[tuple[int, ...], ...] = ()
    block_limit: int = 100


@dataclass(slots=True)
class CardMemory:
    """What is remembered of one device between reads; lost without harm.

    `absent` maps what the device does not have to the monotonic time at which it is asked
    again; what it once had, `seen`, is asked every time. `request_size` bounds a request as
    `collector.patience` has it; `strikes` says that the newest read lost one. `aliases` maps a
    table cell to the instance where this card keeps it; `no_bulk` is set once GETBULK misbehaved.
    `engine_id`, `boots` and `expansion` are what an agent of version 3 goes by, how often it has
    started, and how it lengthens keys. `forget_at`
    is when the first absence is over; `settled` are references that the card answered without any
    trouble the last time. `register_limit` is the longest Modbus request found to work;
    `register_function` what a unit wants instead of the register function that its family has.
    """

    absent: dict[Ref, float] = field(default_factory=dict)
    seen: set[Ref] = field(default_factory=set)
    request_size: int | None = None
    strikes: int = 0
    aliases: dict[str, str] = field(default_factory=dict)
    no_bulk: bool = False
    engine_id: bytes | None = None
    boots: int | None = None
    expansion: int | None = None
    forget_at: float = inf
    settled: tuple[Ref, ...] | None = None
    register_limit: int | None = None
    register_function: int | None = None

    def forget(self, now: float) -> None:
        """Drop what is due to be asked again at the monotonic time `now`."""
        if now < self.forget_at:
            return
        due = [ref for ref, until in self.absent.items() if until <= now]
        for ref in due:
            del self.absent[ref]
        self.forget_at = min(self.absent.values(), default=inf)

    def learn_absent(self, refs: Iterable[Ref], until: float) -> None:
        """Remember what the device lacks, save what it has had before."""
        self.absent.update((ref, until) for ref in refs if ref not in self.seen)
        self.forget_at = min(self.forget_at, until)
