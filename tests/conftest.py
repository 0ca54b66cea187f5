"""What every test stands on: a fixed instant, real PostgreSQL of each variant, no network.

A store test asks for `database` and runs once a server at hand: on the embedded PostgreSQL always,
and on each server that RIDETHROUGH_TEST_TIMESCALE_DSN names (superuser DSNs between spaces). Each
server gets one migrated template; each test a copy of it.

RIDETHROUGH_TEST_REQUIRE names marks between spaces (`timescale mosquitto chromium captures`): where
the thing must be at hand, a test that is skipped for want of it fails.
"""

import contextlib
import ipaddress
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

# A busy machine is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

TIMESCALE_DSNS = os.environ.get("RIDETHROUGH_TEST_TIMESCALE_DSN", "").split()
NO_TIMESCALE = "no TimescaleDB at hand: RIDETHROUGH_TEST_TIMESCALE_DSN is not set"

REQUIRED = frozenset(os.environ.get("RIDETHROUGH_TEST_REQUIRE", "").split())

LOGINS = {
    "owner": "ridethrough_owner",
    "ingest": "ridethrough_ingest",
    "api": "ridethrough_api",
}
# The roles of a server are shared by all its databases, hence by test runs at the same time.
PASSWORD = "for-tests-only"
LOCK_PREPARING = 0x74_65_73_74


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    wanted = sorted(REQUIRED & {mark.name for mark in item.iter_markers()})
    if report.skipped and wanted:
        report.outcome = "failed"
        report.longrepr = f"skipped, though {wanted[0]} must be at hand here: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if report.skipped and REQUIRED:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped as a whole, which hides its marks"
    return report


@dataclass(frozen=True, slots=True)
class Database:
    """One test's own database, as its roles see it."""

    name: str
    variant: str  # "plain", "timescale-apache" or "timescale-community"
    admin_dsn: str
    owner_dsn: str
    ingest_dsn: str
    api_dsn: str


