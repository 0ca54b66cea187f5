"""A site behind a line that breaks: all readings arrive, once, and nobody blames the units."""

import json
import sqlite3
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cryptography.fernet import Fernet

from collector.address import Credentials
from collector.arrival import Arrival
from collector.credentials import credentials_text
from collector.spool import FILE, Spool
from collector.uplink import Self, Uplink, broker_of
from rules.facts import Reading
from tests.cast import register
from tests.collector.brokers import Mosquitto
from tests.scenarios.daemons import Daemon, Line, Units, until

QUEUES = "max_queued_messages 0\nmax_inflight_messages 1000"
pytestmark = [pytest.mark.slow, pytest.mark.mosquitto, pytest.mark.timeout(420)]


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the processes beside this one have no other


class Center:
    """The database, a broker, a line to it, and a worker that takes in and judges."""

    def __init__(self, database, folder, *, devices: int) -> None:
        register(database.admin_dsn, devices=devices)
        self._stack = ExitStack()
        self.admin = self._stack.enter_context(psycopg.connect(database.admin_dsn, autocommit=True))
        self.admin.execute("UPDATE device SET collector_group = 'site-3', poll_seconds = 1")
        self.keys = [key for (key,) in self.admin.execute("SELECT key FROM device ORDER BY id")]
        self._database = database
        self._folder = folder

    def __enter__(self):
        broker = self._stack.enter_context(Mosquitto(self._folder, settings=QUEUES))
        self.line = self._stack.enter_context(Line(broker.port))
        self.url = f"mqtt://hub:hush@127.0.0.1:{self.line.port}"
        self.worker = self._stack.enter_context(
            Daemon(
                ["run", "--roles", "ingest,schedule"],
                self._folder / "center.log",
                RIDETHROUGH_INGEST_DATABASE_URL=self._database.ingest_dsn,
                RIDETHROUGH_ENCRYPTION_KEY=Fernet.generate_key().decode(),
                RIDETHROUGH_MQTT_URL=broker.url,
            )
        )
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def one(self, query: str, *parameters) -> object:
        return self.admin.execute(query, parameters).fetchone()[0]

    @property
    def stored(self) -> int:
        self.worker.require_alive()
        return self.one("SELECT count(*) FROM telemetry")

    def require_nothing_wrong(self) -> None:
        assert self.admin.execute("SELECT reason, detail FROM quarantine").fetchall() == []
        assert self.one("SELECT count(*) FROM alarm") == 0


def fed(uplink: Uplink, keys: list[str], at: datetime) -> int:
    for key in keys:
        points = {"ups_load": 40.0, "status_on_line": True, "status_on_battery": False}
        reading = Reading(0, at, at, points, stays_valid_seconds=92.0)
        arrival = Arrival(key, at, "snmp", reading=reading)
        until(lambda arrival=arrival: uplink.offer(arrival))
    return len(keys)


def test_a_line_cut_for_ten_minutes_loses_doubles_and_disorders_nothing(
    embedded_database, tmp_path
):
    with Center(embedded_database, tmp_path, devices=20) as center:
        spool = Spool(tmp_path / "spool", limit_bytes=50_000_000)
        who = Self("site-3", "site-3", "first")
        uplink = Uplink(broker_of(center.url), who=who, spool=spool, now=now)
        uplink.start()
        began = now() - timedelta(minutes=11)
        total = 0
        for second in range(0, 30, 10):
            total += fed(uplink, center.keys, began + timedelta(seconds=second))
        until(lambda: center.stored == total)
        center.line.cut()
        for second in range(30, 630, 10):
            total += fed(uplink, center.keys, began + timedelta(seconds=second))
        until(lambda: uplink.waiting == 1_200)
        assert center.stored == 60
        center.line.mend()
        last = began + timedelta(seconds=640)
        total += fed(uplink, center.keys, last)
        until(lambda: center.stored >= total, told=lambda: f"{center.stored} of {total}")
        until(lambda: uplink.waiting == 0)
        uplink.stop()
        spool.close()
        assert center.stored == total == 20 * 64
        assert center.one("SELECT count(DISTINCT observed_at) FROM device_state") == 1
        assert center.one("SELECT min(observed_at) FROM device_state") == last
        center.require_nothing_wrong()


