"""The inbox: what any thread hands in, taken out in batches by one.

The taker is woken twice a batch, not once an arrival: each wake-up sets two threads fighting for
the interpreter, which cost a busy collector an eighth of its time.
"""

import threading
from collections import deque

from collector.arrival import Arrival


class Inbox:
    """Holds up to `capacity` arrivals in order; a batch is full at `batch`.

    What has piled up by the time it is taken makes a larger one, of `most`: each costs less then.
    """

    def __init__(
        self, *, capacity: int, batch: int, linger_seconds: float, most: int | None = None
    ) -> None:
        self._capacity = capacity
        self._batch = batch
        self._most = most or batch
        self._linger_seconds = linger_seconds
        self._waiting: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, arrival: Arrival) -> bool:
        """Put an arrival in; False, taking nothing, while there is no room."""
        with self._changed:
            waiting = len(self._waiting)
            if waiting >= self._capacity:
                return False
            self._waiting.append(arrival)
            if waiting == 0 or waiting + 1 == self._batch:
                self._changed.notify()
        return True

    def take(self, *, wait_seconds: float) -> list[Arrival]:
        """Take a batch out, waiting so long for its first arrival; with 0, what is there now.

        Once one is there, the others are given a moment to fill the batch.
        """
        with self._changed:
            if wait_seconds and self._changed.wait_for(self._has_any, wait_seconds):
                self._changed.wait_for(self._has_batch, self._linger_seconds)
            count = min(self._most, len(self._waiting))
            return [self._waiting.popleft() for _ in range(count)]

    def close(self) -> None:
        """Let nobody wait any more; what is in it can still be taken, and more put in."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def _has_any(self) -> bool:
        return self._is_closing or len(self._waiting) > 0

    def _has_batch(self) -> bool:
        return self._is_closing or len(self._waiting) >= self._batch
