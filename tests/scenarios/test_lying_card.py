"""A card that tells ten times too much, from a real socket to the decision that puts it right."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from collector.poll import PollLoop
from collector.store import known_devices
from device_sims.serve import serving
from device_sims.wire import WireFault
from service_api.corrections import operations as corrections
from service_api.doubts import operations, store
from service_api.doubts.schemas import DoubtQuery
from tests.cast import START, Service, register
from tests.device_sims.sims import scenario


@pytest.fixture
def service(embedded_database) -> Iterator[Service]:
    made = Service(embedded_database.ingest_dsn, connections=4)
    yield made
    made.close()


class Card:
    """One simulated unit behind its agent, polled on demand; time stands still in between."""

    def __init__(self, service: Service, database, fleet) -> None:
        self.service = service
        self.database = database
        self.fleet = fleet
        self.loop = PollLoop(
            load=list,
            unseal=lambda token: token.decode(),
            offer=self._store,
            now=service.clock,
        )

    def _store(self, arrival) -> bool:
        self.service.ingest.store([arrival])
        return True

    async def poll(self, times: int = 1) -> None:
        for _ in range(times):
            self.service.clock.advance(30)
            await self.fleet.move_to(self.service.clock.now)
            self.service.beat()
            with self.service.pool.connection() as connection:
                (device,) = known_devices(connection, collector_group="default")
            await self.loop.poll_once(device)
            self.service.tick()

    def api(self):
        """Open a transaction of the API's role that sees all."""
        connection = psycopg.connect(self.database.api_dsn)
        connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        return connection

    def open_doubts(self):
        with self.api() as connection:
            return store.doubts(connection, DoubtQuery(limit=100)).items


def test_ten_times_too_much_is_doubted_accepted_and_right_from_the_next_reading(
    service, embedded_database
):
    (ups,) = register(embedded_database.admin_dsn)

    async def story():
        async with serving(scenario("u1 apc-powernet snmp tower-3k"), start=START) as fleet:
            fleet.wires["u1"].begin(WireFault.SCALE_X10, START)
            with psycopg.connect(embedded_database.admin_dsn) as admin:
                admin.execute(
                    "UPDATE device SET address = %s", (fleet.unit("u1").url.replace("public@", ""),)
                )
            card = Card(service, embedded_database, fleet)
            await card.poll(times=6)

            # Everything that is ten times too large is doubted, and kept out of the picture.
            doubts = {one.column: one for one in card.open_doubts()}
            assert doubts.keys() >= {"battery_voltage", "input_voltage", "input_frequency"}
            battery = doubts["battery_voltage"]
            assert battery.value == pytest.approx(820, abs=20)
            assert battery.proposal["factor"] == 0.1
            columns = ", ".join(doubts)
            (state,) = service.rows(f"SELECT {columns} FROM device_state")
            assert set(state) == {None}
            assert service.rows("SELECT rule_key FROM alarm") == [], "no false alarm meanwhile"

            # Somebody accepts what is proposed; within ten seconds readings are right.
            for one in doubts.values():
                with card.api() as connection:
                    operations.accept(
                        connection, one.id, scope="model" if one.model else "device", cure=None,
                        reason="", actor="Engineer A", now=service.clock.now,
                    )  # fmt: skip
            service.clock.advance(10)
            await card.poll()
            (state,) = service.rows(
                "SELECT battery_voltage, input_voltage, input_frequency FROM device_state"
            )
            assert state == (
                pytest.approx(82, abs=2),
                pytest.approx(220, abs=15),
                pytest.approx(50, abs=1),
            )
            assert card.open_doubts() == []

            # Its firmware is updated: the correction makes it wrong now, and that is noticed.
            fleet.wires["u1"].end(WireFault.SCALE_X10)
            await card.poll(times=6)
            again = {one.column: one for one in card.open_doubts()}
            assert again["battery_voltage"].proposal["action"] == "end"
            for one in again.values():
                with card.api() as connection:
                    operations.accept(
                        connection, one.id, scope="device", cure=None, reason="",
                        actor="Engineer A", now=service.clock.now,
                    )  # fmt: skip
            with card.api() as connection:
                for (left,) in connection.execute(
                    "SELECT id FROM correction WHERE ended_at IS NULL"
                ).fetchall():
                    corrections.end(connection, left, actor="Engineer A", now=service.clock.now)
            service.clock.advance(10)
            await card.poll()
            assert service.one("SELECT battery_voltage FROM device_state") == pytest.approx(
                82, abs=2
            )
            await card.poll(times=12)
            assert card.open_doubts() == []
            assert service.rows("SELECT rule_key FROM alarm") == []

    asyncio.run(asyncio.wait_for(story(), timedelta(minutes=2).total_seconds()))
    assert service.one("SELECT count(*) FROM telemetry WHERE device_id = %s", ups) > 20
