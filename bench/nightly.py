"""The nightly battery figures of a whole fleet, from the database and back into it.

The kept days of a year and the rollups of the last days are made by the server itself; then the
job works one night out, as it does every night.
"""

import time
from datetime import UTC, datetime, timedelta

import psycopg

from bench.figures import Figure, at_most
from bench.stage import Stage
from service_api.battery.nightly import compute_all
from service_api.database import open_pool

UNITS = 10_000
DAYS = 365
BUCKETS_DAYS = 6
"""So many days of rollups are read in a night, those before for their judgement among them."""
_LIMIT_SECONDS = 300.0
_NIGHT = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)


def measure(stage: Stage) -> list[Figure]:
    """Return what a night takes for the whole fleet."""
    stage.register(["snmp://127.0.0.1"] * UNITS, protocol="snmp", poll_seconds=60)
    make_past(stage.dsn("superuser"))
    pool = open_pool(stage.dsn("ingest"), most=4, name="bench")
    began = time.perf_counter()
    try:
        compute_all(pool, _NIGHT)
    finally:
        pool.close()
    seconds = time.perf_counter() - began
    figures = stage.one("SELECT count(*) FROM device_health WHERE confidence <> 'unknown'")
    stage.forget_devices()
    return [
        at_most(f"nightly battery figures of {UNITS:,} units", seconds, "s", _LIMIT_SECONDS),
        Figure("  of these with a figure", float(figures), "units"),
        Figure("  a unit", seconds / UNITS * 1e3, "ms"),
    ]


def make_past(dsn: str) -> None:
    """Let the server make a year of kept days and the last days' rollups for each unit.

    Batteries are one to five years old; runtimes fall with age and follow load as Peukert has it.
    """
    today = _NIGHT.replace(hour=0)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        connection.execute(
            "UPDATE device SET battery_installed_on = %s::date - 365 - (id %% 1460)::int",
            (today,),
        )
        connection.execute(
            """
            INSERT INTO battery_day (device_id, day, celsius, samples, log_load_low,
                log_runtime_low, log_load_high, log_runtime_high)
            SELECT d.id, day, 22 + d.id %% 9 + sin(ago / 58.0) * 3, 40,
                ln(38 + d.id %% 5), ln(1800 - ago) - 1.2 * ln((38 + d.id %% 5) / 40.0),
                ln(52 + d.id %% 5), ln(1800 - ago) - 1.2 * ln((52 + d.id %% 5) / 40.0)
            FROM device d, LATERAL (
                SELECT %(today)s::date - ago AS day, (%(days)s - ago) * 0.3 AS ago
                FROM generate_series(1, %(days)s) ago) x
            """,
            {"today": today, "days": DAYS},
        )
        for day in range(BUCKETS_DAYS):
            begin = today - timedelta(days=day + 1)
            connection.execute("SELECT ensure_partition('telemetry_15m', %s)", (begin,))
            connection.execute(
                """
                INSERT INTO telemetry_15m (device_id, bucket, n, ups_load_avg, ups_load_min,
                    ups_load_max, battery_runtime_avg, battery_charge_min, battery_temperature_avg,
                    status_on_battery_seconds, status_replace_battery_seconds)
                SELECT d.id, bucket, 15, load, load - 1, load + 1,
                    1700 * power(load / 40.0, -1.2), 100, 22 + d.id %% 9, 0, 0
                FROM device d, LATERAL (
                    SELECT bucket, 40 + 8 * sin(extract(hour FROM bucket) / 4 + d.id) AS load
                    FROM generate_series(%(begin)s::timestamptz,
                        %(begin)s::timestamptz + interval '23:45', interval '15 min') bucket) x
                """,
                {"begin": begin},
            )
        connection.execute("ANALYZE battery_day, telemetry_15m, device")
