"""Episodes on battery kept in the database: soon, once, again for late rows, and for each owner."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector.power_store import find_power_events
from rules.power_trust import trust_of
from tests.cast import HEALTHY, ON_BATTERY, START, Service, register

DAY = timedelta(days=1)


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def look(service: Service) -> int:
    with service.pool.connection() as connection:
        return find_power_events(connection, now=service.clock.now)


def say(service: Service, unit: int, points: dict, seconds: int, step: int = 5) -> None:
    for _ in range(0, seconds, step):
        service.tell(unit, valid=3 * step, **points)
        service.clock.advance(step)


def discharge(service: Service, unit: int, seconds: int, *, lasts: float, promises: float) -> None:
    for passed in range(0, seconds, 5):
        left = 1 - passed / lasts
        points = ON_BATTERY | {"battery_charge": 100 * left, "battery_runtime": promises * left}
        service.tell(unit, valid=15, **points)
        service.clock.advance(5)


def events(service: Service) -> list[tuple]:
    return service.rows("SELECT kind, seconds, unproven FROM power_event ORDER BY began_at")


def test_an_outage_is_open_while_it_lasts_and_finished_within_a_minute(service, database):
    (ups,) = register(database.admin_dsn)
    say(service, ups, HEALTHY, 60)
    discharge(service, ups, 60, lasts=1_000, promises=2_000)
    assert look(service) == 1
    assert events(service) == [("outage", 60.0, "open")]
    opened = service.one("SELECT id FROM power_event")
    discharge(service, ups, 540, lasts=1_000, promises=2_000)
    say(service, ups, HEALTHY, 60)
    assert look(service) == 1
    assert [row[:2] for row in events(service)] == [("outage", 600.0)]
    assert service.one("SELECT id FROM power_event") == opened
    service.clock.advance(180)
    look(service)
    assert look(service) == 0


def test_what_a_promise_was_worth_is_known_for_the_next_outage(service, database):
    (ups,) = register(database.admin_dsn)
    for _ in range(3):
        say(service, ups, HEALTHY, 60)
        discharge(service, ups, 700, lasts=1_000, promises=2_000)
    say(service, ups, HEALTHY, 60)
    look(service)
    assert len(events(service)) == 3
    with service.pool.connection() as connection:
        now = service.clock.now
        told = trust_of(connection, [ups], now)[ups]
        assert 0.45 < told.ratio < 0.75
        assert told.low < told.ratio < told.high
        assert told.episodes == 3
        with psycopg.connect(database.admin_dsn) as admin:
            admin.execute("UPDATE device SET battery_installed_on = %s", (now.date() + DAY,))
        assert trust_of(connection, [ups], now) == {}


def test_a_short_test_between_two_looks_is_found(service, database):
    (ups,) = register(database.admin_dsn)
    say(service, ups, HEALTHY, 60)
    look(service)
    say(service, ups, ON_BATTERY | {"status_testing": True, "input_voltage": 231.0}, 15)
    say(service, ups, HEALTHY, 30)
    assert look(service) == 1
    assert events(service) == [("self_test", 15.0, "too_short")]


def test_rows_that_come_hours_late_make_their_episode_and_change_it(service, database):
    (ups,) = register(database.admin_dsn)
    say(service, ups, HEALTHY, 60)
    service.clock.advance(3 * 3_600)
    say(service, ups, HEALTHY, 10)
    look(service)

    def late(seconds: list[int], *, on: bool) -> None:
        service.ingest.store(
            [
                service.arrive(
                    ups,
                    ON_BATTERY if on else HEALTHY,
                    observed_at=START + timedelta(seconds=second),
                )
                for second in seconds
            ]
        )

    late([600, 605], on=True)
    assert look(service) == 1
    service.clock.advance(30)
    late([610, 615, 620], on=True)
    late([625], on=False)
    assert look(service) == 1
    assert [row[:2] for row in events(service)] == [("outage", 25.0)]


def test_a_unit_that_goes_silent_on_battery_ends_when_it_was_last_heard(service, database):
    (ups,) = register(database.admin_dsn)
    say(service, ups, HEALTHY, 60)
    discharge(service, ups, 300, lasts=1_000, promises=1_000)
    look(service)
    service.clock.advance(45 * 60)
    assert look(service) == 1
    assert service.rows("SELECT lost, seconds FROM power_event") == [(True, 295.0)]
    service.clock.advance(180)
    assert look(service) == 0


def test_a_replay_of_yesterday_is_found_while_another_outage_goes_on(service, database):
    (ups,) = register(database.admin_dsn)
    say(service, ups, HEALTHY, 60)
    service.clock.advance(24 * 3_600)
    say(service, ups, HEALTHY, 30)
    discharge(service, ups, 60, lasts=1_000, promises=1_000)
    look(service)
    replay = [
        service.arrive(ups, points, observed_at=START + timedelta(minutes=minutes, seconds=second))
        for minutes in (120, 300)
        for points, seconds in ((ON_BATTERY, range(0, 90, 5)), (HEALTHY, range(90, 120, 5)))
        for second in seconds
    ]
    service.ingest.store(replay)
    discharge(service, ups, 60, lasts=1_000, promises=1_000)
    look(service)
    assert [row[:2] for row in events(service)][:2] == [("outage", 90.0), ("outage", 90.0)]
    assert len(events(service)) == 3
    assert service.one("SELECT count(*) FROM power_event WHERE ended_at IS NULL") == 1


def test_readings_of_the_hour_before_join_the_outage_that_goes_on(service, database):
    (ups,) = register(database.admin_dsn)
    say(service, ups, HEALTHY, 60)
    service.clock.advance(3_600)
    discharge(service, ups, 60, lasts=10_000, promises=10_000)
    look(service)
    began = START + timedelta(seconds=60)
    service.ingest.store(
        [
            service.arrive(ups, ON_BATTERY, observed_at=began + timedelta(minutes=minute))
            for minute in range(60)
        ]
    )
    discharge(service, ups, 30, lasts=10_000, promises=10_000)
    look(service)
    assert service.rows("SELECT began_at, ended_at FROM power_event") == [(began, None)]


def test_looking_again_changes_nothing_and_two_look_one_at_a_time(service, database):
    (ups,) = register(database.admin_dsn)
    say(service, ups, HEALTHY, 30)
    discharge(service, ups, 300, lasts=1_000, promises=1_000)
    say(service, ups, HEALTHY, 30)
    look(service)
    before = service.rows("SELECT * FROM power_event")
    with service.pool.connection() as connection:
        connection.execute("UPDATE power_event_look SET until_at = 'epoch'")
        connection.execute("UPDATE power_event SET looked_at = looked_at - interval '1 day'")
    with psycopg.connect(database.ingest_dsn) as other:
        other.execute("SELECT FROM power_event_look FOR UPDATE")
        assert look(service) == 0
    assert look(service) == 1
    after = service.rows("SELECT * FROM power_event")
    assert [row[:-1] for row in before] == [row[:-1] for row in after]
