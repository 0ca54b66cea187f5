"""The card that is polled: an APC unit that answers 30 objects in one request, uptime included."""

from collections.abc import Mapping
from functools import cache

from collector.convert import encode
from collector.plan import NumberStep, plan_for
from collector.profile import profiles
from collector.raw import Encoded, Typed
from rules.facts import Identity, Value
from rules.points import BY_COLUMN, Pace

PROFILE = "apc-powernet"
OBJECTS = 30
PATIENCE = {"objects": OBJECTS}
"""As a card is asked once it is trusted, which takes it the first half hour or so."""
UPTIME = "1.3.6.1.2.1.1.3.0"

HEALTHY: Mapping[str, Value] = {
    "battery_charge": 100.0,
    "battery_temperature": 25.0,
    "battery_runtime": 1800.0,
    "battery_runtime_elapsed": 0.0,
    "battery_voltage": 54.2,
    "battery_packs_bad": 0.0,
    "battery_current": -0.4,
    "input_voltage": 231.0,
    "input_frequency": 50.0,
    "output_voltage": 230.0,
    "output_frequency": 50.0,
    "output_current": 4.1,
    "ups_load": 42.0,
    "ups_realpower": 840.0,
    "ups_power": 940.0,
    "output_energy": 7_300_000.0,
    "ups_efficiency": 92.0,
    "ups_temperature": 31.0,
    "ambient_temperature": 23.0,
    "battery_voltage_nominal": 48.0,
    "input_voltage_nominal": 230.0,
    "output_voltage_nominal": 230.0,
    "battery_runtime_low": 120.0,
    "status_on_line": True,
    "status_on_battery": False,
    "status_low_battery": False,
    "status_replace_battery": False,
    "status_charging": False,
    "status_testing": False,
    "status_calibrating": False,
    "alarm_charger_fault": False,
    "alarm_comm_lost": False,
    "alarm_inverter_fault": False,
    "alarm_rectifier_fault": False,
    "battery_charger_status": "floating",
    "ups_test_result": "passed",
}

_STATES = ("4.1.1.0", "2.1.1.0", "2.2.4.0", "2.2.17.0", "4.1.5.0", "4.1.6.0", "7.2.3.0",
           "7.2.6.0", "8.1.0", "11.1.1.0")  # fmt: skip
_IDENTITY = Identity("APC", "Smart-UPS 3000", "AS0000000000", "UPS 09.3")


@cache
def held() -> Mapping[str, Encoded]:
    """Return what the card holds, OID → typed value; each point in one place only."""
    profile = profiles()[PROFILE]
    plan = plan_for(profile, 1)
    everything = encode(profile, HEALTHY, _IDENTITY)
    preferred: dict[str, NumberStep] = {}
    for step in plan.numbers:
        preferred.setdefault(step.key, step)
    asked = {step.ref for step in preferred.values()}
    asked |= {f"{profile.base}.{oid}" for oid in _STATES} | set(plan.identity_refs)
    card = {str(ref): value for ref, value in everything.items() if ref in asked}
    return card | {UPTIME: Typed("ticks", 123_456_789)}


@cache
def polled() -> tuple[str, ...]:
    """Return the objects that each poll asks for."""
    plan = plan_for(profiles()[PROFILE], 1)
    oids = (*(str(ref) for ref in plan.fast_refs if ref in held()), UPTIME)
    if len(oids) != OBJECTS:
        raise RuntimeError(f"the card answers {len(oids)} objects a poll, not {OBJECTS}")
    return oids


def points_by_name() -> dict[str, Value]:
    """Return the fast points of the healthy card as a message names them."""
    return {
        point.name: HEALTHY[column]
        for column, point in BY_COLUMN.items()
        if column in HEALTHY and point.pace is Pace.FAST
    }
