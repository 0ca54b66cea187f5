"""The role `collect`: polling the devices that are ours, and hearing their traps."""

import asyncio
import threading

from psycopg_pool import ConnectionPool

from collector.group import GroupShare
from collector.ingest import Ingest
from collector.pokes import PokeTeller, hear_pokes
from collector.poll import PollLoop
from collector.readers.snmp_quick import Exchange
from collector.shards import polling_shard_of
from collector.store import KnownDevice, known_devices
from collector.trap_ear import TrapEar
from service_api.life import Life
from service_api.metrics import WATCHED
from service_api.secrets import Sealer
from service_api.settings import Settings
from service_api.supervisor import Clock, DaemonFailed, Role, asked_or_done


def collect_role(
    settings: Settings,
    dsn: str,
    pool: ConnectionPool,
    ingest: Ingest,
    sealer: Sealer,
    now: Clock,
    *,
    share: int,
) -> Role:
    """Return the role that polls; its devices are those whose shards it holds in its group.

    `share` tells processes of one daemon apart.
    """
    group = settings.collector_group

    async def poll(stop: threading.Event, life: Life) -> None:
        running = asyncio.get_running_loop()

        def changed() -> None:
            running.call_soon_threadsafe(let_go)

        def let_go() -> None:
            shards = ours.shards
            loop.let_go(lambda one: polling_shard_of(one.key, one.address) in shards)

        ours = GroupShare(pool, group, collector_id=lambda: life.number, on_change=changed)
        loop = PollLoop(
            load=ours.load,
            unseal=sealer.unseal,
            offer=ingest.offer,
            now=now,
            in_flight=settings.in_flight,
            exchange=Exchange(),
        )
        await asyncio.to_thread(ours.start)
        stopping = asyncio.Event()
        polling = asyncio.create_task(loop.run(stopping), name="poll")
        hearing = asyncio.create_task(hear_pokes(dsn, loop.poke), name="pokes")
        try:
            with WATCHED.showing("poll", lambda: loop.counters):
                await asked_or_done(stop, polling)
                hearing.cancel()
                stopping.set()
                await polling
        finally:
            await asyncio.to_thread(ours.stop)

    def run(stop: threading.Event) -> None:
        with Life(pool, group, now, share=share) as life:
            asyncio.run(poll(stop, life))

    return Role("collect", run)


def trap_role(
    settings: Settings,
    port: int,
    dsn: str,
    pool: ConnectionPool,
    ingest: Ingest,
    sealer: Sealer,
    now: Clock,
) -> Role:
    """Return the role that hears traps, and has the devices polled that sent them."""

    def load() -> list[KnownDevice]:
        with pool.connection() as connection:
            return known_devices(connection, collector_group=settings.collector_group)

    async def hear(stop: threading.Event) -> None:
        teller = PokeTeller(dsn)
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
        with WATCHED.showing("traps", lambda: ear.counters):
            await asked_or_done(stop, hearing)
        telling.cancel()
        stopping.set()
        try:
            await hearing
        except OSError as error:
            raise DaemonFailed(
                f"cannot listen for traps on {settings.trap_host}:{port}: {error.strerror}"
            ) from error

    return Role("traps", lambda stop: asyncio.run(hear(stop)))
