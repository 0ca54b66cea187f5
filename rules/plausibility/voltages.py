"""Checks of voltages and frequencies against nominal values, and of batteries against their cells.

Limits: mains may be anywhere from nothing to 30 % over; a lead cell of 2 V nominal is empty at
1.6 V and boosted at 2.4 V, a lithium iron cell of 3.2 V lies between 2.5 and 3.65 V.
"""

from collections.abc import Iterator

import numpy as np

from rules.plausibility.table import IGNORE, NONE, Mask, Outcome, Proposal, Suspicion, Table, times

_SIDES = {
    "input": (
        ("input_voltage", "input_l1_n_voltage", "input_l2_n_voltage", "input_l3_n_voltage"),
        ("input_voltage_nominal", "output_voltage_nominal"),
    ),
    "output": (
        ("output_voltage", "output_l1_n_voltage", "output_l2_n_voltage", "output_l3_n_voltage"),
        ("output_voltage_nominal", "input_voltage_nominal"),
    ),
}
_HERTZ = (30.0, 72.0)
"""Far outside of what any mains, generator or inverter does while it carries a load."""

_BATTERY = (0.6, 1.45)
"""Voltage over nominal voltage that no connected string leaves."""
_FITS_BATTERY = (0.8, 1.3)
_CELL = (1.6, 2.6)
_BLOCK = (10.5, 15.0)


def checks(table: Table) -> Iterator[Outcome]:
    """Yield what the checks of this module say."""
    for side, (columns, nominal) in _SIDES.items():
        present = tuple(column for column in columns if table.has(column))
        if present:
            yield _side(table, side, present, nominal)
        if table.has(f"{side}_frequency"):
            yield _frequency(table, f"{side}_frequency", present)
    if table.has("battery_voltage"):
        yield _battery(table)
        yield _nominal(table)


def _side(
    table: Table, side: str, columns: tuple[str, ...], nominal_columns: tuple[str, ...]
) -> Outcome:
    """All voltages of one side a tenth, or ten times, of what such a unit has."""
    volts = np.array([table[column] for column in columns])
    is_known = ~np.isnan(volts)
    nominal = table.first(*nominal_columns)
    hertz = table.first("input_frequency", "output_frequency")
    is_alternating = (hertz > 44) & (hertz < 66)
    with np.errstate(invalid="ignore"):
        low = np.where(
            np.isnan(nominal),
            is_alternating & (volts >= 9) & (volts <= 27),
            (volts >= 0.085 * nominal) & (volts <= 0.13 * nominal),
        )
        high = (volts >= 8 * nominal) & (volts <= 12 * nominal)
    tells = is_known.any(axis=0) & table.is_live
    odd = tells & ((low | ~is_known).all(axis=0) | (high | ~is_known).all(axis=0))

    def explain(place: int) -> Suspicion:
        concerned = [c for c in columns if not np.isnan(table[c][place])]
        value = float(table[concerned[0]][place])
        is_low = bool(low[:, place].any())
        numbers = table.at(place, *concerned, nominal_columns[0], "input_frequency")
        return Suspicion(
            concerned[0],
            "scale",
            value,
            "voltage_scale",
            numbers,
            times(10.0 if is_low else 0.1),
            "medium" if np.isnan(nominal[place]) else "high",
            tuple(concerned[1:]),
        )

    return Outcome(f"scale:{side}", columns, odd, tells, explain)


def _frequency(table: Table, column: str, volts_columns: tuple[str, ...]) -> Outcome:
    """Find a frequency at which no live side can be."""
    hertz = table[column]
    tells = table.is_live & ~np.isnan(hertz)
    odd = tells & ((hertz < _HERTZ[0]) | (hertz > _HERTZ[1]))
    if volts_columns:  # a side that carries no voltage has no frequency
        volts = table.first(*volts_columns)
        odd &= ~(volts < 50)

    def explain(place: int) -> Suspicion:
        value = float(hertz[place])
        numbers = table.at(place, column, *volts_columns[:1])
        if value == 0:
            return Suspicion(
                column, "frequency", value, "zero_while_live", numbers, IGNORE, "medium"
            )
        cure = next((times(f) for f in (10.0, 0.1) if 45 <= value * f <= 65), NONE)
        return Suspicion(
            column,
            "frequency",
            value,
            "frequency_range",
            numbers,
            cure,
            "high" if cure is not NONE else "medium",
        )

    return Outcome(f"frequency:{column}", (column,), odd, tells, explain)


