"""A scenario made real: every unit behind its server, and its timeline happening.

`serve` follows a clock for as long as it is let; `serving` gives tests the same fleet with time in
their own hands. What happens when is `timeline`, what a fault does `machine` and `wire`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

from collector.address import Framing
from collector.form import Profile
from collector.profile import profiles
from device_sims.fleet import SimUnit, units
from device_sims.modbus_server import ModbusServers, UnitBank
from device_sims.mqtt_publisher import Broker, UnitPublisher
from device_sims.scenario import UNIT_FAULTS, WIRE_FAULTS, Scenario, ScenarioInvalid
from device_sims.snmp_agent import SnmpAgents, UnitEndpoint
from device_sims.timeline import Event, Timeline
from device_sims.trap_sender import TrapSender
from device_sims.ups import Fault, SimulatedUps
from device_sims.wire import Wire, WireFault

TICK_SECONDS = 0.25
_PUBLISH_EVERY = timedelta(seconds=1)
Target = tuple[str, int]
"""A host and its UDP port."""
_PROTOCOLS = {
    "snmp": ("snmp", "snmp+v1", "snmpv3"),
    "modbus": ("modbus", "modbus+rtu"),
    "json": ("mqtt",),
}


class Fleet:
    """The units of a scenario with their cards; time goes on by `move_to`."""

    def __init__(
        self, scenario: Scenario, members: list[SimUnit], *, start: datetime, broker: Broker | None
    ) -> None:
        self.scenario = scenario
        self.units = members
        self.start = start
        self.now = start
        self.wires: dict[str, Wire] = {}
        self.publishers: list[UnitPublisher] = []
        self.trap_senders: list[TrapSender] = []
        self._timeline = Timeline(scenario)
        self._published_at: datetime | None = None
        for member in members:
            unit = SimulatedUps(member.spec, member.seed, start=start)
            profile = _profile_for(member)
            wire = Wire(unit, profile, seed=member.seed, silent_since=member.silent_since)
            self.wires[member.key] = wire
            if member.access == "mqtt":
                if broker is None:
                    raise ScenarioInvalid(f"unit {member.key!r} publishes: give an MQTT broker")
                self.publishers.append(UnitPublisher(member.key, wire, broker))

    def unit(self, key: str) -> SimUnit:
        """Return what is decided about a unit, its address included."""
        return next(member for member in self.units if member.key == key)

    def machine(self, key: str) -> SimulatedUps:
        """Return the unit itself."""
        return self.wires[key].unit

    async def advance(self, seconds: float) -> None:
        """Let some seconds pass."""
        await self.move_to(self.now + timedelta(seconds=seconds))

    async def move_to(self, now: datetime) -> None:
        """Let time pass until an instant: each event at its own time, then what is to be said."""
        for event in self._timeline.due((now - self.start).total_seconds()):
            self.happen(event)
        self.now = now
        for sender in self.trap_senders:
            sender.step(now)
        if self._published_at is None or now - self._published_at >= _PUBLISH_EVERY:
            self._published_at = now
            # All at once: a unit whose broker is slow must not hold up the others.
            await asyncio.gather(*(publisher.step(now) for publisher in self.publishers))

    def happen(self, event: Event) -> None:
        """Do an event to the units that it concerns."""
        at = self.start + timedelta(seconds=event.at)
        for member in self.units:
            if event.unit == member.key or event.site == member.site_key:
                _do(event, self.wires[member.key], at)

    async def close(self) -> None:
        """Let every publishing unit take its leave."""
        await asyncio.gather(*(publisher.close() for publisher in self.publishers))


async def serve(
    scenario: Scenario,
    *,
    base_port: int,
    clock: Callable[[], datetime],
    on_ready: Callable[[list[SimUnit]], None] = lambda _: None,
    mqtt_url: str | None = None,
    epoch: datetime | None = None,
    traps_to: Target | None = None,
) -> None:
    """Serve a scenario until cancelled, its timeline beginning now.

    `on_ready` is told the units with their addresses once every port is open. `epoch` is the day
    that the scenario's ages count back from, today unless given. SNMP cards send traps to
    `traps_to`.
    """
    async with _served(
        scenario,
        base_port=base_port,
        mqtt_url=mqtt_url,
        start=clock(),
        epoch=epoch,
        clock=clock,
        traps_to=traps_to,
    ) as fleet:
        on_ready(fleet.units)
        while True:
            await fleet.move_to(clock())
            await asyncio.sleep(TICK_SECONDS)


@asynccontextmanager
async def serving(
    scenario: Scenario,
    *,
    start: datetime,
    base_port: int = 0,
    mqtt_url: str | None = None,
    epoch: datetime | None = None,
    traps_to: Target | None = None,
) -> AsyncIterator[Fleet]:
    """Serve a scenario while the context lasts; time stands still but for `Fleet.advance`."""
    async with _served(
        scenario,
        base_port=base_port,
        mqtt_url=mqtt_url,
        start=start,
        epoch=epoch,
        clock=None,
        traps_to=traps_to,
    ) as fleet:
        await fleet.move_to(start)
        yield fleet


@asynccontextmanager
async def _served(
    scenario: Scenario,
    *,
    base_port: int,
    mqtt_url: str | None,
    start: datetime,
    epoch: datetime | None,
    clock: Callable[[], datetime] | None,
    traps_to: Target | None,
) -> AsyncIterator[Fleet]:
    members = units(scenario, epoch=epoch or start, base_port=base_port, mqtt_url=mqtt_url)
    fleet = Fleet(
        scenario, members, start=start, broker=None if mqtt_url is None else Broker.at(mqtt_url)
    )

    def now() -> datetime:
        return fleet.now if clock is None else clock()

    async with AsyncExitStack() as stack:
        agents = await stack.enter_async_context(SnmpAgents())
        servers = await stack.enter_async_context(ModbusServers())
        stack.push_async_callback(fleet.close)
        for index, member in enumerate(members):
            wire = fleet.wires[member.key]
            if member.access == "mqtt":
                continue
            if member.access in _PROTOCOLS["modbus"]:
                framing = Framing(member.access)
                bank = UnitBank(wire, now)
                port = await servers.add(bank, port=member.port, framing=framing)
            elif member.access == "snmpv3":
                own = await stack.enter_async_context(SnmpAgents(member.key))
                port = await own.add(UnitEndpoint(wire, member.key, now), port=member.port)
            else:
                port = await agents.add(UnitEndpoint(wire, member.key, now), port=member.port)
                if traps_to is not None:
                    send = partial(agents.send, port, target=traps_to)
                    is_v1 = member.access == "snmp+v1"
                    fleet.trap_senders.append(TrapSender(wire, is_v1=is_v1, send=send))
            members[index] = member.bound_to(port)
        yield fleet


def _profile_for(member: SimUnit) -> Profile:
    profile = profiles().get(member.profile)
    if profile is None:
        known = ", ".join(sorted(profiles()))
        raise ScenarioInvalid(
            f"unit {member.key!r}: no profile {member.profile!r}: use one of {known}"
        )
    if member.access not in _PROTOCOLS[profile.protocol]:
        raise ScenarioInvalid(
            f"unit {member.key!r}: profile {profile.name!r} is not spoken over {member.access}"
        )
    return profile


def _do(event: Event, wire: Wire, at: datetime) -> None:
    unit = wire.unit.at(at)
    if event.do in UNIT_FAULTS:
        if event.is_end:
            unit.end(Fault(event.do))
        else:
            unit.begin(Fault(event.do))
    elif event.do in WIRE_FAULTS:
        if event.is_end:
            wire.end(WireFault(event.do))
        else:
            wire.begin(WireFault(event.do), at, event.amount)
    elif event.do == "mains_return" or event.is_end:
        unit.return_mains()
    elif event.do == "mains_fail":
        unit.fail_mains()
    elif event.do == "self_test":
        unit.start_self_test()
    elif event.do == "clear":
        for fault in list(unit.faults):
            unit.end(fault)
        wire.end_all()
    wire.forget()
