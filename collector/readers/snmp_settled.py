"""The quick way to ask a card that is settled: one that answered everything the last time.

It is asked the same again, without the precautions of `collector.readers.snmp`, which cost more
than the question itself. Whatever is not as it was is left to that reader. Not for version 3,
whose session begins with a question of its own.
"""

import asyncio
from functools import lru_cache
from typing import NamedTuple

from gufo.snmp import SnmpError, SnmpVersion
from gufo.snmp.aio import SnmpSession

from collector.address import SnmpAddress
from collector.raw import RawValue, Ref, Walk

_VERSIONS = {"1": SnmpVersion.v1, "2c": SnmpVersion.v2c}


class _Question(NamedTuple):
    """What is asked: requests of some objects each, the tables, the counters added for these."""

    requests: tuple[tuple[str, ...], ...]
    walks: tuple[Walk, ...]
    counters: frozenset[str]


async def ask_settled(
    address: SnmpAddress, refs: tuple[Ref, ...], *, size: int, deadline: float, patience: float
) -> dict[Ref, RawValue] | None:
    """Ask a numeric host for references; return all their values, None unless all came.

    `size` bounds the objects of a request, `patience` its seconds. A table is not read: it is empty
    as its counter says, or the answer is None.
    """
    question = _question(refs, size)
    values: dict[Ref, RawValue] = {}
    try:
        # For one request too: its own patience begins anew with each answer to something else.
        async with asyncio.timeout(deadline):
            session = SnmpSession(
                address.host,
                port=address.port,
                community=address.credentials.user,
                version=_VERSIONS[address.version],
                timeout=patience,
                allow_bulk=False,
            )
            for oids in question.requests:
                got = await session.get_many(oids)
                if not all(map(got.__contains__, oids)):
                    return None
                values.update(got)
    except (TimeoutError, SnmpError, OSError):
        return None
    except BaseException as panic:
        if not is_panic(panic):
            raise
        return None
    for walk in question.walks:
        if walk.counter is None or values[walk.counter] != 0:
            return None
        values[walk] = ()
    for counter in question.counters:
        del values[counter]
    return values


def is_panic(error: BaseException) -> bool:
    """Tell whether the decoder, written in Rust, gave up on a malformed datagram.

    It panics, which is no Exception and has no name that could be imported, or says so by a plain
    RuntimeError instead of an SnmpError.
    """
    name = type(error).__name__
    return name == "PanicException" or (name == "RuntimeError" and "PySnmp" in str(error))


@lru_cache(maxsize=4096)
def _question(refs: tuple[Ref, ...], size: int) -> _Question:
    """Put the requests together; the devices of a family share them, poll after poll."""
    plain = [ref for ref in refs if isinstance(ref, str)]
    walks = tuple(ref for ref in refs if isinstance(ref, Walk))
    counters = {walk.counter for walk in walks if walk.counter is not None} - {*plain}
    oids = [*plain, *sorted(counters)]
    requests = tuple(tuple(oids[at : at + size]) for at in range(0, len(oids), size))
    return _Question(requests, walks, frozenset(counters))
