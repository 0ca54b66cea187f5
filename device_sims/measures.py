"""What a simulated unit reports: its state in the words of `rules.points`, with meter noise.

Every number is in the unit of the table of points, rounded as a good meter would. How a device
family writes these on the wire is its profile.
"""

from collections.abc import Iterator

from device_sims.machine import Fault, Machine, TestResult
from device_sims.spec import Topology
from rules.facts import Value
from rules.points import POINTS, Kind

_TRIM_ABOVE, _TRIM_FACTOR = 1.10, 0.88
_BOOST_BELOW, _BOOST_FACTOR = 0.90, 1.12
_INPUT_TOLERANCE = 0.15

_HOT_INSIDE = 55.0
_HOT_BATTERY = 45.0
_HOT_ROOM = 35.0

_ALL_FLAGS: dict[str, Value] = {point.column: False for point in POINTS if point.kind is Kind.FLAG}


def points(unit: Machine) -> dict[str, Value]:
    """Return all that a unit measures and says now, keyed by column."""
    row = dict(_ALL_FLAGS)
    row.update(_battery(unit))
    row.update(_input(unit))
    row.update(_output(unit))
    row.update(_unit(unit))
    row.update(_flags(unit))
    return row


def mains_factor(unit: Machine, phase: int = 0) -> float:
    """Return mains voltage of a phase relative to nominal, 0 during an outage."""
    if not unit.mains_is_on:
        return 0.0
    return unit.room.voltage_factor(unit.seconds, phase) * unit.mains_factor


def _charger_status(unit: Machine) -> str:
    if unit.is_on_battery:
        return "discharging"
    if Fault.CHARGER_FAULT in unit.faults:
        return "fault"
    if unit.is_off or not unit.mains_is_on:
        return "off"
    if unit.is_charging:
        return "charging"
    return "resting" if unit.is_resting else "floating"


def _battery(unit: Machine) -> Iterator[tuple[str, Value]]:
    battery, spec = unit.battery, unit.spec
    status = _charger_status(unit)
    amperes, volts = 0.0, battery.rest_volts
    if unit.is_on_battery:
        amperes = min(battery.current_at(unit.battery_watts), 5_000.0)
        volts -= min(amperes * battery.ohms, volts)
    elif status == "charging":
        amperes = -battery.charging_amperes
        volts = battery.charging_volts
    elif status == "floating":
        amperes = -0.0008 * spec.battery.capacity_ah * spec.battery.strings
        volts = battery.float_volts
    flutter = 1.0 + 0.0004 * unit.noise.at(unit.seconds + 4.4e6, 11.0)
    elapsed = 0.0 if unit.battery_since is None else unit.seconds - unit.battery_since
    yield "battery_charge", round(battery.charge * 100.0, 1)
    yield "battery_runtime", float(round(unit.estimated_runtime))
    yield "battery_runtime_elapsed", float(int(elapsed))
    yield "battery_voltage", round(volts * flutter, 1)
    yield "battery_current", round(amperes, 2)
    yield "battery_temperature", round(battery.celsius, 1)
    yield "battery_charge_low", spec.low_charge_percent
    yield "battery_runtime_low", spec.low_runtime_seconds
    yield "battery_voltage_nominal", spec.battery.nominal_volts
    yield "battery_packs_external", float(spec.battery.strings - 1)
    yield "battery_packs_bad", 0.0
    yield "battery_capacity", float(spec.battery.capacity_ah * spec.battery.strings)
    yield "battery_charger_status", status


def _input(unit: Machine) -> Iterator[tuple[str, Value]]:
    spec, nominal = unit.spec, unit.spec.nominal_volts
    volts = [nominal * mains_factor(unit, phase) for phase in range(spec.phases)]
    hertz = unit.room.hertz(unit.seconds, spec.nominal_hertz) if unit.mains_is_on else 0.0
    watts = unit.input_watts
    # A double-conversion rectifier corrects its power factor; a line-interactive unit does not.
    factor = 0.99 if spec.topology is Topology.ONLINE else spec.load.power_factor
    yield "input_frequency", round(hertz, 2)
    yield "input_realpower", float(round(watts))
    if spec.phases == 1:
        yield "input_voltage", round(volts[0], 1)
        yield "input_current", _amperes(watts, volts[0], factor)
        yield "input_bypass_voltage", round(volts[0], 1)
    else:
        for line, (value, share) in enumerate(zip(volts, unit.shares, strict=True), start=1):
            yield f"input_l{line}_n_voltage", round(value, 1)
            yield f"input_l{line}_current", _amperes(watts * share, value, factor)
            yield f"input_l{line}_realpower", float(round(watts * share))
            yield f"input_bypass_l{line}_n_voltage", round(value, 1)
        for name, value in _between_lines(volts):
            yield f"input_{name}_voltage", value
    yield "input_bypass_frequency", round(hertz, 2)
    yield "input_voltage_nominal", nominal
    yield "input_frequency_nominal", spec.nominal_hertz
    yield "input_transfer_low", float(round(nominal * (1.0 - _INPUT_TOLERANCE)))
    yield "input_transfer_high", float(round(nominal * (1.0 + _INPUT_TOLERANCE)))
    yield "input_transfer_reason", unit.transfer_reason


