"""What people decided about values that cards tell wrongly, applied to readings as they come in.

A decision for a device stands before one for its model, and that before one for its profile. They
are looked up again every few seconds; how they are decided is the API's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import psycopg
from psycopg.rows import TupleRow

from rules.facts import Value
from rules.plausibility import DOUBTFUL
from rules.points import BY_COLUMN, BY_NAME

Connection = psycopg.Connection[TupleRow]

LOOK_EVERY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Correction:
    """What to do with one value: value × factor + addend, leave it out, or believe it."""

    action: Literal["convert", "ignore", "trust"]
    factor: float = 1.0
    addend: float = 0.0

    def convert(self, value: float) -> float:
        """Return the value as it should have been told."""
        return value * self.factor + self.addend


Corrections: TypeAlias = Mapping[str, Correction]
"""By column."""

_NOTHING: Corrections = {}


class KnownCorrections:
    """The decisions in force; `version` changes whenever they do."""

    def __init__(self) -> None:
        self.version = 0
        self._stamp: tuple[object, ...] | None = None
        self._looked_at: datetime | None = None
        self._of_device: dict[int, dict[str, Correction]] = {}
        self._of_family: dict[tuple[str, str | None], dict[str, Correction]] = {}

    def look(self, connection: Connection, now: datetime) -> None:
        """Read the decisions again if it is time and they changed."""
        looked = self._looked_at
        if looked is not None and looked <= now < looked + LOOK_EVERY:
            return
        stamp = connection.execute(
            "SELECT count(*), max(id), count(ended_at) FROM correction"
        ).fetchone()
        self._looked_at = now
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self.version += 1
        self._of_device, self._of_family = {}, {}
        for device_id, profile, model, point, action, factor, addend in connection.execute(
            """
            SELECT device_id, profile, model, point, action, factor, addend
            FROM correction WHERE ended_at IS NULL
            """
        ):
            if point not in BY_NAME:
                continue
            of = (
                self._of_device.setdefault(device_id, {})
                if device_id is not None
                else self._of_family.setdefault((profile, model), {})
            )
            of[BY_NAME[point].column] = Correction(action, factor, addend)

    def of(self, device_id: int, profile: str | None, model: str | None) -> Corrections:
        """Return what holds for a device."""
        if not self._of_device and not self._of_family:
            return _NOTHING
        found: dict[str, Correction] = {}
        if profile is not None:
            found |= self._of_family.get((profile, None), _NOTHING)
            if model is not None:
                found |= self._of_family.get((profile, model), _NOTHING)
        found |= self._of_device.get(device_id, _NOTHING)
        return found


def correct(
    corrections: Corrections, points: dict[str, Value], extra: dict[str, Value]
) -> set[str]:
    """Apply decisions in place; returns the columns that are left out by one.

    A value that conversion refused waits in `extra`; brought into its range it is a point again,
    and a corrected value that leaves its range is none any more.
    """
    left_out: set[str] = set()
    for column, correction in corrections.items():
        waiting = DOUBTFUL + column
        if correction.action == "ignore":
            extra.pop(waiting, None)
            points.pop(column, None)
            left_out.add(column)
        elif correction.action == "convert":
            told = points.get(column, extra.get(waiting))
            if not isinstance(told, float | int) or isinstance(told, bool):
                continue
            value = correction.convert(told)
            point = BY_COLUMN[column]
            points.pop(column, None)
            if point.low is None or point.high is None or point.low <= value <= point.high:
                points[column] = value
                extra.pop(waiting, None)
            else:
                extra[waiting] = value
    return left_out
