from datetime import timedelta

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from device_sims.fleet import import_csv, units
from device_sims.scenario import load_scenario
from rules.entitlement_store import covers_for
from service_api import demo_data
from service_api.devices_csv import read_devices
from service_api.devices_import import import_devices
from service_api.maintenance.planning import plan_all
from service_api.secrets import Sealer
from service_api.work_orders.drafting import draft_order
from tests.conftest import NOW

TABLES = (
    "service_center",
    "service_calendar",
    "customer",
    "contact",
    "contract",
    "contract_device",
    "engineer",
    "warehouse",
    "part",
    "stock_move",
    "maintenance_plan",
    "maintenance_due",
)


@pytest.fixture
def staff(database):
    scenario = load_scenario("demo")
    listed = import_csv(
        scenario, units(scenario, epoch=NOW, base_port=20_000, mqtt_url="mqtt://127.0.0.1:1")
    )
    rows = read_devices(listed.encode(), today=NOW.date())
    key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    with psycopg.connect(database.api_dsn) as connection:
        import_devices(connection, rows, sealer=Sealer(key))
        connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        demo_data.seed(connection, now=NOW)
        connection.commit()
        yield connection


def sizes(connection) -> dict[str, int]:
    return {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES
    }


def test_seeding_again_adds_nothing(staff):
    before = sizes(staff)
    assert min(before.values()) > 0
    demo_data.seed(staff, now=NOW + timedelta(days=3))
    assert sizes(staff) == before


def test_every_unit_has_a_contract_or_an_expired_one_and_a_center(staff):
    devices = dict(staff.execute("SELECT key, id FROM device").fetchall())
    found = covers_for(staff, devices.values())
    verdicts = {key: found[number].check(NOW) for key, number in devices.items()}
    assert verdicts["sh-pump-house"].clause_en.startswith("Contract “Full care 7×24, 4 h”")
    assert verdicts["sh-pump-house"].respond_by_at == NOW + timedelta(hours=4)
    assert not verdicts["cd-control"].covered
    assert verdicts["cd-ticketing"].clause_en.startswith("Warranty.")
    without = {key for key, verdict in verdicts.items() if verdict.contract_id is None}
    assert without == {"cd-control", "cd-signal-1", "cd-signal-2", "cd-ticketing"}
    row = staff.execute("SELECT count(*) FROM site WHERE service_center_id IS NULL").fetchone()
    assert row == (0,)


def test_every_model_of_the_fleet_has_its_battery_in_stock(staff):
    without = staff.execute(
        """
        SELECT DISTINCT d.model FROM device d WHERE NOT EXISTS (
            SELECT FROM part p JOIN stock_balance b ON b.part_id = p.id
            WHERE p.kind = 'battery_set' AND d.model = ANY(p.fits_models) AND b.on_hand > 0)
        """
    ).fetchall()
    assert without == [("Hall 200K",)]  # two strings of it are ordered when needed


def test_one_maintenance_is_overdue_and_no_other_falls_due_soon(database, staff):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=1, open=True) as pool:
        plan_all(pool, NOW)
    found = staff.execute("SELECT id, title_en, priority FROM ticket").fetchall()
    assert [(title, priority) for _, title, priority in found] == [
        ("Imaging 影像科: Annual maintenance", 3)
    ]
    order = draft_order(staff, found[0][0], actor="test", now=NOW)
    row = staff.execute(
        "SELECT candidates -> 0 ->> 'name', estimated_minutes FROM work_order WHERE id = %s",
        (order,),
    ).fetchone()
    assert row == ("Engineer E", 90)


def test_the_engineers_login_is_one_of_the_engineers(staff):
    user = staff.execute(
        "INSERT INTO app_user (name, password_hash, role) VALUES ('engineer', '', 'engineer')"
        " RETURNING id"
    ).fetchone()[0]
    demo_data.link_engineer(staff, user)
    row = staff.execute("SELECT name FROM engineer WHERE user_id = %s", (user,)).fetchone()
    assert row == ("Engineer C",)
