"""The stage of all measurements: an embedded PostgreSQL with the schema, devices, the daemon."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.processes import cpu_seconds, cpu_seconds_of_tree
from service_api.database import migrate
from service_api.embedded import EmbeddedPostgres

PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.1


@dataclass(slots=True)
class Used:
    """CPU seconds of the daemon and of PostgreSQL, between two looks."""

    daemon: float
    postgres: float


@dataclass(slots=True)
class Stage:
    """The database and what is started on it."""

    postgres: EmbeddedPostgres
    registered: int = field(default=0)

    @property
    def data_dir(self) -> Path:
        """The folder that the embedded servers share."""
        return self.postgres.data_dir

    @property
    def folder(self) -> Path:
        """The folder for other files, which other users can reach."""
        return self.postgres.data_dir.parent

    def key(self, device_id: int) -> str:
        """Return the key of a device."""
        return str(self.one("SELECT key FROM device WHERE id = %s", device_id))

    def dsn(self, role: str) -> str:
        """Return the connection of a role."""
        return self.postgres.dsn(role)

    def one(self, query: str, *parameters: object) -> Any:  # noqa: ANN401 - a value of the database
        """Return the first value of a query, asked as superuser."""
        with psycopg.connect(self.dsn("superuser")) as connection:
            row = connection.execute(query, parameters).fetchone()
            return None if row is None else row[0]

    def used(self, daemon: int) -> Used:
        """Return what the daemon of this process id and PostgreSQL have used so far."""
        postgres = self.postgres.process_id
        if postgres is None:
            raise RuntimeError("PostgreSQL is not running")
        return Used(cpu_seconds(daemon), cpu_seconds_of_tree(postgres))

    def register(self, addresses: Sequence[str], **columns: object) -> list[int]:
        """Register a device of one customer at each address, else alike; returns their ids."""
        self.registered += 1
        prefix = f"bench-{self.registered}"
        with psycopg.connect(self.dsn("superuser")) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
            (customer_id,) = _row(
                connection,
                "INSERT INTO customer (key, name, name_zh) VALUES (%s, 'Customer', '客户')"
                " RETURNING id",
                prefix,
            )
            (site_id,) = _row(
                connection,
                "INSERT INTO site (customer_id, key, name, name_zh)"
                " VALUES (%s, %s, 'Site', '站点') RETURNING id",
                customer_id,
                prefix,
            )
            names = ", ".join(columns)
            values = ", ".join(["%s"] * len(columns))
            rows = connection.execute(
                f"""
                INSERT INTO device (key, name, customer_id, site_id, address, {names})
                SELECT %s || '-' || n, 'UPS ' || n, %s, %s, address, {values}
                FROM unnest(%s::text[]) WITH ORDINALITY AS x (address, n) ORDER BY n RETURNING id
                """,
                (prefix, customer_id, site_id, *columns.values(), list(addresses)),
            ).fetchall()
            connection.execute("ANALYZE device, device_state")
        return sorted(row[0] for row in rows)

    def forget_devices(self) -> None:
        """Remove all devices and what was recorded of them."""
        with psycopg.connect(self.dsn("superuser")) as connection:
            connection.execute("TRUNCATE device, telemetry, incident, ticket, outbox CASCADE")

    @contextmanager
    def daemon(self, roles: Sequence[str], **settings: str) -> Iterator[int]:
        """Run the daemon in a process of its own; yields its process id."""
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "service_api.cli", "run", "--roles", ",".join(roles)],
            env=os.environ | self._environment() | settings,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield process.pid
            if process.poll() is not None:
                raise RuntimeError("the daemon ended while it was measured")
        finally:
            process.terminate()
            process.wait(60)

    def _environment(self) -> Mapping[str, str]:
        return {
            "RIDETHROUGH_INGEST_DATABASE_URL": self.dsn("ingest"),
            "RIDETHROUGH_API_DATABASE_URL": self.dsn("api"),
            "RIDETHROUGH_ENCRYPTION_KEY": self.postgres.secrets["encryption_key"],
        }


def _row(connection: psycopg.Connection, query: str, *parameters: object) -> tuple[Any, ...]:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise RuntimeError("the database returned no row")
    return row


@contextmanager
def started(data_dir: Path) -> Iterator[Stage]:
    """Start PostgreSQL, durable as in service, with the newest schema."""
    with EmbeddedPostgres(data_dir) as postgres:
        migrate(
            postgres.dsn("owner"),
            ingest_password=postgres.secrets["ingest"],
            api_password=postgres.secrets["api"],
        )
        yield Stage(postgres)


def wait_until(is_so: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something is so; raise when that takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(_PAUSE_SECONDS)