def _output(unit: Machine) -> Iterator[tuple[str, Value]]:
    spec = unit.spec
    volts = [_output_volts(unit, phase) for phase in range(spec.phases)]
    follows = unit.is_on_bypass or spec.topology is Topology.LINE_INTERACTIVE
    hertz = spec.nominal_hertz
    if follows and unit.mains_is_on and not unit.is_on_battery:
        hertz = unit.room.hertz(unit.seconds, spec.nominal_hertz)
    watts = unit.output_watts
    factor = spec.load.power_factor
    yield "output_frequency", 0.0 if unit.is_off else round(hertz, 2)
    if spec.phases == 1:
        yield "output_voltage", round(volts[0], 1)
        yield "output_current", _amperes(watts, volts[0], factor)
    else:
        for line, (value, share) in enumerate(zip(volts, unit.shares, strict=True), start=1):
            yield f"output_l{line}_n_voltage", round(value, 1)
            yield f"output_l{line}_current", _amperes(watts * share, value, factor)
            yield f"output_l{line}_realpower", float(round(watts * share))
        for name, value in _between_lines(volts):
            yield f"output_{name}_voltage", value
    yield "output_powerfactor", factor
    yield "output_energy", float(round(unit.output_watt_hours))
    yield "output_voltage_nominal", spec.nominal_volts
    yield "output_frequency_nominal", spec.nominal_hertz


def _output_volts(unit: Machine, phase: int) -> float:
    nominal = unit.spec.nominal_volts
    if unit.is_off:
        return 0.0
    mains = mains_factor(unit, phase)
    if unit.is_on_bypass:
        return nominal * mains
    if unit.spec.topology is Topology.LINE_INTERACTIVE and not unit.is_on_battery:
        if mains > _TRIM_ABOVE:
            return nominal * mains * _TRIM_FACTOR
        if mains < _BOOST_BELOW:
            return nominal * mains * _BOOST_FACTOR
        return nominal * mains
    return nominal * (1.0 + 0.001 * unit.noise.at(unit.seconds + phase * 1.3e6, 9.0))


def _unit(unit: Machine) -> Iterator[tuple[str, Value]]:
    spec = unit.spec
    watts = unit.output_watts
    apparent = watts / spec.load.power_factor
    # Each line carries a third of the rating; the fullest line is the unit's load.
    loads = [100.0 * len(unit.shares) * share * apparent / spec.rated_va for share in unit.shares]
    if spec.phases == 3:
        for line, load in enumerate(loads, start=1):
            yield f"ups_l{line}_load", round(load, 1)
    yield "ups_load", round(max(loads), 1)
    yield "ups_power", float(round(apparent))
    yield "ups_realpower", float(round(watts))
    if watts > 0.0:
        yield "ups_efficiency", round(100.0 * watts / (watts + unit.loss_watts), 1)
    yield "ups_temperature", round(unit.celsius, 1)
    yield "ups_power_nominal", spec.rated_va
    yield "ups_realpower_nominal", spec.rated_watts
    yield "ups_test_result", unit.test_result.value
    if spec.has_room_probe:
        yield "ambient_temperature", round(unit.room.celsius(unit.seconds), 1)
        yield "ambient_humidity", round(unit.room.humidity(unit.seconds), 1)


def _flags(unit: Machine) -> Iterator[tuple[str, Value]]:
    spec, faults, battery = unit.spec, unit.faults, unit.battery
    mains = [mains_factor(unit, phase) for phase in range(spec.phases)]
    is_bad = any(abs(factor - 1.0) > _INPUT_TOLERANCE for factor in mains)
    regulates = (
        spec.topology is Topology.LINE_INTERACTIVE
        and unit.mains_is_on
        and not unit.is_on_battery
        and not unit.is_on_bypass
    )
    on_battery = unit.is_on_battery
    yield "status_on_line", unit.mains_is_on and not on_battery and not unit.is_off
    yield "status_on_battery", on_battery
    yield "status_low_battery", unit.is_low
    yield "status_replace_battery", unit.asks_for_battery or Fault.REPLACE_BATTERY in faults
    yield "status_charging", unit.is_charging
    yield "status_discharging", on_battery
    yield "status_bypass", unit.is_on_bypass
    yield "status_testing", unit.is_testing
    yield "status_off", unit.is_off
    yield "status_overload", unit.load > 1.05 and not unit.is_off
    yield "status_trim", regulates and max(mains) > _TRIM_ABOVE
    yield "status_boost", regulates and min(mains) < _BOOST_BELOW
    yield "alarm_battery_depleted", battery.charge <= 0.02
    yield "alarm_battery_temperature", battery.celsius > _HOT_BATTERY
    yield "alarm_battery_test_failed", unit.test_result is TestResult.FAILED
    yield "alarm_charger_fault", Fault.CHARGER_FAULT in faults
    yield "alarm_input_bad", is_bad
    yield "alarm_bypass_bad", spec.topology is Topology.ONLINE and is_bad
    yield "alarm_over_temperature", unit.celsius > _HOT_INSIDE
    yield (
        "alarm_ambient_temperature",
        spec.has_room_probe and unit.room.celsius(unit.seconds) > _HOT_ROOM,
    )
    yield "alarm_fan_fault", Fault.FAN_FAULT in faults
    yield "alarm_shutdown_imminent", unit.is_low and unit.estimated_runtime <= 60.0


def _amperes(watts: float, volts: float, factor: float) -> float:
    return round(watts / (volts * factor), 2) if volts > 1.0 else 0.0


def _between_lines(volts: list[float]) -> Iterator[tuple[str, float]]:
    """Yield the line-to-line voltages of phases 120° apart."""
    for name, (first, second) in {"l1_l2": (0, 1), "l2_l3": (1, 2), "l3_l1": (2, 0)}.items():
        a, b = volts[first], volts[second]
        yield name, round((a * a + b * b + a * b) ** 0.5, 1)
