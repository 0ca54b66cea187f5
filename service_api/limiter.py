"""How often one may guess a password, counted in this process."""

from collections import OrderedDict, deque
from datetime import datetime, timedelta
from threading import Lock

from service_api.errors import TooMany
from service_api.language import msg


class Limiter:
    """Counts wrong passwords for a name from an address, and for each of the two alone.

    The pair is strict; the two alone are wide, so that nobody locks a colleague out and one office
    behind one address can still log in. What is remembered is bounded.
    """

    ALLOWED = 8
    ALLOWED_ALONE = 50
    WINDOW = timedelta(minutes=5)
    REMEMBERED = 10_000

    def __init__(self) -> None:
        self._failed: OrderedDict[tuple[str, str], deque[datetime]] = OrderedDict()
        self._lock = Lock()

    def _limits(self, name: str, address: str) -> dict[tuple[str, str], int]:
        name = name.strip().lower()
        return {
            (name, address): self.ALLOWED,
            (name, ""): self.ALLOWED_ALONE,
            ("", address): self.ALLOWED_ALONE,
        }

    def check(self, name: str, address: str, *, now: datetime) -> None:
        """Raise `TooMany` while this name, address or pair has failed too often."""
        with self._lock:
            for key, allowed in self._limits(name, address).items():
                failed = self._failed.get(key)
                while failed and failed[0] <= now - self.WINDOW:
                    failed.popleft()
                if failed and len(failed) >= allowed:
                    wait = failed[0] + self.WINDOW - now
                    raise TooMany(
                        msg("Too many wrong passwords. Wait a few minutes."),
                        retry_seconds=max(1, int(wait.total_seconds())),
                    )

    def failed(self, name: str, address: str, *, now: datetime) -> None:
        """Count one wrong password."""
        with self._lock:
            for key, allowed in self._limits(name, address).items():
                self._failed.setdefault(key, deque(maxlen=allowed)).append(now)
                self._failed.move_to_end(key)
            while len(self._failed) > self.REMEMBERED:
                self._failed.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget what this name failed from this address."""
        with self._lock:
            self._failed.pop((name.strip().lower(), address), None)
