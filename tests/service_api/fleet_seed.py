"""A fleet to look at: 24 units at six sites of four customers, in every state that pages show.

One site is without mains (a unit runs low), a battery ages, a unit is silent, one is on bypass; the
rest is well. Written as the schema's owner, past row-level security by its own setting.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from service_api.auth import hash_password

PASSWORD = "open-sesame-42"
LOGINS = {
    "boss": "admin",
    "desk": "dispatcher",
    "field": "engineer",
    "bank": "customer",
    "mill": "customer",
    "robot": "integrator",
}
CUSTOMERS = (
    ("bank", "Example Bank", "示例银行"),
    ("mill", "Example Mill", "示例工厂"),
    ("clinic", "Example Clinic with a rather long registered name, Eastern Region", "示例医院"),
    ("metro", "Example Metro", "示例地铁"),
)
SITES = (
    ("bank-1", 0, "Data centre north", "北区数据中心", "Asia/Shanghai"),
    ("bank-2", 0, "Branch 7", "第七支行", "Asia/Shanghai"),
    ("mill-1", 1, "Plant 1", "一号厂房", "Asia/Shanghai"),
    ("mill-2", 1, "Warehouse", "仓库", "Europe/Berlin"),
    ("clinic-1", 2, "Surgery block B, basement two, behind the lift", "外科楼", "Asia/Shanghai"),
    ("metro-1", 3, "Line 4 signal room", "四号线信号室", "Asia/Shanghai"),
)  # fmt: skip


@dataclass(slots=True)
class Fleet:
    """What was written, to be asked for by tests."""

    customers: dict[str, int] = field(default_factory=dict)
    sites: dict[str, int] = field(default_factory=dict)
    devices: dict[str, int] = field(default_factory=dict)
    owner_of: dict[str, str] = field(default_factory=dict)
    alarms: dict[str, int] = field(default_factory=dict)
    incident: int = 0
    tickets: dict[str, int] = field(default_factory=dict)


class Seeder:
    """Writes the fleet as it is at `now`."""

    def __init__(self, connection: psycopg.Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.fleet = Fleet()

    def one(self, query: str, *values: object) -> int:
        return self.connection.execute(query, values).fetchone()[0]

    def people(self) -> None:
        kept = hash_password(PASSWORD)
        for name, role in LOGINS.items():
            customer = self.fleet.customers[name] if role == "customer" else None
            self.connection.execute(
                "INSERT INTO app_user (name, password_hash, role, customer_id, language)"
                " VALUES (%s, %s, %s, %s, 'en')",
                (name, kept, role, customer),
            )

    def places(self) -> None:
        for key, name, name_zh in CUSTOMERS:
            self.fleet.customers[key] = self.one(
                "INSERT INTO customer (key, name, name_zh) VALUES (%s, %s, %s) RETURNING id",
                key, name, name_zh,
            )  # fmt: skip
        for key, customer, name, name_zh, zone in SITES:
            self.fleet.sites[key] = self.one(
                "INSERT INTO site (customer_id, key, name, name_zh, time_zone, address)"
                " VALUES (%s, %s, %s, %s, %s, 'Street 1') RETURNING id",
                self.fleet.customers[CUSTOMERS[customer][0]], key, name, name_zh, zone,
            )  # fmt: skip
            for number in range(1, 5):
                self.unit(f"{key}-u{number}", CUSTOMERS[customer][0], key)

    def unit(self, key: str, customer: str, site: str) -> None:
        n = len(self.fleet.devices)
        self.fleet.owner_of[key] = customer
        device = self.one(
            "INSERT INTO device (key, name, customer_id, site_id, protocol, address, profile,"
            " manufacturer, model, serial, firmware, criticality, installed_on, warranty_until,"
            " battery_installed_on) VALUES (%s, %s, %s, %s, 'snmp', 'snmp://h', 'rfc1628', %s, %s,"
            " %s, '1.2', %s, %s, %s, %s) RETURNING id",
            key,
            f"UPS {key}" if n != 17 else "UPS clinic operating theatre 2, feeder A, redundant pair",
            self.fleet.customers[customer],
            self.fleet.sites[site],
            "Maker",
            ("Model 3000", "Model 10K", "Model 80K")[n % 3],
            f"SN{n:06}",
            ("normal", "high", "critical")[n % 3],
            (self.now - timedelta(days=900)).date(),
            (self.now + timedelta(days=200 - 20 * n)).date(),
            (self.now - timedelta(days=900)).date(),
        )
        self.fleet.devices[key] = device
        self.state(
            key, self.now - timedelta(seconds=3 + n % 20),
            status_on_line=True, status_on_battery=False, status_charging=False,
            battery_charge=100.0, battery_runtime=1500.0 + 60 * n, battery_voltage=54.4,
            battery_voltage_nominal=48.0, battery_temperature=22.5 + n % 5, ups_load=20.0 + 2 * n,
            ups_realpower=800.0 + 90 * n, input_voltage=229.5 + n % 4, input_frequency=50.0,
            input_voltage_nominal=230.0, output_voltage=230.0, output_frequency=50.0,
            output_voltage_nominal=230.0, ups_temperature=33.0,
        )  # fmt: skip

    def state(self, key: str, at: datetime, **points: object) -> None:
        values = {
            **points,
            "observed_at": at,
            "received_at": at,
            "fast_at": at,
            "stays_valid_seconds": 90.0,
        }
        sets = ", ".join(f"{column} = %({column})s" for column in values)
        self.connection.execute(
            f"UPDATE device_state SET {sets} WHERE device_id = %(id)s",
            {**values, "id": self.fleet.devices[key]},
        )

    def alarm(
        self,
        name: str,
        key: str,
        rule: str,
        severity: str,
        minutes: float,
        values: dict[str, object],
        **more: object,
    ) -> int:
        at = self.now - timedelta(minutes=minutes)
        columns = {
            "state": "active",
            "incident_id": None,
            "inhibited_by": None,
            "acknowledged_at": None,
            "acknowledged_by": None,
            "shelved_until_at": None,
            "shelved_by": None,
            "shelve_reason": None,
            "cleared_at": None,
            **more,
        }
        names = ", ".join(columns)
        places = ", ".join(f"%({column})s" for column in columns)
        condition = " AND ".join(values) or "seconds_since_seen > 900"
        alarm = self.connection.execute(
            "INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, raised_at,"
            f" changed_at, reason, {names}) SELECT id, customer_id, site_id, %(rule)s,"
            f" %(severity)s, %(at)s, %(at)s, %(reason)s, {places} FROM device WHERE id = %(id)s"
            " RETURNING id",
            {
                **columns,
                "id": self.fleet.devices[key],
                "rule": rule,
                "severity": severity,
                "at": at,
                "reason": Jsonb(
                    {
                        "rule": rule,
                        "condition": condition,
                        "values": values,
                        "observed_at": at.isoformat(),
                        "held_seconds": 60,
                    }
                ),
            },
        ).fetchone()[0]
        self.connection.execute(
            "INSERT INTO alarm_event (alarm_id, at, kind, actor) VALUES (%s, %s, 'raised', 'rule')",
            (alarm, at),
        )
        self.fleet.alarms[name] = alarm
        return alarm

    def mains_failure(self) -> None:
        now = self.now
        self.fleet.incident = incident = self.one(
            "INSERT INTO incident (subject, cause, site_id, customer_id, opened_at)"
            " VALUES (%s, 'mains_failure', %s, %s, %s) RETURNING id",
            f"site:{self.fleet.sites['bank-1']}", self.fleet.sites["bank-1"],
            self.fleet.customers["bank"], now - timedelta(minutes=6),
        )  # fmt: skip
        for number in range(1, 5):
            key = f"bank-1-u{number}"
            self.state(
                key, now - timedelta(seconds=4), status_on_line=False, status_on_battery=True,
                status_low_battery=number == 1, status_discharging=True,
                battery_runtime_elapsed=420.0, battery_charge=18.0 + 16 * number,
                battery_runtime=250.0 + 480 * (number - 1), battery_voltage=45.1,
                ups_load=41.0 + number, input_voltage=0.0, input_frequency=0.0,
            )  # fmt: skip
            self.alarm(
                f"on_battery_{number}", key, "on_battery", "major", 6,
                {"status_on_battery": True, "status_testing": False}, incident_id=incident,
                inhibited_by="low_battery" if number == 1 else None,
            )  # fmt: skip
        low = self.alarm(
            "low_battery", "bank-1-u1", "low_battery", "critical", 1.5,
            {"status_low_battery": True, "status_on_battery": True}, incident_id=incident,
        )  # fmt: skip
        ticket = self.ticket("low", "bank-1-u1", low, "load_at_risk", 1, "critical",
            ("Low battery while on battery", "电池供电且电量低"), minutes=1.5, promised=(120, 480),
            incident_id=incident)  # fmt: skip
        center = self.one(
            "INSERT INTO service_center (key, name, name_zh) VALUES ('c', 'Centre', '中心')"
            " RETURNING id"
        )
        self.one(
            "INSERT INTO engineer (key, name, name_zh, service_center_id)"
            " VALUES ('e1', 'Engineer A', '工程师甲', %s) RETURNING id",
            center,
        )
        self.one(
            "INSERT INTO work_order (ticket_id, customer_id, site_id, device_id, candidates,"
            " created_at) SELECT id, customer_id, site_id, device_id, %s, %s FROM ticket"
            " WHERE id = %s RETURNING id",
            Jsonb([{"engineer_id": 1, "score": 0.9, "reasons": []}]), now, ticket,
        )  # fmt: skip

    def ticket(
        self,
        name: str,
        key: str,
        alarm: int | None,
        mode: str,
        priority: int,
        severity: str,
        titles: tuple[str, str],
        *,
        minutes: float,
        promised: tuple[int, int] | None,
        state: str = "open",
        **more: object,
    ) -> int:
        at = self.now - timedelta(minutes=minutes)
        due = [at + timedelta(minutes=one) for one in promised] if promised else [None, None]
        covered = promised is not None
        columns = {"incident_id": None, "responded_at": None, "condition_cleared_at": None, **more}
        ticket = self.connection.execute(
            "INSERT INTO ticket (customer_id, site_id, device_id, failure_mode, source, rule_key,"
            " title_en, title_zh, severity, priority, priority_terms, state, reason, entitlement,"
            f" action_en, action_zh, opened_at, respond_by_at, restore_by_at, opened_by,"
            f" {', '.join(columns)}) SELECT customer_id, site_id, id, %(mode)s, 'rule', %(mode)s,"
            " %(en)s, %(zh)s, %(severity)s, %(priority)s, %(terms)s, %(state)s, %(reason)s,"
            " %(entitlement)s, 'Call the site now.', '立即联系现场。', %(at)s, %(respond)s,"
            f" %(restore)s, 'rule', {', '.join(f'%({c})s' for c in columns)}"
            " FROM device WHERE id = %(id)s RETURNING id",
            {
                **columns,
                "id": self.fleet.devices[key], "mode": mode, "en": titles[0], "zh": titles[1],
                "severity": severity, "priority": priority, "state": state, "at": at,
                "respond": due[0], "restore": due[1],
                "terms": Jsonb([{"term_en": "Impact high", "term_zh": "影响高", "points": 1},
                    {"term_en": "Urgency high", "term_zh": "紧急", "points": 1}]),
                "reason": Jsonb({
                    "rule": mode, "condition": "status_low_battery AND status_on_battery",
                    "readings": {"status_low_battery": True, "status_on_battery": True,
                        "battery_charge": 34.0},
                    "observed_at": at.isoformat(), "alarm_id": alarm,
                    "why_en": "The unit said so itself, for longer than 5 s.",
                    "why_zh": "设备自身上报,持续超过5秒。",
                    "source": "OB+LB is shutdown-critical (NUT)."}),
                "entitlement": Jsonb({
                    "covered": covered,
                    "conditions": [
                        {"name": "in_term", "holds": True, "en": "The contract runs today.",
                            "zh": "合同在有效期内。"},
                        {"name": "device", "holds": covered, "en": "The unit is on the contract.",
                            "zh": "设备在合同范围内。"},
                        {"name": "parts", "holds": None, "en": "Whether parts are included.",
                            "zh": "是否含备件。"}],
                    "contract_id": None, "contract_name": "Care 24", "contract_name_zh": "全天维保",
                    "clause_en": "Response within 2 hours, around the clock.",
                    "clause_zh": "全天候2小时内响应。",
                    "lines": [{"en": "Opened, plus 2 h", "zh": "受理时间加2小时"}]}),
            },
        ).fetchone()[0]  # fmt: skip
        if alarm is not None:
            self.connection.execute("INSERT INTO ticket_alarm VALUES (%s, %s)", (ticket, alarm))
        self.connection.execute(
            "INSERT INTO ticket_event (ticket_id, at, kind, actor, detail)"
            " VALUES (%s, %s, 'opened', 'rule', '{}')",
            (ticket, at),
        )
        self.fleet.tickets[name] = ticket
        return ticket

    def other_cases(self) -> None:
        now = self.now
        self.state("mill-1-u2", now - timedelta(seconds=8), status_replace_battery=True)
        worn = self.alarm("worn", "mill-1-u2", "replace_battery", "minor", 3000,
            {"status_replace_battery": True}, acknowledged_at=now - timedelta(days=1),
            acknowledged_by="desk")  # fmt: skip
        self.ticket("worn", "mill-1-u2", worn, "battery_worn", 3, "minor",
            ("Replace battery", "更换电池"), minutes=3000, promised=(480, 2880),
            state="in_progress", responded_at=now - timedelta(minutes=2800))  # fmt: skip
        self.state("mill-2-u3", now - timedelta(minutes=42))
        self.alarm("silent", "mill-2-u3", "communication_lost", "minor", 27,
            {"seconds_since_seen": 901})  # fmt: skip
        self.state("clinic-1-u2", now - timedelta(seconds=9), status_bypass=True)
        bypass = self.alarm("bypass", "clinic-1-u2", "on_bypass", "major", 55,
            {"status_bypass": True})  # fmt: skip
        self.ticket("bypass", "clinic-1-u2", bypass, "on_bypass", 2, "major",
            ("On bypass", "旁路供电"), minutes=55, promised=None)  # fmt: skip
        self.state("clinic-1-u4", now - timedelta(seconds=9), battery_temperature=33.5)
        self.alarm("warm", "clinic-1-u4", "battery_warm", "warning", 200,
            {"battery_temperature": 33.5}, shelved_until_at=now + timedelta(hours=3),
            shelved_by="desk", shelve_reason="Air conditioning is being repaired")  # fmt: skip
        self.state("metro-1-u1", now - timedelta(seconds=9), ups_load=86.0)
        self.alarm("load", "metro-1-u1", "high_load", "warning", 12, {"ups_load": 86.0})
        self.alarm("past", "metro-1-u2", "fan_fault", "minor", 9000, {"alarm_fan_fault": True},
            state="cleared", cleared_at=now - timedelta(minutes=8000))  # fmt: skip
        self.alarm("stale", "metro-1-u3", "fan_fault", "minor", 4000, {"alarm_fan_fault": True},
            state="stale")  # fmt: skip
        self.connection.execute(
            "INSERT INTO collector (key, collector_group, started_at, beat_at)"
            " VALUES ('c1', 'default', %s, %s)",
            (now - timedelta(days=1), now - timedelta(seconds=2)),
        )

    def past(self) -> None:
        """Write a day of readings and a year of rollups for three units."""
        now = self.now
        for key in ("bank-1-u1", "mill-1-u2", "metro-1-u2"):
            device = self.fleet.devices[key]
            minutes = range(1, 24 * 60, 2)
            for day in {(now - timedelta(minutes=one)).date() for one in minutes}:
                self.connection.execute("SELECT ensure_partition('telemetry', %s)", (day,))
            with (
                self.connection.cursor() as cursor,
                cursor.copy(
                    "COPY telemetry (device_id, observed_at, received_at, input_voltage,"
                    " output_voltage, battery_charge, battery_voltage, ups_load,"
                    " battery_temperature, status_on_battery) FROM STDIN"
                ) as copy,
            ):
                for minute in minutes:
                    at = now - timedelta(minutes=minute)
                    dark = 300 < minute < 320 or (key == "bank-1-u1" and minute < 7)
                    if 700 < minute < 760:
                        continue
                    copy.write_row((
                        device, at, at, 0.0 if dark else 230 + 3 * math.sin(minute / 60),
                        230.0, 60.0 if dark else 100.0, 54.0,
                        40 + 12 * math.sin(minute / 200), 24 + 2 * math.sin(minute / 300), dark,
                    ))  # fmt: skip
            for table, step, back in (("15m", 15, 60), ("1h", 60, 120), ("1d", 1440, 365)):
                for place in range(back * 1440 // step):
                    at = now.replace(minute=0, second=0, microsecond=0, hour=0) - timedelta(
                        minutes=step * place
                    )
                    if place % (20 * 1440 // step) == 0 and table != "1d":
                        self.connection.execute(
                            "SELECT ensure_partition(%s, %s)", (f"telemetry_{table}", at)
                        )
                        self.connection.execute(
                            "SELECT ensure_partition(%s, %s)",
                            (f"telemetry_{table}", at - timedelta(days=20)),
                        )
                with (
                    self.connection.cursor() as cursor,
                    cursor.copy(
                        f"COPY telemetry_{table} (device_id, bucket, n, input_voltage_avg,"
                        " input_voltage_min, input_voltage_max, battery_charge_avg,"
                        " battery_charge_min, battery_charge_max, ups_load_avg, ups_load_min,"
                        " ups_load_max, battery_temperature_avg, battery_temperature_min,"
                        " battery_temperature_max, status_on_battery_seconds) FROM STDIN"
                    ) as copy,
                ):
                    for place in range(back * 1440 // step):
                        at = now.replace(minute=0, second=0, microsecond=0, hour=0) - timedelta(
                            minutes=step * place
                        )
                        warm = 24 + 6 * math.sin(at.timestamp() / 86400 / 58)
                        copy.write_row((device, at, 10, 230.0, 226.0, 234.0, 99.0, 95.0, 100.0,
                            40.0, 30.0, 55.0, warm, warm - 2, warm + 3,
                            300.0 if place % 97 == 5 else 0.0))  # fmt: skip
            self.connection.execute(
                "INSERT INTO device_health VALUES (%s, %s, 82, 71, 93, 0.71, 3.1, 2.5, true,"
                " 'medium', 'The battery is worn as if 3.1 years old; it should be replaced within"
                " half a year.', '电池相当于使用3.1年,建议半年内更换。', '[]')",
                (device, now.date()),
            )


def seed_fleet(owner_dsn: str, now: datetime, *, past: bool = True) -> Fleet:
    """Write the fleet into a migrated database."""
    with psycopg.connect(owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        seeder = Seeder(connection, now)
        seeder.places()
        seeder.people()
        seeder.mains_failure()
        seeder.other_cases()
        if past:
            seeder.past()
        return seeder.fleet
