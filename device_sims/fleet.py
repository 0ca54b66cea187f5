"""The units that a scenario describes, with specification, seed and address.

Ages in a scenario count back from an `epoch` that its user gives, so that the same file makes
sense on any day and the same units come back after a restart. Nothing here opens a socket.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import numpy as np

from collector.profile import profiles
from device_sims.models import HARDWARE
from device_sims.mqtt_voices import address_topic
from device_sims.scenario import Cycle, Name, Scenario, Site, Unit
from device_sims.spec import BatterySpec, LoadSpec, RoomSpec, UpsSpec

V3_USER = "simulator"
V3_AUTH_PASSPHRASE = "simulated-auth"  # noqa: S105 — guards nothing but a simulator
V3_PRIV_PASSPHRASE = "simulated-priv"  # noqa: S105 — guards nothing but a simulator

CSV_COLUMNS = (
    "key",
    "name",
    "site",
    "customer",
    "address",
    "profile",
    "model",
    "serial",
    "installed_on",
    "battery_installed_on",
    "latitude",
    "longitude",
    "site_name",
    "site_name_zh",
    "customer_name",
    "customer_name_zh",
    "battery_chemistry",
    "poll_seconds",
)

POLL_SECONDS = 10
"""How often simulated units are polled: a story of two minutes has no time for the usual 30 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimUnit:
    """A unit of a scenario, ready to be built, served and registered.

    `url` is its address once its port is known. `silent_since` is when it was last heard.
    """

    key: str
    name_en: str
    name_zh: str
    site_key: str
    customer_key: str
    profile: str
    access: str
    port: int
    url: str
    spec: UpsSpec
    seed: int
    silent_since: datetime | None = None

    def bound_to(self, port: int) -> "SimUnit":
        """Return the unit with the port that its server really got."""
        return replace(self, port=port, url=_url(self.access, self.key, port, None, self.profile))


def units(
    scenario: Scenario, *, epoch: datetime, base_port: int = 0, mqtt_url: str | None = None
) -> list[SimUnit]:
    """Return the fleet with everything decided, in the order of the file.

    Each unit behind a port of its own takes the next one from `base_port`; with 0 the ports are
    open until the servers are bound. MQTT units stand behind `mqtt_url`.
    """
    fleet: list[SimUnit] = []
    port = base_port
    numbered = ((unit, *key_number) for unit in scenario.units for key_number in unit.numbered())
    for index, (template, key, number) in enumerate(numbered):
        has_port = template.access != "mqtt"
        site = scenario.site(template.site)
        fleet.append(
            SimUnit(
                key=key,
                name_en=template.name.en.replace("{n}", str(number)),
                name_zh=template.name.zh.replace("{n}", str(number)),
                site_key=site.key,
                customer_key=site.customer,
                profile=template.profile,
                access=template.access,
                port=port if has_port else 0,
                url=_url(template.access, key, port, mqtt_url, template.profile),
                spec=_spec(scenario, template, site, index, epoch),
                seed=_seed(scenario, template, index, number),
                silent_since=None
                if template.silent_days is None
                else epoch - timedelta(days=template.silent_days),
            )
        )
        if has_port and base_port:
            port += 1
    return fleet


def with_devices(scenario: Scenario, count: int) -> Scenario:
    """Return the scenario with exactly `count` units.

    Units that the timeline names come first; missing ones are copies of the uneventful others.
    """
    single = [
        template.model_copy(
            update={
                "key": key,
                "count": 1,
                "name": Name(
                    en=template.name.en.replace("{n}", str(number)),
                    zh=template.name.zh.replace("{n}", str(number)),
                ),
                "seed": None if template.seed is None else template.seed + number - 1,
            }
        )
        for template in scenario.units
        for key, number in template.numbered()
    ]
    named = {step.unit for step in scenario.every_step()}
    if count < len(single):
        # Stable: within each group the order of the file stands.
        kept = {unit.key for unit in sorted(single, key=lambda unit: unit.key not in named)[:count]}
        single = [unit for unit in single if unit.key in kept]
        steps = [step for step in scenario.timeline if step.unit is None or step.unit in kept]
        cycle = scenario.cycle and _cycle_without(scenario.cycle, kept)
        return scenario.model_copy(update={"units": single, "timeline": steps, "cycle": cycle})
    plain = [
        unit for unit in single if unit.silent_days is None and unit.key not in named
    ] or single
    for index in range(count - len(single)):
        model, turn = plain[index % len(plain)], index // len(plain) + 2
        single.append(
            model.model_copy(
                update={
                    "key": f"{model.key}-{turn}",
                    "name": Name(en=f"{model.name.en} ({turn})", zh=f"{model.name.zh}({turn})"),
                    "seed": None,
                }
            )
        )
    return scenario.model_copy(update={"units": single})


