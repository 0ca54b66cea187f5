"""The service organization of the demo: centers, contracts, engineers, stock, plans of work.

Invented, with role names instead of people's. Customers, sites and units come from the demo's
scenario through `devices import`; the keys here are that file's. Seeding again adds what is missing
and changes nothing.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import psycopg
from psycopg.rows import TupleRow

from service_api.demo_stock import seed_stock
from service_api.demo_topology import seed_topology
from service_api.demo_upkeep import seed_upkeep
from service_api.dispatch.ranking import Position, distance_km

Connection = psycopg.Connection[TupleRow]

CENTERS = (
    ("beijing", "Beijing service center", "北京服务中心", 39.9042, 116.4074),
    ("shanghai", "Shanghai service center", "上海服务中心", 31.2304, 121.4737),
    ("shenzhen", "Shenzhen service center", "深圳服务中心", 22.5431, 114.0579),
)

# key, name, Chinese name, around the clock, opens, closes, country of the holidays
CALENDARS = (
    ("always", "Around the clock", "全天候 7×24", True, "00:00", "00:00", None),
    ("office", "Office hours 5×9", "工作日 5×9", False, "08:30", "17:30", "CN"),
)


@dataclass(frozen=True, slots=True)
class _Contract:
    """A contract of the demo; days count from the day of seeding, sites by their keys."""

    key: str
    customer: str
    name: str
    name_zh: str
    from_days: int
    until_days: int
    calendar: str
    respond_minutes: int
    restore_minutes: int | None
    parts: bool
    batteries: bool
    visits: int
    sites: tuple[str, ...]


CONTRACTS = (
    _Contract(
        key="MC-2101",
        customer="example-manufacturing",
        name="Full care 7×24, 4 h",
        name_zh="全保 7×24，4 小时到场",
        from_days=-210,
        until_days=520,
        calendar="always",
        respond_minutes=240,
        restore_minutes=1_440,
        parts=True,
        batteries=True,
        visits=2,
        sites=("shanghai", "shenzhen"),
    ),
    _Contract(
        key="MC-2102",
        customer="example-hospital",
        name="Full care 7×24, 2 h",
        name_zh="全保 7×24，2 小时到场",
        from_days=-90,
        until_days=275,
        calendar="always",
        respond_minutes=120,
        restore_minutes=480,
        parts=True,
        batteries=False,
        visits=4,
        sites=("guangzhou",),
    ),
    _Contract(
        key="MC-2103",
        customer="example-cloud",
        name="Data hall 7×24, 4 h",
        name_zh="数据机房 7×24，4 小时到场",
        from_days=-330,
        until_days=35,
        calendar="always",
        respond_minutes=240,
        restore_minutes=None,
        parts=True,
        batteries=True,
        visits=4,
        sites=("beijing",),
    ),
    _Contract(
        key="MC-2104",
        customer="example-cloud",
        name="Office, next business day",
        name_zh="办公场所，下一工作日到场",
        from_days=-330,
        until_days=400,
        calendar="office",
        respond_minutes=540,
        restore_minutes=2_700,
        parts=False,
        batteries=False,
        visits=1,
        sites=("hangzhou",),
    ),
    _Contract(
        key="MC-2001",
        customer="example-metro",
        name="Control center 7×24, 4 h",
        name_zh="控制中心 7×24，4 小时到场",
        from_days=-770,
        until_days=-40,
        calendar="always",
        respond_minutes=240,
        restore_minutes=1_440,
        parts=True,
        batteries=False,
        visits=2,
        sites=("chengdu",),
    ),
)

CUSTOMERS = (
    ("example-cloud", "Example Cloud", "示例云服务", "large"),
    ("example-manufacturing", "Example Manufacturing", "示例制造", "vip"),
    ("example-hospital", "Example Hospital", "示例医院", "vip"),
    ("example-metro", "Example Metro", "示例轨道交通", "standard"),
)

# customer, name, duty, phone, language
CONTACTS = (
    ("example-manufacturing", "机房主管", "动力设备负责人", "021-5550-0101", "zh"),
    ("example-manufacturing", "Facility manager", "Plant operations", "021-5550-0102", "en"),
    ("example-hospital", "后勤主管", "总务处", "020-5550-0103", "zh"),
    ("example-cloud", "Data hall lead", "Site operations", "010-5550-0104", "en"),
    ("example-cloud", "机房值班长", "数据机房", "010-5550-0105", "zh"),
    ("example-metro", "供电值班主任", "供电段", "028-5550-0106", "zh"),
)

# key, name, Chinese name, center, skills, phone, latitude, longitude
ENGINEERS = (
    ("a", "Engineer A", "工程师甲", "beijing", ["ups", "battery", "analyst"], 39.98, 116.31),
    ("b", "Engineer B", "工程师乙", "beijing", ["ups", "high_power", "electrician"], 39.86, 116.46),
    ("c", "Engineer C", "工程师丙", "shanghai", ["ups", "battery", "analyst"], 31.02, 121.41),
    (
        "d",
        "Engineer D",
        "工程师丁",
        "shanghai",
        ["ups", "battery", "high_power", "electrician"],
        31.30,
        120.62,
    ),
    ("e", "Engineer E", "工程师戊", "shenzhen", ["ups", "battery", "analyst"], 22.55, 114.09),
    ("f", "Engineer F", "工程师己", "shenzhen", ["ups", "battery", "electrician"], 30.66, 104.08),
)
DEMO_ENGINEER = "c"
"""Whom the demo's engineer login is."""

