"""The quick way to ask a settled card of version 3: through its kept session, no question before.

Versions 1 and 2c have their own, quicker one. Whatever is not as it was is left to the careful
reader, `collector.readers.snmp`: a restarted card, another engine, a value that is gone.
"""

import asyncio
from functools import lru_cache
from typing import NamedTuple

from gufo.snmp import SnmpAuthError, SnmpError

from collector.address import SnmpAddress
from collector.raw import RawValue, Ref, Walk
from collector.readers.resolve import RESOLVER
from collector.readers.snmp_session import KEPT, Garbled, ReportHeard


class _Question(NamedTuple):
    """What is asked: requests of some objects each, the tables, the counters added for these."""

    requests: tuple[tuple[str, ...], ...]
    walks: tuple[Walk, ...]
    counters: frozenset[str]


async def ask_kept(
    address: SnmpAddress, refs: tuple[Ref, ...], *, size: int, deadline: float, patience: float
) -> dict[Ref, RawValue] | None:
    """Ask through a kept session; return all values of the references, None unless all came.

    `size` bounds the objects of a request, `patience` its seconds. A table is not read: it is empty
    as its counter says, or the answer is None.
    """
    host = RESOLVER.known(address.host)
    session = KEPT.take(address, host) if host is not None else None
    if session is None:
        return None
    question = _question(refs, size)
    values: dict[Ref, RawValue] = {}
    is_whole = True
    try:
        async with asyncio.timeout(deadline):
            for oids in question.requests:
                got = await session.get_many(oids, patience)
                is_whole = is_whole and all(map(got.__contains__, oids))
                values.update(got)
    except (ReportHeard, SnmpAuthError):
        # A card that restarted tells its time in the report: the session goes on from there.
        KEPT.keep(address, session)
        return None
    except (TimeoutError, SnmpError, OSError, Garbled):
        return None  # what was kept may belong to another unit: begun anew
    KEPT.keep(address, session)
    if not is_whole:
        return None
    for walk in question.walks:
        if walk.counter is None or values[walk.counter] != 0:
            return None
        values[walk] = ()
    for counter in question.counters:
        del values[counter]
    return values


@lru_cache(maxsize=4096)
def _question(refs: tuple[Ref, ...], size: int) -> _Question:
    """Put the requests together; the devices of a family share them, poll after poll."""
    plain = [ref for ref in refs if isinstance(ref, str)]
    walks = tuple(ref for ref in refs if isinstance(ref, Walk))
    counters = {walk.counter for walk in walks if walk.counter is not None} - {*plain}
    oids = [*plain, *sorted(counters)]
    requests = tuple(tuple(oids[at : at + size]) for at in range(0, len(oids), size))
    return _Question(requests, walks, frozenset(counters))
