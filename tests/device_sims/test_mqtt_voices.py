"""Units that publish as vendors' cards and gateways do, heard by the ear that hears those."""

import asyncio
from datetime import timedelta

import pytest

from collector import ear
from collector.ear import DeviceEar
from collector.listen import Listener
from collector.profile import profiles
from collector.store import KnownDevice
from device_sims.mqtt_voices import address_topic
from device_sims.serve import serving
from service_api.embedded_broker import EmbeddedBroker
from tests.collector.brokers import until
from tests.collector.test_listener import Ingest
from tests.device_sims.sims import START, scenario

FAMILIES = ["sparkplug-b", "nut-mqtt", "nut-mqtt-minutes", "eaton-mqtt", "tasmota", "esphome"]


@pytest.fixture
def broker(tmp_path):
    with EmbeddedBroker(tmp_path) as running:
        yield running


class Hub:
    """Hears one unit under the address that the simulator gives it."""

    def __init__(self, broker, address, monkeypatch):
        monkeypatch.setattr(ear, "_FIRST_PICTURE_SECONDS", 0.2)
        monkeypatch.setattr(ear, "_FLAG_PICTURE_SECONDS", 0.2)
        device = KnownDevice(1, "u", "mqtt", address, None, None, 0.3, 2.0, False)
        self.ingest = Ingest(at_once=True)
        self.listener = Listener(
            broker.url,
            ear=DeviceEar(load=lambda: [device]),
            offer=self.ingest.offer,
            now=lambda: START + timedelta(hours=1),
            client_id="hub",
            version=3,
        )

    def __enter__(self):
        self.listener.start()
        until(lambda: self.listener.is_connected and len(self.listener._subscribed) > 3)
        return self

    def __exit__(self, *_):
        self.listener.stop()

    @property
    def merged(self):
        """What the readings so far leave behind."""
        points = {}
        for arrival in self.ingest.taken:
            points |= arrival.reading.points if arrival.reading else {}
        return points

    @property
    def is_ended(self):
        ends = [one.reading for one in self.ingest.taken if one.reading and not one.reading.points]
        return any(end.stays_valid_seconds == 0 for end in ends)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_unit_of_each_family_is_heard_as_it_is(broker, family, monkeypatch):
    timeline = "  - {at: 20, do: mains_fail, site: s, lasting: 300}\n"

    async def run():
        units = scenario(f"u {family} mqtt tower-3k", timeline)
        topic = address_topic(profiles()[family], "u")
        # Births are said once: who hears them must be there before.
        with Hub(broker, f"mqtt://broker/{topic}", monkeypatch) as hub:
            async with serving(units, start=START, mqtt_url=broker.url) as fleet:
                assert fleet.unit("u").url.endswith(f"/{topic}")
                for _ in range(15):
                    await fleet.advance(1)
                await asyncio.to_thread(until, lambda: "battery_charge" in hub.merged)
                truth = fleet.wires["u"].points(fleet.now)
                await asyncio.to_thread(until, lambda: hub.merged.get("status_on_line") is True)
                for column in ("battery_charge", "input_voltage", "ups_load", "battery_runtime"):
                    said = hub.merged[column]
                    assert said == pytest.approx(truth[column], rel=0.03, abs=1.0), column
                assert hub.merged["status_on_battery"] is False
                for _ in range(15):
                    await fleet.advance(1)
                await asyncio.to_thread(until, lambda: hub.merged["status_on_battery"] is True)
                assert {one.profile for one in hub.ingest.taken if one.profile} == {family}
                assert hub.ingest.reasons == []
                if family not in ("eaton-mqtt", "nut-mqtt-minutes"):
                    fleet.publishers[0]._link.break_off()
                    await asyncio.to_thread(until, lambda: hub.is_ended)

    asyncio.run(run())