def import_csv(scenario: Scenario, fleet: Iterable[SimUnit]) -> str:
    """Return the fleet as the CSV that `ridethrough devices import` reads, in both languages."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    customers = {customer.key: customer.name for customer in scenario.customers}
    for unit in fleet:
        site = scenario.site(unit.site_key)
        customer = customers[unit.customer_key]
        writer.writerow(
            [
                unit.key,
                f"{unit.name_en} {unit.name_zh}",
                unit.site_key,
                unit.customer_key,
                unit.url,
                unit.profile,
                unit.spec.model,
                unit.spec.serial,
                unit.spec.installed_at.date().isoformat(),
                unit.spec.battery.installed_at.date().isoformat(),
                f"{site.latitude:.4f}",
                f"{site.longitude:.4f}",
                site.name.en,
                site.name.zh,
                customer.en,
                customer.zh,
                unit.spec.battery.chemistry.value.replace("_", "-"),
                POLL_SECONDS,
            ]
        )
    return out.getvalue()


def _seed(scenario: Scenario, template: Unit, index: int, number: int) -> int:
    if template.seed is not None:
        return template.seed + number - 1
    return scenario.seed * 100_003 + index


def _cycle_without(cycle: Cycle, kept: set[str]) -> Cycle | None:
    variants = [
        variant.model_copy(update={"steps": steps})
        for variant in cycle.variants
        if (steps := [step for step in variant.steps if step.unit is None or step.unit in kept])
    ]
    return cycle.model_copy(update={"variants": variants}) if variants else None


def _spec(scenario: Scenario, template: Unit, site: Site, index: int, epoch: datetime) -> UpsSpec:
    hardware = HARDWARE[template.model]
    installed_at = _midnight(epoch - timedelta(days=template.installed_days_ago))
    battery_days = template.battery.installed_days_ago
    if battery_days is None:
        battery_days = template.installed_days_ago
    serial = int(np.random.default_rng((scenario.seed, 0x5E1, index)).integers(10**6, 10**7))
    return UpsSpec(
        manufacturer=template.manufacturer,
        model=template.called or hardware.name,
        serial=f"SIM{serial}",
        firmware="UPS 04.1",
        installed_at=installed_at,
        phases=hardware.phases,
        rated_va=hardware.rated_va,
        rated_watts=hardware.rated_watts,
        topology=hardware.topology,
        low_runtime_seconds=hardware.low_runtime_seconds,
        self_test_days=template.self_test_days,
        has_room_probe=template.has_room_probe,
        battery=BatterySpec(
            capacity_ah=hardware.capacity_ah,
            cells=hardware.cells,
            strings=hardware.strings,
            chemistry=hardware.chemistry,
            peukert=hardware.peukert,
            service_life_years=template.battery.service_life_years or hardware.service_life_years,
            recharge_hours=hardware.recharge_hours,
            rest_days=hardware.rest_days,
            installed_at=_midnight(epoch - timedelta(days=battery_days)),
        ),
        load=LoadSpec(
            base=template.load.base,
            working_hump=template.load.working_hump,
            noise=template.load.noise,
            power_factor=min(hardware.rated_watts / hardware.rated_va, 0.95),
        ),
        room=RoomSpec(
            # Equal for all units of a site and unlike for others.
            seed=scenario.seed * 1_009 + [item.key for item in scenario.sites].index(site.key),
            mean_celsius=site.room.mean_celsius,
            season_celsius=site.room.season_celsius,
            day_celsius=site.room.day_celsius,
            outages_per_year=site.room.outages_per_year,
        ),
    )


def _midnight(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _url(access: str, key: str, port: int, mqtt_url: str | None, profile: str) -> str:
    match access:
        case "snmp" | "snmp+v1":
            return f"{access}://public@127.0.0.1:{port}"
        case "snmpv3":
            secrets = f"{V3_USER}:{V3_AUTH_PASSPHRASE}:{V3_PRIV_PASSPHRASE}"
            return f"snmpv3://{secrets}@127.0.0.1:{port}?auth=sha256&priv=aes128"
        case "modbus" | "modbus+rtu":
            return f"{access}://127.0.0.1:{port}/1"
        case _:
            # What the publisher logs in with is nobody else's address.
            endpoint = urlsplit(mqtt_url or "mqtt://127.0.0.1:1883")
            host = endpoint.netloc.rpartition("@")[2]
            known = profiles().get(profile)
            other = None if known is None else address_topic(known, key)
            return f"{endpoint.scheme}://{host}/{other or f'{topic(key)}/#'}"


def topic(key: str) -> str:
    """Return the MQTT topic under which a unit publishes."""
    return f"ridethrough/v1/{key}"
