"""Checks of power, current and load against each other: W ≤ VA, V × A ≈ VA, load against rating.

Two figures that disagree say that one lies; a third one says which. Small loads are left alone:
cards round to whole amperes and per cents there.
"""

from collections.abc import Iterator

import numpy as np

from rules.plausibility.table import (
    IGNORE,
    NONE,
    Mask,
    Numbers,
    Outcome,
    Suspicion,
    Table,
    decade,
    times,
)

_LINES = ("l1", "l2", "l3")
_ENOUGH_VA = 300.0
_NEAR = 2.2
"""Two figures of the same load agree within this factor, power factor and sampling included."""
_FAR = 4.5
"""Beyond this factor two figures cannot be the same load."""


def checks(table: Table) -> Iterator[Outcome]:
    """Yield what the checks of this module say."""
    load = _Load(table)
    if load.has_two:
        yield _apparent(table, load)
        yield _active(table, load)
        yield _load(table, load)
    if table.has("ups_load"):
        yield _overload(table)
    if table.has("input_realpower"):
        yield _input_power(table, load)
    if table.has("input_current"):
        yield _input_current(table, load)


class _Load:
    """The load in VA, told in up to four ways; NaN where it is not told so."""

    def __init__(self, table: Table) -> None:
        self.said: Numbers = table["ups_power"]
        self.watts: Numbers = table["ups_realpower"]
        volts = [table[f"output_{line}_n_voltage"] for line in _LINES]
        amperes = [table[f"output_{line}_current"] for line in _LINES]
        self.is_three: Mask = ~np.isnan(volts[1]) | ~np.isnan(amperes[1])
        in_lines = sum((v * a for v, a in zip(volts, amperes, strict=True)), np.zeros(table.size))
        alone = table["output_voltage"] * table["output_current"]
        self.product: Numbers = np.where(self.is_three, in_lines, alone)
        rating = table["ups_power_nominal"]
        rating = np.where(np.isnan(rating), table["ups_realpower_nominal"] / 0.9, rating)
        self.rating: Numbers = np.where(rating > 0, rating, np.nan)
        of_lines = sum((table[f"ups_{line}_load"] for line in _LINES), np.zeros(table.size)) / 3
        percent = np.where(self.is_three, of_lines, table["ups_load"])
        self.rated: Numbers = percent / 100 * self.rating
        self.all: Numbers = np.array([self.said, self.product, self.watts, self.rated])
        self.is_enough: Mask = _most(self.all) >= np.fmax(_ENOUGH_VA, 0.1 * self.rating)
        self.has_two = (~np.isnan(self.all)).any(axis=1).sum() > 1

    def backs(self, one: Numbers, *others: Numbers) -> Mask:
        """Return where one of the others tells the same load."""
        found = np.zeros(one.shape, dtype=np.bool_)
        for other in others:
            found |= _are_near(one, other)
        return found


def _most(values: Numbers) -> Numbers:
    return np.asarray(np.where(np.isnan(values), -1.0, values).max(axis=0))


def _are_near(one: Numbers, other: Numbers) -> Mask:
    ratio = one / np.where(other > 0, other, np.nan)
    return np.asarray((ratio > 1 / _NEAR) & (ratio < _NEAR))


def _are_far(one: Numbers, other: Numbers) -> Mask:
    ratio = one / np.where(other > 0, other, np.nan)
    return np.asarray((ratio > _FAR) | ((ratio < 1 / _FAR) & (one > 0)))


def _columns_of_current(table: Table, place: int) -> tuple[str, ...]:
    columns = [f"output_{line}_current" for line in _LINES]
    found = tuple(column for column in columns if not np.isnan(table[column][place]))
    return found if len(found) == len(_LINES) else ("output_current",)


_TOLD_BY = (
    "ups_power",
    "ups_realpower",
    "ups_load",
    "ups_power_nominal",
    "output_voltage",
    "output_current",
    *(f"output_{line}_n_voltage" for line in _LINES),
    *(f"output_{line}_current" for line in _LINES),
)


