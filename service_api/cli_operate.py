"""Commands of operators: the demo, the daemon, the schema, jobs, devices, users."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial

import psycopg
from alembic.util import CommandError
from pydantic import SecretStr, ValidationError

from collector.address import AddressInvalid
from collector.tls import TlsInvalid
from service_api import demo as the_demo
from service_api.away import away
from service_api.cli_shared import CommandFailed, UsageError, print_json, reason
from service_api.daemon import SHARED_ROLES, DaemonFailed, SettingMissing, daemon
from service_api.database import STAFF, SchemaMismatch, open_pool, request_transaction
from service_api.database import migrate as migrate_database
from service_api.devices_csv import ImportInvalid, read_devices
from service_api.devices_import import import_devices
from service_api.doctor import examine
from service_api.embedded_files import EmbeddedFailed
from service_api.jobs import jobs
from service_api.log import set_up
from service_api.schedule import run_due
from service_api.secrets import KeyInvalid, Sealer
from service_api.settings import Settings
from service_api.users.operations import UserRefused, add_user
from service_api.workers import further_workers

CONNECT_SECONDS = 10


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "RIDETHROUGH_" + "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(f"{name}: {first['msg']}") from error


def _setting(value: SecretStr | None, name: str, why: str) -> str:
    if value is None:
        raise UsageError(f"RIDETHROUGH_{name} is not set: {why}")
    return value.get_secret_value()


def _dsn(value: SecretStr | None, name: str, why: str) -> str:
    """Return a database's address, once it has answered there."""
    dsn = _setting(value, name, why)
    try:
        psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS).close()
    except psycopg.ProgrammingError as error:
        raise UsageError(
            f"RIDETHROUGH_{name} is no database address: "
            "give postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        ) from error
    except psycopg.OperationalError as error:
        raise CommandFailed(f"the database cannot be reached: {error}") from error
    return dsn


def _stop_signal() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


def demo(arguments: argparse.Namespace) -> None:
    """Run everything embedded on a simulated fleet, until Ctrl-C."""
    set_up("WARNING")
    chosen = arguments.data_dir
    if chosen is not None and chosen.exists() and not chosen.is_dir():
        raise UsageError(f"--data-dir {chosen} is a file: give a folder")
    try:
        the_demo.run(
            data_dir=arguments.data_dir or the_demo.default_data_dir(),
            port=arguments.port,
            devices=arguments.devices,
            now=arguments.now,
            asked=_stop_signal(),
            say=partial(print, flush=True),
        )
    except (EmbeddedFailed, DaemonFailed, SchemaMismatch, the_demo.DemoFailed) as error:
        raise CommandFailed(str(error)) from error


def run(arguments: argparse.Namespace) -> None:
    """Run the daemon with the given roles, until Ctrl-C."""
    set_up()
    settings = _settings()
    if arguments.uplink is not None:
        settings = settings.model_copy(update={"uplink_url": SecretStr(arguments.uplink)})
    if settings.uplink_url is not None and "collect" in arguments.roles:
        _run_away(arguments, settings)
        return
    if arguments.uplink is not None or arguments.devices is not None:
        raise UsageError("--uplink and --devices are for --roles collect, with an uplink")
    for role_kinds, name in (
        (set(arguments.roles) - {"api"}, "ingest_database_url"),
        (set(arguments.roles) & {"api"}, "api_database_url"),
    ):
        if role_kinds:
            why = f"it is needed for {', '.join(sorted(role_kinds))}"
            _dsn(getattr(settings, name), name.upper(), why)
    asked = _stop_signal()
    shared = tuple(role for role in arguments.roles if role in SHARED_ROLES)
    count = arguments.workers if shared else 1
    try:
        with (
            further_workers(count, partial(_work, arguments.now, shared)) as alive,
            daemon(settings, arguments.roles, now=arguments.now) as running,
        ):
            running.wait(asked, also=alive)
    except (SettingMissing, KeyInvalid) as error:
        raise UsageError(str(error)) from error
    except (DaemonFailed, SchemaMismatch) as error:
        raise CommandFailed(str(error)) from error
    except psycopg.OperationalError as error:
        raise CommandFailed(f"the database cannot be reached: {error}") from error


def _run_away(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run a collector away from the center, until Ctrl-C."""
    if set(arguments.roles) != {"collect"} or arguments.workers != 1:
        raise UsageError("with an uplink, run --roles collect alone, in one process")
    asked = _stop_signal()
    try:
        with away(settings, devices=arguments.devices, now=arguments.now) as running:
            running.wait(asked)
    except ImportInvalid as error:
        raise UsageError(f"{arguments.devices}: {error.faults[0]}") from error
    except OSError as error:
        raise UsageError(f"{arguments.devices} cannot be read: {reason(error)}") from error
    except (SettingMissing, KeyInvalid, AddressInvalid, TlsInvalid) as error:
        raise UsageError(str(error)) from error
    except DaemonFailed as error:
        raise CommandFailed(str(error)) from error


def _work(
    now: Callable[[], datetime], roles: Sequence[str], share: int, asked: threading.Event
) -> None:
    """Run one further process that takes its part of the shared roles."""
    set_up()
    with daemon(_settings(), roles, now=now, share=share) as running:
        running.wait(asked)


def migrate(arguments: argparse.Namespace) -> None:
    """Bring the schema to the wanted version."""
    settings = _settings()
    ingest, api = settings.ingest_password, settings.api_password
    try:
        version = migrate_database(
            _dsn(settings.database_url, "DATABASE_URL", "give the owner's connection"),
            to=arguments.to,
            ingest_password=None if ingest is None else ingest.get_secret_value(),
            api_password=None if api is None else api.get_secret_value(),
        )
    except CommandError as error:
        raise UsageError(f"--to {arguments.to}: {error}") from error
    except psycopg.Error as error:
        raise CommandFailed(f"the database refused: {error}") from error
    if arguments.json:
        print_json({"schema_version": version})
    else:
        print(f"schema version {version}")


def doctor(arguments: argparse.Namespace) -> None:
    """Say what is well and what is not."""
    findings = examine(_settings(), arguments.roles, now=arguments.now())
    if arguments.json:
        print_json([finding.to_json() for finding in findings])
    else:
        for finding in findings:
            print(f"{'ok ' if finding.is_good else 'BAD'} {finding.what}: {finding.detail}")
    bad = [finding.what for finding in findings if not finding.is_good]
    if bad:
        raise CommandFailed(f"not well: {', '.join(bad)}")


def job_run(arguments: argparse.Namespace) -> None:
    """Run one job now, whether or not it is due."""
    settings = _settings()
    known = jobs(settings)
    if arguments.name not in known:
        raise UsageError(f"there is no job {arguments.name}: one of {', '.join(known)}")
    dsn = _dsn(settings.ingest_database_url, "INGEST_DATABASE_URL", "jobs run on it")
    with open_pool(dsn, most=2, name="job") as pool:
        try:
            said = run_due(pool, known[arguments.name], clock=arguments.now, again=True)
        except Exception as error:
            raise CommandFailed(f"job {arguments.name} failed: {error}") from error
    print(said or "done")


def job_list(arguments: argparse.Namespace) -> None:
    """List the jobs and how often they run."""
    known = jobs(_settings()).values()
    if arguments.json:
        print_json([{"name": job.name, "seconds": job.every.total_seconds()} for job in known])
    else:
        for job in known:
            print(f"{job.name:16} every {job.every}")


def devices_import(arguments: argparse.Namespace) -> None:
    """Register devices from a CSV file, all or nothing."""
    try:
        rows = read_devices(arguments.file.read_bytes(), today=arguments.now().date())
        settings = _settings()
        key = _setting(settings.encryption_key, "ENCRYPTION_KEY", "credentials are sealed with it")
        sealer = Sealer(key)
        dsn = _dsn(settings.api_database_url, "API_DATABASE_URL", "devices are written there")
        with psycopg.connect(dsn) as connection:
            counts = import_devices(connection, rows, sealer=sealer)
    except OSError as error:
        raise UsageError(f"{arguments.file} cannot be read: {reason(error)}") from error
    except KeyInvalid as error:
        raise UsageError(str(error)) from error
    except ImportInvalid as error:
        first, *others = error.faults
        for fault in error.faults if others else ():
            print(f"{arguments.file}: {fault}")
        more = f" (and {len(others)} more, listed above)" if others else ""
        raise UsageError(f"{arguments.file}: {first}{more}") from error
    except psycopg.OperationalError as error:
        raise CommandFailed(f"the database cannot be reached: {error}") from error
    if arguments.json:
        print_json(asdict(counts))
    else:
        print(f"{counts.new} new, {counts.changed} changed, {counts.unchanged} unchanged")


def users_add(arguments: argparse.Namespace) -> None:
    """Add a login; the password is the first line of standard input."""
    settings = _settings()
    dsn = _dsn(settings.api_database_url, "API_DATABASE_URL", "users are written there")
    password = sys.stdin.readline().rstrip("\n")
    try:
        with (
            open_pool(dsn, most=1, name="users") as pool,
            request_transaction(pool, STAFF) as connection,
        ):
            add_user(
                connection,
                name=arguments.name,
                password=password,
                role=arguments.role,
                customer_key=arguments.customer,
            )
    except UserRefused as error:
        raise UsageError(str(error)) from error
    print(f"{arguments.name} may log in as {arguments.role}")
