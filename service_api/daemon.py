"""The daemon: roles as supervised threads over one database, started together, stopped in order.

A role is a name and a function that runs until its stop event is set. When one ends by itself or
fails, the daemon stops and says which: a daemon that half works is worse than one that restarts.
What a role does lives in its package; here is only the wiring.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg
import uvicorn
from psycopg_pool import ConnectionPool

from collector.ear import DeviceEar
from collector.ingest import Ingest
from collector.listen import Listener
from collector.partitions import make_ahead, oldest_kept
from collector.pokes import PokeTeller, hear_pokes
from collector.poll import PollLoop
from collector.store import (
    BEAT_SECONDS,
    KnownDevice,
    beat_collector,
    begin_collector,
    end_collector,
    known_devices,
)
from collector.tick import tick
from collector.trap_ear import TrapEar
from rules.catalogue import catalogue
from rules.live import LiveRules
from service_api.app import create_app, end_streams
from service_api.consumers import HANDLERS
from service_api.database import open_pool, require_current_schema
from service_api.interpreter import tune
from service_api.jobs import jobs
from service_api.notifications.sending import deliver_one
from service_api.outbox import take_one
from service_api.request import AppConfig
from service_api.schedule import Scheduler
from service_api.secrets import Sealer
from service_api.settings import Settings

if TYPE_CHECKING:
    from pydantic import SecretStr

log = logging.getLogger(__name__)

ROLES = ("collect", "ingest", "schedule", "notify", "api")
MQTT_GROUP = "mqtt"
TICK_SECONDS = 1.0
IDLE_SECONDS = 0.5
STOP_SECONDS = 30.0

Clock = Callable[[], datetime]


class DaemonFailed(Exception):
    """The daemon cannot start or a role died; the message says which and why."""


class SettingMissing(DaemonFailed):
    """A setting that a role needs is not given."""


@dataclass(frozen=True, slots=True)
class Role:
    """One thing that runs until told to stop."""

    name: str
    run: Callable[[threading.Event], None]


class Supervisor:
    """Runs roles in threads; `wait` returns when told to stop or when one of them died."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._failure: str | None = None
        self._threads = [
            # Of the kind that cannot hold the process when one does not stop in its time.
            threading.Thread(target=self._run, args=(role,), name=role.name, daemon=True)
            for role in roles
        ]

    def start(self) -> None:
        """Start every role."""
        for thread in self._threads:
            thread.start()

    def _run(self, role: Role) -> None:
        try:
            role.run(self._stop)
            if not self._stop.is_set():
                self._failure = f"role {role.name} ended by itself"
        except Exception as error:
            log.exception("role %s died", role.name)
            self._failure = f"role {role.name} died: {error}"
        finally:
            self._ended.set()

    def wait(self, asked: threading.Event, *, also: Callable[[], bool] = lambda: True) -> None:
        """Wait until `asked` is set; raise `DaemonFailed` when a role ended or `also` is false."""
        while not asked.wait(0.2):
            if self._ended.is_set():
                raise DaemonFailed(self._failure or "a role ended")
            if not also():
                raise DaemonFailed("a process that belongs to this one ended")

    def stop(self) -> None:
        """Tell every role to stop and wait for them, in the order they were started."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
            if thread.is_alive():
                log.error("role %s did not stop in %.0f s", thread.name, STOP_SECONDS)


def _needed(value: "SecretStr | None", name: str, why: str) -> str:
    if value is None:
        raise SettingMissing(f"RIDETHROUGH_{name} is not set: it is needed for {why}")
    return value.get_secret_value()


def _ingest_dsn(settings: Settings) -> str:
    return _needed(settings.ingest_database_url, "INGEST_DATABASE_URL", "collecting")


@contextmanager
def daemon(
    settings: Settings, roles: Sequence[str], *, now: Clock, share: int = 0, of: int = 1
) -> Iterator[Supervisor]:
    """Start `roles`, yield their supervisor, stop them and close what was opened.

    `share` of `of` is this process's part of the devices that are polled.
    """
    tune()
    made: list[Role] = []
    pools: list[ConnectionPool] = []
    if set(roles) - {"api"}:
        dsn = _ingest_dsn(settings)
        require_current_schema(dsn)
        pool = open_pool(dsn, most=10, name="ridethrough")
        pools.append(pool)
        made += _background_roles(settings, roles, pool, now, share=share, of=of)
    if "api" in roles:
        api_dsn = _needed(settings.api_database_url, "API_DATABASE_URL", "the API and its pages")
        require_current_schema(api_dsn)
        api_pool = open_pool(api_dsn, most=20, name="ridethrough-api")
        pools.append(api_pool)
        made.append(_api_role(settings, api_pool, api_dsn, now))
    supervisor = Supervisor(made)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        for opened in pools:
            opened.close()


def _background_roles(
    settings: Settings,
    roles: Sequence[str],
    pool: ConnectionPool,
    now: Clock,
    *,
    share: int,
    of: int,
) -> list[Role]:
    rules = LiveRules(catalogue())
    made: list[Role] = []
    if "collect" in roles or ("ingest" in roles and settings.mqtt_url is not None):
        with pool.connection() as connection:
            make_ahead(connection, now())
        ingest = Ingest(
            pool,
            rules=rules,
            now=now,
            oldest=lambda at: oldest_kept(at, settings.raw_days),
        )
        if "collect" in roles:
            key = _needed(settings.encryption_key, "ENCRYPTION_KEY", "the devices' credentials")
            made.append(_collect_role(settings, pool, ingest, Sealer(key), now, share, of))
            if settings.trap_port is not None and share == 0:
                port = settings.trap_port
                made.append(_trap_role(settings, port, pool, ingest, Sealer(key), now))
        if "ingest" in roles and settings.mqtt_url is not None:
            made.append(_listen_role(settings, pool, ingest, now))
        made.append(Role("ingest", _until_stopped(ingest)))
    if "schedule" in roles:
        made.append(Role("tick", _every(TICK_SECONDS, lambda: tick(pool, rules, now=now()))))
        made.append(Role("schedule", _schedule(pool, settings, now)))
    if "notify" in roles:
        sealer = _sealer(settings)
        channel = settings.staff_channel
        staff = None if channel is None else channel.get_secret_value()
        made.append(Role("outbox", _drain(lambda: take_one(pool, now=now(), handlers=HANDLERS))))
        made.append(
            Role(
                "notices",
                _drain(lambda: deliver_one(pool, now=now(), unseal=sealer, staff_channel=staff)),
            )
        )
    return made


def _sealer(settings: Settings) -> Callable[[bytes], str]:
    key = _needed(settings.encryption_key, "ENCRYPTION_KEY", "the contacts' channels")
    return Sealer(key).unseal


def _until_stopped(ingest: Ingest) -> Callable[[threading.Event], None]:
    def run(stop: threading.Event) -> None:
        storing = threading.Thread(target=ingest.run, name="ingest-batches", daemon=True)
        storing.start()
        while storing.is_alive() and not stop.wait(IDLE_SECONDS):
            pass
        ingest.stop()
        storing.join()

    return run


def _every(seconds: float, work: Callable[[], object]) -> Callable[[threading.Event], None]:
    """Do `work` every so often; a failing database is waited for, anything else is fatal."""

    def run(stop: threading.Event) -> None:
        failing = False
        while not stop.wait(seconds):
            try:
                work()
            except psycopg.OperationalError as error:
                if not failing:
                    log.warning(
                        "%s: the database fails: %s", threading.current_thread().name, error
                    )
                failing = True
            else:
                failing = False

    return run


def _drain(take: Callable[[], bool]) -> Callable[[threading.Event], None]:
    """Take one after the other while there is something, then look again twice a second."""

    def run(stop: threading.Event) -> None:
        def all_there_is() -> None:
            while not stop.is_set() and take():
                pass

        _every(IDLE_SECONDS, all_there_is)(stop)

    return run


@contextmanager
def _alive(
    pool: ConnectionPool, group: str, now: Clock, *, counts: Callable[[], bool], share: int = 0
) -> Iterator[None]:
    """Keep a collector's heartbeat while the context lasts, as long as `counts` says so."""
    key = f"{socket.gethostname()}:{os.getpid()}:{share}"
    with pool.connection() as connection:
        collector_id = begin_collector(connection, key=key, collector_group=group, now=now())

    def beat() -> None:
        if counts():
            with pool.connection() as connection:
                beat_collector(connection, collector_id, now=now())

    done = threading.Event()
    beating = threading.Thread(
        target=_every(BEAT_SECONDS, beat), args=(done,), name=f"heartbeat-{group}"
    )
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        with pool.connection() as connection:
            end_collector(connection, collector_id, now=now())


