"""Hold leases: renew them in time, hand over what is too much, stop when the database is gone.

Two threads: one asks the database, which may take for ever; the other watches the time that is
left, so that nothing is used beyond it whatever the first waits for. What the shards are for is
the caller's, told by `on_change`.
"""

import logging
import threading
import time
from collections.abc import Callable

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from collector.lease_store import Work, leave, renew
from collector.leases import RENEW_SECONDS, UNSETTLED_SECONDS, TimeLeft, shards_of

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
_ELIGIBLE_AGAIN_SECONDS = 0.2
_LEAVE_SECONDS = 10.0


class LeaseHolder:
    """Takes part in a work from `start` to `stop`.

    `collector_id` names this process's life at the moment. `on_change` is called with the blocks
    that may be used from now on, from a thread of this object, one call at a time; when it returns,
    what is not among them is used no more. While `may_hold` is false, others get what was held.
    """

    def __init__(
        self,
        connections: ConnectionPool,
        work: Work,
        *,
        collector_id: Callable[[], int],
        on_change: Callable[[frozenset[int]], None],
        may_hold: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._work = work
        self._collector_id = collector_id
        self._on_change = on_change
        self._may_hold = may_hold
        self._clock = clock
        self._left = TimeLeft()
        self._blocks: frozenset[int] = frozenset()
        self._given_up: tuple[int, ...] = ()
        self._member: int | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._renewed = threading.Event()
        self._is_failing = False
        self._threads: list[threading.Thread] = []

    @property
    def blocks(self) -> frozenset[int]:
        """The blocks that may be used at this moment."""
        return frozenset() if self._left.is_over(self._clock()) else self._blocks

    @property
    def shards(self) -> frozenset[int]:
        """The shards that may be used at this moment."""
        size = self._work.block
        return frozenset(shard for block in self.blocks for shard in shards_of(block, size=size))

    def start(self) -> None:
        """Take part; what falls to us at once is held on return, if the database answers."""
        self._stopping.clear()
        wait = self._ask()
        self._threads = [
            threading.Thread(target=self._renew, args=(wait,), name="leases", daemon=True),
            threading.Thread(target=self._watch, name="leases-watch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Use nothing any more and let others have it at once."""
        self._stopping.set()
        self._renewed.set()
        for thread in self._threads:
            thread.join(_LEAVE_SECONDS)
        self._use(frozenset())
        try:
            self._leave()
        except psycopg.Error as error:
            log.warning("%s: the leases were not given back: %s", self._work.name, error)

    def _renew(self, wait: float) -> None:
        while not self._stopping.wait(wait):
            wait = self._ask()
            self._renewed.set()

    def _watch(self) -> None:
        """Let go of everything when its time is over, whatever the database does."""
        while not self._stopping.is_set():
            left = self._left.seconds(self._clock())
            if left <= 0.0 and self._blocks:
                log.warning("%s: the leases could not be renewed in time", self._work.name)
                self._use(frozenset())
            self._renewed.wait(left if left > 0.0 else None)
            self._renewed.clear()

    def _ask(self) -> float:
        """Renew once; return in how many seconds to do it again."""
        try:
            if not self._may_hold():
                self._use(frozenset())
                self._leave()
                return _ELIGIBLE_AGAIN_SECONDS
            asked_at, collector_id = self._clock(), self._collector_id()
            if self._member not in (None, collector_id):
                self._leave()  # a life that is over holds nothing
            with self._connections.connection(CONNECT_SECONDS) as connection:
                decision = renew(
                    connection, self._work, collector_id=collector_id, given_up=self._given_up
                )
        except (psycopg.Error, PoolTimeout) as error:
            if not self._is_failing:
                log.warning("%s: the leases cannot be renewed: %s", self._work.name, error)
            self._is_failing = True
            return UNSETTLED_SECONDS
        self._is_failing = False
        self._member = collector_id
        self._left.renewed(asked_at=asked_at)
        # Given back at the next renewal: until then work that is under way may end.
        self._given_up = decision.give_up
        granted = frozenset(decision.keep + decision.take)
        self._use(frozenset() if self._left.is_over(self._clock()) else granted)
        return RENEW_SECONDS if decision.is_settled else UNSETTLED_SECONDS

    def _use(self, blocks: frozenset[int]) -> None:
        with self._lock:
            if blocks == self._blocks:
                return
            log.info("%s: %d of %d parts are ours", self._work.name, len(blocks), self._work.blocks)
            before, self._blocks = self._blocks, blocks
            try:
                self._on_change(blocks)
            except Exception:  # the loop's edge: tried again with the next renewal
                log.exception("%s: what is ours could not be taken up", self._work.name)
                self._blocks = before & blocks

    def _leave(self) -> None:
        if self._member is None:
            return
        with self._connections.connection(CONNECT_SECONDS) as connection:
            leave(connection, self._work, collector_id=self._member)
        self._member, self._given_up = None, ()