class Server:
    """A PostgreSQL server that hands out databases."""

    def __init__(self, admin_dsn: str) -> None:
        self.admin_dsn = admin_dsn
        self._made: list[str] = []
        self.variant = "plain"
        with self._admin() as admin:
            self._prepare_owner(admin)
        self._template = self._migrated_template()

    def copy(self) -> Database:
        """Make a database with the newest schema."""
        return self._create(self._template)

    def empty(self) -> Database:
        """Make a database that was never migrated."""
        return self._create("template0")

    def drop(self, name: str) -> None:
        with self._admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        self._made.remove(name)

    def drop_all(self) -> None:
        for name in tuple(self._made):
            self.drop(name)

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self.admin_dsn, autocommit=True)

    def _dsn(self, role: str, database: str) -> str:
        return make_conninfo(self.admin_dsn, dbname=database, user=LOGINS[role], password=PASSWORD)

    def _prepare_owner(self, admin: psycopg.Connection) -> None:
        admin.execute("SELECT pg_advisory_lock(%s)", (LOCK_PREPARING,))
        known = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles")}
        owner = sql.Identifier(LOGINS["owner"])
        if LOGINS["owner"] not in known:
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(owner))
        admin.execute(
            sql.SQL("ALTER ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                owner, sql.Literal(PASSWORD)
            )
        )
        for role in {LOGINS["ingest"], LOGINS["api"]} & known:
            admin.execute(
                sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(role), owner)
            )
        admin.execute("SELECT pg_advisory_unlock(%s)", (LOCK_PREPARING,))

    def _create(self, template: str) -> Database:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self._admin() as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    *map(sql.Identifier, (name, LOGINS["owner"], template))
                )
            )
        self._made.append(name)
        return Database(
            name=name,
            variant=self.variant,
            admin_dsn=make_conninfo(self.admin_dsn, dbname=name),
            owner_dsn=self._dsn("owner", name),
            ingest_dsn=self._dsn("ingest", name),
            api_dsn=self._dsn("api", name),
        )

    def _migrated_template(self) -> str:
        from service_api.database import migrate

        made = self._create("template0")
        with self._admin() as admin:
            # Two test runs that set one role's password at once would fail.
            admin.execute("SELECT pg_advisory_lock(%s)", (LOCK_PREPARING,))
            migrate(made.owner_dsn, ingest_password=PASSWORD, api_password=PASSWORD)
            admin.execute("SELECT pg_advisory_unlock(%s)", (LOCK_PREPARING,))
        with psycopg.connect(made.admin_dsn, autocommit=True) as inside:
            (license_,) = inside.execute(
                "SELECT current_setting('timescaledb.license', true)"
            ).fetchone()
            if license_ is not None:
                self.variant = (
                    "timescale-community" if license_ == "timescale" else "timescale-apache"
                )
                # Its jobs would compress and drop the tests' readings, which are of a fixed past.
                inside.execute(
                    "SELECT alter_job(id, scheduled => false) FROM _timescaledb_config.bgw_job"
                    " WHERE id >= 1000"
                )
                inside.execute("SELECT _timescaledb_functions.stop_background_workers()")
        with self._admin() as admin:
            # TimescaleDB restarts the scheduler of a template that can be connected to at each
            # copy, and what somebody is connected to cannot be copied.
            admin.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(
                    sql.Identifier(made.name)
                )
            )
        return made.name


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[Server]:
    from service_api.embedded import EmbeddedPostgres

    # Not pytest's own folder: as root that one is closed to the user whom the server runs as.
    data_dir = Path(tempfile.mkdtemp(prefix="ridethrough-test-"))
    try:
        with EmbeddedPostgres(data_dir, durable=False) as postgres:
            yield Server(postgres.dsn("superuser", "postgres"))
    finally:
        shutil.rmtree(data_dir)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("embedded", id="embedded"),
        *(
            pytest.param(dsn, id=f"timescale-{number}", marks=pytest.mark.timescale)
            for number, dsn in enumerate(TIMESCALE_DSNS, start=1)
        ),
        *(
            []
            if TIMESCALE_DSNS
            else [
                pytest.param(
                    "",
                    id="timescale",
                    marks=[pytest.mark.timescale, pytest.mark.skip(reason=NO_TIMESCALE)],
                )
            ]
        ),
    ],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "embedded":
        yield request.getfixturevalue("embedded_server")
        return
    external = Server(request.param)
    yield external
    external.drop_all()


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    made = server.copy()
    yield made
    server.drop(made.name)


@pytest.fixture
def embedded_database(embedded_server: Server) -> Iterator[Database]:
    """One database on the embedded server, for tests of more than the store."""
    made = embedded_server.copy()
    yield made
    embedded_server.drop(made.name)


@pytest.fixture
def empty_database(server: Server) -> Iterator[Database]:
    made = server.empty()
    yield made
    server.drop(made.name)


@pytest.fixture
def now() -> datetime:
    return NOW


class NetworkBlocked(OSError):
    """A test tried to reach another machine."""


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):  # a Unix socket
        return True
    host = str(address[0])
    if host in {"", "localhost"}:
        return True
    with contextlib.suppress(ValueError):
        ip = ipaddress.ip_address(host.partition("%")[0])
        return ip.is_loopback or ip.is_unspecified
    return False


@pytest.fixture(scope="session", autouse=True)
def _no_network_beyond_loopback() -> Iterator[None]:
    def guarded(method: Callable[..., object]) -> Callable[..., object]:
        def call(self: socket.socket, *arguments: object) -> object:
            if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_local(arguments[-1]):
                raise NetworkBlocked(f"a test tried to reach {arguments[-1]}")
            return method(self, *arguments)

        return call

    def look_up(host: str | bytes | None, *arguments: object, **options: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not _is_local((name,)):
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(name)
                return real_look_up(host, *arguments, **options)
            raise NetworkBlocked(f"a test tried to look up {name}")
        return real_look_up(host, *arguments, **options)

    real_look_up = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", look_up)
        yield
