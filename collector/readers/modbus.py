"""Reading Modbus units, over TCP, RTU over TCP or a serial line: runs of registers by address.

One call is one poll of one unit: strictly serial requests with the gap the family needs, an overall
deadline. Runs known to be readable whole are read whole, the rest in contiguous groups; what the
unit refuses, and how much it bears at once, is remembered. The connection and who may use it is
`modbus_line`, frames are `modbus_frames`; what words mean is `collector.convert`.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from collector.address import ModbusAddress
from collector.raw import (
    BIT_FUNCTIONS,
    CardMemory,
    Failure,
    Habits,
    RawReply,
    RawValue,
    ReadFailed,
    Ref,
    Registers,
)
from collector.readers.modbus_frames import (
    BadFrame,
    Refused,
    ask_for,
    ask_who,
    objects_of,
    registers_of,
)
from collector.readers.modbus_line import Closed, Line, Silent, turn_on

_ASK_AGAIN_SECONDS = 86_400.0
_LONGEST_PATIENCE_SECONDS = 2.0
"""Cards answer up to some seconds late; a reply later than this is dropped by its number."""
_SLACK_SECONDS = 0.02  # one request gives up just before the poll, so that its reason is told
_BUSY_SECONDS = 0.2
_BUSY_TRIES = 5
_SILENCES = 2
_LONGEST_RUN = 125
_LONGEST_BITS = 1_000
_ILLEGAL_FUNCTION, _ILLEGAL_VALUE = 1, 3
_NOT_THERE = (1, 2, 3)  # illegal function, address, value: a property of the unit
_BUSY = (5, 6)
_GATEWAY = (10, 11)
_OTHER = {3: 4, 4: 3}


async def read(
    address: ModbusAddress,
    refs: Iterable[Ref],
    *,
    deadline: float,
    memory: CardMemory,
    habits: Habits | None = None,
) -> RawReply:
    """Read registers from one unit within `deadline` seconds, counted from its turn on the line.

    Returns what came before the deadline; raises ReadFailed when nothing came at all.
    """
    loop = asyncio.get_running_loop()
    memory.forget(loop.time())
    wanted = [ref for ref in refs if _is_ours(ref) and ref not in memory.absent]
    async with turn_on(address) as line:
        now = loop.time()
        poll = _Poll(address, line, memory, habits or Habits(), now, now + deadline)
        try:
            async with asyncio.timeout(deadline):
                await poll.run(wanted)
        except TimeoutError:
            late = _late(address, deadline, answered=bool(poll.values))
            if line.heard is None:
                poll.trouble(Failure.TIMEOUT, late)
            else:
                poll.trouble(Failure.MALFORMED, f"{late}; {line.heard}")
    return poll.reply(wanted)


def _is_ours(ref: Ref) -> bool:
    return isinstance(ref, Registers) or (isinstance(ref, str) and ref.startswith("object/"))


def _late(address: ModbusAddress, deadline: float, *, answered: bool) -> str:
    if answered:
        return f"{address.public} was too slow: not everything read within {deadline:g} s"
    return f"no answer from {address.public} within {deadline:g} s (unit number, or firewall?)"


def group(refs: Iterable[Registers], limit: int) -> Iterator[Registers]:
    """Yield the fewest runs without holes, each at most `limit` long, that cover the registers."""
    run: Registers | None = None
    for ref in sorted(set(refs)):
        end = ref.address + ref.length
        if run is not None:
            joined = max(end, run.address + run.length) - run.address
            touches = ref.address <= run.address + run.length
            longest = _LONGEST_BITS if ref.function in BIT_FUNCTIONS else limit
            if ref.function == run.function and touches and joined <= longest:
                run = Registers(run.function, run.address, joined)
                continue
            yield run
        run = ref
    if run is not None:
        yield run


def _inside(ref: Registers, run: Registers) -> bool:
    return (
        ref.function == run.function
        and run.address <= ref.address
        and ref.address + ref.length <= run.address + run.length
    )


@dataclass(slots=True)
class _Poll:
    """The state of one poll: what came, what the unit refuses, what went wrong."""

    address: ModbusAddress
    line: Line
    memory: CardMemory
    habits: Habits
    began_at: float
    ends_at: float
    values: dict[Ref, RawValue] = field(default_factory=dict)
    absent: set[Ref] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    failure: ReadFailed | None = None
    silences: int = 0
    had_when_closed: int = -1
    halved: list[tuple[Registers, Sequence[Registers]]] = field(default_factory=list)
    codes: set[int] = field(default_factory=set)

    async def run(self, wanted: Sequence[Ref]) -> None:
        """Read registers, with the other function once if this one gives nothing, then objects."""
        registers = [ref for ref in wanted if isinstance(ref, Registers)]
        await self._read_registers(registers)
        functions = {ref.function for ref in registers}
        if self.failure is None and not self.values and self.absent and len(functions) == 1:
            await self._try_other_function(registers, functions.pop())
        self._learn_limit()
        starts = sorted({int(ref.split("/")[1]) for ref in wanted if isinstance(ref, str)})
        for first in starts:
            if self.failure is None:
                await self._read_objects(first, [ref for ref in wanted if isinstance(ref, str)])

    async def _read_registers(self, wanted: Sequence[Registers]) -> None:
        """Read the known blocks that hold anything wanted, then groups of what is left."""
        queue, left = self._blocks(wanted)
        queue += group(left, self._limit)
        while queue and self.failure is None:
            run = queue.pop(0)
            inside = [ref for ref in wanted if _inside(ref, run)]
            where = f"registers {run.address}+{run.length}"
            try:
                told = await self._ask_patiently(run)
            except Refused as refused:
                queue[:0] = self._refused(run, inside, refused, where)
            except (Silent, BadFrame) as problem:
                self._garbled(problem, where)
            else:
                self._keep(run, inside, told)

    def _keep(
        self, run: Registers, inside: Sequence[Registers], told: tuple[int, ...] | int
    ) -> None:
        self.silences = 0
        for ref in inside:
            start = ref.address - run.address
            if isinstance(told, int):
                self.values[ref] = told >> start & (1 << ref.length) - 1
            else:
                self.values[ref] = told[start : start + ref.length]

    async def _try_other_function(self, wanted: Sequence[Registers], function: int) -> None:
        """Read input instead of holding registers, or the other way: cards differ from their map.

        Remembered when it gives something.
        """
        other = _OTHER.get(function)
        if other is None or self.memory.register_function is not None:
            return
        absent, problems = set(self.absent), list(self.problems)
        self.memory.register_function = other
        self.absent.clear()
        await self._read_registers(wanted)
        if not self.values:
            self.memory.register_function = None
            self.absent, self.problems = absent, problems

    @property
    def _limit(self) -> int:
        return min(self.habits.block_limit, self.memory.register_limit or _LONGEST_RUN)

    def _blocks(self, wanted: Sequence[Registers]) -> tuple[list[Registers], list[Registers]]:
        chosen: list[Registers] = []
        left = list(wanted)
        for address, length, *only in self.habits.blocks:
            for function in only or sorted({ref.function for ref in left}):
                block = Registers(function, address, length)
                longest = self.memory.register_limit or _LONGEST_RUN
                if function not in BIT_FUNCTIONS and length > longest:
                    continue
                outside = [ref for ref in left if not _inside(ref, block)]
                if len(outside) < len(left) and block not in self.memory.absent:
                    chosen.append(block)
                    left = outside
        return chosen, left

    async def _ask_patiently(self, run: Registers) -> tuple[int, ...] | int:
        """Read a run; once more after noise, again after a while when the unit is busy."""
        loop = asyncio.get_running_loop()
        noise: BadFrame | None = None
        for attempt in range(_BUSY_TRIES):
            is_last = attempt == _BUSY_TRIES - 1
            try:
                return await self._ask(run)
            except Refused as refused:
                late = loop.time() + 2 * _BUSY_SECONDS >= self.ends_at
                if refused.code not in _BUSY or is_last or late:
                    raise
                await asyncio.sleep(_BUSY_SECONDS)
            except BadFrame as bad:
                if noise is not None or is_last:
                    raise
                noise = bad
            except Silent as silence:
                # What garbled the first answer says more than that there was no second.
                raise (noise or silence) from None
        raise AssertionError("the last attempt returns or raises")

    async def _ask(self, run: Registers) -> tuple[int, ...] | int:
        function = run.function
        if function not in BIT_FUNCTIONS:
            function = self.memory.register_function or function
        asked = Registers(function, run.address, run.length)
        message = await self._exchange(asked)
        return registers_of(message, asked)

    async def _exchange(self, asked: Registers | int) -> bytes:
        """Send one request; connect again when the card closed after having answered."""
        unit = self.address.unit
        request = ask_who(asked, unit) if isinstance(asked, int) else ask_for(asked, unit)
        loop = asyncio.get_running_loop()
        while True:
            rest = self.ends_at - loop.time() - _SLACK_SECONDS
            patience = max(min(rest, _LONGEST_PATIENCE_SECONDS), _SLACK_SECONDS)
            was_open = self.line.link is not None
            try:
                return await self.line.exchange(
                    request, patience=patience, gap=self.habits.gap_seconds
                )
            except Closed as closed:
                # A kept connection may be stale, and some cards close after each answer.
                if was_open and len(self.values) > self.had_when_closed:
                    self.had_when_closed = len(self.values)
                    continue
                detail = f"{self.address.public} closed the connection"
                self.trouble(Failure.UNREACHABLE, detail)
                raise Silent(str(closed)) from None
            except OSError as problem:
                self.trouble(*_unreachable(self.address, problem))
                raise Silent("no connection") from None

    async def _read_objects(self, first: int, wanted: Sequence[str]) -> None:
        """Read the device identification from one object on."""
        refs = [ref for ref in wanted if ref.split("/")[1] == str(first)]
        try:
            found = objects_of(await self._exchange(first))
        except Refused as refused:
            if refused.code in _NOT_THERE:
                self.absent.update(refs)
            else:
                self.problems.append(f"identification from object {first}: {refused}")
        except (Silent, BadFrame) as problem:
            self._garbled(problem, f"identification from object {first}")
        else:
            for ref in refs:
                value = found.get(int(ref.split("/")[2]))
                if value is None:
                    self.absent.add(ref)
                else:
                    self.values[ref] = value

    def _garbled(self, problem: Silent | BadFrame, where: str) -> None:
        """Note that no proper answer came; give up when nothing ever did, or twice in a row."""
        if self.failure is not None:
            return
        self.problems.append(f"{where}: {problem}")
        self.silences += 1
        if not self.values or self.silences >= _SILENCES:
            is_silence = str(problem) == "no answer"
            kind = Failure.TIMEOUT if is_silence else Failure.MALFORMED
            self.trouble(kind, f"no proper answer from {self.address.public}: {problem} ({where})")

    def _refused(
        self, run: Registers, inside: Sequence[Registers], refused: Refused, where: str
    ) -> list[Registers]:
        """Return the smaller runs to try instead; note what is refused alone."""
        self.silences = 0
        self.codes.add(refused.code)
        if refused.code in _GATEWAY:
            detail = f"unit {self.address.unit} behind the gateway: {refused}"
            self.trouble(Failure.GATEWAY, f"{self.address.public}: {detail}")
            return []
        if refused.code not in _NOT_THERE:
            self.problems.append(f"{where}: {refused}")
            return []
        longest = max(ref.length for ref in inside)
        if refused.code == _ILLEGAL_VALUE and run.length > longest:
            self._learn(max(longest, run.length // 2))
        if run not in inside:
            self.absent.add(run)
        smaller = [part for part in group(inside, self._limit) if part != run]
        if not smaller and len(inside) > 1:
            half = len(inside) // 2
            ordered = sorted(inside)
            smaller = [*group(ordered[:half], _LONGEST_RUN), *group(ordered[half:], _LONGEST_RUN)]
            self.halved.append((run, inside))
        if not smaller or refused.code == _ILLEGAL_FUNCTION:
            self.absent.update(inside)
            self.problems.append(f"{where}: {refused}")
            return []
        return [part for part in smaller if part != run]

    def _learn(self, limit: int) -> None:
        self.memory.register_limit = min(limit, self.memory.register_limit or _LONGEST_RUN)

    def _learn_limit(self) -> None:
        """Learn that a run was too long where all of it could be read in parts."""
        for run, inside in self.halved:
            if run.function not in BIT_FUNCTIONS and all(ref in self.values for ref in inside):
                self._learn(max(run.length // 2, *(ref.length for ref in inside)))

    def trouble(self, kind: Failure, detail: str) -> None:
        """Keep the failure and name it among the problems."""
        self.failure = ReadFailed(kind, detail)
        self.problems.append(detail)

    def reply(self, wanted: Sequence[Ref]) -> RawReply:
        """Return what came and remember what was learned; raise when nothing came."""
        if self.failure is not None and not self.values:
            raise self.failure
        if not self.values and self.problems and not self.codes.isdisjoint(_BUSY):
            raise ReadFailed(Failure.BUSY, f"{self.address.public}: {self.problems[-1]}")
        if not self.values and self.absent:
            raise ReadFailed(
                Failure.UNSUPPORTED, f"{self.address.public} has none of the registers asked for"
            )
        if not self.values and self.problems:
            raise ReadFailed(Failure.UNSUPPORTED, f"{self.address.public}: {self.problems[-1]}")
        self.memory.seen.update(self.values)
        self.memory.learn_absent(self.absent, self.began_at + _ASK_AGAIN_SECONDS)
        asked = set(wanted)
        missing = frozenset(ref for ref in self.absent if ref in asked)
        return RawReply(self.values, missing, tuple(self.problems))


def _unreachable(address: ModbusAddress, problem: OSError) -> tuple[Failure, str]:
    """Return what kind of failure it is that there is no connection, and say it."""
    why = " ".join(str(problem.strerror or problem).split())
    if address.line is not None:
        return Failure.UNREACHABLE, f"the serial line {address.host} cannot be opened: {why}"
    if isinstance(problem, ConnectionRefusedError):
        return Failure.REFUSED, f"no connection to {address.public}: nothing listens there"
    if isinstance(problem, TimeoutError):
        return Failure.TIMEOUT, f"no connection to {address.public}: {why}"
    return Failure.UNREACHABLE, f"{address.public} cannot be reached: {why}"