async def _asked_or_done(stop: threading.Event, task: "asyncio.Task[None]") -> None:
    """Wait until a thread asks to stop or the task ended by itself."""
    while not stop.is_set() and not task.done():  # noqa: ASYNC110 - a thread sets the event
        await asyncio.sleep(0.2)


def _collect_role(
    settings: Settings,
    pool: ConnectionPool,
    ingest: Ingest,
    sealer: Sealer,
    now: Clock,
    share: int,
    of: int,
) -> Role:
    def load() -> list[KnownDevice]:
        with pool.connection() as connection:
            return known_devices(connection, collector_group="default", share=share, of=of)

    async def poll(stop: threading.Event) -> None:
        loop = PollLoop(
            load=load,
            unseal=sealer.unseal,
            offer=ingest.offer,
            now=now,
            in_flight=settings.in_flight,
        )
        stopping = asyncio.Event()
        polling = asyncio.create_task(loop.run(stopping), name="poll")
        hearing = asyncio.create_task(hear_pokes(_ingest_dsn(settings), loop.poke), name="pokes")
        await _asked_or_done(stop, polling)
        hearing.cancel()
        stopping.set()
        await polling

    def run(stop: threading.Event) -> None:
        with _alive(pool, "default", now, counts=lambda: True, share=share):
            asyncio.run(poll(stop))

    return Role("collect", run)


