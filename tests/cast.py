"""The cast of the store tests: one customer, one site, some devices, a live collector."""

from datetime import UTC, datetime, timedelta

import psycopg
from psycopg_pool import ConnectionPool

from collector.arrival import Arrival
from collector.ingest import Ingest
from collector.tick import tick
from rules.catalogue import catalogue
from rules.facts import Reading
from rules.live import LiveRules

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

HEALTHY = {
    "status_on_line": True,
    "status_on_battery": False,
    "status_low_battery": False,
    "battery_charge": 100.0,
    "battery_runtime": 1800.0,
    "ups_load": 42.0,
    "input_voltage": 231.0,
}
ON_BATTERY = HEALTHY | {"status_on_line": False, "status_on_battery": True, "input_voltage": 0.0}
RUNNING_LOW = ON_BATTERY | {"status_low_battery": True, "battery_charge": 9.0}


class Clock:
    """A clock that tests advance."""

    def __init__(self, start: datetime = START) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


def register(dsn: str, *, devices: int = 1, sites: int = 1, prefix: str = "") -> list[int]:
    """Insert one customer with `sites` sites and `devices` devices a site; returns device ids."""
    ids = []
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        customer_id = connection.execute(
            """
            INSERT INTO customer (key, name, name_zh) VALUES (%s, 'Customer', '客户') RETURNING id
            """,
            (f"{prefix}customer",),
        ).fetchone()[0]
        for site in range(sites):
            site_id = connection.execute(
                """
                INSERT INTO site (customer_id, key, name, name_zh)
                VALUES (%s, %s, 'Site', '站点') RETURNING id
                """,
                (customer_id, f"{prefix}site-{site}"),
            ).fetchone()[0]
            ids += [
                row[0]
                for row in connection.execute(
                    """
                    INSERT INTO device (key, name, customer_id, site_id, protocol, address,
                        created_at)
                    SELECT %s || n, 'UPS ' || n, %s, %s, 'snmp', 'snmp://127.0.0.1', %s
                    FROM generate_series(1, %s) n RETURNING id
                    """,
                    (f"{prefix}ups-{site}-", customer_id, site_id, START, devices),
                )
            ]
    return sorted(ids)


class Service:
    """Ingest and tick on one database under an injected clock."""

    def __init__(self, dsn: str, *, connections: int = 2) -> None:
        self.clock = Clock()
        self.pool = ConnectionPool(
            dsn, min_size=1, max_size=connections, kwargs={"options": "-c timezone=UTC"}, open=True
        )
        self.rules = LiveRules(catalogue())
        self.ingest = Ingest(
            self.pool,
            rules=self.rules,
            now=self.clock,
            oldest=lambda now: now - timedelta(days=14),
        )

    def close(self) -> None:
        self.pool.close()

    def arrive(self, device_id: int, points: dict, *, valid: float | None = 15, **more) -> Arrival:
        reading = Reading(
            device_id,
            more.pop("observed_at", self.clock.now),
            self.clock.now,
            points,
            stays_valid_seconds=valid,
            **more,
        )
        return Arrival(f"ups-{device_id}", self.clock.now, "test", device_id, reading)

    def tell(self, *device_ids: int, valid: float | None = 15, **points) -> None:
        self.ingest.store([self.arrive(one, points, valid=valid) for one in device_ids])

    def beat(self, group: str = "default") -> None:
        """Keep one collector of the group alive until now."""
        with self.pool.connection() as connection:
            updated = connection.execute(
                "UPDATE collector SET beat_at = %s WHERE collector_group = %s",
                (self.clock.now, group),
            ).rowcount
            if not updated:
                connection.execute(
                    """
                    INSERT INTO collector (key, collector_group, started_at, beat_at)
                    VALUES ('test', %s, %s, %s)
                    """,
                    (group, self.clock.now, self.clock.now),
                )

    def tick(self) -> None:
        tick(self.pool, self.rules, now=self.clock.now)

    def run(self, seconds: int, *, step: int = 1, beat: bool = True) -> None:
        """Let time pass, ticking every `step` seconds."""
        for _ in range(0, seconds, step):
            self.clock.advance(step)
            if beat:
                self.beat()
            self.tick()

    def rows(self, query: str, *parameters: object) -> list[tuple]:
        with self.pool.connection() as connection:
            return connection.execute(query, parameters).fetchall()

    def one(self, query: str, *parameters: object) -> object:
        return self.rows(query, *parameters)[0][0]
