from datetime import UTC, datetime

import psycopg

from rules.entitlement_store import covers_for
from tests.service_world import lay_world

AT = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)  # 16:30 at the site


def test_contract_facts_of_many_devices_are_read_at_once(database):
    world = lay_world(database.owner_dsn)
    with psycopg.connect(database.ingest_dsn) as connection:
        found = covers_for(
            connection, [world.device, world.second_device, world.other_device, 999_999]
        )
    assert set(found) == {world.device, world.second_device, world.other_device}
    assert found[world.device].time_zone == "Asia/Shanghai"
    assert [c.covers_device for c in found[world.device].covers] == [True]
    assert [c.covers_device for c in found[world.second_device].covers] == [False]
    assert found[world.other_device].covers == ()
    verdict = found[world.device].check(AT)
    assert verdict.contract_id == world.contract
    assert verdict.respond_by_at == datetime(2026, 3, 3, 1, 30, tzinfo=UTC)
    assert not found[world.second_device].check(AT).covered


def test_a_wrong_zone_or_country_in_the_database_stops_nothing(database):
    world = lay_world(database.owner_dsn)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute("UPDATE site SET time_zone = 'Mars/Olympus'")
        connection.execute("UPDATE service_calendar SET holiday_country = 'XX'")
    with psycopg.connect(database.ingest_dsn) as connection:
        found = covers_for(connection, [world.device])[world.device]
    assert found.time_zone == "UTC"
    assert found.covers[0].calendar.country is None


def test_the_api_role_without_a_setting_sees_no_contract(database):
    world = lay_world(database.owner_dsn)
    with psycopg.connect(database.api_dsn) as connection:
        assert covers_for(connection, [world.device]) == {}
