"""What a bare poll costs: gufo-snmp alone asks the card's 30 objects, in this process."""

import asyncio
import time
from collections.abc import Sequence

from gufo.snmp import SnmpVersion
from gufo.snmp.aio import SnmpSession

from bench import card

_AT_ONCE = 50
_SECONDS = 1.5


def measure(hosts: Sequence[str], port: int) -> float:
    """Return the CPU seconds of one poll, each of many sessions kept open and used again."""
    return asyncio.run(_polled(hosts[:_AT_ONCE], port, card.polled()))


async def _polled(hosts: Sequence[str], port: int, oids: Sequence[str]) -> float:
    sessions = [
        SnmpSession(host, port=port, community="public", version=SnmpVersion.v2c) for host in hosts
    ]
    for session in sessions:
        if len(await session.get_many(oids)) != len(oids):
            raise RuntimeError("the card does not answer everything")
    ends_at = time.monotonic() + _SECONDS
    began = time.process_time()
    counts = await asyncio.gather(*(_keep_polling(one, oids, ends_at) for one in sessions))
    return (time.process_time() - began) / sum(counts)


async def _keep_polling(session: SnmpSession, oids: Sequence[str], ends_at: float) -> int:
    count = 0
    while time.monotonic() < ends_at:
        await session.get_many(oids)
        count += 1
    return count
