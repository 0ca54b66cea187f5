"""The daemon: roles as supervised threads over one database, started together, stopped in order.

A role is a name and a function that runs until its stop event is set. When one ends by itself or
fails, the daemon stops and says which: a daemon that half works is worse than one that restarts.
What a role does lives in its package; here is only the wiring.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from psycopg_pool import ConnectionPool

from collector.ingest import Ingest
from collector.partitions import make_ahead, oldest_kept
from collector.tick import tick
from rules.catalogue import catalogue
from rules.live import LiveRules
from service_api.app import create_app, end_streams
from service_api.backtests.running import estimate_one, run_back_tests
from service_api.collecting import collect_role, trap_role
from service_api.consumers import HANDLERS
from service_api.database import open_pool, require_current_schema
from service_api.interpreter import tune
from service_api.jobs import jobs
from service_api.listening import listen_role
from service_api.metrics import WATCHED
from service_api.notifications.sending import deliver_one
from service_api.outbox import take_one
from service_api.request import AppConfig
from service_api.schedule import Scheduler
from service_api.secrets import Sealer
from service_api.settings import Settings
from service_api.supervisor import (
    IDLE_SECONDS,
    Clock,
    DaemonFailed,
    Role,
    SettingMissing,
    Supervisor,
    asked_or_done,
    drain,
    every,
    needed,
)

__all__ = ["ROLES", "SHARED_ROLES", "DaemonFailed", "SettingMissing", "Supervisor", "daemon"]

ROLES = ("collect", "ingest", "schedule", "notify", "api")
SHARED_ROLES = frozenset({"collect", "ingest"})
"""Roles whose work is shared by as many processes as run them."""
TICK_SECONDS = 1.0


def _ingest_dsn(settings: Settings) -> str:
    return needed(settings.ingest_database_url, "INGEST_DATABASE_URL", "collecting")


@contextmanager
def daemon(
    settings: Settings, roles: Sequence[str], *, now: Clock, share: int = 0
) -> Iterator[Supervisor]:
    """Start `roles`, yield their supervisor, stop them and close what was opened.

    `share` tells the processes of one daemon apart; the first is 0.
    """
    tune()
    made: list[Role] = []
    pools: list[ConnectionPool] = []
    if set(roles) - {"api"}:
        dsn = _ingest_dsn(settings)
        require_current_schema(dsn)
        pool = open_pool(dsn, most=10, name="ridethrough")
        pools.append(pool)
        made += _background_roles(settings, roles, pool, now, share=share)
    if "api" in roles:
        api_dsn = needed(settings.api_database_url, "API_DATABASE_URL", "the API and its pages")
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
            key = needed(settings.encryption_key, "ENCRYPTION_KEY", "the devices' credentials")
            dsn, credentials = _ingest_dsn(settings), Sealer(key)
            made.append(collect_role(settings, dsn, pool, ingest, credentials, now, share=share))
            if settings.trap_port is not None and share == 0:
                port = settings.trap_port
                made.append(trap_role(settings, port, dsn, pool, ingest, credentials, now))
        if "ingest" in roles and settings.mqtt_url is not None:
            made.append(listen_role(settings, pool, ingest, now, share=share))
        made.append(Role("ingest", _until_stopped(ingest)))
    if "schedule" in roles:
        made.append(Role("tick", every(TICK_SECONDS, lambda: tick(pool, rules, now=now()))))
        made.append(Role("schedule", _schedule(pool, settings, now)))
        made.append(Role("back-tests", run_back_tests(pool, now)))
        made.append(Role("estimates", drain(lambda: estimate_one(pool))))
    if "notify" in roles:
        sealer = _sealer(settings)
        channel = settings.staff_channel
        staff = None if channel is None else channel.get_secret_value()
        made.append(Role("outbox", drain(lambda: take_one(pool, now=now(), handlers=HANDLERS))))
        made.append(
            Role(
                "notices",
                drain(lambda: deliver_one(pool, now=now(), unseal=sealer, staff_channel=staff)),
            )
        )
    return made


def _sealer(settings: Settings) -> Callable[[bytes], str]:
    key = needed(settings.encryption_key, "ENCRYPTION_KEY", "the contacts' channels")
    return Sealer(key).unseal


def _until_stopped(ingest: Ingest) -> Callable[[threading.Event], None]:
    def run(stop: threading.Event) -> None:
        storing = threading.Thread(target=ingest.run, name="ingest-batches", daemon=True)
        with WATCHED.showing("ingest", lambda: ingest.counters):
            storing.start()
            while storing.is_alive() and not stop.wait(IDLE_SECONDS):
                pass
            ingest.stop()
            storing.join()

    return run


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
        await asked_or_done(stop, serving)
        end_streams(app)
        server.should_exit = True
        await serving

    return Role("api", lambda stop: asyncio.run(serve(stop)))
