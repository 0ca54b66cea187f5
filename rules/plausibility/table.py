"""Readings as columns: what the checks compute with, and what a check hands back.

Built once a batch; what a reading does not say is NaN, which no comparison finds odd.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rules.facts import Value

Numbers: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Row: TypeAlias = Mapping[str, Value]
Confidence: TypeAlias = Literal["low", "medium", "high"]

NOMINALS: tuple[str, ...] = (
    "battery_voltage_nominal",
    "battery_capacity",
    "input_voltage_nominal",
    "output_voltage_nominal",
    "ups_power_nominal",
    "ups_realpower_nominal",
)
"""What a unit says rarely and the checks need at each reading."""

_LINES = ("l1", "l2", "l3")

COLUMNS: tuple[str, ...] = (
    "battery_charge",
    "battery_runtime",
    "battery_voltage",
    "battery_current",
    "battery_temperature",
    "ups_temperature",
    "ambient_temperature",
    "input_voltage",
    "input_frequency",
    "input_current",
    "input_realpower",
    "output_voltage",
    "output_frequency",
    "output_current",
    "ups_load",
    "ups_power",
    "ups_realpower",
    *(f"input_{line}_n_voltage" for line in _LINES),
    *(f"output_{line}_n_voltage" for line in _LINES),
    *(f"output_{line}_current" for line in _LINES),
    *(f"ups_{line}_load" for line in _LINES),
    "status_on_line",
    "status_on_battery",
    "status_off",
    "status_bypass",
    "status_testing",
    "status_calibrating",
    "status_charging",
    "status_discharging",
    "status_low_battery",
    "status_replace_battery",
    "status_overload",
    "alarm_battery_disconnected",
    "alarm_battery_fault",
    "alarm_battery_temperature",
    "alarm_ambient_temperature",
    "alarm_over_temperature",
    "alarm_input_bad",
    "alarm_output_bad",
    *NOMINALS,
)
"""The columns that checks read; the nominal ones are the last."""

_PLACE = {column: place for place, column in enumerate(COLUMNS)}


class Table:
    """Some readings as arrays by column; `nominals` complete what each says of itself, in order."""

    def __init__(
        self, rows: Sequence[Row], nominals: Sequence[Sequence[float]] | None = None
    ) -> None:
        self.size = len(rows)
        columns = _transposed(rows)
        if nominals is not None:
            known = np.array(nominals, dtype=np.float64).reshape(self.size, len(NOMINALS)).T
            said = columns[-len(NOMINALS) :]
            np.copyto(said, known, where=np.isnan(said))
        self._columns: Numbers = columns
        self._present: list[bool] = [bool(said) for said in np.any(~np.isnan(columns), axis=1)]
        self.on_battery: Mask = self["status_on_battery"] == 1
        self.is_off: Mask = self["status_off"] == 1
        self.is_live: Mask = (
            (self["status_on_line"] == 1)
            & ~self.on_battery
            & ~self.is_off
            & ~(self["status_testing"] == 1)
            & ~(self["status_calibrating"] == 1)
        )
        """Mains feeds the load, in whatever way, and no test runs."""

    def __getitem__(self, column: str) -> Numbers:
        values: Numbers = self._columns[_PLACE[column]]
        return values

    def has(self, column: str) -> bool:
        """Tell whether any reading says this."""
        return self._present[_PLACE[column]]

    def is_set(self, column: str) -> Mask:
        """Return where a flag is known to be up."""
        return np.asarray(self[column] == 1)

    def first(self, *columns: str) -> Numbers:
        """Return the first known of these columns."""
        found = self[columns[0]]
        for column in columns[1:]:
            found = np.where(np.isnan(found), self[column], found)
        return found

    def at(self, place: int, *columns: str) -> dict[str, float]:
        """Return what one reading says of these columns, as far as it does."""
        said = {column: float(self[column][place]) for column in columns}
        return {column: value for column, value in said.items() if value == value}  # noqa: PLR0124 - NaN


def _transposed(rows: Sequence[Row]) -> Numbers:
    """Return the columns of these rows; rows that hold the same points are taken together.

    A family's cards tell the same points in the same order each time: looking up only those costs
    a third of looking up all.
    """
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(tuple(row), []).append(place)
    columns = np.full((len(COLUMNS), len(rows)), np.nan)
    for names, places in alike.items():
        layout = _layout(names)
        if layout is not None:
            into, pick = layout
            values = np.array([pick(rows[place]) for place in places], dtype=np.float64)
            columns[into[:, None], np.array(places)] = values.reshape(len(places), len(into)).T
    return columns


@lru_cache(maxsize=4_096)
def _layout(
    names: tuple[str, ...],
) -> tuple[NDArray[np.intp], Callable[[Row], Any]] | None:
    """Return which columns rows of these points hold, and what picks their values."""
    held = [name for name in names if name in _PLACE]
    if not held:
        return None
    return np.array([_PLACE[name] for name in held]), itemgetter(*held)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would make a value right: value × factor + addend, or to ignore the point."""

    action: Literal["convert", "ignore", "none", "end"] = "none"
    factor: float = 1.0
    addend: float = 0.0


NONE = Proposal()
IGNORE = Proposal("ignore")


def times(factor: float, addend: float = 0.0) -> Proposal:
    """Propose a conversion."""
    return Proposal("convert", factor, addend)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A value that cannot be what it says: which, why, and what would cure it.

    `kind` is the check, `rule` its reason in a word, `numbers` what it rests on. `also` are
    columns that lie in the same way and share the decision.
    """

    column: str
    kind: str
    value: float
    rule: str
    numbers: Mapping[str, float]
    proposal: Proposal = NONE
    confidence: Confidence = "medium"
    also: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are not to be believed."""
        return (self.column, *self.also)

    def evidence(self) -> dict[str, Any]:
        """Return what is kept with the doubt."""
        return {
            "rule": self.rule,
            "numbers": {key: _short(number) for key, number in self.numbers.items()},
            "confidence": self.confidence,
            **({"also": list(self.also)} if self.also else {}),
        }


def _short(number: float) -> float:
    return float(f"{number:.6g}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check says of each reading: odd, or able to tell at all, and the words for it.

    `columns` are those that the check may doubt.
    """

    kind: str
    columns: tuple[str, ...]
    odd: Mask
    tells: Mask
    explain: Callable[[int], Suspicion | None] = field(repr=False)


def decade(ratio: float, low: float = 0.75, high: float = 1.35) -> float | None:
    """Return the power of ten that brings a ratio near one, None if none of 10⁻³ … 10³ does."""
    for factor in (0.1, 10.0, 0.01, 100.0, 0.001, 1000.0):
        if low <= ratio * factor <= high:
            return factor
    return None
