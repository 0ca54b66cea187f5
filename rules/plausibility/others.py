"""Checks of runtime, temperatures, phases and flags, and of placeholders for "not available"."""

from collections.abc import Iterator

import numpy as np

from rules.plausibility.table import (
    IGNORE,
    NONE,
    Mask,
    Numbers,
    Outcome,
    Proposal,
    Suspicion,
    Table,
    times,
)

_HOUR, _DAY = 3_600.0, 86_400.0

PLACEHOLDERS: dict[str, tuple[float, ...]] = {
    # 16 and 32 bits full, or one less, in the steps that MIBs count in; 9999 minutes.
    "battery_runtime": (65_535, 65_534, 32_767, 32_768, 32_767 * 60, 32_768 * 60, 9_999 * 60),
    "ups_power": (65_535, 65_534, 32_767, 32_768, 655_350, 327_670, -1),
    "ups_realpower": (65_535, 65_534, 32_767, 32_768, 655_350, 327_670, -1),
    "input_realpower": (65_535, 65_534, 32_767, 32_768, 655_350, 327_670, -1),
    "ups_load": (255, 254),
    "output_current": (3_276.7, 3_276.8, 655.35, 655.34, 327.67, 327.68, 255),
    "input_current": (3_276.7, 3_276.8, 655.35, 655.34, 327.67, 327.68, 255),
    "battery_current": (3_276.7, -3_276.8, 655.35, 655.34, 327.67, -327.68),
    "battery_voltage": (655.35, 655.34, 327.67, 327.68),
}


def first_checks(table: Table) -> Iterator[Outcome]:
    """Yield what explains oddities elsewhere: placeholders, phases that are none, flags."""
    yield from _placeholders(table)
    yield from _phases(table)
    yield from _flags(table)


def checks(table: Table) -> Iterator[Outcome]:
    """Yield what the checks of runtime and temperatures say."""
    if table.has("battery_runtime"):
        yield _runtime(table)
    for column in ("ambient_temperature", "battery_temperature", "ups_temperature"):
        if table.has(column):
            yield _temperature(table, column)


def _placeholders(table: Table) -> Iterator[Outcome]:
    for column, values in PLACEHOLDERS.items():
        if not table.has(column):
            continue
        told = table[column]
        tells = ~np.isnan(told)
        odd = np.isin(told, values)

        def explain(place: int, column: str = column) -> Suspicion:
            numbers = table.at(place, column)
            value = numbers[column]
            return Suspicion(column, "sentinel", value, "placeholder", numbers, IGNORE, "high")

        yield Outcome(f"sentinel:{column}", (column,), odd, tells, explain)


