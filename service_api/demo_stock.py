"""The demo's parts, warehouses and vans, with opening stock booked through the ledger."""

from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from service_api.spares.operations import Item, receive

Connection = psycopg.Connection[TupleRow]

# sku, kind, name, Chinese name, models it fits (none: all), price in yuan
PARTS: tuple[tuple[object, ...], ...] = (
    ("BAT-1K", "battery_set", "Battery set 24 V 7.2 Ah", "电池组 24 V 7.2 Ah",
     ["Smart-UPS 1000", "Desk 1000"], 420),
    ("BAT-3K", "battery_set", "Battery set 72 V 9 Ah", "电池组 72 V 9 Ah",
     ["Smart-UPS 3000", "Smart-UPS SRT 3000", "Tower 3000"], 1_380),
    ("BAT-5K", "battery_set", "Battery set 192 V 9 Ah", "电池组 192 V 9 Ah",
     ["Smart-UPS SRT 5000", "Rack 5000"], 3_150),
    ("BAT-6K", "battery_set", "Battery set 240 V 9 Ah", "电池组 240 V 9 Ah",
     ["9PX 6000", "Rack 6000"], 3_960),
    ("BAT-20K", "battery_set", "Battery set 384 V 38 Ah", "电池组 384 V 38 Ah",
     ["93PS 20", "Cabinet 20K"], 16_800),
    ("BAT-60K", "battery_set", "Battery set 480 V 100 Ah", "电池组 480 V 100 Ah",
     ["Cabinet 60K"], 58_000),
    ("BAT-200K", "battery_set", "Battery set 480 V 150 Ah, one string",
     "电池组 480 V 150 Ah（单串）",
     ["Hall 200K"], 86_000),
    ("BAT-10K-LI", "battery_set", "Lithium-ion module 192 V 30 Ah", "锂电模块 192 V 30 Ah",
     ["Rack 10000 Li"], 21_500),
    ("FAN-S", "fan_kit", "Fan kit, up to 10 kVA", "风扇套件（10 kVA 及以下）",
     ["Smart-UPS 3000", "Smart-UPS SRT 3000", "Tower 3000", "Smart-UPS SRT 5000", "Rack 5000",
      "9PX 6000", "Rack 6000", "Rack 10000 Li"], 260),
    ("FAN-L", "fan_kit", "Fan kit, three-phase", "风扇套件（三相机）",
     ["93PS 20", "Cabinet 20K", "Cabinet 60K", "Hall 200K"], 1_150),
    ("CHG-S", "charger_board", "Charger board, single-phase", "充电板（单相机）",
     ["Smart-UPS 1000", "Smart-UPS 3000", "Smart-UPS SRT 3000", "Tower 3000",
      "Smart-UPS SRT 5000", "Rack 5000", "9PX 6000", "Rack 6000"], 890),
    ("CHG-L", "charger_board", "Charger board, three-phase", "充电板（三相机）",
     ["93PS 20", "Cabinet 20K", "Cabinet 60K", "Hall 200K"], 4_700),
    ("FIL-U", "filter", "Air filter, cut to size", "防尘滤网（可裁剪）", [], 35),
)  # fmt: skip

# key, name, Chinese name, service center, engineer whose van it is
WAREHOUSES = (
    ("bj", "Beijing stock", "北京库", "beijing", None),
    ("sh", "Shanghai stock", "上海库", "shanghai", None),
    ("sz", "Shenzhen stock", "深圳库", "shenzhen", None),
    *(
        (f"van-{letter}", f"Van of Engineer {letter.upper()}", f"工程师{name}车载", center, letter)
        for letter, name, center in (
            ("a", "甲", "beijing"),
            ("b", "乙", "beijing"),
            ("c", "丙", "shanghai"),
            ("d", "丁", "shanghai"),
            ("e", "戊", "shenzhen"),
            ("f", "己", "shenzhen"),
        )
    ),
)

CENTER_STOCK = {
    "BAT-1K": 6,
    "BAT-3K": 4,
    "BAT-5K": 3,
    "BAT-6K": 3,
    "BAT-20K": 2,
    "BAT-60K": 1,
    "BAT-10K-LI": 1,
    "FAN-S": 8,
    "FAN-L": 4,
    "CHG-S": 4,
    "CHG-L": 2,
    "FIL-U": 60,
}
VAN_STOCK = {"FAN-S": 1, "CHG-S": 1, "FIL-U": 6}
VAN_EXTRAS = {"van-c": {"BAT-1K": 1}, "van-a": {"BAT-3K": 1}}

ACTOR = "opening stock"


def seed_stock(connection: Connection, *, now: datetime) -> None:
    """Write parts and places that are missing, and stock where nothing was ever moved."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO part (sku, kind, name, name_zh, fits_models, price)
            VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (sku) DO NOTHING
            """,
            PARTS,
        )
        cursor.executemany(
            """
            INSERT INTO warehouse (key, name, name_zh, service_center_id, engineer_id)
            SELECT %s, %s, %s, c.id, (SELECT id FROM engineer WHERE key = %s)
            FROM service_center c WHERE c.key = %s ON CONFLICT (key) DO NOTHING
            """,
            [
                (key, name, name_zh, engineer, center)
                for key, name, name_zh, center, engineer in WAREHOUSES
            ],
        )
    part_ids: dict[str, int] = dict(connection.execute("SELECT sku, id FROM part").fetchall())
    moved = set(connection.execute("SELECT part_id, warehouse_id FROM stock_move").fetchall())
    for key, warehouse_id, is_van in connection.execute(
        "SELECT key, id, engineer_id IS NOT NULL FROM warehouse ORDER BY id"
    ).fetchall():
        stock = VAN_STOCK | VAN_EXTRAS.get(key, {}) if is_van else CENTER_STOCK
        for sku, quantity in stock.items():
            item = Item(part_ids[sku], warehouse_id)
            if (item.part_id, item.warehouse_id) not in moved:
                receive(
                    connection, item=item, quantity=quantity, actor=ACTOR, remark=ACTOR, now=now
                )
