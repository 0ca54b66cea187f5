"""SIGKILL in mid-stream: nothing acknowledged is lost, nothing stored twice, no ticket doubled."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cryptography.fernet import Fernet

from tests.cast import register
from tests.collector.brokers import Mosquitto, Publisher

UNITS = 10
PACE_SECONDS = 0.02
READINGS = 150
DEADLINE_SECONDS = 90


class Daemon:
    """The real daemon as its own process, killed without warning."""

    def __init__(self, database, broker_url: str) -> None:
        self._environment = {
            **os.environ,
            "RIDETHROUGH_INGEST_DATABASE_URL": database.ingest_dsn,
            "RIDETHROUGH_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "RIDETHROUGH_MQTT_URL": broker_url,
            "RIDETHROUGH_MQTT_VERSION": "5",
        }
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "service_api.cli", "run", "--roles", "ingest,schedule"],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self.kill()

    def require_alive(self) -> None:
        assert self._process.poll() is None, "the daemon ended by itself"

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(30)


@pytest.mark.slow
@pytest.mark.mosquitto
def test_a_daemon_killed_twice_in_mid_stream_loses_and_doubles_nothing(embedded_database, tmp_path):
    register(embedded_database.admin_dsn, devices=UNITS)
    with psycopg.connect(embedded_database.admin_dsn, autocommit=True) as admin:
        admin.execute("UPDATE device SET protocol = 'mqtt', collector_group = 'mqtt'")
        keys = [key for (key,) in admin.execute("SELECT key FROM device ORDER BY id")]

        def count(table: str) -> int:
            return admin.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

        def until(condition) -> None:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not condition():
                assert time.monotonic() < deadline, f"{count('telemetry')} readings arrived"
                daemon.require_alive()
                time.sleep(0.05)

        with (
            Mosquitto(tmp_path, settings="max_queued_messages 0") as broker,
            Daemon(embedded_database, broker.url) as daemon,
        ):
            began = datetime.now(UTC) - timedelta(seconds=READINGS + 30)  # noqa: TID251

            def publish() -> None:
                """Each unit says for 150 s, one reading a second, that its fan is broken."""
                with Publisher(broker.url) as publisher:
                    for second in range(READINGS):
                        at = (began + timedelta(seconds=second)).isoformat()
                        points = {"alarm.fan_fault": True, "ups.load": float(second % 100)}
                        for key in keys:
                            publisher.say(
                                f"{key}/reading", json.dumps({"at": at, "points": points})
                            )
                        time.sleep(PACE_SECONDS)  # else two batches would take it all

            # The broker keeps a session's messages only once the session has begun.
            with Publisher(broker.url) as publisher:

                def is_listening() -> bool:
                    at = (began - timedelta(seconds=1)).isoformat()
                    publisher.say(
                        f"{keys[0]}/reading", json.dumps({"at": at, "points": {"ups.load": 1.0}})
                    )
                    return count("telemetry") > 0

                until(is_listening)
            before = count("telemetry")
            publishing = threading.Thread(target=publish)
            publishing.start()
            for share in (0.25, 0.6):
                wanted = before + share * UNITS * READINGS
                until(lambda wanted=wanted: count("telemetry") >= wanted)
                daemon.kill()
                daemon.start()
            publishing.join()
            until(lambda: count("telemetry") >= before + UNITS * READINGS)
            until(lambda: count("ticket") >= UNITS)
            with Publisher(broker.url) as publisher:  # heard: the last daemon has surely begun
                at = (began + timedelta(seconds=READINGS)).isoformat()
                last = json.dumps({"at": at, "points": {"ups.load": 2.0}})
                publisher.say(f"{keys[0]}/reading", last)
                until(lambda: count("telemetry") > before + UNITS * READINGS)
            assert daemon.stop() == 0
        assert count("telemetry") == before + UNITS * READINGS + 1
        assert count("quarantine") == 0
        assert count("alarm") == UNITS
        assert count("ticket") == UNITS
        assert admin.execute("SELECT count(DISTINCT device_id) FROM ticket").fetchone()[0] == UNITS
