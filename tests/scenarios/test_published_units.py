"""Units that publish in vendors' ways, from a broker to alarms: mains lost, session lost, back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from collector import ear
from collector.ear import DeviceEar
from collector.listen import Listener
from collector.readers.sparkplug import (
    DOUBLE,
    INT64,
    STRING,
    Metric,
    Payload,
    encode_payload,
)
from collector.store import known_devices
from service_api.embedded_broker import EmbeddedBroker
from tests.cast import START, Service, register
from tests.collector.brokers import Publisher, until

ADDRESS = "mqtt://broker/spBv1.0/plant/+/gate/ups"


@pytest.fixture
def service(embedded_database) -> Iterator[Service]:
    made = Service(embedded_database.ingest_dsn, connections=4)
    yield made
    made.close()


@contextmanager
def hearing(service: Service, url: str) -> Iterator[Listener]:
    def load():
        with service.pool.connection() as connection:
            return known_devices(connection, collector_group="mqtt")

    storing = threading.Thread(target=service.ingest.run)
    storing.start()
    listener = Listener(
        url,
        ear=DeviceEar(load=load),
        offer=service.ingest.offer,
        now=service.clock,
        client_id="hub",
        version=3,
    )
    listener.start()
    try:
        until(lambda: listener.is_connected)
        yield listener
    finally:
        listener.stop()
        service.ingest.stop()
        storing.join()


class Gate:
    """An edge node with one unit."""

    def __init__(self, unit: Publisher, service: Service) -> None:
        self._unit = unit
        self._service = service
        self._seq = 0

    def says(self, kind: str, *metrics: Metric, seq: int | None = None) -> None:
        topic = f"spBv1.0/plant/{kind}/gate" + ("/ups" if kind[0] == "D" else "")
        if kind != "NDEATH":
            self._seq = self._seq + 1 if seq is None else seq
        at = int(self._service.clock.now.timestamp() * 1000)
        payload = Payload(at, None if kind == "NDEATH" else self._seq, metrics)
        self._unit.publish(topic, encode_payload(payload))

    def is_born(self) -> None:
        self.says("NBIRTH", Metric("bdSeq", None, None, INT64, 0), seq=0)
        self.says(
            "DBIRTH",
            Metric("ups/status", 1, None, STRING, "OL"),
            Metric("battery/charge", 2, None, DOUBLE, 100.0),
            Metric("device/model", 3, None, STRING, "M1"),
        )


def test_an_edge_nodes_unit_from_birth_to_death(service, embedded_database, tmp_path, monkeypatch):
    monkeypatch.setattr(ear, "_REFRESH_SECONDS", 0.2)
    (ups,) = register(embedded_database.admin_dsn)
    with psycopg.connect(embedded_database.admin_dsn) as admin:
        admin.execute(
            "UPDATE device SET protocol = 'mqtt', collector_group = 'mqtt', profile = NULL, "
            "address = %s",
            (ADDRESS,),
        )
        # The database notes by its own clock since when a unit is watched in another group.
        admin.execute("UPDATE device SET watched_since_at = %s", (START,))
    service.clock.now = START

    def state(column: str) -> object:
        return service.one(f"SELECT {column} FROM device_state")

    def alarms() -> dict[str, str]:
        return dict(service.rows("SELECT rule_key, state FROM alarm"))

    with (
        EmbeddedBroker(tmp_path) as broker,
        hearing(service, broker.url) as listener,
        Publisher(broker.url) as unit,
    ):
        until(lambda: "spBv1.0/plant/+/gate/#" in listener._subscribed)
        gate = Gate(unit, service)
        # At 0 s it is born: everything it has, and who it is.
        gate.is_born()
        until(lambda: state("battery_charge") == 100.0)
        assert state("status_on_line") is True
        assert service.rows("SELECT profile, model FROM device") == [("sparkplug-b", "M1")]
        # For an hour nothing changes: it says nothing, and is not lost.
        service.beat("mqtt")
        for _ in range(60):
            service.clock.now += timedelta(minutes=1)
            service.beat("mqtt")
            service.tick()
        assert alarms() == {}
        # Mains fails: only the status is said, by its alias; the charge is still believed.
        gate.says("DDATA", Metric(None, 1, None, STRING, "OB DISCHRG"))
        until(lambda: state("status_on_battery") is True)
        for _ in range(6):
            service.clock.now += timedelta(seconds=10)
            service.beat("mqtt")
            service.tick()
        assert alarms()["on_battery"] == "active"
        assert state("battery_charge") == 100.0
        gate.says("DDATA", Metric(None, 1, None, STRING, "OL CHRG"))
        until(lambda: state("status_on_battery") is False)
        # The node dies: what was believed is believed no more, and 15 min later it is lost.
        service.clock.now += timedelta(minutes=5)
        gate.says("NDEATH", Metric("bdSeq", None, None, INT64, 0))
        until(lambda: state("stays_valid_seconds") == 0)
        for _ in range(16):
            service.clock.now += timedelta(minutes=1)
            service.beat("mqtt")
            service.tick()
        assert alarms()["communication_lost"] == "active"
        # It is born again: seen, and after a minute no longer lost.
        gate.is_born()
        until(lambda: state("stays_valid_seconds") is None)
        for _ in range(3):
            service.clock.now += timedelta(minutes=1)
            service.beat("mqtt")
            service.tick()
        assert alarms()["communication_lost"] == "cleared"
        assert listener.counters.errors == 0
    assert service.one("SELECT count(*) FROM quarantine") == 0
    assert service.one("SELECT count(*) FROM telemetry WHERE device_id = %s", ups) == 5
