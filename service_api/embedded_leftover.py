"""What a PostgreSQL that nobody owns any more says of itself, in its file postmaster.pid.

What lives here: reading that file and asking whether its server still answers. What does not:
stopping it (embedded.py).
"""

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Leftover:
    """The file's lines that matter here; None where the server had not come that far."""

    process_id: int | None
    port: str
    socket_dir: Path | None

    def answers(self) -> bool:
        """Whether a server takes connections where this one did."""
        if self.socket_dir is None:
            return False
        knock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with knock, contextlib.suppress(OSError):
            knock.settimeout(2)
            knock.connect(str(self.socket_dir / f".s.PGSQL.{self.port}"))
            return True
        return False


def leftover(cluster: Path) -> Leftover | None:
    """Read a cluster's postmaster.pid; None when there is none.

    Its lines: process, data directory, start, port, socket directory, address, memory, state.
    """
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    process_id, _, _, port, socket_dir = (*(line.strip() for line in lines[:5]), *[""] * 5)[:5]
    return Leftover(
        process_id=int(process_id) if process_id.isdecimal() else None,
        port=port,
        socket_dir=Path(socket_dir) if socket_dir else None,
    )
