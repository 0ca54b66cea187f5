"""A small service organization for store tests: two customers, a site each, units, contracts."""

from dataclasses import dataclass
from datetime import date

import psycopg


@dataclass(frozen=True, slots=True)
class World:
    """Ids of what `lay_world` wrote."""

    customer: int
    other_customer: int
    site: int
    other_site: int
    device: int
    second_device: int
    other_device: int
    contract: int
    contact: int
    calendar: int
    center: int


def one(connection: psycopg.Connection, query: str, *values: object) -> int:
    """Run a query that returns one id."""
    return connection.execute(query, values).fetchone()[0]


def lay_world(owner_dsn: str) -> World:
    """Write the organization as the schema's owner, past row-level security by its own setting."""
    with psycopg.connect(owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        center = one(
            connection,
            "INSERT INTO service_center (key, name, name_zh, latitude, longitude)"
            " VALUES ('sh', 'Shanghai', '上海', 31.23, 121.47) RETURNING id",
        )
        customers = [
            one(
                connection,
                "INSERT INTO customer (key, name, name_zh) VALUES (%s, %s, %s) RETURNING id",
                key,
                name,
                name_zh,
            )
            for key, name, name_zh in (
                ("bank", "Example Bank", "示例银行"),
                ("mill", "Example Mill", "示例工厂"),
            )
        ]
        sites = [
            one(
                connection,
                "INSERT INTO site (customer_id, service_center_id, key, name, name_zh, latitude,"
                " longitude) VALUES (%s, %s, %s, %s, %s, 31.2, 121.5) RETURNING id",
                customer,
                center,
                key,
                f"Site {key}",
                f"站点{key}",
            )
            for customer, key in zip(customers, ("s1", "s2"), strict=True)
        ]
        devices = [
            one(
                connection,
                "INSERT INTO device (key, name, customer_id, site_id, protocol, address, model)"
                " VALUES (%s, %s, %s, %s, 'mqtt', 'mqtt:', 'Model A') RETURNING id",
                key,
                f"UPS {key}",
                customers[place],
                sites[place],
            )
            for key, place in (("u1", 0), ("u2", 0), ("u3", 1))
        ]
        calendar = one(
            connection,
            "INSERT INTO service_calendar (key, name, name_zh, opens, closes, holiday_country)"
            " VALUES ('office', 'Office hours', '工作时间', '09:00', '17:00', 'CN') RETURNING id",
        )
        contract = one(
            connection,
            "INSERT INTO contract (key, customer_id, name, name_zh, starts_on, ends_on,"
            " calendar_id, respond_minutes, restore_minutes)"
            " VALUES ('C-1', %s, 'Care', '维保', %s, %s, %s, 60, 480) RETURNING id",
            customers[0],
            date(2026, 1, 1),
            date(2026, 12, 31),
            calendar,
        )
        connection.execute("INSERT INTO contract_device VALUES (%s, %s)", (contract, devices[0]))
        contact = one(
            connection,
            "INSERT INTO contact (customer_id, name, duty, language)"
            " VALUES (%s, 'Facility manager', 'Facility manager', 'en') RETURNING id",
            customers[0],
        )
    return World(*customers, *sites, *devices, contract, contact, calendar, center)


def lay_crew(owner_dsn: str) -> dict[str, int]:
    """Write two engineers, a warehouse with two battery sets and a van with one fan kit."""
    with psycopg.connect(owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        found: dict[str, int] = {}
        for key, skills, latitude in (("a", ["ups", "battery"], 31.2), ("b", ["ups"], 31.9)):
            found[key] = one(
                connection,
                "INSERT INTO engineer (key, name, name_zh, skills, latitude, longitude)"
                " VALUES (%s, %s, %s, %s, %s, 121.5) RETURNING id",
                key,
                f"Engineer {key.upper()}",
                f"工程师{key.upper()}",
                skills,
                latitude,
            )
        found["main"] = one(
            connection,
            "INSERT INTO warehouse (key, name, name_zh, service_center_id)"
            " SELECT 'main', 'Main', '总库', id FROM service_center RETURNING id",
        )
        found["van"] = one(
            connection,
            "INSERT INTO warehouse (key, name, name_zh, engineer_id)"
            " VALUES ('van-b', 'Van B', '车载B', %s) RETURNING id",
            found["b"],
        )
        for sku, kind, models in (
            ("B-A", "battery_set", ["Model A"]),
            ("B-X", "battery_set", ["Model X"]),
            ("FAN", "fan_kit", []),
        ):
            found[sku] = one(
                connection,
                "INSERT INTO part (sku, kind, name, name_zh, fits_models)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                sku,
                kind,
                f"Part {sku}",
                f"备件{sku}",
                models,
            )
        for sku, place, quantity in (("B-A", "main", 2), ("B-X", "main", 5), ("FAN", "van", 1)):
            connection.execute(
                "INSERT INTO stock_move (at, part_id, warehouse_id, kind, on_hand_change,"
                " reserved_change, actor) VALUES (now(), %s, %s, 'receipt', %s, 0, 'test')",
                (found[sku], found[place], quantity),
            )
    return found
