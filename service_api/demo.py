"""The demo: everything embedded on a simulated fleet, from the first start to Ctrl-C.

Order of a start: database, broker, schema; on the first start the past (months of readings through
the real ingest, quickly), users and master data; then the simulated units in a process of their
own, and the daemon. A second start goes on where the first ended.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from collector.lease_store import forget_holders
from device_sims.fleet import SimUnit, import_csv, units, with_devices
from device_sims.scenario import load_scenario
from service_api import demo_backtest, demo_data, demo_past, demo_upkeep
from service_api.daemon import ROLES, daemon
from service_api.database import STAFF, migrate, open_pool, request_transaction
from service_api.devices_csv import read_devices
from service_api.devices_import import import_devices
from service_api.embedded import EmbeddedPostgres
from service_api.embedded_broker import EmbeddedBroker
from service_api.secrets import Sealer
from service_api.settings import Settings
from service_api.users.operations import add_api_key, add_user
from service_api.users.schemas import Role

RAW_DAYS = 7
UNITS_SECONDS = 20.0
PORT_TO_COME = 20_000
"""Stands in the addresses of units until they are served."""

ROLES_OF_PEOPLE: tuple[Role, ...] = ("admin", "dispatcher", "engineer", "customer", "integrator")

Say = Callable[[str], None]


class DemoFailed(Exception):
    """The demo cannot go on; one line says why."""


def default_data_dir() -> Path:
    """Return where the demo lives unless told otherwise.

    Root's home is closed to the account that PostgreSQL must run as, so root's is elsewhere.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/ridethrough-demo")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "ridethrough-demo"


def run(
    *,
    data_dir: Path,
    port: int,
    devices: int,
    now: Callable[[], datetime],
    asked: threading.Event,
    say: Say,
) -> None:
    """Run the demo until `asked` is set; leaves nothing running."""
    _require_free(port)
    say("Starting PostgreSQL and an MQTT broker …")
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(data_dir))
        broker = stack.enter_context(EmbeddedBroker(data_dir))
        keys = postgres.secrets
        migrate(postgres.dsn("owner"), ingest_password=keys["ingest"], api_password=keys["api"])
        settings = Settings(
            ingest_database_url=SecretStr(postgres.dsn("ingest")),
            api_database_url=SecretStr(postgres.dsn("api")),
            encryption_key=SecretStr(keys["encryption_key"]),
            mqtt_url=SecretStr(broker.url),
            mqtt_version=3,
            host="127.0.0.1",
            port=port,
            trap_host="127.0.0.1",
            trap_port=_free_udp_port(),
            raw_days=RAW_DAYS,
        )
        state = _State(data_dir)
        state.withdraw()
        url = f"http://127.0.0.1:{port}"
        scenario = with_devices(load_scenario("demo"), devices)
        epoch = state.epoch or now()
        with _pools(settings) as (ingest_pool, api_pool):
            if state.epoch is None:
                fleet = units(scenario, epoch=epoch, base_port=PORT_TO_COME, mqtt_url=broker.url)
                _register(api_pool, import_csv(scenario, fleet).encode(), settings, now())
                _first_start(ingest_pool, api_pool, fleet, state, now, say)
                state.keep(epoch)
            fleet_alive, served = stack.enter_context(
                _simulated(
                    data_dir,
                    devices,
                    mqtt_url=broker.url,
                    traps_to=f"{settings.trap_host}:{settings.trap_port}",
                    epoch=epoch,
                )
            )
            _register(api_pool, served, settings, now())
            with ingest_pool.connection() as connection:
                forget_holders(connection)  # of a demo that was killed: this directory is ours
        running = stack.enter_context(daemon(settings, ROLES, now=now))
        _wait_until_answering(port, asked)
        state.publish(url)
        for line in state.welcome(url):
            say(line)
        running.wait(asked, also=fleet_alive)
        say("Stopping …")


class _State:
    """What the demo remembers beside its database, and what it tells scripts once it is ready.

    Both files are readable by their owner only; `demo.json` is there only after a ready line.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "demo-state.json"
        self.published = data_dir / "demo.json"
        self._kept: dict[str, Any] = {}
        if self._path.is_file():
            self._kept = json.loads(self._path.read_text(encoding="utf-8"))

    @property
    def epoch(self) -> datetime | None:
        """The day that the fleet's ages count back from; None before the first start is through."""
        text = self._kept.get("epoch")
        return None if text is None else datetime.fromisoformat(text)

    def add_login(self, role: str, name: str, password: str) -> None:
        """Remember a login; `keep` writes it."""
        self._kept.setdefault("users", []).append(
            {"role": role, "name": name, "password": password}
        )

    def set_api_key(self, key: str) -> None:
        """Remember the key; `keep` writes it."""
        self._kept["api_key"] = key

    def keep(self, epoch: datetime) -> None:
        """Write what a second start goes on from."""
        self._kept["epoch"] = epoch.isoformat()
        _write_private(self._path, self._kept)

    def withdraw(self) -> None:
        """Take back what an earlier start told."""
        self.published.unlink(missing_ok=True)

    def publish(self, url: str) -> None:
        """Tell scripts where the demo is and who may log in."""
        told = {"url": url, "users": self._kept["users"], "api_key": self._kept["api_key"]}
        _write_private(self.published, told)

    def welcome(self, url: str) -> Iterator[str]:
        """Yield what is printed once all is ready."""
        yield ""
        for user in self._kept["users"]:
            yield f"  {user['role']:11} {user['name']:11} {user['password']}"
        yield ""
        yield f"Ready: {url} (logins above and in {self.published}). Ctrl-C ends it."


