"""Several workers at once: one incident, one ticket, nothing doubled, no deadlock surfaces."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from collector.ingest import Ingest
from rules.catalogue import catalogue
from rules.live import LiveRules
from tests.cast import HEALTHY, ON_BATTERY, RUNNING_LOW, START, Service, register


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn, connections=12)
    yield made
    made.close()


def test_an_outage_of_500_units_over_four_workers_is_one_incident(service, database):
    units = register(database.admin_dsn, devices=500)
    service.beat()
    workers = [
        Ingest(
            service.pool,
            rules=LiveRules(catalogue()),
            now=service.clock,
            oldest=lambda now: now - timedelta(days=14),
        )
        for _ in range(4)
    ]

    def say(points: dict) -> None:
        """Every worker stores a quarter of the units, in shuffled batches of 25, at once."""
        failures = []

        def work(worker: Ingest, mine: list[int]) -> None:
            try:
                for first in range(0, len(mine), 25):
                    worker.store(
                        [service.arrive(ups, points, valid=90) for ups in mine[first : first + 25]]
                    )
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(worker, units[number::4][:: 1 - 2 * (number % 2)]))
            for number, worker in enumerate(workers)
        ]
        threads += [threading.Thread(target=service.tick)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    for points in (HEALTHY, ON_BATTERY, ON_BATTERY, RUNNING_LOW, RUNNING_LOW, RUNNING_LOW):
        service.clock.advance(20)
        service.beat()
        say(points)
    service.tick()
    assert service.rows("SELECT cause, count(*) FROM incident GROUP BY 1") == [("mains_failure", 1)]
    assert service.one("SELECT count(*) FROM ticket") == 1
    assert service.rows("SELECT rule_key, count(*) FROM alarm GROUP BY 1 ORDER BY 1") == [
        ("low_battery", 500),
        ("on_battery", 500),
    ]
    assert service.one("SELECT count(*) FROM ticket_alarm") == 500
    assert service.one("SELECT count(*) FROM telemetry") == 3000
    assert service.rows("SELECT * FROM quarantine") == []
    for _ in range(4):
        service.clock.advance(20)
        service.beat()
        say(HEALTHY)
    service.tick()
    assert service.one("SELECT count(*) FROM alarm WHERE cleared_at IS NULL") == 0
    assert service.one("SELECT count(*) FROM incident WHERE closed_at IS NULL") == 0
    assert service.one("SELECT condition_cleared_at IS NOT NULL FROM ticket") is True
    assert service.one("SELECT count(*) FROM incident") == 1


def test_the_same_readings_at_two_workers_open_one_ticket(service, database):
    """A redelivered message may reach another worker while the first still holds it."""
    units = register(database.admin_dsn, devices=20)
    other = Ingest(
        service.pool,
        rules=LiveRules(catalogue()),
        now=service.clock,
        oldest=lambda now: now - timedelta(days=14),
    )
    for second in (0, 30, 61, 90):
        service.clock.now = START + timedelta(seconds=second)
        batch = [service.arrive(ups, {"alarm_fan_fault": True}, valid=90) for ups in units]
        threads = [
            threading.Thread(target=worker.store, args=(batch,))
            for worker in (service.ingest, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert service.one("SELECT count(*) FROM telemetry") == 80
    assert service.one("SELECT count(*) FROM alarm") == 20
    assert service.one("SELECT count(*) FROM ticket") == 20
