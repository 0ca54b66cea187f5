"""Examine an installation: settings, database, schema, broker, clock, disk."""

import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import TupleRow

from collector.store import ALIVE_FOR
from collector.uplink_lives import SKEW_TOLD_SECONDS
from service_api.database import newest_version, schema_version
from service_api.settings import Settings

CONNECT_SECONDS = 5
SILENT_SECONDS = 60
UPLINK_TOLD_FOR = timedelta(days=1)
RAW_ROW_BYTES = 180
"""A raw reading of 30 points on disk before compression."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    is_good: bool
    detail: str

    def to_json(self) -> dict[str, object]:
        """Return the printed form."""
        return asdict(self)


_NEEDED = {
    "collect": ("ingest_database_url", "encryption_key"),
    "ingest": ("ingest_database_url", "mqtt_url"),
    "schedule": ("ingest_database_url",),
    "notify": ("ingest_database_url", "encryption_key"),
    "api": ("api_database_url",),
}
"""Role → the settings that it cannot do without."""


def examine(settings: Settings, roles: Sequence[str], *, now: datetime) -> list[Finding]:
    """Look at everything that these roles stand on; each failure is a finding, not an error."""
    return [
        *_settings(settings, roles),
        *_database(settings, roles, now),
        *_brokers(settings),
        *_disk(),
    ]


def _settings(settings: Settings, roles: Sequence[str]) -> Iterator[Finding]:
    wanted = {name for role in roles for name in _NEEDED[role]}
    if settings.uplink_url is not None and set(roles) == {"collect"}:
        wanted = {"uplink_url"}
    for name in sorted(wanted):
        is_set = getattr(settings, name) is not None
        yield Finding(f"RIDETHROUGH_{name.upper()}", is_set, "set" if is_set else "not set")


def _database(settings: Settings, roles: Sequence[str], now: datetime) -> Iterator[Finding]:
    secret = settings.ingest_database_url or settings.api_database_url
    if secret is None:
        return
    try:
        with psycopg.connect(secret.get_secret_value(), connect_timeout=CONNECT_SECONDS) as opened:
            yield from _look_into(opened, settings, roles, now)
    except psycopg.Error as error:
        yield Finding("database", is_good=False, detail=" ".join(str(error).split()))


def _look_into(
    connection: psycopg.Connection[TupleRow],
    settings: Settings,
    roles: Sequence[str],
    now: datetime,
) -> Iterator[Finding]:
    def one(query: str) -> object:
        row = connection.execute(query).fetchone()
        return None if row is None else row[0]

    yield Finding("database", is_good=True, detail=f"PostgreSQL {one('SHOW server_version')}")
    found, wanted = schema_version(connection), newest_version()
    yield Finding("schema", found == wanted, f"version {found}, wanted {wanted}")
    if found != wanted:
        return
    yield Finding("storage", is_good=True, detail=str(one("SELECT storage_variant()")))
    theirs = one("SELECT clock_timestamp()")
    if isinstance(theirs, datetime):
        apart = abs(theirs - now)
        yield Finding(
            "clock",
            apart < timedelta(seconds=5),
            f"{apart.total_seconds():.1f} s from the database",
        )
    if settings.ingest_database_url is None or not {"collect", "ingest"} & set(roles):
        return
    newest = one("SELECT max(received_at) FROM device_state")
    if isinstance(newest, datetime):
        age = (now - newest).total_seconds()
        yield Finding("ingest", age < SILENT_SECONDS, f"newest reading {age:.0f} s ago")
    else:
        yield Finding("ingest", is_good=True, detail="no reading yet")
    if set(roles) >= set(_NEEDED):  # a part of an installation answers for itself alone
        yield from _collectors(connection, now)
    a_day = one("SELECT coalesce(sum(86400 / poll_seconds), 0) FROM device WHERE enabled")
    if isinstance(a_day, float):
        size = a_day * RAW_ROW_BYTES * settings.raw_days / 1e9
        yield Finding(
            "disk forecast",
            is_good=True,
            detail=f"{size:.2f} GB of raw readings in {settings.raw_days} days, uncompressed",
        )


def _collectors(connection: psycopg.Connection[TupleRow], now: datetime) -> Iterator[Finding]:
    """Tell of each group whether somebody watches it, and of collectors away how they are."""
    for group, units, beat_at in connection.execute(
        """
        SELECT d.collector_group, count(*), (
            SELECT max(beat_at) FROM collector c WHERE c.collector_group = d.collector_group)
        FROM device d WHERE enabled GROUP BY 1 ORDER BY 1
        """
    ):
        is_watched = beat_at is not None and now - beat_at < ALIVE_FOR
        heard = "never" if beat_at is None else f"{(now - beat_at).total_seconds():.0f} s ago"
        detail = f"{units} units, last heard of {heard}"
        yield Finding(f"collectors of {group}", is_watched, detail)
    for name, skew, spooled, dropped in connection.execute(
        """
        SELECT DISTINCT ON (name) name, coalesce(skew_seconds, 0), spooled, spool_dropped
        FROM collector WHERE is_uplink AND name IS NOT NULL AND beat_at >= %s
        ORDER BY name, beat_at DESC
        """,
        (now - UPLINK_TOLD_FOR,),
    ):
        yield Finding(
            f"uplink {name}",
            abs(skew) <= SKEW_TOLD_SECONDS and not dropped,
            f"clock {skew:+.1f} s, {spooled} messages wait on its disk, {dropped} were dropped",
        )


def _brokers(settings: Settings) -> Iterator[Finding]:
    for what, secret in (
        ("MQTT broker", settings.mqtt_url),
        ("uplink's broker", settings.uplink_url),
    ):
        if secret is None:
            continue
        url = urlsplit(secret.get_secret_value())
        port = url.port or (8883 if url.scheme == "mqtts" else 1883)
        try:
            with socket.create_connection((url.hostname or "", port), CONNECT_SECONDS):
                pass
        except OSError as error:
            yield Finding(what, is_good=False, detail=f"{url.hostname}:{port}: {error}")
        else:
            yield Finding(what, is_good=True, detail=f"{url.hostname}:{port} answers")


def _disk() -> Iterator[Finding]:
    usage = shutil.disk_usage(".")
    share = usage.free / usage.total
    yield Finding("disk", share > 0.05, f"{usage.free / 1e9:.0f} GB free here")
