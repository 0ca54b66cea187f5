"""Merge planned work of a site into visits, and find the day of a visit: pure.

Work that is due within 45 days of the first is done in one trip. Work that includes other work
takes it along. A visit never lies in a change freeze.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

MERGE_WITHIN = timedelta(days=45)
"""Work at one site is done together when its dates lie no further apart (service practice)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One task at one unit that is due on a day; `apart` keeps what was split off by hand apart."""

    device_id: int
    key: str
    due_on: date
    minutes: int
    skills: tuple[str, ...] = ()
    part_kinds: tuple[str, ...] = ()
    apart: int | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One trip: its lines, the first due first, and what it takes altogether.

    `minutes_of` has the time of each line, 0 for work that another line includes.
    """

    lines: tuple[Line, ...]
    minutes_of: Mapping[tuple[int, str], int]
    skills: tuple[str, ...]
    part_kinds: tuple[str, ...]

    @property
    def first_due_on(self) -> date:
        """The day by which somebody has to be there."""
        return self.lines[0].due_on

    @property
    def minutes(self) -> int:
        """How long the whole visit takes."""
        return sum(self.minutes_of.values())


@dataclass(frozen=True, slots=True)
class Freeze:
    """Days of a site on which nothing may be changed, both ends included."""

    starts_on: date
    ends_on: date

    def covers(self, day: date) -> bool:
        """Tell whether nothing may be changed on a day."""
        return self.starts_on <= day <= self.ends_on


def merge(
    lines: Iterable[Line],
    includes: Mapping[str, Iterable[str]],
    *,
    within: timedelta = MERGE_WITHIN,
) -> list[Visit]:
    """Put the lines of one site together, the first due first.

    A visit takes in all that is due within 45 days of its first line, so that no chain of dates
    pulls work in from afar. What was split off by hand only goes with what was split off along.
    """
    found = []
    groups: dict[int | None, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.apart, []).append(line)
    for group in groups.values():
        waiting = sorted(group, key=lambda line: (line.due_on, line.device_id, line.key))
        while waiting:
            until = waiting[0].due_on + within
            mine = [line for line in waiting if line.due_on <= until]
            waiting = [line for line in waiting if line.due_on > until]
            found.append(visit_of(mine, includes))
    return sorted(found, key=lambda visit: (visit.first_due_on, visit.lines[0].device_id))


def visit_of(lines: Sequence[Line], includes: Mapping[str, Iterable[str]]) -> Visit:
    """Add up what a visit with these lines takes."""
    here = {(line.device_id, line.key) for line in lines}
    covered = {
        (line.device_id, key) for line in lines for key in _all_included(line.key, includes)
    } & here
    done = [line for line in lines if (line.device_id, line.key) not in covered]
    return Visit(
        tuple(lines),
        {
            (line.device_id, line.key): 0 if (line.device_id, line.key) in covered else line.minutes
            for line in lines
        },
        tuple(dict.fromkeys(skill for line in done for skill in line.skills)),
        tuple(dict.fromkeys(kind for line in lines for kind in line.part_kinds)),
    )


def _all_included(key: str, includes: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(includes.get(key, ()))
    while waiting:
        one = waiting.pop()
        if one not in found and one != key:
            found.add(one)
            waiting += includes.get(one, ())
    return found


def visit_day(due_on: date, today: date, freezes: Sequence[Freeze]) -> date:
    """Return the day to propose: the due date, today if it has passed, never in a freeze.

    Before a freeze rather than after it, if the window of 30 days before the due date allows.
    """
    wanted = max(due_on, today)
    if not _frozen(wanted, freezes):
        return wanted
    earlier = wanted
    while earlier > max(today, due_on - timedelta(days=30)) and _frozen(earlier, freezes):
        earlier -= timedelta(days=1)
    if not _frozen(earlier, freezes):
        return earlier
    later = wanted
    while _frozen(later, freezes):
        later = max(freeze.ends_on for freeze in freezes if freeze.covers(later))
        later += timedelta(days=1)
    return later


def _frozen(day: date, freezes: Iterable[Freeze]) -> bool:
    return any(freeze.covers(day) for freeze in freezes)
