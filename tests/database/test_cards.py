"""What collectors tell of cards is kept, in order of time, and cloned engine ids are found."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector.arrival import Arrival, CardNews
from collector.card_store import CLONED_ENGINE, note_cloned_engines
from collector.store import known_devices
from tests.cast import START, Service, register

ENGINE = bytes.fromhex("80004fb805766d072e27")


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def tell(service, device_id, *, seconds=0, **card) -> None:
    at = START + timedelta(seconds=seconds)
    service.ingest.store(
        [Arrival(f"ups-{device_id}", at, "snmp", device_id, card=CardNews(**card))]
    )


def card_of(service, device_id) -> tuple:
    (row,) = service.rows(
        """
        SELECT patience, engine_id, restarted_at, failing_since_at, failure, failure_detail
        FROM device_card WHERE device_id = %s
        """,
        device_id,
    )
    return row


def findings(service) -> list[tuple]:
    return service.rows(
        "SELECT subject, detail, closed_at IS NULL FROM finding WHERE kind = %s ORDER BY id",
        CLONED_ENGINE,
    )


def look(service, seconds) -> int:
    with service.pool.connection() as connection:
        return note_cloned_engines(connection, START + timedelta(seconds=seconds))


def test_what_was_learned_of_a_card_is_there_when_its_device_is_loaded_again(service, database):
    (ups,) = register(database.admin_dsn)
    tell(service, ups, patience={"objects": 5, "pause_seconds": 0.1}, failure="timeout")
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("""UPDATE device SET patience = '{"objects": 12}'""")
    with service.pool.connection() as connection:
        (known,) = known_devices(connection, collector_group="default")
    assert known.patience == {"objects": 5, "pause_seconds": 0.1}
    assert known.patience_set == {"objects": 12}
    assert known.is_card_failing


def test_a_device_of_whose_card_nothing_is_known_is_loaded_with_nothing(service, database):
    register(database.admin_dsn)
    with service.pool.connection() as connection:
        (known,) = known_devices(connection, collector_group="default")
    assert (known.patience, known.patience_set, known.is_card_failing) == ({}, {}, False)


def test_news_that_comes_late_changes_nothing(service, database):
    (ups,) = register(database.admin_dsn)
    tell(service, ups, seconds=60, patience={"objects": 20})
    tell(service, ups, seconds=30, patience={"objects": 3}, failure="auth")
    assert card_of(service, ups)[0] == {"objects": 20}
    assert card_of(service, ups)[4] is None


def test_a_streak_keeps_its_beginning_when_another_collector_goes_on_with_it(service, database):
    (ups,) = register(database.admin_dsn)
    later = START + timedelta(minutes=5)
    tell(service, ups, failing_since_at=START, failure="timeout", failure_detail="no answer")
    tell(service, ups, seconds=300, failing_since_at=later, failure="auth", failure_detail="no")
    assert card_of(service, ups)[3:] == (START, "auth", "no")
    tell(service, ups, seconds=600)
    assert card_of(service, ups)[3:] == (None, None, None)
    tell(service, ups, seconds=900, failing_since_at=later, failure="timeout")
    assert card_of(service, ups)[3] == later


def test_engine_id_and_restart_stay_when_later_news_is_silent_about_them(service, database):
    (ups,) = register(database.admin_dsn)
    tell(service, ups, engine_id=ENGINE, restarted_at=START)
    tell(service, ups, seconds=5, patience={"objects": 9})
    assert card_of(service, ups)[:3] == ({"objects": 9}, ENGINE, START)


def test_the_same_news_twice_changes_nothing(service, database):
    (ups,) = register(database.admin_dsn)
    for _ in range(2):
        tell(service, ups, engine_id=ENGINE, failing_since_at=START, failure="timeout")
    assert service.one("SELECT count(*) FROM device_card") == 1


def test_news_of_an_unknown_device_is_let_go(service, database):
    register(database.admin_dsn)
    tell(service, 987_654, patience={"objects": 3})
    assert service.one("SELECT count(*) FROM device_card") == 0


def test_two_devices_with_one_engine_id_are_one_finding_with_both_keys_until_one_changes(
    service, database
):
    first, second, third = register(database.admin_dsn, devices=3)
    tell(service, first, engine_id=ENGINE)
    assert look(service, 0) == 0
    tell(service, second, engine_id=ENGINE)
    tell(service, third, engine_id=b"\x80\x01")
    assert [look(service, seconds) for seconds in (10, 20)] == [1, 1]
    ((subject, detail, is_open),) = findings(service)
    assert subject == ENGINE.hex()
    assert "ups-0-1, ups-0-2" in detail
    assert "ups-0-3" not in detail
    assert is_open
    tell(service, second, seconds=30, engine_id=b"\x80\x02")
    assert look(service, 40) == 0
    assert [is_open for *_, is_open in findings(service)] == [False]
    tell(service, second, seconds=50, engine_id=ENGINE)
    assert look(service, 60) == 1
    assert len(findings(service)) == 2


def test_a_switched_off_device_is_no_clone(service, database):
    first, second = register(database.admin_dsn, devices=2)
    tell(service, first, engine_id=ENGINE)
    tell(service, second, engine_id=ENGINE)
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("UPDATE device SET enabled = false WHERE id = %s", (second,))
    assert look(service, 10) == 0
