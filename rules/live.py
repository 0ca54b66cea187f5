"""The rules in force: the catalogue less what is switched off, compiled again when that changes."""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from psycopg_pool import ConnectionPool

from rules.catalogue import Rule
from rules.engine import Engine
from rules.switched_off import switched_off
from rules.window_store import WindowMemory

LOOK_EVERY = timedelta(seconds=5)


class LiveRules:
    """Hands out the engine of the rules in force; looks for switched-off rules every 5 s."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._all = dict(rules)
        self._engine: Engine | None = None
        self._off: set[str] = set()
        self._looked_at: datetime | None = None
        self._lock = threading.Lock()
        self.memory = WindowMemory()
        """The pasts that rules in force look back on."""

    def engine(self, connections: ConnectionPool, now: datetime) -> Engine:
        """Return the engine in force at `now`."""
        with self._lock:
            due = self._looked_at is None or not (
                self._looked_at <= now < self._looked_at + LOOK_EVERY
            )
            if self._engine is None or due:
                with connections.connection() as connection:
                    off = switched_off(connection)
                if self._engine is None or off != self._off:
                    self._engine = Engine(
                        {key: rule for key, rule in self._all.items() if key not in off}
                    )
                    self._off = off
                self._looked_at = now
            return self._engine

    def forget(self) -> None:
        """Look again the next time, whatever the clock says."""
        with self._lock:
            self._looked_at = None