def _runtime(table: Table) -> Outcome:
    """Find a runtime that neither battery nor load allow: minutes for seconds, ticks, no value."""
    runtime, charge, percent = table["battery_runtime"], table["battery_charge"], table["ups_load"]
    watt_hours = table["battery_capacity"] * table["battery_voltage_nominal"]
    watts = table.first("ups_realpower", "ups_power")
    floor = np.fmax(50.0, 0.1 * np.nan_to_num(table["ups_power_nominal"]))
    # At no rate and temperature does a battery give more than its nominal energy, by much.
    ideal = watt_hours * _HOUR * np.where(np.isnan(charge), 100, charge) / 100 / watts
    ideal = np.where((watts >= floor) & (watt_hours > 0) & (charge >= 20), ideal, np.nan)
    is_sound = (
        table.is_live
        & ~table.is_set("status_low_battery")
        & ~table.is_set("status_replace_battery")
        & ~table.is_set("alarm_battery_fault")
        & ~table.is_set("alarm_battery_disconnected")
    )
    too_long = (
        (runtime > 4 * ideal) & (runtime > _HOUR)
        | (runtime > 5 * _DAY) & (percent >= 10)
        | (runtime > 2 * _DAY) & (percent >= 20)
        | (runtime > _DAY) & (percent >= 50)
    )
    # A worn battery at full load gives a thirtieth of the ideal; less is another unit of time.
    too_short = is_sound & (runtime > 0) & (charge >= 95) & (
        (runtime < ideal / 45) | (np.isnan(ideal) & (runtime <= 60) & (percent <= 40))
    )  # fmt: skip
    zero = is_sound & (runtime == 0) & (charge > 50) & (percent > 0)
    tells = ~np.isnan(runtime) & ~np.isnan(charge) & ~np.isnan(percent)
    odd = too_long | too_short | zero

    def explain(place: int) -> Suspicion:
        value, best = float(runtime[place]), float(ideal[place])
        numbers = table.at(
            place, "battery_runtime", "battery_charge", "ups_load", "ups_realpower",
            "battery_capacity", "battery_voltage_nominal",
        )  # fmt: skip
        if not np.isnan(best):
            numbers["ideal_runtime"] = best
        if value == 0:
            return Suspicion(
                "battery_runtime", "runtime", value, "zero_while_live", numbers, IGNORE
            )
        rule = "runtime_too_long" if too_long[place] else "runtime_too_short"
        cure = _runtime_cure(value, best, float(percent[place]), is_long=bool(too_long[place]))
        return Suspicion(
            "battery_runtime", "runtime", value, rule, numbers, cure,
            "low" if np.isnan(best) else "medium",
        )  # fmt: skip

    return Outcome("runtime", ("battery_runtime",), odd, tells, explain)


def _runtime_cure(value: float, ideal: float, percent: float, *, is_long: bool) -> Proposal:
    usual = ideal * 0.6 if ideal == ideal else 2_400.0 / max(percent, 5.0) * 50  # noqa: PLR0124 - NaN
    factors = (1 / 60, 0.01) if is_long else (60.0,)
    best = min(factors, key=lambda factor: abs(np.log(value * factor / usual)))
    return times(best) if usual / 12 <= value * best <= usual * 4 else NONE


def _temperature(table: Table, column: str) -> Outcome:
    """Find degrees Fahrenheit, tenths and placeholders beside temperatures that fit."""
    told = table[column]
    others = [
        table[other]
        for other in ("ambient_temperature", "battery_temperature", "ups_temperature")
        if other != column
    ]
    with np.errstate(invalid="ignore"):
        coolest = np.fmin(*others)
        warmest = np.fmax(*others)
    is_quiet = ~(
        table.is_set("alarm_over_temperature")
        | table.is_set("alarm_battery_temperature")
        | table.is_set("alarm_ambient_temperature")
    )
    if column == "ups_temperature":
        # The inside may be much warmer than the room, but not above 75 °C without complaint.
        hot = (told > 75) & (coolest < 45) & (table["alarm_over_temperature"] == 0)
    elif column == "ambient_temperature":
        hot = (told > 52) & (told - 10 > table["ups_temperature"])
        hot |= (told > 52) & (told - 25 > table["battery_temperature"])
    else:
        hot = (told > 59) & (told - 25 > warmest) & ~(table["battery_current"] < -5)
    absent = ((told == -1) | (told == 0)) & (coolest > 15)
    tenth = (told > 0) & (told < 5) & (coolest > 18) & (column != "ambient_temperature")
    tells = ~np.isnan(told) & ~np.isnan(coolest)
    odd = tells & (hot & is_quiet & (told < 115) | absent | tenth)

    def explain(place: int) -> Suspicion:
        value = float(told[place])
        numbers = table.at(
            place, column, "ambient_temperature", "battery_temperature", "ups_temperature"
        )
        if absent[place]:
            rule, cure = "placeholder", IGNORE
        elif tenth[place]:
            rule, cure = "tenths", times(10.0)
        else:
            rule, cure = "fahrenheit", times(5 / 9, -160 / 9)
        return Suspicion(column, "temperature", value, rule, numbers, cure)

    return Outcome(f"temperature:{column}", (column,), odd, tells, explain)


