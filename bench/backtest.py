"""Back-tests: one rule over units that told 24 points a minute, on plain PostgreSQL.

Each unit is above 80 % load for a stretch of the day that is its own, and on battery once a week.
The history is made by the server itself, day by day; `measure` takes a ninth of the 90 days that
the aim names and says what the whole would take, since reading is by far the most of it and grows
with the rows.
"""

import time
from datetime import UTC, datetime, timedelta

import psycopg

from bench.figures import Figure, at_most
from bench.stage import Stage
from rules.backtest_store import Asked, run
from rules.catalogue import Rule, catalogue, read_rules

UNITS = 200
DAYS = 10
OF_DAYS = 90
_BEGAN_AT = datetime(2026, 1, 5, tzinfo=UTC)
_LIMIT_SECONDS = 30.0
_AVERAGE = """
[steady_load]
title = {en = "Load above 80 % on average", zh = "平均负载率高于 80 %"}
severity = "warning"
condition = "avg_15m(ups_load) > 80"
clear = "avg_15m(ups_load) <= 70"
raise_after_seconds = 0
clear_after_seconds = 600
source = "measured"
"""


def measure(stage: Stage) -> list[Figure]:
    """Return what a back-test of one rule takes, plain and over time."""
    devices = stage.register(["snmp://127.0.0.1"] * UNITS, protocol="snmp", poll_seconds=60)
    make_history(stage.dsn("superuser"), devices, DAYS)
    figures = []
    for rule in (catalogue()["high_load"], read_rules(_AVERAGE)["steady_load"]):
        seconds, rows = timed(stage.dsn("ingest"), rule, DAYS)
        name = f"back-test of {rule.condition.text}, {UNITS} units × {OF_DAYS} d of minutes"
        figures += [
            at_most(name, seconds * OF_DAYS / DAYS, "s", _LIMIT_SECONDS),
            Figure(f"  readings a second, over {DAYS} d", rows / seconds, "1/s"),
        ]
    stage.forget_devices()
    return figures


def timed(dsn: str, rule: Rule, days: int) -> tuple[float, int]:
    """Run one back-test over the first days; returns its seconds and the readings it took."""
    asked = Asked((rule,), since=_BEGAN_AT, until=_BEGAN_AT + timedelta(days=days))
    began = time.perf_counter()
    options = "-c timezone=UTC"
    with psycopg.connect(dsn, options=options) as connection, psycopg.connect(dsn) as second:
        result = run([connection, second], asked)
    return time.perf_counter() - began, result.readings


def make_history(dsn: str, devices: list[int], days: int) -> None:
    """Let the server make a reading a minute for each device and day."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for day in range(days):
            begin = _BEGAN_AT + timedelta(days=day)
            connection.execute("SELECT ensure_partition('telemetry', %s)", (begin,))
            connection.execute(
                """
                INSERT INTO telemetry (device_id, observed_at, received_at, believed_seconds, told,
                    status_on_line, status_on_battery, status_low_battery, status_replace_battery,
                    status_charging, status_bypass, status_off, status_overload,
                    battery_charge, battery_runtime, battery_voltage, battery_current,
                    battery_temperature, input_voltage, input_frequency, output_voltage,
                    output_frequency, output_current, ups_load, ups_power, ups_realpower,
                    ups_temperature, input_current, ambient_temperature)
                SELECT device, at, at + interval '80 ms', 180, 1,
                    NOT out, out, false, false, false, false, false, false,
                    CASE WHEN out THEN 100 - minute % 60 ELSE 100 END, 1800 + 10 * (minute % 7),
                    27.2 + (minute % 5) / 10.0, 0.2, 24 + (device + minute / 60) % 6,
                    CASE WHEN out THEN 0 ELSE 228 + (minute * 7 + device) % 9 END, 50, 230, 50,
                    4.2 + (minute % 9) / 10.0, load, load * 22, load * 20, 31 + minute / 360,
                    4.5, 22 + minute / 480
                FROM unnest(%(devices)s::bigint[]) AS device
                CROSS JOIN LATERAL (
                    SELECT at, minute,
                        CASE WHEN (minute + 37 * device) %% 1440 < 90 THEN 88 ELSE 42 END
                            + (minute * 13 + device) %% 11 - 5 AS load,
                        (%(day)s + device) %% 7 = 0 AND (minute + 11 * device) %% 1440 < 8 AS out
                    FROM generate_series(0, 1439) AS minute
                    CROSS JOIN LATERAL (SELECT %(begin)s::timestamptz
                        + make_interval(mins => minute, secs => device %% 60) AS at) AS t) AS x
                ORDER BY at
                """.replace("minute % ", "minute %% ").replace(") % ", ") %% "),
                {"devices": devices, "day": day, "begin": begin},
            )
        connection.execute("VACUUM ANALYZE telemetry")
