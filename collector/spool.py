"""The spool: messages on disk, in order, until the broker has taken them.

One SQLite file with a write-ahead log, in a folder of its own. What `put` returned for is on disk:
it survives SIGKILL and a power cut (`synchronous=FULL`: one fsync a batch, a fifth of a second of
readings at most is still in memory). A page torn by a power cut is mended from the log; a file that
cannot be mended is put aside, never read half. The size is bounded: the oldest messages make room
for the newest, and are counted.
"""

import logging
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

FILE = "spool.sqlite3"
_OVERHEAD_BYTES = 64  # of a row, its number and its place in a page
_SPARE = 50  # when full, a fiftieth is freed at once
_LOG_BYTES = 16 * 1024 * 1024

_TABLES = """
CREATE TABLE IF NOT EXISTS message (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, text TEXT NOT NULL);
"""


class SpoolBusy(Exception):
    """Another process uses the folder; the message says which folder."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A message that waits; numbers grow."""

    number: int
    topic: str
    payload: bytes


class Spool:
    """Keeps messages in `folder`, of `limit_bytes` together at most; safe from any thread.

    Raises SpoolBusy when another process has the folder, OSError when it cannot be used.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self.dropped = 0
        """How many messages made room for newer ones since this was opened."""
        self._path = folder / FILE
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._count: int
        self._bytes: int
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open()

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._bytes

    def put(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Append (topic, payload) pairs; on disk when this returns. Raises sqlite3.Error."""
        with self._lock:
            added = sum(_size(topic, payload) for topic, payload in messages)
            try:
                dropped, freed = self._insert(messages, added)
            except sqlite3.OperationalError:
                self._rollback()
                raise
            except sqlite3.DatabaseError as broken:
                self._set_aside(broken)
                dropped, freed = self._insert(messages, added)
            self._count += len(messages) - dropped
            self._bytes += added - freed
            self.dropped += dropped

    def _insert(self, messages: Sequence[tuple[str, bytes]], added: int) -> tuple[int, int]:
        """Write in one transaction, room included; return how many were dropped, and their size."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO message (topic, payload) VALUES (?, ?)", messages)
        dropped = freed = 0
        over = self._bytes + added - self._limit
        if over > 0:
            wanted, last = over + self._limit // _SPARE, 0
            for number, size in connection.execute(
                "SELECT number, length(CAST(topic AS BLOB)) + length(payload) + ? FROM message"
                " ORDER BY number",
                (_OVERHEAD_BYTES,),
            ):
                if freed >= wanted:
                    break
                dropped, freed, last = dropped + 1, freed + size, number
            connection.execute("DELETE FROM message WHERE number <= ?", (last,))
        connection.execute("COMMIT")
        return dropped, freed

    def after(self, number: int, *, most: int) -> list[Spooled]:
        """Return the oldest messages after `number`."""
        with self._lock:
            try:
                rows = self._connection.execute(
                    "SELECT number, topic, payload FROM message WHERE number > ?"
                    " ORDER BY number LIMIT ?",
                    (number, most),
                ).fetchall()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as broken:
                self._set_aside(broken)
                return []
        return [Spooled(*row) for row in rows]

    def forget(self, number: int) -> None:
        """Delete everything up to `number`: it has arrived."""
        with self._lock:
            count, size = self._connection.execute(
                "SELECT count(*), coalesce(sum(length(CAST(topic AS BLOB)) + length(payload) + ?),"
                " 0) FROM message WHERE number <= ?",
                (_OVERHEAD_BYTES, number),
            ).fetchone()
            self._connection.execute("DELETE FROM message WHERE number <= ?", (number,))
            self._count -= count
            self._bytes -= size

    def note(self, name: str, text: str) -> None:
        """Remember a short text over restarts."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO note VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET text = excluded.text",
                (name, text),
            )

    def noted(self, name: str) -> str | None:
        """Return what was remembered."""
        with self._lock:
            row = self._connection.execute(
                "SELECT text FROM note WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Close the file; what waits stays."""
        with self._lock:
            self._connection.close()

    def _open(self) -> None:
        try:
            self._connection = self._connected()
        except sqlite3.OperationalError as refused:
            if "locked" in str(refused):
                raise SpoolBusy(f"another process keeps its spool in {self._path.parent}") from None
            raise OSError(f"{self._path} cannot be opened: {refused}") from refused
        except sqlite3.DatabaseError as broken:
            self._set_aside(broken)
        self._count, self._bytes = self._connection.execute(
            "SELECT count(*), coalesce(sum(length(CAST(topic AS BLOB)) + length(payload) + ?), 0)"
            " FROM message",
            (_OVERHEAD_BYTES,),
        ).fetchone()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=2.0, isolation_level=None, check_same_thread=False
        )
        try:
            # Exclusive: the lock lasts as long as the connection, whatever ends it.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)  # noqa: TRY301 - as SQLite itself would
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        self._path.chmod(0o600)
        return connection

    def _set_aside(self, why: sqlite3.DatabaseError) -> None:
        """Begin a new file beside one that cannot be read any more."""
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        number = 1
        while (aside := self._path.with_name(f"{FILE}.broken-{number}")).exists():
            number += 1
        log.error("the spool is broken (%s): put aside as %s, a new one begins", why, aside)
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(FILE + suffix).unlink(missing_ok=True)
        self._connection = self._connected()
        self._count = self._bytes = 0

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _size(topic: str, payload: bytes) -> int:
    return len(topic.encode()) + len(payload) + _OVERHEAD_BYTES