def _phases(table: Table) -> Iterator[Outcome]:
    """Find three phases claimed by a unit that has one: the others dead, or copies of the first."""
    for side, alarm in (("input", "alarm_input_bad"), ("output", "alarm_output_bad")):
        volts = [f"{side}_l{line}_n_voltage" for line in (1, 2, 3)]
        if not all(table.has(column) for column in volts):
            continue
        first, second, third = (table[column] for column in volts)
        tells = (first > 80) & ~np.isnan(second) & ~np.isnan(third) & table.is_live
        dead = (second == 0) & (third == 0) & ~table.is_set(alarm)
        odd = tells & (dead | _are_copies(table, side, (first, second, third)))
        columns = tuple(volts[1:])
        if side == "output":
            columns += ("output_l2_current", "output_l3_current", "ups_l2_load", "ups_l3_load")

        def explain(
            place: int, columns: tuple[str, ...] = columns, volts: list[str] = volts,
            dead: Mask = dead,
        ) -> Suspicion:  # fmt: skip
            there = [column for column in columns if not np.isnan(table[column][place])]
            rule = "phases_dead" if dead[place] else "phases_copied"
            return Suspicion(
                there[0], "phases", float(table[there[0]][place]), rule,
                table.at(place, *volts, "ups_power", "output_l1_current"),
                IGNORE, "medium", tuple(there[1:]),
            )  # fmt: skip

        yield Outcome(f"phases:{side}", columns, odd, tells, explain)


def _are_copies(table: Table, side: str, volts: tuple[Numbers, ...]) -> Mask:
    """Three equal lines whose power is that of one."""
    if side != "output":
        return np.zeros(table.size, dtype=np.bool_)
    amperes = [table[f"output_l{line}_current"] for line in (1, 2, 3)]
    equal = (volts[0] == volts[1]) & (volts[1] == volts[2])
    equal &= (amperes[0] == amperes[1]) & (amperes[1] == amperes[2]) & (amperes[0] >= 2)
    ratio = table["ups_power"] / (volts[0] * amperes[0])
    return np.asarray(equal & (ratio > 0.8) & (ratio < 1.25))


def _flags(table: Table) -> Iterator[Outcome]:
    """Find flags that exclude each other, or that the output refutes."""
    on_line, on_battery = table["status_on_line"], table["status_on_battery"]
    charging, discharging = table["status_charging"], table["status_discharging"]
    volts = table.first("output_voltage", "output_l1_n_voltage")
    percent = table["ups_load"]
    for column, rule, tells, odd, beside in (
        (
            "status_on_line",
            "on_line_and_on_battery",
            ~np.isnan(on_line) & ~np.isnan(on_battery),
            (on_line == 1) & (on_battery == 1),
            ("status_on_line", "status_on_battery"),
        ),
        (
            "status_charging",
            "charging_and_discharging",
            ~np.isnan(charging) & ~np.isnan(discharging),
            (charging == 1) & (discharging == 1),
            ("status_charging", "status_discharging", "battery_current"),
        ),
        (
            "status_off",
            "off_but_feeding",
            ~np.isnan(table["status_off"]) & (percent > 0),
            table.is_off & (volts > 90) & (percent >= 5) & ((on_line == 1) | (on_battery == 1)),
            ("status_off", "ups_load", "output_voltage", "output_l1_n_voltage"),
        ),
    ):
        if not odd.any() and not tells.any():
            continue

        def explain(
            place: int, column: str = column, rule: str = rule, beside: tuple[str, ...] = beside
        ) -> Suspicion:
            return Suspicion(
                column, "contradiction", 1.0, rule, table.at(place, *beside), NONE, "medium"
            )

        yield Outcome(f"contradiction:{column}", (column,), odd, tells, explain)
