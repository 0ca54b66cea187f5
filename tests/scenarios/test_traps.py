"""From a card's trap to a reading: a hint makes its unit polled at once, and is counted."""

import asyncio
import json
import socket

import psycopg
import pytest
from cryptography.fernet import Fernet

from collector.pokes import PokeTeller, hear_pokes
from collector.poll import PollLoop
from collector.store import known_devices
from collector.trap_ear import TrapEar
from device_sims.fleet import import_csv
from device_sims.serve import serving
from device_sims.trap_sender import COMMUNITY
from service_api.devices_csv import read_devices
from service_api.devices_import import import_devices
from service_api.secrets import Sealer
from tests.cast import START, Service
from tests.collector.test_trap_receiver import CommunityData, send
from tests.device_sims.sims import scenario

STRANGE = "1.3.6.1.4.1.99999.0.7"


@pytest.fixture
def service(embedded_database):
    made = Service(embedded_database.ingest_dsn, connections=6)
    yield made
    made.close()


async def until(holds):
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_trap_has_its_unit_polled_at_once_and_is_kept_with_its_meaning(
    service, embedded_database
):
    sealer = Sealer(Fernet.generate_key().decode())

    strangers = "SELECT FROM trap_seen WHERE device_id IS NULL"

    def load():
        with service.pool.connection() as connection:
            return known_devices(connection, collector_group="default")

    def stored():
        while service.ingest.run_once(wait_seconds=0.0):
            pass

    def on_battery():
        stored()
        return service.one("SELECT count(*) FROM telemetry WHERE status_on_battery")

    async def story():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            target = taken.getsockname()
        teller = PokeTeller(embedded_database.ingest_dsn)
        ear = TrapEar(
            load=load,
            unseal=sealer.unseal,
            offer=service.ingest.offer,
            poke=teller.tell,
            now=service.clock,
            host=target[0],
            port=target[1],
        )
        loop = PollLoop(
            load=load, unseal=sealer.unseal, offer=service.ingest.offer, now=service.clock
        )
        stop = asyncio.Event()
        fleet_of = scenario("apc apc-powernet snmp tower-3k; eaton eaton-xups snmp rack-5k")
        async with serving(fleet_of, start=START, traps_to=target) as fleet:
            listed = import_csv(fleet.scenario, fleet.units).encode()
            with psycopg.connect(embedded_database.api_dsn) as connection:
                import_devices(connection, read_devices(listed, today=START.date()), sealer=sealer)
            with psycopg.connect(embedded_database.admin_dsn) as admin:
                admin.execute("UPDATE device SET poll_seconds = 3600")
            tasks = [
                asyncio.create_task(loop.run(stop)),
                asyncio.create_task(ear.run(stop)),
                asyncio.create_task(teller.run()),
                asyncio.create_task(hear_pokes(embedded_database.ingest_dsn, loop.poke)),
            ]
            # Poked, since a unit asked once an hour is first asked within a minute.
            await until(lambda: loop.counters.devices == 2)
            for device in load():
                loop.poke(device.device_id)
            await until(lambda: stored() or service.one("SELECT count(*) FROM telemetry") == 2)

            service.clock.now = START.replace(minute=1)
            fleet.machine("apc").fail_mains()
            await fleet.advance(60)
            await until(on_battery)
            assert not await send(ear.port, CommunityData(COMMUNITY), oid=STRANGE)
            await until(lambda: stored() or service.rows(strangers))
            stop.set()
            await asyncio.gather(*tasks[:2])
            for task in tasks[2:]:
                task.cancel()
            await asyncio.gather(*tasks[2:], return_exceptions=True)

    asyncio.run(story())
    rows = {
        (key, oid): (name, count, variables)
        for key, oid, name, count, variables in service.rows(
            """
            SELECT d.key, t.oid, t.name, t.count, t.variables
            FROM trap_seen t LEFT JOIN device d ON d.id = t.device_id
            """
        )
    }
    assert rows["apc", "1.3.6.1.4.1.318.0.5"][:2] == ("upsOnBattery", 1)
    # Sent from a port that is nobody's, of an address that is both units'.
    name, count, variables = rows[None, STRANGE]
    assert (name, count) == (None, 1)
    assert "UPS: On battery power." in json.dumps(variables)
