"""A cause that comes back: one incident while it flaps, and not a new ticket each time."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from rules.operations import close_ticket
from tests.cast import HEALTHY, ON_BATTERY, RUNNING_LOW, Service, register


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def say(service: Service, units: list[int], points: dict, *, seconds: int) -> None:
    for _ in range(0, seconds, 5):
        service.tell(*units, **points)
        service.run(5, step=5)


def outage(service: Service, units: list[int], low: int) -> None:
    """Mains fails at the site, one unit runs low, mains comes back."""
    others = [ups for ups in units if ups != low]
    for _ in range(15):
        service.tell(*others, **ON_BATTERY)
        service.tell(low, **RUNNING_LOW)
        service.run(5, step=5)
    say(service, units, HEALTHY, seconds=30)


def close(service: Service) -> None:
    with service.pool.connection() as connection:
        close_ticket(
            connection,
            service.one("SELECT max(id) FROM ticket"),
            closing_code="repaired",
            text="",
            actor="dispatcher",
            now=service.clock.now,
        )


def test_flapping_mains_is_one_incident_and_one_ticket(service, database):
    units = register(database.admin_dsn, devices=2)
    service.beat()
    for low in (units[0], units[0], units[1]):
        outage(service, units, low)
    assert service.one("SELECT count(*) FROM incident WHERE closed_at IS NOT NULL") == 1
    assert service.rows("SELECT kind FROM incident_event ORDER BY id") == [
        ("opened",),
        ("closed",),
        ("reopened",),
        ("closed",),
        ("reopened",),
        ("closed",),
    ]
    assert service.rows(
        "SELECT state, reopened, incident_id = (SELECT max(id) FROM incident),"
        " condition_cleared_at IS NOT NULL FROM ticket"
    ) == [("open", 0, True, True)]
    assert service.rows("SELECT kind FROM ticket_event ORDER BY id") == [
        ("opened",),
        ("condition_cleared",),
        ("evidence",),
        ("condition_cleared",),
        ("evidence",),
        ("condition_cleared",),
    ]
    assert service.one("SELECT count(*) FROM ticket_alarm") == 3


def test_mains_that_fails_again_much_later_is_another_incident_and_one_ticket(service, database):
    units = register(database.admin_dsn, devices=2)
    service.beat()
    outage(service, units, units[0])
    say(service, units, HEALTHY, seconds=660)
    outage(service, units, units[0])
    assert service.one("SELECT count(*) FROM incident WHERE closed_at IS NOT NULL") == 2
    assert service.rows(
        "SELECT reopened, incident_id = (SELECT max(id) FROM incident) FROM ticket"
    ) == [(0, True)]


def test_a_relapse_of_the_same_unit_reopens_the_closed_ticket_of_the_last_incident(
    service, database
):
    units = register(database.admin_dsn, devices=2)
    service.beat()
    outage(service, units, units[0])
    close(service)
    outage(service, units, units[0])
    assert service.rows("SELECT state, reopened FROM ticket") == [("open", 1)]


def test_another_unit_running_low_after_the_ticket_was_closed_is_new_work(service, database):
    units = register(database.admin_dsn, devices=2)
    service.beat()
    outage(service, units, units[0])
    close(service)
    outage(service, units, units[1])
    assert service.rows("SELECT device_id, state, reopened FROM ticket ORDER BY id") == [
        (units[0], "closed", 0),
        (units[1], "open", 0),
    ]


def test_after_the_reopen_window_a_relapse_is_new_work(service, database):
    units = register(database.admin_dsn, devices=1)
    service.beat()
    outage(service, units, units[0])
    close(service)
    service.clock.now += timedelta(days=15)
    service.beat()
    outage(service, units, units[0])
    assert service.rows("SELECT state FROM ticket ORDER BY id") == [("closed",), ("open",)]


def test_the_same_cause_at_another_site_has_its_own_ticket(service, database):
    first, second = register(database.admin_dsn, devices=1, sites=2)
    service.beat()
    outage(service, [first], first)
    outage(service, [second], second)
    assert service.rows("SELECT device_id FROM ticket ORDER BY id") == [(first,), (second,)]
