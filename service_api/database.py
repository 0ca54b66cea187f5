"""Open the database: migrations, the schema version, connections with a request's visibility."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

import migrations

LOCK_MIGRATING = 0x72_69_64_65  # one advisory lock: two `migrate` at once wait for each other


class SchemaMismatch(Exception):
    """The database has another schema version than this program knows."""


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def newest_version() -> str:
    """Return the schema version that this program is written for."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise SchemaMismatch("this installation carries no migrations")
    return head


def _engine(dsn: str) -> sa.Engine:
    return sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=sa.NullPool
    )


@contextmanager
def _migrating(dsn: str) -> Iterator[Config]:
    with _engine(dsn).connect() as connection:
        connection.execute(sa.text(f"SELECT pg_advisory_lock({LOCK_MIGRATING})"))
        connection.execute(sa.text("SET lock_timeout = '30s'"))
        connection.commit()
        yield _config(connection)
        connection.commit()


def migrate(
    dsn: str,
    *,
    to: str = "head",
    ingest_password: str | None = None,
    api_password: str | None = None,
) -> str:
    """Bring the schema to `to` (a version, "head", or "-1" to take the newest back).

    Each migration is one transaction, so one that failed half-way left nothing and is run again.
    With passwords given, the two unprivileged roles may log in with them. Returns the version.
    """
    with _migrating(dsn) as config:
        if to.startswith("-"):
            command.downgrade(config, to)
        else:
            command.upgrade(config, to)
    with psycopg.connect(dsn) as connection:
        for role, password in (
            ("ridethrough_ingest", ingest_password),
            ("ridethrough_api", api_password),
        ):
            if password is not None:
                connection.execute(
                    sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(password)
                    )
                )
        return schema_version(connection) or "none"


def schema_version(connection: psycopg.Connection[TupleRow]) -> str | None:
    """Return the database's schema version, None when it was never migrated."""
    exists = connection.execute("SELECT to_regclass('schema_version') IS NOT NULL").fetchone()
    if exists is None or not exists[0]:
        return None
    row = connection.execute("SELECT version_num FROM schema_version").fetchone()
    return None if row is None else str(row[0])


def require_current_schema(dsn: str) -> None:
    """Raise `SchemaMismatch` unless the database has exactly this program's schema version."""
    with psycopg.connect(dsn) as connection:
        found = schema_version(connection)
    wanted = newest_version()
    if found != wanted:
        cure = (
            "run `ridethrough migrate`"
            if found is None or found < wanted
            else "install the newer ridethrough that migrated it"
        )
        raise SchemaMismatch(
            f"the database has schema version {found or 'none'}, this program needs {wanted}: "
            f"{cure}"
        )


def open_pool(dsn: str, *, most: int, name: str) -> ConnectionPool:
    """Open a pool of at most `most` connections whose sessions speak UTC.

    A server that vanished without a word is noticed within half a minute, and nobody waits longer
    than 10 s for a connection.
    """
    return ConnectionPool(
        dsn,
        min_size=1,
        max_size=most,
        name=name,
        open=True,
        timeout=10.0,
        kwargs={
            "options": "-c timezone=UTC",
            "application_name": name,
            "connect_timeout": 10,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


STAFF = "all"
"""The visibility of everyone who works for the service organisation."""


def visibility_of(customer_id: int | None) -> str:
    """Return what a user may see: everything, or one customer's rows."""
    return STAFF if customer_id is None else str(customer_id)


@contextmanager
def request_transaction(
    pool: ConnectionPool, visibility: str
) -> Iterator[psycopg.Connection[TupleRow]]:
    """Open one transaction that sees what `visibility` allows, by the database's own policies.

    The setting ends with the transaction, so a pooled connection never carries it further.
    """
    with pool.connection() as connection, connection.transaction():
        connection.execute("SELECT set_config('ridethrough.scope', %s, true)", (visibility,))
        yield connection
