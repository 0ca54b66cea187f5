"""Reading SNMP agents, versions 1, 2c and 3: values by object identifier.

One call is one poll of one card: a socket, requests of a size the card takes, an overall deadline.
What the card lacks is remembered in its `CardMemory` and asked again after a day. What values mean
is `collector.convert`; receiving traps is elsewhere.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

from gufo.snmp import SnmpAuthError, SnmpError

from collector.address import SnmpAddress
from collector.patience import MODEST_OBJECTS
from collector.raw import CardMemory, Failure, Habits, RawReply, ReadFailed, Ref, Scalar
from collector.readers.resolve import RESOLVER
from collector.readers.snmp_poll import OBJECT_ID, Poll, refused
from collector.readers.snmp_session import (
    Garbled,
    ReportHeard,
    Session,
    is_panic,
)
from collector.readers.snmp_settled import ask_settled

__all__ = ["OBJECT_ID", "answers_discovery", "find_cells", "read", "table"]

_PATIENCE = 0.4  # a request may take this share of the deadline, so that one loss leaves time
_LONGEST_PATIENCE_SECONDS = 5.0


async def read(
    address: SnmpAddress,
    refs: Iterable[Ref],
    *,
    deadline: float,
    memory: CardMemory,
    habits: Habits | None = None,
) -> RawReply:
    """Read object identifiers and tables from one agent within `deadline` seconds.

    Returns what came before the deadline; raises ReadFailed when nothing came at all.
    """
    began_at = asyncio.get_running_loop().time()
    refs, habits = tuple(refs), habits or Habits()
    if memory.settled == refs and not habits.gap_seconds:
        size = memory.request_size or min(habits.varbinds, MODEST_OBJECTS)
        values = await ask_settled(
            address, refs, size=size, deadline=deadline, patience=_patience(deadline)
        )
        if values is not None:
            return RawReply(values)
        memory.settled = None
    memory.forget(began_at)
    wanted = [ref for ref in refs if ref not in memory.absent]
    poll = Poll(address, memory, habits, began_at, _patience(deadline))
    await _run(poll, lambda: poll.run(wanted), deadline=deadline)
    reply = poll.reply(wanted)
    if not poll.has_stumbled and len(reply.values) == len(refs):
        memory.settled = refs
    return reply


def _patience(deadline: float) -> float:
    return min(deadline * _PATIENCE, _LONGEST_PATIENCE_SECONDS)


async def _run(
    poll: Poll, work: Callable[[], Coroutine[None, None, None]], *, deadline: float
) -> None:
    """Run a poll, with care, until its deadline; what went wrong is noted in it."""
    try:
        async with asyncio.timeout_at(poll.began_at + deadline):
            await poll.open(await RESOLVER.address_of(poll.address.host))
            await work()
    except BaseException as error:  # a panic of the library is no Exception
        poll.is_late = isinstance(error, TimeoutError) and bool(poll.values)
        failure = _failure(poll, error, deadline)
        if failure is None:
            raise
        poll.trouble(failure.kind, failure.detail)


def _failure(poll: Poll, error: BaseException, deadline: float) -> ReadFailed | None:
    """Return what ended a poll as a failure to count and to tell, None for what is none."""
    at = poll.address.public
    match error:
        case ReadFailed():
            return error
        case TimeoutError():
            # Told its engine id, so it is there; it only says nothing to this user.
            is_refusal = poll.is_discovered and not poll.values
            kind = Failure.AUTH if is_refusal else Failure.TIMEOUT
            return ReadFailed(kind, _late(poll, deadline))
        case ConnectionRefusedError():
            return ReadFailed(Failure.REFUSED, f"{at} refuses: nothing listens there")
        case ReportHeard() | SnmpAuthError():
            return refused(poll.address, getattr(error, "report", None))
        case SnmpError() | Garbled():
            return ReadFailed(Failure.MALFORMED, f"{at} answers no proper SNMP ({error})")
        case OSError():
            return ReadFailed(Failure.UNREACHABLE, f"{at} cannot be reached: {error}")
    if is_panic(error):
        return ReadFailed(Failure.MALFORMED, f"{at} answers no proper SNMP (malformed)")
    return None


def _late(poll: Poll, deadline: float) -> str:
    at = poll.address.public
    if poll.values:
        return f"{at} was too slow: not everything read within {deadline:g} s"
    if poll.is_discovered:
        return f"{at} tells its engine id and then nothing: wrong user or privacy passphrase?"
    if poll.address.version == "3":
        return f"no answer from {at} within {deadline:g} s: unreachable, or version 3 switched off"
    return f"no answer from {at} within {deadline:g} s: unreachable, or wrong community"


async def answers_discovery(address: SnmpAddress, *, seconds: float) -> bool:
    """Tell whether a host that says nothing to a community answers version 3's first question.

    A card drops a wrong community without a word; that it lives, its engine id shows, which
    every agent of version 3 tells anybody (RFC 3414 section 4).
    """
    try:
        async with asyncio.timeout(seconds):
            host = await RESOLVER.address_of(address.host)
            bare = SnmpAddress(address.host, address.port, "3")
            return bool(await Session(bare, host).discover(seconds))
    except (TimeoutError, SnmpError, OSError, ReadFailed, Garbled, ReportHeard):
        return False


async def find_cells(
    address: SnmpAddress,
    columns: Mapping[str, Sequence[str]],
    *,
    deadline: float,
    memory: CardMemory,
    habits: Habits | None = None,
) -> int:
    """Look for a table's cells at odd instances and remember them as aliases; return how many.

    One question tells whether the card has the table at all. Only columns none of whose cells
    answered are walked. Some Eaton and MGE cards put `.0` or `.1.0` behind the index of the phase,
    so the first arc that is not 0 tells the phase.
    """
    began_at = asyncio.get_running_loop().time()
    poll = Poll(address, memory, habits or Habits(), began_at, _patience(deadline))
    found = 0

    async def look() -> None:
        nonlocal found
        if not await poll.has_any(next(iter(columns)).rpartition(".")[0]):
            return
        for column, cells in columns.items():
            if memory.absent.keys() >= set(cells):
                found += poll.place(cells, column, await poll.rows(column) or [])

    # What was found until something went wrong is found.
    await _run(poll, look, deadline=deadline)
    poll.close()
    return found


async def table(
    address: SnmpAddress, column: str, *, deadline: float, memory: CardMemory
) -> list[tuple[str, Scalar]]:
    """Return the rows of a column, a bounded number, each with its OID; empty when none answers."""
    began_at = asyncio.get_running_loop().time()
    poll = Poll(address, memory, Habits(bulk=False), began_at, _patience(deadline))
    rows: list[tuple[str, Scalar]] = []

    async def look() -> None:
        rows.extend(await poll.rows(column) or [])

    # A card that keeps no such table, or keeps it to itself, has no rows.
    await _run(poll, look, deadline=deadline)
    poll.close()
    return rows
