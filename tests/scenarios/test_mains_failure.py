"""The main job over real sockets under an injected clock: from failing mains to a told customer."""

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg_pool import ConnectionPool

from collector.poll import PollLoop
from collector.raw import ReadFailed
from collector.store import known_devices
from device_sims.fleet import import_csv
from device_sims.scenario import parse_scenario
from device_sims.serve import Fleet, serving
from service_api import demo_data
from service_api.consumers import HANDLERS
from service_api.database import STAFF, request_transaction
from service_api.devices_csv import read_devices
from service_api.devices_import import import_devices
from service_api.outbox import take_one
from service_api.secrets import Sealer
from tests.cast import START, Service

STORY = """
name: plant
title: {en: Plant, zh: 工厂}
seed: 7
customers:
  - {key: example-manufacturing, name: {en: Example Manufacturing, zh: 示例制造}}
sites:
  - {key: shanghai, customer: example-manufacturing, name: {en: Plant, zh: 工厂}, latitude: 30.9,
     longitude: 121.9, room: {mean_celsius: 25, season_celsius: 1, day_celsius: 0.5}}
units:
  - {key: line, site: shanghai, name: {en: Line, zh: 产线}, model: cabinet-60k, profile: rfc1628,
     access: snmpv3, installed_days_ago: 500, load: {base: 0.4}}
  - {key: office, site: shanghai, name: {en: Office, zh: 办公室}, model: rack-5k,
     profile: eaton-xups, installed_days_ago: 500, load: {base: 0.4}}
  - {key: desk, site: shanghai, name: {en: Desk, zh: 值班台}, model: tower-3k, manufacturer: APC,
     profile: apc-modbus, access: modbus, installed_days_ago: 400, load: {base: 0.3}}
  - {key: worn, site: shanghai, name: {en: Pump house, zh: 泵房}, manufacturer: APC,
     model: tower-3k, profile: apc-powernet, installed_days_ago: 1720, seed: 4711,
     battery: {service_life_years: 4.32}, load: {base: 0.7, working_hump: 0.0, noise: 0.003},
     self_test_days: 0}
timeline:
  - {at: 10, do: mains_fail, site: shanghai, lasting: 100}
  - {at: 400, do: silent, unit: line}
"""


class Plant:
    """The simulated plant, polled, judged and served every five seconds."""

    def __init__(self, service: Service, fleet: Fleet, loop: PollLoop, devices: dict) -> None:
        self.service, self.fleet, self.loop, self.devices = service, fleet, loop, devices

    async def run(
        self, seconds: int, *, step: int = 5, unanswered: frozenset = frozenset()
    ) -> None:
        """Let time pass; units in `unanswered` are not asked, which saves their deadlines."""
        for _ in range(0, seconds, step):
            await self.fleet.advance(step)
            self.service.clock.now = self.fleet.now
            self.service.beat()
            for key in self.devices.keys() - unanswered:
                device = self.devices[key]
                with contextlib.suppress(ReadFailed):
                    await self.loop.poll_once(device)
            while self.service.ingest.run_once(wait_seconds=0.0):
                pass
            self.service.tick()
            while take_one(self.service.pool, now=self.service.clock.now, handlers=HANDLERS):
                pass

    def alarms(self) -> dict[tuple[str, str], tuple]:
        return {
            (key, rule): (state, round((raised - START).total_seconds()))
            for key, rule, state, raised in self.service.rows(
                """
                SELECT d.key, a.rule_key, a.state, a.raised_at
                FROM alarm a JOIN device d ON d.id = a.device_id
                """
            )
        }


@pytest.fixture
def service(embedded_database) -> Iterator[Service]:
    made = Service(embedded_database.ingest_dsn, connections=4)
    yield made
    made.close()


def register(database, fleet: Fleet, sealer: Sealer) -> None:
    listed = import_csv(fleet.scenario, fleet.units).encode()
    with psycopg.connect(database.api_dsn) as connection:
        import_devices(connection, read_devices(listed, today=START.date()), sealer=sealer)
    with (
        ConnectionPool(database.api_dsn, min_size=1, max_size=1, open=True) as pool,
        request_transaction(pool, STAFF) as connection,
    ):
        demo_data.seed(connection, now=START)


