"""What planned work will need in the months ahead: visits, hours, people, parts. Pure.

Each task at each unit recurs from its next date on; what falls due at one site within 45 days is
one visit, as it will be (`rules.maintenance_visits`). Corrective work that follows from what is
found is estimated as a share of the hours.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from rules.maintenance import months_later
from rules.maintenance_visits import Line, Visit, merge

FOLLOW_UP_SHARE = 0.25
"""More than a quarter of maintenance visits lead to corrective work (Eaton)."""
DAYS_A_MONTH = 365.25 / 12


@dataclass(frozen=True, slots=True)
class Recurring:
    """One task at one unit: when it is due next, and how often from then on."""

    device_id: int
    site_id: int
    center_id: int | None
    key: str
    next_on: date
    every_months: float
    minutes: int
    on_site: bool
    skills: tuple[str, ...] = ()
    part_kinds: tuple[str, ...] = ()
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Crew:
    """The engineers of a service center with their skills and the hours that each works a month."""

    center_id: int | None
    skills: frozenset[str]
    hours_of_month: Mapping[date, float]


@dataclass(slots=True)
class Need:
    """What one month asks of one center and skill; `visits` are trips that need the skill."""

    month: date
    center_id: int | None
    skill: str
    visits: int = 0
    hours: float = 0.0
    follow_up_hours: float = 0.0
    available_hours: float = 0.0
    engineers: int = 0
    hours_each: float = 0.0

    @property
    def engineers_needed(self) -> int | None:
        """How many the hours keep busy; None where nobody's month is known."""
        if self.hours_each <= 0:
            return None
        return math.ceil((self.hours + self.follow_up_hours) / self.hours_each - 1e-9)

    @property
    def short_hours(self) -> float:
        """How many hours are missing."""
        return max(0.0, self.hours + self.follow_up_hours - self.available_hours)


