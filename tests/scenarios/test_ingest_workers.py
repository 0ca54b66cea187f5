"""Three ingest workers on one broker, one killed under load: nothing lost, nothing doubled."""

import json
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cryptography.fernet import Fernet

from collector.arrival import Arrival
from collector.shards import shard_of
from collector.uplink_wire import encode
from rules.facts import Reading
from tests.cast import register
from tests.collector.brokers import Mosquitto, Publisher
from tests.scenarios.daemons import Daemon, until

UNITS = 64
READINGS = 120
QUEUES = "max_queued_messages 0\nmax_inflight_messages 1000"


def document(at: datetime, second: int) -> dict:
    return {"at": at.isoformat(), "points": {"alarm.fan_fault": True, "ups.load": second % 100}}


def uplinked(key: str, at: datetime, second: int) -> tuple[str, bytes]:
    points = {"alarm_fan_fault": True, "ups_load": float(second % 100)}
    reading = Reading(0, at, at, points, stays_valid_seconds=90.0)
    return encode(Arrival(key, at, "snmp", reading=reading), collector="site-3", skew=0.0)


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.mosquitto
def test_a_killed_worker_is_replaced_and_nothing_lost_doubled_or_disordered(
    embedded_database, tmp_path
):
    """Half of the units speak by an uplink, half publish themselves; each its own 120 seconds."""
    register(embedded_database.admin_dsn, devices=UNITS)
    with (
        psycopg.connect(embedded_database.admin_dsn, autocommit=True) as admin,
        ExitStack() as stack,
    ):
        admin.execute(
            "UPDATE device SET protocol = 'mqtt', collector_group = 'mqtt' WHERE id % 2 = 0"
        )
        admin.execute("UPDATE device SET collector_group = 'site-3' WHERE id % 2 = 1")
        units = admin.execute("SELECT key, id % 2 = 1 FROM device ORDER BY id").fetchall()

        def one(query: str, *parameters) -> object:
            return admin.execute(query, parameters).fetchone()[0]

        broker = stack.enter_context(Mosquitto(tmp_path, settings=QUEUES))
        environment = {
            "RIDETHROUGH_INGEST_DATABASE_URL": embedded_database.ingest_dsn,
            "RIDETHROUGH_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "RIDETHROUGH_MQTT_URL": broker.url,
        }
        roles = ("ingest", "ingest", "ingest,schedule")
        workers = [
            stack.enter_context(
                Daemon(["run", "--roles", role], tmp_path / f"worker-{number}.log", **environment)
            )
            for number, role in enumerate(roles)
        ]

        def holders() -> dict[int, int]:
            """Return by process how many shards it holds."""
            return dict(
                admin.execute(
                    """
                    SELECT split_part(key, ':', 2)::int, count(*) FROM shard_lease
                    JOIN collector c ON c.id = collector_id
                    WHERE work = 'ingest' GROUP BY 1
                    """
                ).fetchall()
            )

        def is_shared() -> bool:
            for worker in workers:
                worker.require_alive()
            return sorted(holders().values()) == [16, 24, 24]

        until(is_shared, told=lambda: str(holders()))
        began = datetime.now(UTC) - timedelta(seconds=READINGS + 60)  # noqa: TID251
        with Publisher(broker.url) as publisher:

            def say(key: str, is_uplinked: bool, second: int) -> None:
                at = began + timedelta(seconds=second)
                if is_uplinked:
                    topic, payload = uplinked(key, at, second)
                    publisher.say(topic.removeprefix("ridethrough/v1/"), payload)
                else:
                    publisher.say(f"{key}/reading", json.dumps(document(at, second)))

            # The broker keeps a session's messages only once each session has begun.
            for key, is_uplinked in units:

                def is_heard(key=key, is_uplinked=is_uplinked) -> bool:
                    if one(
                        "SELECT count(*) FROM telemetry WHERE device_id ="
                        " (SELECT id FROM device WHERE key = %s)",
                        key,
                    ):
                        return True
                    say(key, is_uplinked, -1)
                    return False

                until(is_heard)

            def publish() -> None:
                for second in range(READINGS):
                    for key, is_uplinked in units:
                        say(key, is_uplinked, second)

            publishing = threading.Thread(target=publish)
            publishing.start()
            total = UNITS * (READINGS + 1)
            until(lambda: one("SELECT count(*) FROM telemetry") > total / 4)
            ear = one(
                "SELECT split_part(key, ':', 2)::int FROM collector JOIN shard_lease l"
                " ON l.collector_id = id WHERE work = 'collect:mqtt' LIMIT 1"
            )
            victim = next(worker for worker in workers if worker.pid == ear)
            workers.remove(victim)
            victim.kill()
            until(
                lambda: victim.pid not in holders() and sum(holders().values()) == 64,
                seconds=30,
                told=lambda: str(holders()),
            )
            publishing.join()
        until(
            lambda: one("SELECT count(*) FROM telemetry") >= total,
            told=lambda: f"{one('SELECT count(*) FROM telemetry')} of {total}",
        )
        for worker in workers:
            worker.require_alive()
            if "ingest,schedule" not in worker._arguments:
                continue
            until(lambda: one("SELECT count(*) FROM ticket") >= UNITS)
        assert one("SELECT count(*) FROM telemetry") == total
        assert one("SELECT count(*) FROM quarantine") == 0
        assert one("SELECT count(*) FROM alarm") == UNITS
        # In order: what the state holds is what each said last.
        assert admin.execute(
            "SELECT DISTINCT observed_at, ups_load FROM device_state"
        ).fetchall() == [(began + timedelta(seconds=READINGS - 1), (READINGS - 1) % 100)]
        assert len({shard_of(key) // 8 for key, is_uplinked in units if is_uplinked}) > 5
        assert [worker.stop() for worker in workers] == [0, 0]
        assert one("SELECT count(*) FROM shard_lease") == 0
