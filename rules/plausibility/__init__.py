"""Plausibility: values that physics or the unit's own other values say cannot be right. Pure.

A check looks at readings as columns and says of each whether it is odd, and whether it could tell
at all: at low load, on battery or without a nominal value it often cannot. Odd once is not doubtful
yet: that takes some of the last readings (`dwell`). What becomes of a doubt is not decided here.
"""

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np

from rules.plausibility import others, power, voltages
from rules.plausibility.ranges import DOUBTFUL, believed, out_of_range
from rules.plausibility.table import (
    COLUMNS,
    IGNORE,
    NOMINALS,
    NONE,
    Outcome,
    Proposal,
    Row,
    Suspicion,
    Table,
    times,
)

__all__ = [
    "COLUMNS",
    "DOUBTFUL",
    "IGNORE",
    "NOMINALS",
    "NONE",
    "Outcome",
    "Proposal",
    "Suspicion",
    "Table",
    "believed",
    "check",
    "explained",
    "out_of_range",
    "suspicions",
    "times",
]


def check(table: Table) -> list[Outcome]:
    """Return what every check says of these readings; what explains others comes first."""
    if not table.size:
        return []
    with np.errstate(all="ignore"):
        return [
            *others.first_checks(table),
            *voltages.checks(table),
            *power.checks(table),
            *others.checks(table),
        ]


def suspicions(row: Row, nominals: Mapping[str, float] | None = None) -> list[Suspicion]:
    """Return what is odd about one reading."""
    known = [(nominals or {}).get(column, nan) for column in NOMINALS]
    return list(explained(check(Table([row], [known])), 0).values())


def explained(outcomes: Sequence[Outcome], place: int) -> dict[str, Suspicion]:
    """Return what is odd about one of the readings, by the check's kind.

    A value is doubted once. What rests on a value that is doubted already says nothing of its own:
    the volts of a phase that is none make no current wrong.
    """
    doubted: set[str] = set()
    found: dict[str, Suspicion] = {}
    with np.errstate(all="ignore"):
        for outcome in outcomes:
            suspicion = outcome.explain(place) if outcome.odd[place] else None
            if suspicion is not None and doubted.isdisjoint(
                (*suspicion.columns, *suspicion.numbers)
            ):
                found[outcome.kind] = suspicion
                doubted.update(suspicion.columns)
    return found
