"""Reading Modbus TCP units: runs of registers by address.

One call is one poll of one unit: a connection, strictly serial requests with the gap the family
needs, an overall deadline. Runs known to be readable whole are read whole, the rest in contiguous
groups; what the unit refuses is remembered. What words mean is `collector.convert`.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from collector.address import ModbusAddress
from collector.raw import (
    CardMemory,
    Failure,
    Habits,
    RawReply,
    RawValue,
    ReadFailed,
    Ref,
    Registers,
)

_ASK_AGAIN_SECONDS = 86_400.0
_LONGEST_PATIENCE_SECONDS = 2.0
"""Cards answer up to some seconds late; a reply later than this is dropped by its number."""
_NOT_THERE = (1, 2, 3)  # illegal function, address, value: a property of the unit
_GATEWAY = (10, 11)
_EXCEPTIONS = {
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


class _Refused(Exception):
    """The unit answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(_EXCEPTIONS.get(code, f"exception {code}"))
        self.code = code


async def read(
    address: ModbusAddress,
    refs: Iterable[Ref],
    *,
    deadline: float,
    memory: CardMemory,
    habits: Habits | None = None,
) -> RawReply:
    """Read registers from one unit within `deadline` seconds.

    Returns what came before the deadline; raises ReadFailed when nothing came at all.
    """
    loop = asyncio.get_running_loop()
    memory.forget(loop.time())
    wanted = [ref for ref in refs if isinstance(ref, Registers) and ref not in memory.absent]
    poll = _Poll(address, memory, habits or Habits(), loop.time())
    client = AsyncModbusTcpClient(
        address.host,
        port=address.port,
        name="reader",
        timeout=min(deadline, _LONGEST_PATIENCE_SECONDS),
        retries=0,
        reconnect_delay=0,
    )
    try:
        async with asyncio.timeout(deadline):
            if await client.connect():
                await poll.run(client, wanted)
            else:
                quick = loop.time() - poll.began_at < min(deadline, _LONGEST_PATIENCE_SECONDS)
                kind = Failure.REFUSED if quick else Failure.TIMEOUT
                poll.trouble(kind, f"no connection to {address.public}: nothing listens there")
    except TimeoutError:
        poll.trouble(Failure.TIMEOUT, _late(address, deadline, answered=bool(poll.values)))
    except OSError as problem:
        poll.trouble(Failure.UNREACHABLE, f"{address.public} cannot be reached: {problem}")
    finally:
        client.close()
    return poll.reply(wanted)


def _late(address: ModbusAddress, deadline: float, *, answered: bool) -> str:
    if answered:
        return f"{address.public} was too slow: not everything read within {deadline:g} s"
    return f"no answer from {address.public} within {deadline:g} s (unit number, or firewall?)"


def group(refs: Iterable[Registers], limit: int) -> Iterator[Registers]:
    """Yield the fewest runs without holes, each at most `limit` words, that cover the registers."""
    run: Registers | None = None
    for ref in sorted(set(refs)):
        end = ref.address + ref.length
        if run is not None:
            joined = max(end, run.address + run.length) - run.address
            touches = ref.address <= run.address + run.length
            if ref.function == run.function and touches and joined <= limit:
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
    memory: CardMemory
    habits: Habits
    began_at: float
    values: dict[Ref, RawValue] = field(default_factory=dict)
    absent: set[Ref] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    failure: ReadFailed | None = None
    asked: int = 0

    async def run(self, client: AsyncModbusTcpClient, wanted: Sequence[Registers]) -> None:
        """Read the known blocks that hold anything wanted, then groups of what is left."""
        queue, left = self._blocks(wanted)
        queue += group(left, self.habits.block_limit)
        while queue:
            run = queue.pop(0)
            inside = [ref for ref in wanted if _inside(ref, run)]
            try:
                words = await self._request(client, run)
            except _Refused as refused:
                queue[:0] = self._refused(run, inside, refused)
                continue
            except ConnectionException:
                self.trouble(Failure.UNREACHABLE, f"{self.address.public} closed the connection")
                return
            except ModbusException as problem:
                self.problems.append(f"registers {run.address}+{run.length}: {problem.string}")
                if not client.connected or not self.values:
                    late = f"no proper answer from {self.address.public} for {run.address}"
                    self.trouble(Failure.TIMEOUT, late)
                    return
                continue
            for ref in inside:
                start = ref.address - run.address
                self.values[ref] = tuple(words[start : start + ref.length])

    def _blocks(self, wanted: Sequence[Registers]) -> tuple[list[Registers], list[Registers]]:
        chosen: list[Registers] = []
        left = list(wanted)
        for address, length in self.habits.blocks:
            for function in sorted({ref.function for ref in left}):
                block = Registers(function, address, length)
                outside = [ref for ref in left if not _inside(ref, block)]
                if len(outside) < len(left) and block not in self.memory.absent:
                    chosen.append(block)
                    left = outside
        return chosen, left

    async def _request(self, client: AsyncModbusTcpClient, run: Registers) -> Sequence[int]:
        if self.asked and self.habits.gap_seconds:
            await asyncio.sleep(self.habits.gap_seconds)
        self.asked += 1
        ask = client.read_holding_registers if run.function == 3 else client.read_input_registers
        answer = await ask(run.address, count=run.length, device_id=self.address.unit)
        if answer.isError():
            raise _Refused(answer.exception_code)
        if len(answer.registers) != run.length:
            raise ModbusException(f"{len(answer.registers)} words instead of {run.length}")
        return answer.registers

    def _refused(
        self, run: Registers, inside: Sequence[Registers], refused: _Refused
    ) -> list[Registers]:
        """Return the smaller runs to try instead; note what is refused alone."""
        where = f"registers {run.address}+{run.length}: {refused}"
        if refused.code in _GATEWAY:
            self.trouble(Failure.TIMEOUT, f"unit {self.address.unit} behind the gateway: {refused}")
            return []
        if refused.code not in _NOT_THERE:
            self.problems.append(where)
            return []
        if run not in inside:
            self.absent.add(run)
        smaller = [part for part in group(inside, self.habits.block_limit) if part != run]
        if not smaller and len(inside) > 1:
            half = len(inside) // 2
            ordered = sorted(inside)
            smaller = [*group(ordered[:half], 125), *group(ordered[half:], 125)]
        if not smaller:
            self.absent.update(inside)
            self.problems.append(where)
        return [part for part in smaller if part != run]

    def trouble(self, kind: Failure, detail: str) -> None:
        """Keep the failure and name it among the problems."""
        self.failure = ReadFailed(kind, detail)
        self.problems.append(detail)

    def reply(self, wanted: Sequence[Registers]) -> RawReply:
        """Return what came and remember what was learned; raise when nothing came."""
        if self.failure is not None and not self.values:
            raise self.failure
        if not self.values and self.absent:
            raise ReadFailed(
                Failure.UNSUPPORTED, f"{self.address.public} has none of the registers asked for"
            )
        self.memory.seen.update(self.values)
        self.memory.learn_absent(self.absent, self.began_at + _ASK_AGAIN_SECONDS)
        asked = set(wanted)
        missing = frozenset(ref for ref in self.absent if ref in asked)
        return RawReply(self.values, missing, tuple(self.problems))
