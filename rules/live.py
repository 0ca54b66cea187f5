"""The rules in force: shipped and own ones, overridden for some units, less what is switched off.

They are looked for every few seconds, read again when a version changed and compiled again when
anything changed that judging goes by.
"""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from psycopg_pool import ConnectionPool

from rules.catalogue import Rule
from rules.engine import Engine
from rules.in_force import InForce
from rules.switched_off import Connection, switched_off
from rules.version_store import known_rules, newest_id, note_unusable, units_in
from rules.versions import Known, forms_of
from rules.window_store import WindowMemory

LOOK_EVERY = timedelta(seconds=5)


class LiveRules:
    """Hands out the engine of the rules in force; looks for changes every 5 s."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._known = Known(dict(rules))
        self._version = 0
        self._off: frozenset[str] = frozenset()
        self._units: dict[int, list[int]] = {}
        self._engine: Engine | None = None
        self._looked_at: datetime | None = None
        self._shipped = dict(rules)
        self._lock = threading.Lock()
        self.memory = WindowMemory()
        """The pasts that rules in force look back on."""

    def engine(self, connections: ConnectionPool, now: datetime) -> Engine:
        """Return the engine in force at `now`."""
        with self._lock:
            due = self._looked_at is None or not (
                self._looked_at <= now < self._looked_at + LOOK_EVERY
            )
            engine = self._engine
            if engine is None or due:
                with connections.connection() as connection:
                    changed = self._look(connection, now)
                if engine is None or changed:
                    engine = self._engine = self._compiled()
                self._looked_at = now
            return engine

    def forget(self) -> None:
        """Look again the next time, whatever the clock says."""
        with self._lock:
            self._looked_at = None

    def _look(self, connection: Connection, now: datetime) -> bool:
        """Take in what changed: versions, what is off, which units overrides are for."""
        before = self._version, self._off, self._units
        version = newest_id(connection)
        if version != self._version:
            self._known = known_rules(connection, self._shipped)
            note_unusable(connection, self._known.unusable, now=now)
        scopes = [one.scope for one, _ in self._known.overrides]
        self._units = units_in(connection, scopes) if scopes else {}
        self._off = frozenset(switched_off(connection))
        self._version = version
        return (version, self._off, self._units) != before

    def _compiled(self) -> Engine:
        forms, places = forms_of(self._known.overrides, self._units)
        return Engine(InForce(self._known.rules, forms, places).without(self._off))
