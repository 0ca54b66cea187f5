"""The private files of an embedded data directory: its passwords and keys, its locks.

What lives here: what the embedded PostgreSQL and the embedded broker share. What does not: either.
"""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

SECRETS = ("superuser", "owner", "ingest", "api", "mqtt", "session")
"""The generated passwords: four of PostgreSQL's logins, the broker's, the web sessions' key."""

_OWNER_SECONDS = 1.0


class EmbeddedFailed(Exception):
    """Raised when something embedded cannot start; the message is one line for a person."""


def load_secrets(data_dir: Path) -> Mapping[str, str]:
    """Return the passwords and keys of a data directory, making them on first use.

    Names: each of `SECRETS`, and `encryption_key`, a Fernet key.
    """
    path = data_dir / "secrets.json"
    if not path.exists():
        made = {name: secrets.token_urlsafe(24) for name in SECRETS}
        made["encryption_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        with tempfile.NamedTemporaryFile("w", dir=data_dir, prefix=".secrets-") as draft:
            json.dump(made, draft, indent=1)
            draft.flush()
            os.fsync(draft.fileno())
            # A link, not a rename: of two who make them at once, the first wins for both.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft.name)
    try:
        found: dict[str, str] = json.loads(path.read_text())
    except ValueError as error:
        raise EmbeddedFailed(f"{path} is damaged ({error}); it holds the passwords") from None
    if missing := {*SECRETS, "encryption_key"} - found.keys():
        raise EmbeddedFailed(f"{path} is damaged (no {', '.join(sorted(missing))})")
    return found


def open_private(path: Path, flags: int) -> int:
    """Open a file that nobody else may read, making it if need be; return its descriptor."""
    return os.open(path, flags | os.O_CREAT, 0o600)


def try_lock(fd: int) -> bool:
    """Lock an open file, or return False if a process that opened it for itself holds the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def own_directory(data_dir: Path) -> IO[str]:
    """Lock a data directory until the returned file is closed or the process ends."""
    lock = os.fdopen(open_private(data_dir / "owner.lock", os.O_RDWR), "r+")
    if not try_lock(lock.fileno()):
        owner = _owner_of(lock)
        lock.close()
        raise EmbeddedFailed(f"{data_dir} is in use by another ridethrough (process {owner})")
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _owner_of(lock: IO[str]) -> str:
    """Return the process that holds the lock, which writes its number right after taking it."""
    until = time.monotonic() + _OWNER_SECONDS
    while not (owner := lock.read().strip()) and time.monotonic() < until:
        time.sleep(0.02)
        lock.seek(0)
    return owner or "unknown"
