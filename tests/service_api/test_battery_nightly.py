from datetime import date, timedelta

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from rules.battery.facts import TestOutcome as Outcome
from rules.occasions import FACTS, Occasion
from service_api.battery.nightly import compute_all, last_test
from tests.conftest import NOW
from tests.service_world import lay_world


@pytest.fixture
def world(database):
    laid = lay_world(database.owner_dsn)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute(
            "UPDATE device SET battery_installed_on = %s, enabled = (id = %s)",
            (NOW.date() - timedelta(days=1_400), laid.device),
        )
        connection.execute(
            "INSERT INTO telemetry_1d (device_id, bucket, n, battery_temperature_avg)"
            " SELECT %s, day, 1, 25 + extract(doy FROM day)::int %% 3"
            " FROM generate_series(%s, %s, interval '1 day') AS day",
            (laid.device, NOW.replace(hour=0) - timedelta(days=1_399), NOW.replace(hour=0)),
        )
        connection.execute("UPDATE device_state SET observed_at = %s", (NOW,))
    return laid


@pytest.fixture
def pool(database, world):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=2, open=True) as opened:
        yield opened


def flag(database) -> None:
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute("UPDATE device_state SET status_replace_battery = true")
        connection.execute("SELECT ensure_partition('telemetry_15m', %s)", (NOW,))
        connection.execute(
            "INSERT INTO telemetry_15m (device_id, bucket, n, status_replace_battery_any,"
            " status_replace_battery_seconds) SELECT id, bucket, 30, true, 900 FROM device,"
            " generate_series(%s, %s, interval '15 min') AS bucket",
            (NOW - timedelta(hours=2), NOW - timedelta(minutes=15)),
        )


def health(pool) -> list[tuple]:
    with pool.connection() as connection:
        return connection.execute(
            "SELECT day, replace_battery, confidence, round(life_used::numeric, 1)::text"
            " FROM device_health ORDER BY day"
        ).fetchall()


def modes(pool) -> list[tuple]:
    with pool.connection() as connection:
        return connection.execute("SELECT failure_mode, source FROM ticket").fetchall()


def test_an_old_battery_alone_gets_a_figure_and_no_ticket(pool, world):
    assert compute_all(pool, NOW) == "1 units, 0 tickets"
    assert health(pool) == [(date(2026, 3, 2), False, "medium", "1.0")]
    assert modes(pool) == []


def test_age_and_the_units_own_flag_together_open_one_ticket_once_they_last(database, pool, world):
    flag(database)
    assert compute_all(pool, NOW) == "1 units, 0 tickets"
    assert compute_all(pool, NOW + timedelta(days=1)) == "1 units, 1 tickets"
    assert compute_all(pool, NOW + timedelta(days=1)) == "1 units, 0 tickets"
    assert [row[1] for row in health(pool)] == [True, True]
    assert modes(pool) == [("battery_end_of_life", "rule")]


def test_a_unit_of_which_nothing_is_known_says_so(database, pool, world):
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute("UPDATE device SET battery_installed_on = NULL")
    compute_all(pool, NOW)
    assert health(pool) == [(date(2026, 3, 2), False, "unknown", None)]


def test_the_date_that_a_card_tells_helps_where_nobody_entered_one(database, pool, world):
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute(
            "UPDATE device SET battery_installed_on = NULL, identity = jsonb_build_object("
            "'battery.date', %s::text, 'ups.mfr.date', '2019-01-01')",
            ((NOW.date() - timedelta(days=1_400)).isoformat(),),
        )
    compute_all(pool, NOW)
    assert health(pool) == [(date(2026, 3, 2), False, "medium", "1.0")]


@pytest.mark.parametrize(
    ("result", "told_on", "observed_at", "expected"),
    [
        ("failed", None, NOW, (Outcome.FAILED, NOW)),
        ("passed", None, NOW, None),
        ("passed", "2026-02-01", NOW, (Outcome.PASSED, NOW.replace(month=2, day=1, hour=0))),
        ("passed", "yesterday", NOW, None),
        ("aborted", None, NOW, None),
        ("none", "2026-02-01", NOW, None),
        (None, None, NOW, None),
        ("failed", None, None, None),
    ],
)
def test_what_a_unit_says_of_its_last_test(result, told_on, observed_at, expected):
    found = last_test(result, told_on, observed_at)
    assert (None if found is None else (found.result.outcome, found.result.ended_at)) == expected


