"""Units whose values stand still, on every database variant."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector.frozen import find_frozen
from tests.cast import START, Service, register

STANDING = {
    "input_voltage": 231.0,
    "output_voltage": 230.0,
    "battery_voltage": 54.4,
    "ups_load": 42.0,
    "ups_temperature": 31.0,
    "battery_charge": 100.0,
}
NOW = START + timedelta(hours=10)


@pytest.fixture
def service(database) -> Iterator[Service]:
    made = Service(database.ingest_dsn)
    yield made
    made.close()


def fill(dsn: str, device_id: int, *, moving: str | None = None, by: float = 1.0, **flags) -> None:
    """Write ten hours of 15-minute buckets; `moving` drifts by `by` in one of them."""
    columns = ["device_id", "bucket", "n", *flags]
    for column in STANDING:
        columns += [f"{column}_avg", f"{column}_min", f"{column}_max"]
    with psycopg.connect(dsn) as admin:
        for place in range(40):
            at = START + place * timedelta(minutes=15)
            row = [device_id, at, 30, *flags.values()]
            for column, value in STANDING.items():
                top = value + (by if column == moving and place == 30 else 0.0)
                row += [value, value, top]
            admin.execute("SELECT ensure_partition('telemetry_15m', %s)", (at,))
            admin.execute(
                f"INSERT INTO telemetry_15m ({', '.join(columns)})"
                f" VALUES ({', '.join(['%s'] * len(columns))})",
                row,
            )


def look(service: Service, *, after: timedelta = timedelta(0)):
    with service.pool.connection() as connection:
        return tuple(find_frozen(connection, NOW + after))


def test_a_unit_whose_values_stand_still_for_hours_is_doubted_once(service, database):
    (ups,) = register(database.admin_dsn)
    fill(database.admin_dsn, ups)
    assert look(service) == (1, 0)
    assert look(service) == (0, 0)
    (doubt,) = service.rows("SELECT point, kind, value, state, evidence FROM doubt")
    assert doubt[:4] == ("input.voltage", "frozen", None, "open")
    assert doubt[4]["numbers"] == {"hours": 6, "points": 5}


@pytest.mark.parametrize("column", ["input_voltage", "ups_load", "ups_temperature"])
def test_one_value_that_moves_tells_that_the_unit_is_well(service, database, column):
    (ups,) = register(database.admin_dsn)
    fill(database.admin_dsn, ups, moving=column)
    assert look(service) == (0, 0)


def test_a_unit_on_battery_or_off_or_hardly_heard_is_not_judged(service, database):
    on_battery, off = register(database.admin_dsn, devices=2)
    fill(database.admin_dsn, on_battery, status_on_battery_any=True)
    fill(database.admin_dsn, off, status_off_any=True)
    assert look(service) == (0, 0)
    assert look(service, after=timedelta(hours=4)) == (0, 0)


def test_the_doubt_ends_when_values_move_again(service, database):
    (ups,) = register(database.admin_dsn)
    fill(database.admin_dsn, ups)
    look(service)
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute(
            "UPDATE telemetry_15m SET ups_load_max = 43 WHERE bucket = %s",
            (NOW - timedelta(minutes=15),),
        )
    assert look(service) == (0, 1)
    assert service.rows("SELECT state, ended_at FROM doubt") == [("ended", NOW)]


def test_what_somebody_called_right_is_left_alone(service, database):
    (ups,) = register(database.admin_dsn)
    fill(database.admin_dsn, ups)
    look(service)
    with psycopg.connect(database.admin_dsn) as admin:
        admin.execute(
            "UPDATE doubt SET state = 'dismissed', decided_by = 'Engineer A', decided_at = %s",
            (NOW,),
        )
    assert look(service) == (0, 0)
    assert service.one("SELECT count(*) FROM doubt") == 1