def _apparent(table: Table, load: _Load) -> Outcome:
    """V × A is not the VA (or the W) that the unit says: the current, or the power, is wrong.

    Where nothing else tells, the current is: cards that count it in other units than their MIB
    says are the usual ones.
    """
    said = np.where(np.isnan(load.said), load.watts, load.said)
    differs = _are_far(load.product, said)
    tells = load.is_enough & ~np.isnan(load.product) & ~np.isnan(said) & (said > 0)
    power_is_backed = load.backs(said, load.rated) | (
        ~np.isnan(load.said) & load.backs(said, load.watts / 0.8)
    )
    current_is_backed = load.backs(load.product, load.rated) | (
        ~np.isnan(load.said) & load.backs(load.product, load.watts / 0.8)
    )
    # Low power factors of idle loads explain few watts, and nothing explains more W than V × A.
    is_idle = np.isnan(load.said) & (load.watts < load.product) & ~power_is_backed
    odd = tells & differs & (load.product > 0) & ~(is_idle & ~current_is_backed)
    names = ("output_current", *(f"output_{line}_current" for line in _LINES),
             "ups_power", "ups_realpower")  # fmt: skip

    def explain(place: int) -> Suspicion:
        product, told = float(load.product[place]), float(said[place])
        numbers = table.at(place, *_TOLD_BY) | {"volt_ampere": product}
        if current_is_backed[place] and not power_is_backed[place]:
            column = "ups_realpower" if np.isnan(load.said[place]) else "ups_power"
            columns: tuple[str, ...] = (column,)
            factor = decade(told / product, 0.3, 2.2)
        else:
            columns = _columns_of_current(table, place)
            factor = decade(product / told, 0.45, 3.0 if np.isnan(load.said[place]) else 2.2)
        return Suspicion(
            columns[0],
            "volt_ampere",
            float(table[columns[0]][place]),
            "volt_ampere",
            numbers,
            NONE if factor is None else times(factor),
            "high" if power_is_backed[place] or current_is_backed[place] else "medium",
            columns[1:],
        )

    return Outcome("volt_ampere", names, odd, tells, explain)


def _active(table: Table, load: _Load) -> Outcome:
    """More watts than volt-amperes."""
    allowed = 1.15 * load.said + np.fmax(40.0, np.nan_to_num(0.03 * load.rating))
    tells = ~np.isnan(load.said) & ~np.isnan(load.watts) & load.is_enough
    odd = tells & (load.watts > allowed)
    watts_backed = load.backs(load.watts / 0.8, load.product, load.rated)
    said_backed = load.backs(load.said, load.product, load.rated)

    def explain(place: int) -> Suspicion:
        watts, said = float(load.watts[place]), float(load.said[place])
        numbers = table.at(place, *_TOLD_BY)
        if not np.isnan(load.product[place]):
            numbers["volt_ampere"] = float(load.product[place])
        if watts_backed[place] and not said_backed[place]:
            factor = decade(said / watts, 0.8, 3.0) if said > 0 else None
            column, value = "ups_power", said
        else:
            factor = decade(watts / said, 0.3, 1.1) if said > 0 else None
            column, value = "ups_realpower", watts
        is_sure = bool(watts_backed[place] != said_backed[place])
        return Suspicion(
            column,
            "watts_above_va",
            value,
            "watts_above_va",
            numbers,
            NONE if factor is None else times(factor),
            "high" if is_sure else "low",
        )

    return Outcome("watts_above_va", ("ups_realpower", "ups_power"), odd, tells, explain)


