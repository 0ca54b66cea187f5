"""Host names: looked up once in a while rather than at each poll.

A look-up takes a thread, of which there are few, and a name server has other things to do. An
address found is believed for some minutes; while the name server is away, what it said last holds.
"""

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

from collector.raw import Failure, ReadFailed

BELIEVED_SECONDS = 300.0
"""How long an address is used before its name is looked up again."""
UNKNOWN_SECONDS = 30.0
"""How long an unknown name stays unknown."""

_MOST_NAMES = 20_000


@dataclass(slots=True)
class _Found:
    """What a name server said: an address, or None with the reason; asked again at `until`."""

    host: str | None
    until: float
    problem: str = ""


class Resolver:
    """Addresses by name, in the time of the event loop that asks."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, _Found] = OrderedDict()

    def known(self, host: str) -> str | None:
        """Return the address of a host if nobody has to be asked for it now."""
        if is_numeric(host):
            return host
        found = self._found.get(host)
        if found is None or found.until <= asyncio.get_running_loop().time():
            return None
        return found.host

    async def address_of(self, host: str) -> str:
        """Return a numeric address; raise ReadFailed for a name that has none."""
        if is_numeric(host):
            return host
        loop = asyncio.get_running_loop()
        found = self._found.get(host)
        if found is None or found.until <= loop.time():
            found = await self._asked(host, found)
        if found.host is None:
            raise ReadFailed(
                Failure.UNREACHABLE, f"the host name {host!r} is unknown: {found.problem}"
            )
        return found.host

    async def _asked(self, host: str, last: _Found | None) -> _Found:
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
            found = _Found(str(infos[0][4][0]), loop.time() + BELIEVED_SECONDS)
        except (OSError, UnicodeError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            # A name that had an address keeps it while the name server does not know better.
            held = last.host if last is not None else None
            found = _Found(held, loop.time() + UNKNOWN_SECONDS, reason)
        self._found[host] = found
        self._found.move_to_end(host)
        while len(self._found) > _MOST_NAMES:
            self._found.popitem(last=False)
        return found


@lru_cache(maxsize=65_536)
def is_numeric(host: str) -> bool:
    """Tell whether a host is an address already."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


RESOLVER = Resolver()
"""The readers' own; what it knows is lost without harm."""
