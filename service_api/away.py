"""A collector away from the center: the role `collect` over an uplink instead of a database.

It polls on its site and hears traps there; what it learns goes to the center's broker by way of a
spool on disk. Its devices come from a file, or from the center's database while that is in reach.
"""

import asyncio
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from re import sub

import psycopg

from collector.credentials import credentials_text
from collector.downlink import HeardList
from collector.poll import PollLoop
from collector.readers.snmp_quick import Exchange
from collector.site_list import RememberedList
from collector.spool import Spool, SpoolBusy
from collector.store import KnownDevice, known_devices
from collector.trap_ear import TrapEar
from collector.uplink import Self, Uplink, broker_of
from service_api.broker_tls import broker_tls
from service_api.devices_csv import DeviceRow, read_devices
from service_api.interpreter import tune
from service_api.secrets import Sealer
from service_api.settings import Settings
from service_api.supervisor import (
    Clock,
    DaemonFailed,
    Role,
    Supervisor,
    asked_or_done,
    needed,
)

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10
_POLL_SECONDS = 30.0
_DEADLINE_SECONDS = 2.0
_MEGABYTE = 1024 * 1024

Load = Callable[[], Sequence[KnownDevice]]


@contextmanager
def away(settings: Settings, *, devices: Path | None, now: Clock) -> Iterator[Supervisor]:
    """Poll on site and send to the center, until the context ends; yields the supervisor.

    `devices` is a file in the form of `devices import`; without it the database is asked, and the
    center over the uplink where there is none in reach. Raises SettingMissing,
    DaemonFailed, AddressInvalid, ImportInvalid and TlsInvalid.
    """
    tune()
    broker = broker_of(needed(settings.uplink_url, "UPLINK_URL", "sending to the center"))
    tls = broker_tls(settings)
    folder = settings.spool_dir or default_spool_dir()
    try:
        spool = Spool(folder, limit_bytes=settings.spool_mb * _MEGABYTE)
    except (OSError, SpoolBusy) as error:
        raise DaemonFailed(f"the spool cannot be kept: {error}") from error
    try:
        load, unseal, listed = _source(settings, folder, devices, now)
        uplink = Uplink(
            broker,
            who=Self(_name(settings), settings.collector_group, secrets.token_hex(8)),
            spool=spool,
            now=now,
            version=settings.mqtt_version,
            tls=tls,
            listed=listed,
        )
        log.info("%d messages of earlier wait for the line", uplink.waiting)
        uplink.start()
        supervisor = Supervisor([_poll_role(settings, uplink, load, unseal, now)])
        supervisor.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
            uplink.stop()
    finally:
        spool.close()


def default_spool_dir() -> Path:
    """Return where the spool is kept unless told otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/ridethrough-spool")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "ridethrough-spool"


def _name(settings: Settings) -> str:
    told = settings.collector_name or sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())
    return told[:64] or "collector"


def _source(
    settings: Settings, folder: Path, file: Path | None, now: Clock
) -> tuple[Load, Callable[[bytes], str], HeardList | None]:
    """Return what loads the devices, what opens their credentials, and the list that is heard."""
    if file is not None:
        listed = _Listed(file, now)
        listed()  # a fault is told at the start
        return listed, bytes.decode, None
    key = needed(settings.encryption_key, "ENCRYPTION_KEY", "devices without a file (--devices)")
    if settings.ingest_database_url is None:
        heard = HeardList(folder)
        return heard.devices, Sealer(key).unseal, heard
    dsn = settings.ingest_database_url.get_secret_value()

    def ask() -> list[KnownDevice]:
        with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS) as connection:
            return known_devices(connection, collector_group=settings.collector_group)

    return RememberedList(folder, load=ask).devices, Sealer(key).unseal, None


class _Listed:
    """The devices in a file, read again when it changes."""

    def __init__(self, file: Path, now: Clock) -> None:
        self._file = file
        self._now = now
        self._changed: int | None = None
        self._devices: list[KnownDevice] = []

    def __call__(self) -> list[KnownDevice]:
        changed = self._file.stat().st_mtime_ns
        if changed != self._changed:
            rows = read_devices(self._file.read_bytes(), today=self._now().date())
            polled = [row for row in rows if row.protocol != "mqtt"]
            if len(polled) < len(rows):
                log.warning("%d units that publish are left out", len(rows) - len(polled))
            self._devices = [_device(number, row) for number, row in enumerate(polled, start=1)]
            self._changed = changed
        return self._devices


def _device(number: int, row: DeviceRow) -> KnownDevice:
    """Return a device of a file; its credentials stand there openly, so they are not sealed."""
    secret = row.credentials
    return KnownDevice(
        device_id=number,
        key=row.key,
        protocol=row.protocol,
        address=row.address,
        sealed_credentials=None if secret is None else credentials_text(secret).encode(),
        profile=row.profile,
        poll_seconds=_POLL_SECONDS if row.poll_seconds is None else row.poll_seconds,
        deadline_seconds=_DEADLINE_SECONDS,
        is_on_battery=False,
    )


def _poll_role(
    settings: Settings, uplink: Uplink, load: Load, unseal: Callable[[bytes], str], now: Clock
) -> Role:
    async def poll(stop: threading.Event) -> None:
        loop = PollLoop(
            load=load,
            unseal=unseal,
            offer=uplink.offer,
            now=now,
            in_flight=settings.in_flight,
            exchange=Exchange(),
        )
        stopping = asyncio.Event()
        tasks = [asyncio.create_task(loop.run(stopping), name="poll")]
        if settings.trap_port is not None:

            def poke(device_ids: list[int]) -> None:
                for device_id in device_ids:
                    loop.poke(device_id)

            ear = TrapEar(
                load=load,
                unseal=unseal,
                offer=uplink.offer,
                poke=poke,
                now=now,
                host=settings.trap_host,
                port=settings.trap_port,
            )
            tasks.append(asyncio.create_task(ear.run(stopping), name="traps"))
        either = asyncio.ensure_future(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
        await asked_or_done(stop, either)
        stopping.set()
        await asyncio.gather(*tasks)

    return Role("collect", lambda stop: asyncio.run(poll(stop)))