@pytest.mark.slow
def test_mains_fails_one_unit_runs_low_and_everything_follows_once(service, embedded_database):
    sealer = Sealer(Fernet.generate_key().decode())

    async def story() -> None:
        async with serving(parse_scenario(STORY), start=START) as fleet:
            register(embedded_database, fleet, sealer)
            with service.pool.connection() as connection:
                devices = {d.key: d for d in known_devices(connection, collector_group="default")}
            assert set(devices) == {"line", "office", "desk", "worn"}
            assert all("simulated" not in device.address for device in devices.values())
            loop = PollLoop(
                load=list,
                unseal=sealer.unseal,
                offer=service.ingest.offer,
                now=service.clock,
            )
            plant = Plant(service, fleet, loop, devices)

            await plant.run(10)
            assert service.one("SELECT count(*) FROM telemetry") == 8
            assert plant.alarms() == {}

            await plant.run(50)  # 50 s on battery, seen first at 10 to 15 s
            assert {key for key, _ in plant.alarms()} <= set(devices)
            assert service.rows("SELECT * FROM ticket") == []

            await plant.run(35)  # 85 s on battery
            on_battery = {key for key, rule in plant.alarms() if rule == "on_battery"}
            assert on_battery == set(devices)
            assert {plant.alarms()[key, "on_battery"][1] for key in devices} <= {70, 75}
            low = [key for key, rule in plant.alarms() if rule == "low_battery"]
            assert low == ["worn"]
            assert service.rows("SELECT cause FROM incident WHERE closed_at IS NULL") == [
                ("mains_failure",)
            ]
            (ticket,) = service.rows(
                """
                SELECT t.id, d.key, t.priority, (t.entitlement ->> 'covered')::boolean,
                    t.respond_by_at > t.opened_at, t.condition_cleared_at, t.state
                FROM ticket t JOIN device d ON d.id = t.device_id
                """
            )
            assert ticket[1:] == ("worn", 1, True, True, None, "open")

            (order,) = service.rows(
                "SELECT id, state, jsonb_array_length(candidates) FROM work_order"
            )
            assert order[1] == "draft"
            assert order[2] >= 2
            assert service.rows(
                """
                SELECT p.kind, sum(m.reserved_change)
                FROM stock_move m JOIN part p ON p.id = m.part_id
                WHERE m.work_order_id = %s GROUP BY 1
                """,
                order[0],
            ) == [("battery_set", 1)]
            told = {topic for (topic,) in service.rows("SELECT DISTINCT topic FROM notice")}
            assert {"incident.opened", "ticket.opened"} <= told

            await plant.run(60)  # mains came back at 110 s
            assert {state for state, _ in plant.alarms().values()} == {"cleared"}
            assert service.rows("SELECT closed_at IS NULL FROM incident") == [(False,)]
            assert service.rows("SELECT state, condition_cleared_at IS NULL FROM ticket") == [
                ("open", False)
            ]
            kinds = [kind for (kind,) in service.rows("SELECT kind FROM ticket_event ORDER BY id")]
            assert kinds[0] == "opened"
            assert "condition_cleared" in kinds
            assert service.one("SELECT count(*) FROM outbox WHERE done_at IS NULL") == 0
            assert service.one("SELECT count(*) FROM outbox WHERE error IS NOT NULL") == 0

            await plant.run(250, step=25)  # the line falls silent at 400 s
            await plant.run(5)
            await plant.run(920, step=20, unanswered=frozenset({"line"}))
            lost = plant.alarms()["line", "communication_lost"]
            assert lost[0] == "active"
            assert 1280 <= lost[1] <= 1320
            assert service.one("SELECT count(*) FROM ticket") == 2
            assert service.one("SELECT count(*) FROM work_order") == 1

    asyncio.run(story())