def _trap_role(
    settings: Settings, port: int, pool: ConnectionPool, ingest: Ingest, sealer: Sealer, now: Clock
) -> Role:
    def load() -> list[KnownDevice]:
        with pool.connection() as connection:
            return known_devices(connection, collector_group="default")

    async def hear(stop: threading.Event) -> None:
        teller = PokeTeller(_ingest_dsn(settings))
        ear = TrapEar(
            load=load,
            unseal=sealer.unseal,
            offer=ingest.offer,
            poke=teller.tell,
            now=now,
            host=settings.trap_host,
            port=port,
        )
        stopping = asyncio.Event()
        telling = asyncio.create_task(teller.run(), name="tell-pokes")
        hearing = asyncio.create_task(ear.run(stopping), name="traps")
        await _asked_or_done(stop, hearing)
        telling.cancel()
        stopping.set()
        try:
            await hearing
        except OSError as error:
            raise DaemonFailed(
                f"cannot listen for traps on {settings.trap_host}:{port}: {error.strerror}"
            ) from error

    return Role("traps", lambda stop: asyncio.run(hear(stop)))


def _listen_role(settings: Settings, pool: ConnectionPool, ingest: Ingest, now: Clock) -> Role:
    url = _needed(settings.mqtt_url, "MQTT_URL", "listening to devices that publish")

    def load() -> list[KnownDevice]:
        with pool.connection() as connection:
            return known_devices(connection, collector_group=MQTT_GROUP)

    def run(stop: threading.Event) -> None:
        listener = Listener(
            url,
            ear=DeviceEar(load=load),
            offer=ingest.offer,
            now=now,
            client_id=settings.mqtt_client_id,
            version=settings.mqtt_version,
        )
        with _alive(pool, MQTT_GROUP, now, counts=lambda: listener.is_connected):
            listener.start()
            stop.wait()
            listener.stop()

    return Role("listen", run)


def _schedule(
    pool: ConnectionPool, settings: Settings, now: Clock
) -> Callable[[threading.Event], None]:
    def run(stop: threading.Event) -> None:
        scheduler = Scheduler(pool, jobs(settings), now=now)
        scheduler.start()
        stop.wait()
        scheduler.stop()

    return run


def _api_role(settings: Settings, pool: ConnectionPool, dsn: str, now: Clock) -> Role:
    app = create_app(
        pool=pool,
        config=AppConfig(
            listen_dsn=dsn,
            secure_cookies=settings.secure_cookies,
            raw_days=settings.raw_days,
            encryption_key=None
            if settings.encryption_key is None
            else settings.encryption_key.get_secret_value(),
        ),
        now=now,
    )

    async def serve(stop: threading.Event) -> None:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=3,
            )
        )
        # Signals are the composition root's; uvicorn is told to leave by this flag.
        serving = asyncio.create_task(server._serve(), name="http")  # noqa: SLF001
        await _asked_or_done(stop, serving)
        end_streams(app)
        server.should_exit = True
        await serving

    return Role("api", lambda stop: asyncio.run(serve(stop)))