def _battery(table: Table) -> Outcome:
    """Battery voltage against the string's nominal voltage, or against nothing at all."""
    volts, nominal = table["battery_voltage"], table["battery_voltage_nominal"]
    charge = table["battery_charge"]
    ratio = volts / np.where(nominal > 0, nominal, np.nan)
    is_apart = table.is_set("alarm_battery_disconnected") | table.is_set("alarm_battery_fault")
    is_empty = (charge <= 5) | table.is_set("status_low_battery")
    tells = ~np.isnan(volts) & ~is_apart
    far = (ratio < _BATTERY[0]) & ~is_empty | (ratio > _BATTERY[1])
    none = (volts == 0) & (charge > 50) & table.is_live
    cell = np.isnan(ratio) & (volts > 0) & (volts <= _CELL[1]) & (charge > 20) & table.is_live
    # The nominal value of one block says nothing against a string.
    odd = tells & (far & ~_is_of_a_block(table) | none | cell)
    tells = tells & (~np.isnan(ratio) | odd)

    def explain(place: int) -> Suspicion:
        value, part = float(volts[place]), float(ratio[place])
        numbers = table.at(place, "battery_voltage", "battery_voltage_nominal", "battery_charge")
        if value == 0:
            return Suspicion(
                "battery_voltage", "battery_voltage", 0.0, "zero_while_live", numbers, IGNORE
            )
        if np.isnan(part):
            return Suspicion(
                "battery_voltage", "battery_voltage", value, "cell_voltage", numbers, NONE
            )
        cure, rule, sure = _string_cure(value, float(nominal[place]))
        return Suspicion(
            "battery_voltage", "battery_voltage", value, rule, numbers, cure,
            "high" if sure else "medium",
        )  # fmt: skip

    return Outcome("battery_voltage", ("battery_voltage",), odd, tells, explain)


def _string_cure(volts: float, nominal: float) -> tuple[Proposal, str, bool]:
    """Return what would bring a voltage to its string, in which words, and whether surely."""
    ratio = volts / nominal
    for factor in (0.1, 10.0, 0.01, 100.0):
        if _FITS_BATTERY[0] <= ratio * factor <= _FITS_BATTERY[1]:
            return times(factor), "battery_scale", True
    if _CELL[0] <= volts <= _CELL[1]:
        return times(nominal / 2.0), "cell_voltage", False
    blocks = round(nominal / 12.0)
    if (
        _BLOCK[0] <= volts <= _BLOCK[1]
        and blocks > 1
        and _FITS_BATTERY[0] <= volts * blocks / nominal <= _FITS_BATTERY[1]
    ):
        return times(float(blocks)), "block_voltage", False
    return NONE, "battery_range", False


def _is_of_a_block(table: Table) -> Mask:
    volts, nominal = table["battery_voltage"], table["battery_voltage_nominal"]
    blocks = np.round(volts / (nominal * 1.13))
    part = volts / (nominal * np.where(blocks > 0, blocks, np.nan))
    return np.asarray(
        ((nominal == 12) | (nominal == 6) | (nominal == 2))
        & (blocks >= 2)
        & (part > 0.93)
        & (part < 1.25)
    )


def _nominal(table: Table) -> Outcome:
    """Find a nominal voltage that is one block's while the string's voltage is reported."""
    volts, nominal = table["battery_voltage"], table["battery_voltage_nominal"]
    tells = ~np.isnan(volts) & (nominal > 0) & table.is_live
    odd = tells & _is_of_a_block(table)

    def explain(place: int) -> Suspicion:
        value = float(nominal[place])
        blocks = float(np.round(volts[place] / (value * 1.13)))
        return Suspicion(
            "battery_voltage_nominal",
            "nominal",
            value,
            "nominal_of_a_block",
            table.at(place, "battery_voltage", "battery_voltage_nominal"),
            times(blocks),
        )

    return Outcome("nominal:battery", ("battery_voltage_nominal",), odd, tells, explain)
