"""Bad input over real sockets, to its row in quarantine; what is good beside it arrives."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta

import psycopg
import pytest

from collector.ear import DeviceEar
from collector.listen import Listener
from collector.poll import PollLoop
from collector.raw import Typed
from collector.store import known_devices
from service_api.embedded_broker import EmbeddedBroker
from tests.cast import START, Service, register
from tests.collector import modbus_unit
from tests.collector.agent import serving
from tests.collector.brokers import Publisher, until
from tests.collector.test_poll_sockets import agent

CHARGE = "1.3.6.1.2.1.33.1.2.4.0"
LOAD = "1.3.6.1.2.1.33.1.4.4.1.5.1"


@pytest.fixture
def service(embedded_database) -> Iterator[Service]:
    made = Service(embedded_database.ingest_dsn, connections=4)
    yield made
    made.close()


@contextmanager
def ingesting(service: Service) -> Iterator[None]:
    running = threading.Thread(target=service.ingest.run)
    running.start()
    try:
        yield
    finally:
        service.ingest.stop()
        running.join()


def message(seconds: float, **points: object) -> str:
    at = (START + timedelta(seconds=seconds)).isoformat()
    return json.dumps({"at": at, "points": {k.replace("_", "."): v for k, v in points.items()}})


def test_bad_messages_are_quarantined_with_their_reason_and_the_good_ones_stored(
    service, embedded_database, tmp_path
):
    register(embedded_database.admin_dsn)
    with psycopg.connect(embedded_database.admin_dsn) as admin:
        admin.execute("UPDATE device SET protocol = 'mqtt', collector_group = 'mqtt'")
    service.clock.now = START + timedelta(minutes=10)

    def load():
        with service.pool.connection() as connection:
            return known_devices(connection, collector_group="mqtt")

    say = [
        ("ups-0-1", b"{"),
        ("ups-0-1", b"\xff\xfe"),
        ("ups-0-1", message(1, ups_load=1).replace("1}}", "NaN}}")),
        ("ups-0-1", b"[" * 50_000),
        ("ups-0-1", b" " * 300_000),
        ("ups-0-1", b'{"points": {"ups.load": 1}}'),
        ("ups-0-1", b'{"at": "yesterday", "points": {}}'),
        ("ups-0-1", b'{"at": "2026-03-02T08:00:00Z"}'),
        ("stranger", message(1, ups_load=1)),
        ("", message(1, ups_load=1)),
        ("ups-0-1", message(3600 + 600, ups_load=2)),
        ("ups-0-1", message(-86_400 * 20, ups_load=3)),
        ("ups-0-1", message(10, ups_load=10, battery_charge=900)),
        ("ups-0-1", message(20, ups_load=20, battery_charge="many")),
        ("ups-0-1", message(20, ups_load=99)),  # a duplicate
        ("ups-0-1", message(15, ups_load=15)),  # out of order
        ("ups-0-1", message(30, ups_load=30)),
    ]
    with EmbeddedBroker(tmp_path) as broker, ingesting(service):
        listener = Listener(
            broker.url,
            ear=DeviceEar(load=load),
            offer=service.ingest.offer,
            now=service.clock,
            client_id="hub",
            version=3,
        )
        listener.start()
        try:
            until(lambda: listener.is_connected)
            with Publisher(broker.url) as unit:
                for key, payload in say:
                    unit.say(f"{key}/reading", payload)
            until(lambda: service.one("SELECT count(*) FROM telemetry") == 4)
            assert listener.counters.messages == len(say)
            assert listener.counters.errors == 0
        finally:
            listener.stop()
    assert service.rows("SELECT ups_load, battery_charge FROM telemetry ORDER BY observed_at") == [
        (10.0, None),
        (15.0, None),
        (20.0, None),
        (30.0, None),
    ]
    assert service.rows("SELECT ups_load FROM device_state") == [(30.0,)]
    assert service.ingest.counters.duplicates == 1
    assert dict(service.rows("SELECT reason, count(*) FROM quarantine GROUP BY reason")) == {
        "bad_json": 2,
        "not_finite": 1,
        "too_deep": 1,
        "too_large": 1,
        "no_time": 1,
        "bad_time": 1,
        "no_points": 1,
        "unknown_device": 1,
        "unknown_topic": 1,
        "clock_ahead": 1,
        "too_old": 1,
        "implausible": 1,
        "wrong_type": 1,
    }
    counted = dict(service.ingest.counters.quarantined)
    assert counted == dict(service.rows("SELECT reason, count(*) FROM quarantine GROUP BY reason"))
    assert service.one("SELECT count(*) FROM quarantine WHERE detail = ''") == 0


def test_garbled_refused_and_absurd_answers_are_quarantined_while_the_others_are_polled(
    service, embedded_database
):
    garbling, refusing, absurd, good = register(embedded_database.admin_dsn, devices=4)

    async def polling() -> None:
        broken, wrong = agent(), agent()
        broken.garbage = b"\xff" * 60
        wrong.objects |= {CHARGE: Typed("gauge", 70_001), LOAD: Typed("string", "many")}
        refuses = modbus_unit.Unit({}, refuses=dict.fromkeys(range(3_000), 4))
        async with AsyncExitStack() as stack:
            ports = {
                garbling: await stack.enter_async_context(serving(broken)),
                absurd: await stack.enter_async_context(serving(wrong)),
                good: await stack.enter_async_context(serving(agent())),
            }
            unit = await stack.enter_async_context(modbus_unit.serving(refuses))
            addresses = {one: f"snmp://127.0.0.1:{port}" for one, port in ports.items()}
            addresses[refusing] = f"modbus://127.0.0.1:{unit}/1"
            with psycopg.connect(embedded_database.admin_dsn) as admin:
                for device_id, address in addresses.items():
                    admin.execute(
                        "UPDATE device SET address = %s, protocol = split_part(%s, ':', 1),"
                        " poll_seconds = 1, profile = CASE WHEN id = %s THEN 'apc-modbus' END"
                        " WHERE id = %s",
                        (address, address, refusing, device_id),
                    )

            def load():
                with service.pool.connection() as connection:
                    return known_devices(connection, collector_group="default")

            loop = PollLoop(
                load=load,
                unseal=lambda token: token.decode(),
                offer=service.ingest.offer,
                now=lambda: service.clock.advance(0.001),
            )
            stop = asyncio.Event()
            running = asyncio.create_task(loop.run(stop))

            def is_done() -> bool:
                stored = dict(
                    service.rows("SELECT device_id, count(*) FROM telemetry GROUP BY device_id")
                )
                refused = {
                    one for (one,) in service.rows("SELECT DISTINCT device_id FROM quarantine")
                }
                return (
                    stored.get(good, 0) >= 3
                    and stored.get(absurd, 0) >= 2
                    and refused >= {garbling, absurd}
                    and loop.counters.failures.total() >= 4
                    and refuses.requests
                )

            async with asyncio.timeout(60):
                while not await asyncio.to_thread(is_done):  # noqa: ASYNC110 - of rows
                    await asyncio.sleep(0.02)
            stop.set()
            await running

    with ingesting(service):
        asyncio.run(polling())
    reasons = set(service.rows("SELECT device_id, reason FROM quarantine"))
    assert (garbling, "malformed") in reasons
    assert {reason for device_id, reason in reasons if device_id == absurd} == {
        "implausible",
        "wrong_type",
    }
    assert not {device_id for device_id, _ in reasons} & {good}
    assert service.rows(
        "SELECT count(DISTINCT battery_charge), count(DISTINCT ups_load) FROM telemetry"
        " WHERE device_id = %s",
        absurd,
    ) == [(0, 0)]
