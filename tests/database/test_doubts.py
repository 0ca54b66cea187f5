"""Doubts on every database variant: odd values withheld, doubts raised, decided, ended."""

from collections.abc import Iterator

import psycopg
import pytest

from collector.doubts import Watch
from tests.cast import HEALTHY, Service, register

SOUND = HEALTHY | {
    "battery_voltage": 82.0,
    "battery_voltage_nominal": 72.0,
    "status_off": False,
    "ups_temperature": 31.0,
    "battery_temperature": 26.0,
    "alarm_over_temperature": False,
}
TENFOLD = SOUND | {"battery_voltage": 820.0}


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


@pytest.fixture
def ups(database) -> int:
    (made,) = register(database.admin_dsn)
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute("UPDATE device SET profile = 'rfc1628', model = 'Model A'")
    return made


def tell(service: Service, ups: int, *, times: int = 1, **points: object) -> None:
    for _ in range(times):
        service.clock.advance(30)
        service.tell(ups, valid=90, **points)


def doubts(service: Service) -> list[tuple]:
    return service.rows("SELECT point, kind, value, state FROM doubt ORDER BY id")


def state_of(service: Service, column: str = "battery_voltage") -> object:
    return service.one(f"SELECT {column} FROM device_state")


def decide(database, **values: object) -> None:
    """Decide as the API does: a row, seen at the next look."""
    row = {"point": "battery.voltage", "made_by": "Engineer A"} | values
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute(
            f"INSERT INTO correction ({', '.join(row)}, made_at)"
            f" VALUES ({', '.join(['%s'] * len(row))}, now())",
            list(row.values()),
        )


def test_an_odd_value_is_kept_aside_at_once_and_doubted_after_some_readings(service, ups):
    tell(service, ups, **SOUND)
    tell(service, ups, **TENFOLD)
    assert state_of(service) is None
    assert service.rows(
        "SELECT battery_voltage, extra->'doubtful.battery_voltage' FROM telemetry"
        " ORDER BY observed_at"
    ) == [(82.0, None), (None, 820.0)]
    assert doubts(service) == []
    tell(service, ups, times=10, **TENFOLD)
    assert doubts(service) == [("battery.voltage", "battery_voltage", 820.0, "open")]
    evidence, proposal = service.rows("SELECT evidence, proposal FROM doubt")[0]
    assert evidence["rule"] == "battery_scale"
    assert evidence["numbers"]["battery_voltage_nominal"] == 72
    assert proposal == {"action": "convert", "factor": 0.1, "addend": 0}
    assert service.one("SELECT extra->'doubtful.battery_voltage' FROM device_state") == 820


def test_the_nominal_value_may_have_been_said_long_before(service, ups):
    tell(service, ups, **SOUND)
    tell(service, ups, times=4, **{**HEALTHY, "battery_voltage": 820.0})
    assert [row[0] for row in doubts(service)] == ["battery.voltage"]


def test_one_odd_reading_is_no_doubt_and_the_next_one_is_believed(service, ups):
    tell(service, ups, **TENFOLD)
    tell(service, ups, times=5, **SOUND)
    assert doubts(service) == []
    assert state_of(service) == 82.0


def test_a_doubt_ends_by_itself_and_comes_back_as_another(service, ups):
    tell(service, ups, times=4, **TENFOLD)
    tell(service, ups, **SOUND)
    assert state_of(service) == 82.0, "a value that the check finds sound is believed at once"
    tell(service, ups, times=9, **SOUND)
    assert [row[3] for row in doubts(service)] == ["ended"]
    tell(service, ups, times=4, **TENFOLD)
    assert [row[3] for row in doubts(service)] == ["ended", "open"]


def test_while_a_doubt_is_open_what_cannot_be_told_is_not_believed(service, ups):
    hot = SOUND | {"ambient_temperature": 77.0}
    tell(service, ups, times=4, **hot)
    alone = {c: v for c, v in hot.items() if c not in ("ups_temperature", "battery_temperature")}
    tell(service, ups, **alone)
    assert state_of(service, "ambient_temperature") is None
    assert [row[3] for row in doubts(service)] == ["open"]


def test_a_false_value_raises_no_alarm(service, ups):
    """92 °C inside would be a major alarm; it is 33 °C, told in degrees Fahrenheit."""
    tell(service, ups, times=8, **SOUND | {"ups_temperature": 92.0, "battery_temperature": 80.0})
    service.run(30)
    assert service.rows("SELECT rule_key FROM alarm") == []


@pytest.mark.parametrize(
    "whose",
    [
        {"device_id": 0},
        {"profile": "rfc1628"},
        {"profile": "rfc1628", "model": "Model A"},
    ],
)
def test_a_decision_is_applied_within_seconds_and_makes_the_next_reading_right(
    service, database, ups, whose
):
    tell(service, ups, times=4, **TENFOLD)
    whose = {key: value or ups for key, value in whose.items()}
    decide(database, action="convert", factor=0.1, **whose)
    service.clock.advance(10)
    service.tell(ups, valid=90, **TENFOLD)
    assert state_of(service) == pytest.approx(82.0)
    tell(service, ups, times=10, **TENFOLD)
    assert [row[3] for row in doubts(service)] == ["ended"]


def test_another_model_keeps_its_own_scale(service, database, ups):
    decide(database, profile="rfc1628", model="Model B", action="convert", factor=0.1)
    tell(service, ups, **SOUND)
    assert state_of(service) == 82.0