def _write_private(path: Path, content: dict[str, Any]) -> None:
    """Write a file anew, never readable by others, never half."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, ensure_ascii=False, indent=2)
    draft.replace(path)


@contextmanager
def _pools(settings: Settings) -> Iterator[tuple[ConnectionPool, ConnectionPool]]:
    if settings.ingest_database_url is None or settings.api_database_url is None:
        raise DemoFailed("the demo's own settings are incomplete")
    with (
        open_pool(settings.ingest_database_url.get_secret_value(), most=4, name="demo") as ingest,
        open_pool(settings.api_database_url.get_secret_value(), most=2, name="demo-api") as api,
    ):
        yield ingest, api


def _register(pool: ConnectionPool, listed: bytes, settings: Settings, now: datetime) -> None:
    """Register the fleet as any fleet is registered: by a CSV file."""
    if settings.encryption_key is None:
        raise DemoFailed("the demo's own settings are incomplete")
    rows = demo_upkeep.as_customers_list(read_devices(listed, today=now.date()))
    sealer = Sealer(settings.encryption_key.get_secret_value())
    with pool.connection() as connection:
        import_devices(connection, rows, sealer=sealer)


def _first_start(
    ingest_pool: ConnectionPool,
    api_pool: ConnectionPool,
    fleet: list[SimUnit],
    state: _State,
    now: Callable[[], datetime],
    say: Say,
) -> None:
    with request_transaction(api_pool, STAFF) as connection:
        demo_data.seed(connection, now=now())
        customer_key = fleet[0].customer_key
        for role in ROLES_OF_PEOPLE:
            password = secrets.token_urlsafe(9)
            user_id = add_user(
                connection,
                name=role,
                password=password,
                role=role,
                customer_key=customer_key if role == "customer" else None,
            )
            state.add_login(role, role, password)
            if role == "engineer":
                demo_data.link_engineer(connection, user_id)
            if role == "integrator":
                key = add_api_key(connection, user_id=user_id, label="demo", now=now())
                state.set_api_key(key)
    say("Living through the past two months, quickly …")
    readings = demo_past.feed(ingest_pool, fleet, until=now())
    with request_transaction(api_pool, STAFF) as connection:
        demo_backtest.ask_for_one(connection, now=now())
    demo_past.judge_batteries(ingest_pool, until=now())
    say(f"… {readings} readings stored and judged.")


@contextmanager
def _simulated(
    data_dir: Path, devices: int, *, mqtt_url: str, traps_to: str, epoch: datetime
) -> Iterator[tuple[Callable[[], bool], bytes]]:
    """Serve the units from a process of their own, as they would be somewhere else.

    Yields whether they still live, and the list of them for `devices import`: each sits on a port
    that was free.
    """
    listed = data_dir / "units.csv"
    process = subprocess.Popen(  # noqa: S603 - our own command
        [
            sys.executable,
            "-m",
            "service_api.cli",
            "sim",
            "--scenario=demo",
            f"--devices={devices}",
            "--base-port=0",
            f"--epoch={epoch.isoformat()}",
            f"--traps-to={traps_to}",
            f"--csv={listed}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RIDETHROUGH_MQTT_URL": mqtt_url},
        start_new_session=True,
    )
    try:
        _wait_for_units(process)
        yield lambda: process.poll() is None, listed.read_bytes()
    finally:
        process.terminate()
        try:
            process.wait(UNITS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_for_units(process: "subprocess.Popen[str]") -> None:
    if process.stdout is None:
        raise DemoFailed("the simulated units have no output to wait for")
    for line in process.stdout:
        if "units are served" in line:
            return
    raise DemoFailed(f"the simulated units ended with status {process.wait()}")


def _wait_until_answering(port: int, asked: threading.Event) -> None:
    deadline = time.monotonic() + UNITS_SECONDS
    while time.monotonic() < deadline and not asked.is_set():
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def _free_udp_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _require_free(port: int) -> None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoFailed(f"port {port} is taken: choose another with --port") from error