# The load behind these units bears no interruption.
CRITICAL = ("gz-theater", "cd-control", "bj-hall-a", "bj-hall-b")
HIGH = ("sh-line-1", "sh-pump-house", "gz-imaging", "cd-signal-1", "cd-signal-2")

# Years of service at 25 °C: 5-year blocks 4, the small ones of desk units less, 10-year blocks 7.
LIFE_YEARS = (
    (3.5, ("Smart-UPS 1000", "Desk 1000")),
    (7.0, ("93PS 20", "Cabinet 20K", "Cabinet 60K", "Hall 200K")),
    (10.0, ("Rack 10000 Li",)),
)
WARRANTY = timedelta(days=730)


def seed(connection: Connection, *, now: datetime) -> None:
    """Write what is missing of the demo's service organization, as staff."""
    _centers(connection)
    _customers(connection)
    _units(connection)
    _contracts(connection, now.date())
    _engineers(connection)
    seed_stock(connection, now=now)
    seed_upkeep(connection, now=now)
    seed_topology(connection, now=now)


def link_engineer(connection: Connection, user_id: int) -> None:
    """Make a login the demo's engineer."""
    connection.execute(
        "UPDATE engineer SET user_id = %s WHERE key = %s AND user_id IS NULL",
        (user_id, DEMO_ENGINEER),
    )


def _centers(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO service_center (key, name, name_zh, latitude, longitude)
            VALUES (%s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING
            """,
            CENTERS,
        )
        cursor.executemany(
            """
            INSERT INTO service_calendar (key, name, name_zh, always, opens, closes,
                holiday_country)
            VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING
            """,
            CALENDARS,
        )


def _customers(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO customer (key, name, name_zh, value_class) VALUES (%s, %s, %s, %s)
            ON CONFLICT (key) DO UPDATE SET value_class = excluded.value_class
            """,
            CUSTOMERS,
        )
        cursor.executemany(
            """
            INSERT INTO contact (customer_id, name, duty, phone, language)
            SELECT c.id, %(name)s, %(duty)s, %(phone)s, %(language)s FROM customer c
            WHERE c.key = %(customer)s AND NOT EXISTS (
                SELECT FROM contact k WHERE k.customer_id = c.id AND k.name = %(name)s)
            """,
            [
                dict(zip(("customer", "name", "duty", "phone", "language"), row, strict=True))
                for row in CONTACTS
            ],
        )


def _units(connection: Connection) -> None:
    """Give sites their nearest center, units their importance, warranty and battery's life."""
    centers = [(key, Position(north, east)) for key, _, _, north, east in CENTERS]
    for site_id, latitude, longitude in connection.execute(
        """
        SELECT id, latitude, longitude FROM site
        WHERE service_center_id IS NULL AND latitude IS NOT NULL AND longitude IS NOT NULL
        """
    ).fetchall():
        here = Position(latitude, longitude)
        nearest = min(centers, key=lambda center: distance_km(center[1], here))[0]
        connection.execute(
            """
            UPDATE site SET service_center_id = (SELECT id FROM service_center WHERE key = %s)
            WHERE id = %s
            """,
            (nearest, site_id),
        )
    for criticality, keys in (("critical", CRITICAL), ("high", HIGH)):
        connection.execute(
            """
            UPDATE device SET criticality = %s WHERE key = ANY(%s) AND criticality = 'normal'
            """,
            (criticality, list(keys)),
        )
    for years, models in LIFE_YEARS:
        connection.execute(
            "UPDATE device SET battery_life_years = %s WHERE model = ANY(%s)",
            (years, list(models)),
        )
    connection.execute(
        """
        UPDATE device SET warranty_until = installed_on + %s
        WHERE warranty_until IS NULL AND installed_on IS NOT NULL
        """,
        (WARRANTY.days,),
    )


def _contracts(connection: Connection, today: date) -> None:
    for one in CONTRACTS:
        connection.execute(
            """
            INSERT INTO contract (key, customer_id, name, name_zh, starts_on, ends_on,
                calendar_id, respond_minutes, restore_minutes, covers_parts, covers_batteries,
                visits_per_year)
            SELECT %s, c.id, %s, %s, %s, %s, k.id, %s, %s, %s, %s, %s
            FROM customer c, service_calendar k WHERE c.key = %s AND k.key = %s
            ON CONFLICT (key) DO NOTHING
            """,
            (
                one.key,
                one.name,
                one.name_zh,
                today + timedelta(days=one.from_days),
                today + timedelta(days=one.until_days),
                one.respond_minutes,
                one.restore_minutes,
                one.parts,
                one.batteries,
                one.visits,
                one.customer,
                one.calendar,
            ),
        )
        connection.execute(
            """
            INSERT INTO contract_device (contract_id, device_id)
            SELECT c.id, d.id FROM contract c, device d JOIN site s ON s.id = d.site_id
            WHERE c.key = %s AND s.key = ANY(%s) AND d.customer_id = c.customer_id
            ON CONFLICT DO NOTHING
            """,
            (one.key, list(one.sites)),
        )


def _engineers(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO engineer (key, name, name_zh, service_center_id, skills, latitude,
                longitude)
            SELECT %s, %s, %s, c.id, %s, %s, %s FROM service_center c WHERE c.key = %s
            ON CONFLICT (key) DO NOTHING
            """,
            [
                (key, name, name_zh, skills, north, east, center)
                for key, name, name_zh, center, skills, north, east in ENGINEERS
            ],
        )
