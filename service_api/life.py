"""A collector's life: its row with a heartbeat, within which silence of its devices counts."""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Self

import psycopg
from psycopg_pool import ConnectionPool

from collector.store import BEAT_SECONDS, beat_collector, begin_collector, end_collector
from service_api.supervisor import Clock, every

log = logging.getLogger(__name__)

_END_SECONDS = 5.0


class Life:
    """Lives from entering to leaving; beats as long as `counts` says that it does its work.

    `number` is the row's: another one once the database was out of reach for longer than a dead
    collector's beats, since nobody can say what that time was like.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        group: str,
        now: Clock,
        *,
        counts: Callable[[], bool] = lambda: True,
        share: int = 0,
    ) -> None:
        self._pool = pool
        self._group = group
        self._now = now
        self._counts = counts
        self._key = f"{socket.gethostname()}:{os.getpid()}:{share}"
        self._number = 0
        self._done = threading.Event()
        self._beating = threading.Thread(
            target=every(BEAT_SECONDS, self._beat),
            args=(self._done,),
            name=f"heartbeat-{group}",
            daemon=True,
        )

    @property
    def number(self) -> int:
        """The id of this life's row at the moment."""
        return self._number

    def __enter__(self) -> Self:
        with self._pool.connection() as connection:
            self._number = begin_collector(
                connection, key=self._key, collector_group=self._group, now=self._now()
            )
        self._beating.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._beating.join(_END_SECONDS)
        with (
            contextlib.suppress(psycopg.OperationalError),  # then its beats tell that it ended
            self._pool.connection(_END_SECONDS) as connection,
        ):
            end_collector(connection, self._number, now=self._now())

    def _beat(self) -> None:
        if not self._counts():
            return
        with self._pool.connection() as connection:
            if not beat_collector(connection, self._number, now=self._now()):
                self._number = begin_collector(
                    connection, key=self._key, collector_group=self._group, now=self._now()
                )
