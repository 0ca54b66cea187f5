"""What the one-line diagram and the scales of a unit show. Pure: newest values in, figures out."""

from collections.abc import Mapping
from dataclasses import dataclass

from service_api.devices.schemas import Device

Value = float | bool | str


@dataclass(frozen=True, slots=True)
class Scale:
    """A number on its scale: what it is, where it is well, how far the scale reaches."""

    column: str
    value: float
    unit: str
    low: float
    high: float
    good_low: float
    good_high: float

    @property
    def is_out(self) -> bool:
        """Whether the value lies where it should not."""
        return not self.good_low <= self.value <= self.good_high


@dataclass(frozen=True, slots=True)
class Picture:
    """Which paths carry power now, which parts are faulty, and the values beside them."""

    mains: bool | None
    rectifier: bool
    battery: bool
    charging: bool
    inverter: bool
    bypass: bool
    load: bool
    faults: frozenset[str]
    values: Mapping[str, Value]
    scales: tuple[Scale, ...]

    def number(self, *columns: str) -> float | None:
        """Return the first of these values that is known."""
        for column in columns:
            value = self.values.get(column)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        return None


_FAULTS = {
    "rectifier": ("alarm_rectifier_fault", "alarm_charger_fault"),
    "battery": (
        "alarm_battery_fault",
        "alarm_battery_disconnected",
        "status_replace_battery",
        "status_low_battery",
    ),
    "inverter": ("alarm_inverter_fault", "alarm_internal_fault"),
    "bypass": ("alarm_bypass_bad",),
    "load": ("status_overload", "alarm_output_bad", "alarm_short_circuit"),
    "mains": ("alarm_input_bad",),
}

# Mains within 10 % of nominal is EN 50160's limit; load and temperature are the shipped rules'.
_MAINS_BAND = 0.10
_OUTPUT_BAND = 0.05
_DEFAULT_NOMINAL = 230.0


def picture_of(device: Device) -> Picture:
    """Work out the picture of one unit from its newest values."""
    values = {point.column: point.value for point in device.points}

    def is_set(column: str) -> bool:
        return values.get(column) is True

    on_battery = is_set("status_on_battery")
    is_off = is_set("status_off")
    on_bypass = is_set("status_bypass")
    mains: bool | None = None
    if on_battery or is_set("status_on_line") or on_bypass:
        mains = not on_battery
    faults = frozenset(
        part for part, columns in _FAULTS.items() if any(is_set(column) for column in columns)
    )
    through = not on_bypass and not is_off and mains is not None
    return Picture(
        mains=mains,
        rectifier=through and mains is True,
        battery=on_battery and not is_off,
        charging=mains is True and not is_set("status_discharging") and not is_off,
        inverter=through,
        bypass=on_bypass and not is_off,
        load=not is_off and mains is not None,
        faults=faults | ({"mains"} if mains is False else frozenset()),
        values=values,
        scales=_scales(values),
    )


def _scales(values: Mapping[str, Value]) -> tuple[Scale, ...]:
    found: list[Scale] = []

    def number(*columns: str) -> tuple[str, float] | None:
        for column in columns:
            value = values.get(column)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return column, float(value)
        return None

    def put(at: tuple[str, float] | None, unit: str, reach: tuple[float, float],
            good: tuple[float, float]) -> None:  # fmt: skip
        if at is not None:
            found.append(Scale(*at, unit, *reach, *good))

    for columns, nominal, band in (
        (("input_voltage", "input_l1_n_voltage"), number("input_voltage_nominal"), _MAINS_BAND),
        (("output_voltage", "output_l1_n_voltage"), number("output_voltage_nominal"), _OUTPUT_BAND),
    ):
        at = number(*columns)
        middle = nominal[1] if nominal else _nominal(at[1] if at else None)
        put(
            at,
            "V",
            (middle * 0.7, middle * 1.3),
            (middle * (1 - band), middle * (1 + band)),
        )
    at = number("input_frequency")
    middle = 60.0 if at and at[1] > 55 else 50.0
    put(at, "Hz", (middle - 3, middle + 3), (middle - 0.5, middle + 0.5))
    put(number("ups_load", "ups_l1_load"), "%", (0, 120), (0, 80))
    put(number("battery_charge"), "%", (0, 100), (60, 100))
    volts, nominal_volts = number("battery_voltage"), number("battery_voltage_nominal")
    if volts and nominal_volts and nominal_volts[1] > 0:
        base = nominal_volts[1]
        # A lead-acid cell of 2 V nominal is empty near 1.75 V and floats near 2.27 V.
        put(volts, "V", (base * 0.8, base * 1.25), (base * 0.95, base * 1.2))
    put(number("battery_temperature"), "°C", (0, 60), (10, 30))
    put(number("ups_temperature"), "°C", (0, 80), (5, 50))
    return tuple(found)


def _nominal(value: float | None) -> float:
    """Return the mains voltage that a value without a stated nominal probably belongs to."""
    if value is None or value < 1:
        return _DEFAULT_NOMINAL
    return min((120.0, 208.0, 230.0, 400.0), key=lambda level: abs(level - value))
