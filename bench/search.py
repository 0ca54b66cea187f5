"""How long it takes to search a whole /16 with three logins and one repetition, and what is missed.

Of its 65,534 addresses a thousand have an agent, which takes any community.
"""

import asyncio
import time

from bench import card
from bench.figures import Figure, at_least, at_most
from bench.responder import responding
from bench.stage import Stage
from collector.address import parse_address
from collector.discover import Kind, discover, networks

NETWORK = "127.16.0.0/16"
UNITS = 1_000
RATE = 3_000.0
_LOGINS = ("public", "private", "monitor")
_LIMIT_SECONDS = 600.0


def measure(_: Stage) -> list[Figure]:
    """Return how long a search took, its CPU, and how many of the units were found."""
    with responding(card.held(), UNITS) as agent:
        logins = [parse_address(f"snmp://{name}@127.0.0.1:{agent.port}") for name in _LOGINS]
        began, used = time.monotonic(), time.process_time()
        found = asyncio.run(discover(networks([NETWORK]), logins, rate=RATE))
        seconds, cpu = time.monotonic() - began, time.process_time() - used
        units = sum(one.kind is Kind.UPS for one in found)
    return [
        at_most("discovery of a /16, 3 logins, 1 repetition", seconds, "s", _LIMIT_SECONDS),
        Figure("  CPU of it", cpu, "CPU-s"),
        at_least("  units found of 1,000", units, "units", UNITS),
    ]
