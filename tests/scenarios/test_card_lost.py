"""A card is lost for a while: why is told from its second failure on, until it is read again.

Polls run in virtual time against a card that is a function; ingest and database are real.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from collector.patience import Seen
from collector.raw import Failure, ReadFailed
from collector.store import known_devices
from tests.cast import START, Service, register
from tests.collector.test_poll_cards import Cards
from tests.collector.test_poll_loop import NORMAL, UPTIME


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


@dataclass
class Watched(Cards):
    """A fleet whose arrivals are stored at once and whose devices come from the database."""

    service: Service = field(kw_only=True)

    def load(self):
        with self.service.pool.connection() as connection:
            return known_devices(connection, collector_group="default")

    def offer(self, arrival):
        self.service.clock.now = arrival.received_at
        self.service.ingest.store([arrival])
        return super().offer(arrival)


def test_a_card_that_falls_silent_refuses_and_comes_back_is_told_step_by_step(service, database):
    (ups,) = register(database.admin_dsn)
    fleet = Watched([], service=service)
    seen = {}

    def look(name):
        def take():
            seen[name] = service.rows(
                "SELECT failure, failing_since_at, restarted_at FROM device_card"
                " WHERE device_id = %s",
                ups,
            )

        return take

    (known,) = fleet.load()
    at = f"{known.address}:161"
    silent = ReadFailed(Failure.TIMEOUT, "no answer")
    refused = ReadFailed(Failure.AUTH, "the card knows no such user")
    fleet.poll(
        3_600,
        then={
            290: look("well"),
            300: lambda: fleet.values.update({at: silent}),
            450: look("silent"),
            460: lambda: fleet.values.update({at: refused}),
            1_200: look("refusing"),
            1_210: lambda: fleet.values.update({at: NORMAL | {UPTIME: 3_000}}),
            2_000: look("back"),
        },
    )
    assert all(failure is None for failure, *_ in seen["well"])
    ((failure, since, _),) = seen["silent"]
    assert failure == "timeout"
    assert 300 <= (since - START).total_seconds() <= 340
    assert seen["refusing"][0][:2] == ("auth", since)
    ((failure, since, restarted_at),) = seen["back"]
    assert (failure, since) == (None, None)
    assert restarted_at is None
    assert service.one("SELECT count(*) FROM quarantine WHERE reason = 'auth'") == 1


def test_what_a_collector_learned_is_how_the_next_one_begins(service, database):
    (ups,) = register(database.admin_dsn)
    first = Watched([], service=service, seen=Seen(too_big_at=10))
    first.poll(50)
    learned = service.one("SELECT patience FROM device_card WHERE device_id = %s", ups)
    assert learned["objects"] == 5
    second = Watched([], service=service)
    second.poll(50)
    assert [objects for objects, *_ in second.manners] == [5]
