"""Messages: readings over a real broker to committed rows, and failures to committed tickets.

Bursts are published as fast as the broker takes them, which saturates the daemon; then, at half
that load, single units tell of a failed self-test, and the time until each ticket is visible to
another connection is taken.
"""

import threading
import time
from datetime import datetime
from statistics import median, quantiles

import psycopg

from bench.brokers import Broker, broker
from bench.figures import Figure, at_most
from bench.processes import cpu_seconds
from bench.publisher import Publisher, publishing
from bench.stage import Stage, wait_until

DEVICES = 1_000
_BURST = 10_000
_BURSTS = 5
_SICK = 400
_PACE_SECONDS = 20.0
_GROUP = {"protocol": "mqtt", "collector_group": "mqtt"}
_ADDRESS = "mqtt://127.0.0.1"


def measure(stage: Stage) -> list[Figure]:
    """Return what readings cost, the saturating load, and how soon a ticket is there."""
    with broker(stage.folder) as found:
        healthy = stage.register([_ADDRESS] * DEVICES, **_GROUP)
        sick = stage.register([_ADDRESS] * _SICK, **_GROUP)
        prefix, sick_prefix = (stage.key(ids[0]).rpartition("-")[0] for ids in (healthy, sick))
        settings = {
            "RIDETHROUGH_MQTT_URL": found.url,
            "RIDETHROUGH_MQTT_VERSION": str(found.version),
        }
        with (
            stage.daemon(["ingest"], **settings) as daemon,
            publishing(found.url, prefix, DEVICES) as publisher,
        ):
            _begin(stage, publisher)
            figures, load = _costs(stage, publisher, daemon, found)
            figures += _tickets(stage, publisher, sick_prefix, load / 2)
    stage.forget_devices()
    return figures


def _costs(
    stage: Stage, publisher: Publisher, daemon: int, found: Broker
) -> tuple[list[Figure], float]:
    alone, together, brokers, loads = [], [], [], []
    for _ in range(_BURSTS):
        began, broker_began = stage.used(daemon), cpu_seconds(found.process_id)
        seconds = _burst(stage, publisher, _BURST)
        ended = stage.used(daemon)
        alone.append((ended.daemon - began.daemon) / _BURST)
        together.append(alone[-1] + (ended.postgres - began.postgres) / _BURST)
        brokers.append((cpu_seconds(found.process_id) - broker_began) / _BURST)
        loads.append(_BURST / seconds)
    load = median(loads)
    return [
        Figure("MQTT readings, the daemon alone", 1 / median(alone), "per CPU-second"),
        Figure("MQTT readings, PostgreSQL's CPU added", 1 / median(together), "per CPU-second"),
        Figure(f"CPU of {found.name} (in no other figure)", median(brokers) * 1e6, "µs a reading"),
        Figure("MQTT readings at saturation, on the clock", load, "per second"),
    ], load


def _burst(stage: Stage, publisher: Publisher, count: int) -> float:
    """Publish so many readings and return the seconds until the last one is committed."""
    before = int(stage.one("SELECT count(*) FROM telemetry"))
    began = time.monotonic()
    key, at = publisher.order("burst", count)
    wait_until(lambda: _has_arrived(stage, key, at), "a burst is committed")
    seconds = time.monotonic() - began
    arrived = int(stage.one("SELECT count(*) FROM telemetry")) - before
    if arrived != count:
        raise RuntimeError(f"{count} readings were published, {arrived} arrived")
    return seconds


def _has_arrived(stage: Stage, key: str, at: str) -> bool:
    newest = stage.one(
        "SELECT observed_at FROM device_state s JOIN device d ON d.id = s.device_id"
        " WHERE d.key = %s",
        key,
    )
    return newest is not None and newest >= datetime.fromisoformat(at)


def _begin(stage: Stage, publisher: Publisher) -> None:
    """Publish single readings until the daemon listens, and some more to warm it up."""
    newest: list[str] = []

    def is_heard() -> bool:
        newest[:] = publisher.order("burst", 1)
        return bool(stage.one("SELECT bool_or(observed_at IS NOT NULL) FROM device_state"))

    wait_until(is_heard, "the daemon listens")
    wait_until(lambda: _has_arrived(stage, *newest), "the daemon has caught up")
    _burst(stage, publisher, _BURST // 2)


def _tickets(stage: Stage, publisher: Publisher, sick_prefix: str, rate: float) -> list[Figure]:
    seen: dict[str, float] = {}
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(stage, seen, done))
    watching.start()
    try:
        told = publisher.order("pace", rate, _PACE_SECONDS, sick_prefix, _SICK)
        wait_until(lambda: len(seen) >= len(told), "every failed test has its ticket")
    finally:
        done.set()
        watching.join()
    waits = [seen[key] - published for key, published in told]
    name = f"from a published reading to the committed ticket, at {rate:,.0f} readings/s"
    return [
        Figure(f"{name}: median", median(waits), "s"),
        at_most(f"{name}: 99 %", quantiles(waits, n=100)[98], "s", 1),
    ]


def _watch(stage: Stage, seen: dict[str, float], done: threading.Event) -> None:
    """Note when each device's ticket is seen, as another connection sees it once committed."""
    newest = 0
    with psycopg.connect(stage.dsn("superuser"), autocommit=True) as connection:
        connection.execute("LISTEN ridethrough")
        while not done.is_set():
            for _ in connection.notifies(timeout=0.5, stop_after=1):
                pass
            rows = connection.execute(
                "SELECT t.id, d.key FROM ticket t JOIN device d ON d.id = t.device_id"
                " WHERE t.id > %s",
                (newest,),
            ).fetchall()
            now = time.monotonic()
            for ticket_id, key in rows:
                newest = max(newest, ticket_id)
                seen.setdefault(key, now)
