"""Two collectors of a group share its units; when one is killed, the other has them soon."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime

import psycopg
import pytest
from cryptography.fernet import Fernet

from collector.shards import shard_of
from service_api.devices_csv import read_devices
from service_api.devices_import import import_devices
from service_api.secrets import Sealer
from tests.collector.brokers import Mosquitto
from tests.scenarios.daemons import Daemon, Units, until

UNITS = 12


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_the_units_of_a_killed_collector_are_polled_by_another_within_half_a_minute(
    embedded_database, tmp_path
):
    key = Fernet.generate_key().decode()
    environment = {
        "RIDETHROUGH_INGEST_DATABASE_URL": embedded_database.ingest_dsn,
        "RIDETHROUGH_ENCRYPTION_KEY": key,
    }
    with Units(UNITS) as units, ExitStack() as stack:
        lines = [
            f"ups-{number},n,s,c,snmp://public@127.0.0.1:{port},2"
            for number, port in enumerate(units.ports)
        ]
        rows = read_devices(
            "\n".join(["key,name,site,customer,address,poll_seconds", *lines]),
            today=datetime.now(UTC).date(),  # noqa: TID251 - the daemons have no other
        )
        with psycopg.connect(embedded_database.api_dsn) as api:
            import_devices(api, rows, sealer=Sealer(key))
        admin = stack.enter_context(psycopg.connect(embedded_database.admin_dsn, autocommit=True))
        collectors = [
            stack.enter_context(
                Daemon(["run", "--roles", "collect"], tmp_path / f"{n}.log", **environment)
            )
            for n in range(2)
        ]

        def shards_of(collector: Daemon) -> set[int]:
            return {
                shard
                for (shard,) in admin.execute(
                    """
                    SELECT shard FROM shard_lease JOIN collector c ON c.id = collector_id
                    WHERE work = 'collect:default' AND split_part(key, ':', 2)::int = %s
                    """,
                    (collector.pid,),
                )
            }

        def is_shared() -> bool:
            for collector in collectors:
                collector.require_alive()
            return all(len(shards_of(collector)) == 32 for collector in collectors)

        until(is_shared)
        victim, survivor = collectors
        theirs = shards_of(victim)
        moving = [n for n in range(UNITS) if shard_of(f"ups-{n}") in theirs]
        assert 0 < len(moving) < UNITS

        def are_polled_since(at: float, which) -> bool:
            survivor.require_alive()
            return all(units.asked[n] and units.asked[n][-1] > at for n in which)

        until(lambda: are_polled_since(0, range(UNITS)))
        victim.kill()
        killed_at = time.monotonic()
        until(lambda: are_polled_since(killed_at + 0.5, moving), seconds=30)
        assert len(shards_of(survivor)) == 64
        # Polled in order and by one at a time: nobody's reading came late.
        since = max(units.asked[n][-1] for n in range(UNITS))
        until(lambda: are_polled_since(since, range(UNITS)))
        assert admin.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)
        assert survivor.stop() == 0
        assert admin.execute(
            "SELECT count(*) FROM shard_holder WHERE collector_id IN"
            " (SELECT id FROM collector WHERE stopped_at IS NOT NULL)"
        ).fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.mosquitto
def test_the_processes_of_one_daemon_share_units_and_sessions_and_end_together(
    embedded_database, tmp_path
):
    with (
        Mosquitto(tmp_path) as broker,
        psycopg.connect(embedded_database.admin_dsn, autocommit=True) as admin,
        Daemon(
            ["run", "--roles", "collect,ingest", "--workers", "2"],
            tmp_path / "daemon.log",
            RIDETHROUGH_INGEST_DATABASE_URL=embedded_database.ingest_dsn,
            RIDETHROUGH_ENCRYPTION_KEY=Fernet.generate_key().decode(),
            RIDETHROUGH_MQTT_URL=broker.url,
        ) as daemon,
    ):

        def shares() -> list[tuple[str, int]]:
            daemon.require_alive()
            return admin.execute(
                "SELECT work, count(*) FROM shard_lease GROUP BY work, collector_id ORDER BY 1, 2"
            ).fetchall()

        wanted = [("collect:default", 32)] * 2 + [("collect:mqtt", 64)] + [("ingest", 32)] * 2
        until(lambda: shares() == wanted, told=lambda: f"{shares()} {daemon.said}")
        assert daemon.stop() == 0
        assert admin.execute("SELECT count(*) FROM shard_lease").fetchone() == (0,)
