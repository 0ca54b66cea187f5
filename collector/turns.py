"""One poll at a time at one endpoint, where several devices stand behind it. And a steady clock.

Most endpoints have one device, and those cost nothing but a look into a dictionary.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

FURTHEST_BACK = timedelta(minutes=5)
"""A clock set back by no more than this is waited for; ingest bears as much."""


class Turns:
    """Who stands behind which endpoint, and whose turn it is."""

    def __init__(self) -> None:
        self._members: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    def join(self, endpoint: str) -> None:
        """Note that one more device stands behind an endpoint."""
        self._members[endpoint] += 1

    def leave(self, endpoint: str) -> None:
        """Note that a device does not stand there any more."""
        self._members[endpoint] -= 1
        if self._members[endpoint] <= 0:
            del self._members[endpoint]
            self._locks.pop(endpoint, None)

    def is_shared(self, endpoint: str) -> bool:
        """Tell whether several devices stand behind an endpoint."""
        return self._members[endpoint] > 1

    @asynccontextmanager
    async def turn(self, endpoint: str) -> AsyncIterator[None]:
        """Wait until nobody else is being polled at a shared endpoint, and hold it meanwhile."""
        if not self.is_shared(endpoint):
            yield
            return
        async with self._locks.setdefault(endpoint, asyncio.Lock()):
            yield


class SteadyClock:
    """A clock that does not run backwards when that of the machine is set back a little.

    Readings behind those already stored would be kept without being judged. So it goes on by the
    monotonic clock until the other has caught up; set back by more, it was wrong before.
    """

    def __init__(
        self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._last = now()
        self._last_monotonic = monotonic()

    def __call__(self) -> datetime:
        """Return the time, never before what was returned last unless by more than the bound."""
        now, monotonic = self._now(), self._monotonic()
        if now < self._last:
            steady = self._last + timedelta(seconds=monotonic - self._last_monotonic)
            if steady - now <= FURTHEST_BACK:
                now = steady
        self._last, self._last_monotonic = now, monotonic
        return now
