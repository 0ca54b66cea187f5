"""The stage of all measurements: an embedded PostgreSQL with the schema, devices, the daemon."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from bench.processes import cpu_seconds_of_tree
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
        return Used(cpu_seconds_of_tree(daemon), cpu_seconds_of_tree(postgres))

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
                (prefix,),
            )
            (site_id,) = _row(
                connection,
                "INSERT INTO site (customer_id, key, name, name_zh)"
                " VALUES (%s, %s, 'Site', '站点') RETURNING id",
                (customer_id, prefix),
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

    def change_devices(self, *, poll_seconds: float) -> None:
        """Let all devices be polled in another rhythm, from when they are loaded anew."""
        with psycopg.connect(self.dsn("superuser")) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
            connection.execute("UPDATE device SET poll_seconds = %s", (poll_seconds,))

    def seen(self) -> int:
        """Return how many devices were read at least once."""
        return int(self.one("SELECT count(*) FROM device_state WHERE observed_at IS NOT NULL"))

    def bytes_a_reading(self) -> float:
        """Return what a stored reading takes on disk, its index included."""
        return float(
            self.one(
                """
                SELECT (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
                    WHERE inhparent = 'telemetry'::regclass)::float8 / count(*) FROM telemetry
                """
            )
        )

    def now(self) -> datetime:
        """Return the time that readings carry."""
        return datetime.now(UTC)

    def kept(
        self, begin: datetime, end: datetime, deadline_seconds: float, first: int
    ) -> tuple[int, int, int]:
        """Return the polls in a stretch of time of the first devices: stored, late, and missing.

        A poll is late that came longer after the one before than rhythm and deadline allow.
        Missing are devices without any poll, and polls by which a device has fewer than its rhythm
        makes of that time, one spared for where the stretch begins.
        """
        with psycopg.connect(self.dsn("superuser")) as connection:
            row = _row(
                connection,
                """
                WITH gaps AS (
                    SELECT device_id, observed_at - lag(observed_at)
                        OVER (PARTITION BY device_id ORDER BY observed_at) AS gap
                    FROM telemetry WHERE observed_at BETWEEN %(begin)s AND %(end)s),
                counts AS (
                    SELECT d.id, count(g.device_id) AS n, d.poll_seconds,
                        count(*) FILTER (WHERE g.gap > make_interval(
                            secs => d.poll_seconds + %(deadline)s)) AS late
                    FROM (SELECT id, poll_seconds FROM device ORDER BY id LIMIT %(first)s) d
                    LEFT JOIN gaps g ON g.device_id = d.id GROUP BY d.id, d.poll_seconds)
                SELECT coalesce(sum(n), 0)::bigint, coalesce(sum(late), 0)::bigint,
                    coalesce(sum(greatest(0, floor(extract(epoch FROM %(end)s::timestamptz
                        - %(begin)s::timestamptz) / poll_seconds) - 1 - n)), 0)::bigint
                FROM counts
                """,
                {"begin": begin, "end": end, "deadline": deadline_seconds, "first": first},
            )
        return int(row[0]), int(row[1]), int(row[2])

    def forget_devices(self) -> None:
        """Remove all devices and what was recorded of them."""
        with psycopg.connect(self.dsn("superuser")) as connection:
            connection.execute("TRUNCATE device, telemetry, incident, ticket, outbox CASCADE")

    @contextmanager
    def daemon(self, roles: Sequence[str], workers: int = 1, **settings: str) -> Iterator[int]:
        """Run the daemon in so many processes of its own; yields the first one's id."""
        process = subprocess.Popen(  # noqa: S603 - our own command
            [
                *(sys.executable, "-m", "service_api.cli", "run"),
                *("--roles", ",".join(roles), "--workers", str(workers)),
            ],
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


def _row(
    connection: psycopg.Connection, query: str, parameters: Sequence[object] | Mapping[str, object]
) -> tuple[Any, ...]:
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
