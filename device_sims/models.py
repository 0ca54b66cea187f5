"""The catalogue of simulated hardware: what a scenario's `model` stands for.

Invented units of ordinary sizes; a scenario may change load, battery life and dates, not these.
"""

from dataclasses import dataclass

from device_sims.spec import Chemistry, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A kind of unit: name plate and the battery that comes with it."""

    name: str
    rated_va: float
    rated_watts: float
    capacity_ah: float
    cells: int
    phases: int = 1
    topology: Topology = Topology.ONLINE
    chemistry: Chemistry = Chemistry.VRLA
    strings: int = 1
    service_life_years: float = 4.0
    recharge_hours: float = 10.0
    rest_days: float = 0.0
    low_runtime_seconds: float = 120.0
    peukert: float = 1.18


HARDWARE: dict[str, Hardware] = {
    "desk-1k": Hardware(
        name="Desk 1000",
        rated_va=1_000.0,
        rated_watts=700.0,
        capacity_ah=7.2,
        cells=12,
        topology=Topology.LINE_INTERACTIVE,
        service_life_years=3.5,
    ),
    "tower-3k": Hardware(
        name="Tower 3000", rated_va=3_000.0, rated_watts=2_700.0, capacity_ah=9.0, cells=36
    ),
    "rack-5k": Hardware(
        name="Rack 5000", rated_va=5_000.0, rated_watts=4_500.0, capacity_ah=9.0, cells=96
    ),
    "rack-6k": Hardware(
        name="Rack 6000",
        rated_va=6_000.0,
        rated_watts=5_400.0,
        capacity_ah=9.0,
        cells=120,
        rest_days=28.0,
    ),
    "rack-10k-li": Hardware(
        name="Rack 10000 Li",
        rated_va=10_000.0,
        rated_watts=10_000.0,
        capacity_ah=30.0,
        cells=60,
        chemistry=Chemistry.LI_ION,
        service_life_years=10.0,
        recharge_hours=4.0,
        peukert=1.05,
    ),
    "cabinet-20k": Hardware(
        name="Cabinet 20K",
        rated_va=20_000.0,
        rated_watts=18_000.0,
        phases=3,
        capacity_ah=38.0,
        cells=192,
        recharge_hours=12.0,
        low_runtime_seconds=180.0,
        service_life_years=7.0,
    ),
    "cabinet-60k": Hardware(
        name="Cabinet 60K",
        rated_va=60_000.0,
        rated_watts=54_000.0,
        phases=3,
        capacity_ah=100.0,
        cells=240,
        recharge_hours=14.0,
        low_runtime_seconds=300.0,
        service_life_years=7.0,
    ),
    "hall-200k": Hardware(
        name="Hall 200K",
        rated_va=200_000.0,
        rated_watts=200_000.0,
        phases=3,
        capacity_ah=150.0,
        cells=240,
        strings=2,
        recharge_hours=16.0,
        low_runtime_seconds=300.0,
        service_life_years=7.0,
    ),
}