def test_what_is_decided_for_the_device_stands_before_what_is_for_the_family(
    service, database, ups
):
    decide(database, profile="rfc1628", action="convert", factor=10)
    decide(database, profile="rfc1628", model="Model A", action="convert", factor=0.01)
    decide(database, device_id=ups, action="convert", factor=0.1)
    tell(service, ups, **TENFOLD)
    assert state_of(service) == pytest.approx(82.0)


def test_a_point_that_is_ignored_is_unknown_and_one_that_is_trusted_is_believed(
    service, database, ups
):
    tell(service, ups, times=4, **TENFOLD)
    decide(database, device_id=ups, action="trust")
    tell(service, ups, **TENFOLD)
    assert state_of(service) == 820.0
    decide(database, device_id=ups, action="ignore", point="ups.load")
    tell(service, ups, times=2, **TENFOLD)
    assert state_of(service, "ups_load") is None
    assert service.one("SELECT extra FROM telemetry ORDER BY observed_at DESC LIMIT 1") is None


def test_an_ended_decision_is_undone(service, database, ups):
    decide(database, device_id=ups, action="convert", factor=0.1)
    tell(service, ups, **TENFOLD)
    assert state_of(service) == pytest.approx(82.0)
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute("UPDATE correction SET ended_at = now(), ended_by = 'Engineer A'")
    tell(service, ups, times=4, **TENFOLD)
    assert state_of(service) is None
    assert [row[3] for row in doubts(service)] == ["open"]


def test_a_card_that_was_put_right_no_longer_needs_its_correction(service, database, ups):
    decide(database, device_id=ups, action="convert", factor=0.1)
    tell(service, ups, times=4, **SOUND)
    assert service.one("SELECT proposal->>'action' FROM doubt") == "end"


def test_another_worker_takes_an_open_doubt_over(service, database, ups):
    tell(service, ups, times=4, **TENFOLD)
    successor = Service(database.ingest_dsn)
    successor.clock.now = service.clock.now
    try:
        tell(successor, ups, times=10, **SOUND)
        assert [row[3] for row in doubts(successor)] == ["ended"]
    finally:
        successor.close()


def test_a_batch_that_is_not_committed_counts_nothing(service, ups):
    """Examined again, it says the same again."""
    watch = Watch()
    tell(service, ups, **SOUND)
    for _ in range(2):
        service.clock.advance(30)
        batch = [service.arrive(ups, TENFOLD)]
        with service.pool.connection() as connection:
            watch.keep(watch.examine(connection, batch, service.clock.now))
    service.clock.advance(30)
    batch = [service.arrive(ups, TENFOLD)]
    with service.pool.connection() as connection:
        for _ in range(3):
            examined = watch.examine(connection, batch, service.clock.now)
            assert [one.column for *_, one in examined.raised] == ["battery_voltage"]
        watch.keep(examined)
        again = watch.examine(connection, batch, service.clock.now)
    assert again.raised == []
    assert again.batch[0].reading.withheld == {"battery_voltage"}


def test_several_readings_of_one_batch_are_taken_in_order(service, ups):
    tell(service, ups, **SOUND)
    batch = []
    for points in (SOUND, TENFOLD, SOUND, TENFOLD, TENFOLD, TENFOLD):
        service.clock.advance(30)
        batch.append(service.arrive(ups, points, valid=90))
    service.ingest.store(list(reversed(batch)))
    assert state_of(service) is None
    assert [row[3] for row in doubts(service)] == ["open"]
    service.clock.advance(30)
    service.tell(ups, valid=90, **SOUND)
    assert state_of(service) == 82.0


def test_a_late_reading_is_corrected_too_and_leaves_the_state_alone(service, database, ups):
    decide(database, device_id=ups, action="convert", factor=0.1)
    late_at = service.clock.now
    tell(service, ups, times=2, **TENFOLD)
    service.ingest.store([service.arrive(ups, TENFOLD, observed_at=late_at)])
    assert service.one(
        "SELECT battery_voltage FROM telemetry WHERE observed_at = %s", late_at
    ) == pytest.approx(82.0)
    service.ingest.store([service.arrive(ups, SOUND, observed_at=late_at.replace(microsecond=1))])
    assert state_of(service) == pytest.approx(82.0)


def test_a_unit_that_reports_only_changes_is_judged_by_its_newest_values(service, ups):
    service.tell(ups, valid=None, **SOUND)
    for _ in range(4):
        service.clock.advance(30)
        service.tell(ups, valid=None, battery_voltage=820.0)
    assert [row[3] for row in doubts(service)] == ["open"]


def test_a_value_beyond_its_range_is_doubted_and_brought_back_by_a_correction(
    service, database, ups
):
    """Conversion refuses 2302 V and keeps it aside; in tenths it is right."""

    def poll() -> None:
        service.clock.advance(30)
        refused = {"doubtful.input_voltage": 2302.0}
        points = {c: value for c, value in SOUND.items() if c != "input_voltage"}
        service.ingest.store([service.arrive(ups, points, valid=90, extra=refused)])

    for _ in range(4):
        poll()
    assert doubts(service) == [("input.voltage", "range", 2302.0, "open")]
    assert service.one("SELECT proposal->'factor' FROM doubt") == 0.1
    decide(database, device_id=ups, action="convert", factor=0.1, point="input.voltage")
    poll()
    assert state_of(service, "input_voltage") == pytest.approx(230.2)
    for _ in range(10):
        poll()
    assert [row[3] for row in doubts(service)] == ["ended"]