@dataclass(frozen=True, slots=True)
class PartNeed:
    """How many parts of a kind one month's work needs at a center, by the unit's model."""

    month: date
    center_id: int | None
    kind: str
    model: str | None
    quantity: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Twelve months, or so many as were asked for."""

    months: tuple[date, ...]
    needs: tuple[Need, ...]
    parts: tuple[PartNeed, ...]
    visits_of: Mapping[tuple[date, int], int] = field(default_factory=dict)
    """Visits by month and site."""


def occurrences(one: Recurring, today: date, until: date) -> list[date]:
    """Return the days on which a task falls due before `until`; what is overdue counts as today.

    Whole months keep their day of the month; where use or heat shortens the interval, days count.
    """
    found = []
    due_on = max(one.next_on, today)
    number = 0
    while due_on < until:
        found.append(due_on)
        number += 1
        months = one.every_months * number
        start = max(one.next_on, today)
        due_on = (
            months_later(start, round(months))
            if math.isclose(months, round(months))
            else start + timedelta(days=max(1, round(months * DAYS_A_MONTH)))
        )
    return found


def forecast(
    recurring: Iterable[Recurring],
    crews: Sequence[Crew],
    includes: Mapping[str, Iterable[str]],
    *,
    today: date,
    months: int = 12,
) -> Forecast:
    """Look ahead from `today` over this month and those that follow.

    Remote work costs hours and no visit. A visit's hours count for the skills of its lines, each
    line's for the first of its skills; a trip counts once for each skill that it needs.
    """
    first = today.replace(day=1)
    all_months = tuple(months_later(first, number) for number in range(months))
    until = months_later(first, months)
    by_site: dict[tuple[int, int | None], list[Recurring]] = defaultdict(list)
    for one in recurring:
        by_site[one.site_id, one.center_id].append(one)
    sums = _Sums()
    for (site_id, center_id), here in sorted(by_site.items(), key=lambda item: item[0][0]):
        for one in here:
            if not one.on_site:
                for day in occurrences(one, today, until):
                    sums.need(day, center_id, _first(one.skills)).hours += one.minutes / 60
        models = {one.device_id: one.model for one in here}
        for visit in _visits([one for one in here if one.on_site], includes, today, until):
            sums.visits_of[visit.first_due_on.replace(day=1), site_id] += 1
            sums.add(visit, center_id, models)
    for need in sums.needs.values():
        _staff(need, crews)
    return Forecast(
        all_months,
        tuple(sorted(sums.needs.values(), key=lambda n: (n.month, n.center_id or 0, n.skill))),
        tuple(
            PartNeed(*key, quantity)
            for key, quantity in sorted(
                sums.parts.items(),
                key=lambda item: (item[0][0], item[0][1] or 0, *map(str, item[0][2:])),
            )
        ),
        dict(sums.visits_of),
    )


@dataclass(slots=True)
class _Sums:
    """What has been added up so far."""

    needs: dict[tuple[date, int | None, str], Need] = field(default_factory=dict)
    parts: Counter[tuple[date, int | None, str, str | None]] = field(default_factory=Counter)
    visits_of: Counter[tuple[date, int]] = field(default_factory=Counter)

    def need(self, day: date, center_id: int | None, skill: str) -> Need:
        key = (day.replace(day=1), center_id, skill)
        return self.needs.setdefault(key, Need(*key))

    def add(self, visit: Visit, center_id: int | None, models: Mapping[int, str | None]) -> None:
        day = visit.first_due_on
        # What another line includes asks for nobody of its own.
        done = [line for line in visit.lines if visit.minutes_of[line.device_id, line.key]]
        for skill in {_first(line.skills) for line in done}:
            self.need(day, center_id, skill).visits += 1
        for line in done:
            hours = visit.minutes_of[line.device_id, line.key] / 60
            mine = self.need(day, center_id, _first(line.skills))
            mine.hours += hours
            mine.follow_up_hours += hours * FOLLOW_UP_SHARE
        kinds = {(line.device_id, kind) for line in visit.lines for kind in line.part_kinds}
        for device_id, kind in kinds:
            self.parts[day.replace(day=1), center_id, kind, models[device_id]] += 1


def _staff(need: Need, crews: Sequence[Crew]) -> None:
    able = [c for c in crews if c.center_id == need.center_id and need.skill in c.skills]
    need.engineers = len(able)
    need.available_hours = sum(crew.hours_of_month.get(need.month, 0.0) for crew in able)
    each = [crew.hours_of_month.get(need.month, 0.0) for crew in crews]
    need.hours_each = max(each, default=0.0)


def _first(skills: Sequence[str]) -> str:
    return skills[0] if skills else "any"


def _visits(
    here: Sequence[Recurring], includes: Mapping[str, Iterable[str]], today: date, until: date
) -> list[Visit]:
    lines = [
        Line(one.device_id, one.key, day, one.minutes, one.skills, one.part_kinds)
        for one in here
        for day in occurrences(one, today, until)
    ]
    return merge(lines, includes)


@dataclass(frozen=True, slots=True)
class Promise:
    """Visits of one contract year at one site: what was promised, done, and is planned."""

    contract_id: int
    site_id: int
    year_from: date
    year_until: date
    promised: int
    done: int
    planned: int

    @property
    def short(self) -> int:
        """How many are neither done nor planned."""
        return max(0, self.promised - self.done - self.planned)


def contract_year(starts_on: date, ends_on: date, today: date) -> tuple[date, date] | None:
    """Return the first and last day of the contract's year that holds `today`; None outside."""
    if not starts_on <= today <= ends_on:
        return None
    number = 0
    while months_later(starts_on, 12 * (number + 1)) <= today:
        number += 1
    return (
        months_later(starts_on, 12 * number),
        min(ends_on, months_later(starts_on, 12 * (number + 1)) - timedelta(days=1)),
    )


def promised_visits(per_year: int, year_from: date, year_until: date) -> int:
    """Return how many visits a contract's year owes: a shorter last year its share, rounded."""
    days = (year_until - year_from).days + 1
    return per_year if days >= 365 else round(per_year * days / 365)
