"""The short way to ask a card that is settled: one that answered everything the last time.

It is asked the same again, without the precautions of `collector.readers.snmp`, to which whatever
is not as it was is left: a restarted card, another engine, a value that is gone. Of version 3 only
through a session that was kept. A fleet of versions 1 and 2c has `collector.readers.snmp_quick`.
"""

import asyncio
from functools import lru_cache
from typing import NamedTuple

from gufo.snmp import SnmpAuthError, SnmpError

from collector.address import SnmpAddress
from collector.raw import RawValue, Ref, Walk
from collector.readers.resolve import RESOLVER
from collector.readers.snmp_session import KEPT, Garbled, ReportHeard, Session, is_panic


class _Question(NamedTuple):
    """What is asked: requests of some objects each, the tables, the counters added for these."""

    requests: tuple[tuple[str, ...], ...]
    walks: tuple[Walk, ...]
    counters: frozenset[str]


async def ask_settled(
    address: SnmpAddress, refs: tuple[Ref, ...], *, size: int, deadline: float, patience: float
) -> dict[Ref, RawValue] | None:
    """Ask for references; return all their values, None unless all came.

    `size` bounds the objects of a request, `patience` its seconds. A table is not read: it is empty
    as its counter says, or the answer is None.
    """
    session = _session(address)
    if session is None:
        return None
    question = _question(refs, size)
    values: dict[Ref, RawValue] = {}
    try:
        async with asyncio.timeout(deadline):
            for oids in question.requests:
                values.update(await session.get_many(oids, patience))
    except (ReportHeard, SnmpAuthError):
        # A card that restarted tells its time in the report: the session goes on from there.
        _keep(address, session)
        return None
    except (TimeoutError, SnmpError, OSError, Garbled):
        return None  # what was kept may belong to another unit: begun anew
    except BaseException as panic:
        if not is_panic(panic):
            raise
        return None
    _keep(address, session)
    return values if _is_whole(question, values) else None


def _is_whole(question: _Question, values: dict[Ref, RawValue]) -> bool:
    """Tell whether everything came; empty tables are put in, what was asked for them taken out."""
    if not all(oid in values for oids in question.requests for oid in oids):
        return False
    for walk in question.walks:
        if walk.counter is None or values[walk.counter] != 0:
            return False
        values[walk] = ()
    for counter in question.counters:
        del values[counter]
    return True


def _session(address: SnmpAddress) -> Session | None:
    """Return a session that can be asked at once: nobody has to be asked for anything before."""
    host = RESOLVER.known(address.host)
    if host is None:
        return None
    if address.version == "3":
        return KEPT.take(address, host)
    try:
        return Session(address, host)
    except OSError:
        return None


def _keep(address: SnmpAddress, session: Session) -> None:
    if address.version == "3":
        KEPT.keep(address, session)


@lru_cache(maxsize=4096)
def _question(refs: tuple[Ref, ...], size: int) -> _Question:
    """Put the requests together; the devices of a family share them, poll after poll."""
    plain = [ref for ref in refs if isinstance(ref, str)]
    walks = tuple(ref for ref in refs if isinstance(ref, Walk))
    counters = {walk.counter for walk in walks if walk.counter is not None} - {*plain}
    oids = [*plain, *sorted(counters)]
    requests = tuple(tuple(oids[at : at + size]) for at in range(0, len(oids), size))
    return _Question(requests, walks, frozenset(counters))
