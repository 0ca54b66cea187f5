"""Functions over time judged live: out of memory, after a restart, in the tick, by two workers."""

import pytest

from rules.catalogue import read_rules
from rules.live import LiveRules
from tests.cast import Service, register

RULES = """
[steady_load]
title = {en = "Load above 80 % on average", zh = "平均负载率高于 80 %"}
severity = "minor"
condition = "avg_5m(ups_load) > 80"
clear = "avg_5m(ups_load) < 70"
raise_after_seconds = 0
clear_after_seconds = 0
source = "test"
[long_outage]
title = {en = "Long on battery", zh = "长时间电池供电"}
severity = "major"
condition = "since(status_on_battery) >= 120"
raise_after_seconds = 30
clear_after_seconds = 0
source = "test"
"""


class Watched(Service):
    """A service with the rules above, on minute polls."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.restart()

    def restart(self) -> None:
        """Forget all that was in memory."""
        self.rules = LiveRules(read_rules(RULES))
        self.ingest._rules = self.rules

    def minute(self, *devices: int, **points) -> None:
        self.clock.advance(60)
        self.beat()
        self.tell(*devices, valid=180, **points)


@pytest.fixture
def service(database):
    made = Watched(database.ingest_dsn)
    yield made
    made.close()


def alarms(service: Service) -> list[tuple]:
    return service.rows(
        "SELECT device_id, rule_key, state, raised_at, cleared_at FROM alarm ORDER BY id"
    )


@pytest.mark.parametrize("restarts", [False, True])
def test_an_average_raises_and_clears_by_five_minutes_of_readings(database, service, restarts):
    hot, well = register(database.admin_dsn, devices=2)

    def minute(load: float) -> None:
        service.minute(hot, ups_load=load)
        service.tell(well, valid=180, ups_load=50.0)
        if restarts:
            service.restart()

    for load in (50.0, 50.0, 50.0, 100.0, 100.0, 100.0, 100.0):
        minute(load)
    # Two minutes at 50 and three at 100 are 80 on average; one more at 100 makes it 90.
    assert alarms(service) == []
    minute(100.0)
    raised_at = service.clock.now
    assert alarms(service) == [(hot, "steady_load", "active", raised_at, None)]
    # What a reading tells holds after it: the average is 100, then 84, then 68.
    for _ in range(2):
        minute(20.0)
        assert alarms(service)[0][2] == "active"
    minute(20.0)
    assert alarms(service) == [(hot, "steady_load", "cleared", raised_at, service.clock.now)]
    reason = service.one("SELECT reason FROM alarm")
    assert reason["condition"] == "avg_5m(ups_load) > 80"
    assert list(reason["values"]) == ["avg_5m(ups_load)"]
    assert reason["values"]["avg_5m(ups_load)"] > 80


def test_the_tick_ends_a_hold_time_that_a_window_began(database, service):
    (device,) = register(database.admin_dsn)
    service.minute(device, status_on_battery=False)
    for _ in range(3):
        service.minute(device, status_on_battery=True)
    assert alarms(service) == []
    since = service.clock.now
    service.restart()
    service.run(31)
    ((_, rule_key, state, raised_at, _),) = alarms(service)
    assert (rule_key, state, (raised_at - since).total_seconds()) == ("long_outage", "active", 30)
    service.minute(device, status_on_battery=False)
    assert alarms(service)[0][2] == "cleared"


def test_readings_that_another_worker_stored_are_part_of_the_past(database, service):
    (device,) = register(database.admin_dsn)
    other = Watched(database.ingest_dsn)
    other.clock = service.clock
    other.ingest._now = service.clock
    try:
        for n in range(8):
            (service if n % 2 else other).minute(device, ups_load=100.0 if n > 2 else 50.0)
        assert [alarm[:3] for alarm in alarms(service)] == [(device, "steady_load", "active")]
    finally:
        other.close()


def test_what_was_taken_back_is_not_remembered(database, service):
    (device,) = register(database.admin_dsn)
    for load in (50, 50, 50, 50):
        service.minute(device, ups_load=float(load))
    service.clock.advance(60)
    lost = service.arrive(device, {"ups_load": 1e9}, valid=180)
    past = service.rules.memory._pasts[device]
    past.take(lost.reading)
    service.minute(device, ups_load=50.0)
    assert alarms(service) == []


def test_what_came_late_is_kept_and_is_no_part_of_a_past(database, service):
    (device,) = register(database.admin_dsn)
    for load in (50, 50, 50, 50, 50):
        service.minute(device, ups_load=float(load))
    late = service.arrive(
        device, {"ups_load": 9_999.0}, observed_at=service.clock.now - service.clock.now.resolution
    )
    service.ingest.store([late])
    assert service.rows("SELECT told, believed_seconds FROM telemetry ORDER BY told") == [
        (1, 180.0)
    ] * 5 + [(5, 15.0)]
    service.restart()
    service.minute(device, ups_load=50.0)
    assert alarms(service) == []