def _load(table: Table, load: _Load) -> Outcome:
    """Load in per cent of the rating is not the power: one of the three is in other units."""
    percent = table["ups_load"]
    said = np.where(np.isnan(load.said), load.watts / 0.8, load.said)
    best = np.where(np.isnan(said), load.product, said)
    tells = load.is_enough & (percent >= 3) & (best > 0) & ~np.isnan(load.rated) & ~load.is_three
    differs = _are_far(load.rated, best) & tells
    # Two ways agree against the load: then it is the load, or its rating.
    two_agree = load.backs(said, load.product)
    is_kilo = ~np.isnan(said) & (best < load.rating / 100) & (percent >= 5)
    is_nominal = (load.rating < 100) & (best > 3 * load.rating)
    odd = differs & (two_agree | is_kilo | is_nominal)
    names = ("ups_load", "ups_power", "ups_realpower", "ups_power_nominal")

    def explain(place: int) -> Suspicion | None:
        rated, told = float(load.rated[place]), float(best[place])
        numbers = table.at(place, *_TOLD_BY)
        if is_nominal[place]:
            rating = float(load.rating[place])
            column = "ups_power_nominal"
            if np.isnan(table[column][place]):
                return None
            return Suspicion(
                column, "nominal", rating, "rating_in_kilo", numbers, times(1000.0), "medium"
            )
        if two_agree[place]:
            factor = decade(rated / told, 0.5, 2.0)
            value = float(percent[place])
            return Suspicion(
                "ups_load", "load", value, "load_scale", numbers,
                NONE if factor is None else times(factor), "high",
            )  # fmt: skip
        factor = decade(told / rated, 0.4, 1.6)
        column = "ups_power" if not np.isnan(load.said[place]) else "ups_realpower"
        return Suspicion(
            column,
            "load",
            float(table[column][place]),
            "power_in_kilo",
            numbers,
            NONE if factor is None else times(factor),
            "high" if factor == 1000.0 else "medium",
        )

    return Outcome("load", names, odd, tells, explain)


def _overload(table: Table) -> Outcome:
    """Find a load far beyond the rating of a unit that knows overload and does not complain."""
    percent = table["ups_load"]
    tells = (table["status_overload"] == 0) & ~np.isnan(percent) & ~table.is_off
    odd = tells & (percent > 130)

    def explain(place: int) -> Suspicion:
        value = float(percent[place])
        numbers = table.at(place, "ups_load", "status_overload")
        cure = IGNORE if value == 255 else times(0.1)
        return Suspicion("ups_load", "load", value, "load_without_overload", numbers, cure)

    return Outcome("load:range", ("ups_load",), odd, tells, explain)


def _input_power(table: Table, load: _Load) -> Outcome:
    """Less goes in than comes out, and the battery does not help."""
    into, out = table["input_realpower"], load.watts
    helps = table.is_set("status_discharging") | (table["battery_current"] > 0.5)
    tells = table.is_live & ~np.isnan(into) & ~helps & (out >= np.fmax(100, 0.1 * _or_zero(load)))
    odd = tells & (into < 0.75 * out)

    def explain(place: int) -> Suspicion:
        value, comes_out = float(into[place]), float(out[place])
        numbers = table.at(place, "input_realpower", "ups_realpower", "battery_current")
        if value <= 0:
            cure, rule = IGNORE, "zero_while_live"
        else:
            factor = decade(value / comes_out, 0.9, 1.8)
            cure, rule = (NONE if factor is None else times(factor)), "more_out_than_in"
        return Suspicion("input_realpower", "efficiency", value, rule, numbers, cure)

    return Outcome("efficiency", ("input_realpower",), odd, tells, explain)


def _or_zero(load: _Load) -> Numbers:
    return np.nan_to_num(load.rating)


def _input_current(table: Table, load: _Load) -> Outcome:
    """Nothing flows in, and yet a load is fed from mains."""
    amperes = table["input_current"]
    helps = table.is_set("status_discharging") | (table["battery_current"] > 0.5)
    tells = table.is_live & ~np.isnan(amperes) & ~helps & (load.watts >= _ENOUGH_VA / 2)
    odd = tells & (amperes == 0) & ~(load.is_three)

    def explain(place: int) -> Suspicion:
        numbers = table.at(place, "input_current", "ups_realpower", "input_voltage")
        return Suspicion("input_current", "efficiency", 0.0, "zero_while_live", numbers, IGNORE)

    return Outcome("efficiency:current", ("input_current",), odd, tells, explain)