def test_rules_may_ask_of_the_figure_and_their_alarm_goes_when_it_does(database, pool, world):
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute(
            "UPDATE device SET battery_life_years = 1 WHERE enabled"
        )  # 1,400 days are nearly four of its lives
    compute_all(pool, NOW)
    with pool.connection() as connection:
        alarm = connection.execute(
            "SELECT rule_key, cleared_at FROM alarm WHERE rule_key = 'battery_worn'"
        ).fetchone()
    assert alarm == ("battery_worn", None)

    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute(
            "UPDATE device SET battery_installed_on = %s WHERE enabled",
            (NOW.date() - timedelta(days=30),),
        )
    compute_all(pool, NOW + timedelta(days=1))
    with pool.connection() as connection:
        (cleared_at,) = connection.execute(
            "SELECT cleared_at FROM alarm WHERE rule_key = 'battery_worn'"
        ).fetchone()
    assert cleared_at is not None


def test_every_word_of_battery_health_is_worked_out_each_night(pool, world):
    compute_all(pool, NOW)
    with pool.connection() as connection:
        kept = {
            column
            for (row,) in connection.execute(
                "SELECT values FROM device_fact WHERE occasion = 'health'"
            )
            for column in row
        }
    assert kept == {word for word, fact in FACTS.items() if fact.occasion is Occasion.HEALTH}


EVENING = NOW.replace(hour=18)
"""When the job runs; at the site in Shanghai the next day has begun."""


def test_nights_follow_each_other_by_the_days_of_the_site(database, pool, world):
    flag(database)
    assert compute_all(pool, EVENING) == "1 units, 0 tickets"
    assert [row[0] for row in health(pool)] == [date(2026, 3, 3)]
    assert compute_all(pool, EVENING + timedelta(days=1)) == "1 units, 1 tickets"


def say(database, **told: str) -> None:
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        for column, value in told.items():
            connection.execute(f"UPDATE device_state SET {column} = %s", (value,))


def failures(pool) -> list[str]:
    with pool.connection() as connection:
        return [
            line
            for (evidence,) in connection.execute("SELECT evidence FROM device_health ORDER BY day")
            for line in evidence
            if line.startswith("failed_tests=")
        ]


def test_a_result_without_a_date_counts_once_and_a_later_pass_takes_a_failure_back(
    database, pool, world
):
    """Many cards repeat their last result for ever and never say when the test was."""
    for night, result in enumerate(["passed", "failed", "failed", "passed", "failed"]):
        say(
            database,
            ups_test_result=result,
            observed_at=NOW + timedelta(days=night),
        )
        compute_all(pool, NOW + timedelta(days=night))

    assert failures(pool) == [f"failed_tests={count}" for count in (0, 1, 1, 0, 1)]


def test_three_days_after_a_gap_say_nothing_of_runtime_night_after_night(database, pool, world):
    """As a unit that starts, a card that comes back may show a placeholder first."""
    back = NOW.replace(hour=0) - timedelta(days=10)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        for day in range(-20, 1):
            at = NOW.replace(hour=0) + timedelta(days=day)
            connection.execute("SELECT ensure_partition('telemetry_15m', %s)", (at,))
        connection.execute(
            "INSERT INTO telemetry_15m (device_id, bucket, n, ups_load_avg, ups_load_min,"
            " ups_load_max, battery_runtime_avg, battery_charge_min, status_on_battery_seconds)"
            " SELECT %s, bucket, 30, 40, 39, 41, 1200, 100, 0"
            " FROM generate_series(%s, %s, interval '15 min') AS bucket"
            " WHERE NOT bucket BETWEEN %s AND %s",
            (
                world.device,
                NOW.replace(hour=0) - timedelta(days=18),
                NOW.replace(hour=0),
                back - timedelta(hours=12),
                back - timedelta(minutes=15),
            ),
        )
    for days_ago in range(14, -1, -1):
        compute_all(pool, NOW - timedelta(days=days_ago))

    with pool.connection() as connection:
        silent = [
            (day - back.date()).days
            for (day,) in connection.execute(
                "SELECT day FROM battery_day WHERE samples = 0 AND day >= %s ORDER BY day",
                (back.date() - timedelta(days=5),),
            )
        ]
    assert silent == [0, 1, 2]
