"""How often one may guess a password, counted in this process."""

from collections import OrderedDict, deque
from datetime import datetime, timedelta
from threading import Lock

from service_api.errors import TooMany
from service_api.language import msg


class Limiter:
    """Counts wrong passwords for a name and for an address, in this process.

    A right password forgets the count of its name. What is remembered is bounded.
    """

    ALLOWED = 8
    WINDOW = timedelta(minutes=5)
    REMEMBERED = 10_000

    def __init__(self) -> None:
        self._failed: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._lock = Lock()

    def check(self, *keys: str, now: datetime) -> None:
        """Raise `TooMany` while one of the keys has failed too often."""
        with self._lock:
            for key in keys:
                failed = self._failed.get(key)
                while failed and failed[0] <= now - self.WINDOW:
                    failed.popleft()
                if failed and len(failed) >= self.ALLOWED:
                    wait = failed[0] + self.WINDOW - now
                    raise TooMany(
                        msg("Too many wrong passwords. Wait a few minutes."),
                        retry_seconds=max(1, int(wait.total_seconds())),
                    )

    def failed(self, *keys: str, now: datetime) -> None:
        """Count one wrong password."""
        with self._lock:
            for key in keys:
                self._failed.setdefault(key, deque(maxlen=self.ALLOWED)).append(now)
                self._failed.move_to_end(key)
            while len(self._failed) > self.REMEMBERED:
                self._failed.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the count of a name."""
        with self._lock:
            self._failed.pop(key, None)