def test_a_collector_killed_while_the_line_is_cut_loses_nothing(embedded_database, tmp_path):
    with Units(4) as units, Center(embedded_database, tmp_path, devices=4) as center:
        listed = tmp_path / "devices.csv"
        lines = [
            f"{key},n,s,c,snmp://public@127.0.0.1:{port},1"
            for key, port in zip(center.keys, units.ports, strict=True)
        ]
        listed.write_text("\n".join(["key,name,site,customer,address,poll_seconds", *lines]))
        folder = tmp_path / "spool"
        arguments = ["run", "--roles", "collect", "--uplink", center.url, "--devices", str(listed)]
        settings = {
            "RIDETHROUGH_SPOOL_DIR": str(folder),
            "RIDETHROUGH_COLLECTOR_GROUP": "site-3",
            "RIDETHROUGH_COLLECTOR_NAME": "site-3",
        }
        with Daemon(arguments, tmp_path / "site.log", **settings) as site:
            until(lambda: center.stored >= 12, told=lambda: site.said + center.worker.said)
            until(lambda: center.one("SELECT count(*) FROM collector WHERE name = 'site-3'") == 1)
            assert center.admin.execute(
                "SELECT collector_group, is_uplink FROM collector WHERE name = 'site-3'"
            ).fetchall() == [("site-3", True)]
            center.line.cut()
            asked = len(units.asked[0])
            until(lambda: len(units.asked[0]) > asked + 5)
            site.kill()
            with sqlite3.connect(folder / FILE) as spool:
                kept = [json.loads(one) for (one,) in spool.execute("SELECT payload FROM message")]
            spool.close()
            assert len(kept) >= 8
            # It is missed, and its units are not blamed.
            down = "SELECT count(*) FROM incident WHERE cause = 'collector_down' AND"
            down += " subject = 'collector_group:site-3' AND closed_at IS"
            until(lambda: center.one(f"{down} NULL") == 1)
            site.start()
            center.line.mend()
            until(lambda: center.one(f"{down} NOT NULL") == 1, told=lambda: site.said)
            for one in kept:
                at = one["reading"]["at"]
                until(
                    lambda key=one["key"], at=at: center.one(
                        "SELECT count(*) FROM telemetry t JOIN device d ON d.id = t.device_id"
                        " WHERE d.key = %s AND observed_at = %s",
                        key,
                        at,
                    )
                )
            assert site.stop() == 0
            # Who says goodbye is heard.
            until(
                lambda: center.one(
                    "SELECT bool_and(stopped_at IS NOT NULL) FROM collector WHERE is_uplink"
                )
            )
        center.require_nothing_wrong()


def test_a_collectors_wrong_clock_is_set_right_and_told(embedded_database, tmp_path):
    with Center(embedded_database, tmp_path, devices=1) as center:
        spool = Spool(tmp_path / "spool", limit_bytes=1_000_000)
        ahead = timedelta(seconds=400)
        uplink = Uplink(
            broker_of(center.url),
            who=Self("site-3", "site-3", "first"),
            spool=spool,
            now=lambda: now() + ahead,
        )
        uplink.start()
        until(lambda: uplink.skew is not None)
        assert uplink.skew == pytest.approx(400, abs=2)
        at = now()
        fed(uplink, center.keys, at + ahead)
        until(lambda: center.stored == 1)
        observed, extra = center.admin.execute(
            "SELECT observed_at, extra FROM telemetry"
        ).fetchone()
        assert abs(observed - at) < timedelta(seconds=2)
        assert datetime.fromisoformat(extra["collector.clock"]) - at >= ahead - timedelta(seconds=1)
        finding = "SELECT subject FROM finding WHERE kind = 'clock_skew' AND closed_at IS NULL"
        assert center.admin.execute(finding).fetchall() == [("collector:site-3",)]
        assert center.one("SELECT skew_seconds FROM collector WHERE is_uplink") == pytest.approx(
            400, abs=2
        )
        uplink.stop()
        spool.close()
        center.require_nothing_wrong()


def test_a_site_with_neither_file_nor_database_hears_from_the_center_what_to_poll(
    embedded_database, tmp_path
):
    with Units(3) as units, Center(embedded_database, tmp_path, devices=3) as center:
        key = Fernet.generate_key()
        sealed = Fernet(key).encrypt(credentials_text(Credentials("public")).encode())
        (number,) = center.admin.execute(
            "INSERT INTO credential (sealed, fingerprint) VALUES (%s, %s) RETURNING id",
            (sealed, "public"),
        ).fetchone()
        for unit, port in zip(center.keys, units.ports, strict=True):
            center.admin.execute(
                "UPDATE device SET address = %s, credential_id = %s WHERE key = %s",
                (f"snmp://127.0.0.1:{port}", number, unit),
            )
        with Daemon(
            ["run", "--roles", "collect", "--uplink", center.url],
            tmp_path / "site.log",
            RIDETHROUGH_SPOOL_DIR=str(tmp_path / "spool"),
            RIDETHROUGH_COLLECTOR_GROUP="site-3",
            RIDETHROUGH_COLLECTOR_NAME="site-3",
            RIDETHROUGH_ENCRYPTION_KEY=key.decode(),
        ) as site:
            until(
                lambda: center.one("SELECT count(DISTINCT device_id) FROM telemetry") == 3,
                told=lambda: site.said,
            )
            assert site.stop() == 0
        center.require_nothing_wrong()
