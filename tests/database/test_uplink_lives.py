"""Collectors away from the center: their lives as rows, and what silence counts meanwhile."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from collector.tick import seconds_since_seen
from collector.uplink_lives import known_skews, note_beat, note_end
from collector.uplink_wire import Beat
from tests.cast import HEALTHY, START, Service, register


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def beat(service: Service, *, life: str = "first", skew: float = 0.0, **figures) -> None:
    told = Beat(v=1, at=service.clock.now, group="default", life=life, number=1, **figures)
    with service.pool.connection() as connection:
        note_beat(connection, name="site-3", beat=told, skew=skew, now=service.clock.now)


def lives(service: Service) -> list[tuple]:
    return service.rows("SELECT started_at, beat_at, stopped_at FROM collector ORDER BY id")


def silence(service: Service, device_id: int) -> float | None:
    with service.pool.connection() as connection:
        return seconds_since_seen(connection, [device_id], service.clock.now)[device_id]


def test_beats_keep_one_row_with_its_figures(service):
    beat(service)
    service.clock.advance(10)
    beat(service, skew=1.5, spooled=7, dropped=2)
    assert lives(service) == [(START, START + timedelta(seconds=10), None)]
    assert service.rows(
        "SELECT name, is_uplink, collector_group, skew_seconds, spooled, spool_dropped"
        " FROM collector"
    ) == [("site-3", True, "default", 1.5, 7, 2)]
    with service.pool.connection() as connection:
        assert known_skews(connection, now=service.clock.now) == {"site-3": 1.5}


def test_silence_during_a_cut_is_not_the_units(service, database):
    (ups,) = register(database.admin_dsn)
    beat(service)
    service.tell(ups, **HEALTHY)
    service.clock.advance(600)
    assert silence(service, ups) is None  # nobody can tell
    beat(service)
    first, second = lives(service)
    assert first == (START, START, START)
    assert second[0] == service.clock.now
    assert silence(service, ups) == pytest.approx(0)
    service.clock.advance(20)
    beat(service)
    assert silence(service, ups) == pytest.approx(20)


def test_a_restarted_collector_begins_another_life(service):
    beat(service)
    service.clock.advance(5)
    beat(service, life="second")
    assert [row[2] for row in lives(service)] == [START, None]


def test_a_last_will_ends_the_life_at_once(service, database):
    (ups,) = register(database.admin_dsn)
    beat(service)
    service.tell(ups, **HEALTHY)
    service.clock.advance(5)
    with service.pool.connection() as connection:
        note_end(connection, name="site-3")
    assert silence(service, ups) is None
    service.clock.advance(2)
    beat(service)
    assert [row[2] for row in lives(service)] == [START, None]


def test_a_dead_collector_is_an_incident_and_its_units_are_not(service, database):
    (ups,) = register(database.admin_dsn)
    beat(service)
    service.tell(ups, **HEALTHY)
    service.run(1_800, step=30, beat=False)
    assert service.rows("SELECT cause, subject FROM incident WHERE closed_at IS NULL") == [
        ("collector_down", "collector_group:default")
    ]
    assert service.one("SELECT count(*) FROM alarm") == 0
    beat(service)
    service.tick()
    assert service.one("SELECT count(*) FROM incident WHERE closed_at IS NULL") == 0
    assert service.one("SELECT count(*) FROM alarm") == 0


@pytest.mark.parametrize(("skew", "words"), [(61.0, "61 s ahead of"), (-90.0, "90 s behind")])
def test_a_clock_that_is_far_off_is_a_finding_until_it_is_right(service, skew, words):
    beat(service, skew=skew)
    beat(service, skew=skew)
    ((subject, detail),) = service.rows("SELECT subject, detail FROM finding")
    assert subject == "collector:site-3"
    assert words in detail
    beat(service, skew=59.0)
    assert service.one("SELECT count(*) FROM finding WHERE closed_at IS NULL") == 0
