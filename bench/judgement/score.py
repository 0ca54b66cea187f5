"""Tickets against the truth: what was announced in time, what was false, what windows covered."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.judgement.truth import BEFORE_DAYS, WATCHED_DAYS

FALSE_BEFORE_DAYS = 365
LEAD_DAYS = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """One unit: its end, its first battery ticket, the window at the year's begin, all in days.

    `has_precursor` when capacity had fallen by 4 % and more sixty days before the end: then there
    was something to see. `fixed` are the first days of the templates.
    """

    make: str
    firmware: str
    family: str
    end_day: int | None
    has_precursor: bool
    ticket_day: int | None
    window: tuple[float, float] | None
    fixed: dict[str, float | None] = field(default_factory=dict)


def is_false(ticket_day: float, end_day: int | None) -> bool:
    """Tell whether a ticket came more than a year before the end, or without one."""
    return end_day is None or end_day - ticket_day > FALSE_BEFORE_DAYS


def ends_in_year(outcome: Outcome) -> bool:
    """Tell whether a unit's end can be announced in the scored year, and comes in it."""
    end = outcome.end_day
    return end is not None and BEFORE_DAYS + LEAD_DAYS <= end < WATCHED_DAYS


def announced(outcome: Outcome) -> bool:
    """Tell whether the end was announced sixty days ahead."""
    end, ticket = outcome.end_day, outcome.ticket_day
    return end is not None and ticket is not None and end - ticket >= LEAD_DAYS


@dataclass(frozen=True, slots=True)
class Score:
    """What comes of many units; shares between 0 and 1."""

    units: int
    ends: int
    ends_without_precursor: int
    announced: float
    tickets: int
    false: int
    precision: float
    coverage: float
    window_months: float
    leads: tuple[int, int, int]
    fixed: dict[str, tuple[int, int, int]]
    """Template → tickets, false ones, ends that it announced sixty days ahead."""


def score(outcomes: Sequence[Outcome]) -> Score:
    """Add up outcomes; quantiles of the lead are 10, 50 and 90 %."""
    ending = [one for one in outcomes if ends_in_year(one)]
    foretold = [one for one in ending if one.has_precursor]
    tickets = [one for one in outcomes if one.ticket_day is not None]
    false = [one for one in tickets if is_false(one.ticket_day or 0, one.end_day)]
    known = [one for one in outcomes if one.window is not None and one.end_day is not None]
    covered = [one for one in known if _covers(one)]
    leads = sorted(
        one.end_day - one.ticket_day
        for one in ending
        if one.ticket_day is not None and one.end_day is not None
    )
    widths = sorted(one.window[1] - one.window[0] for one in known if one.window is not None)
    return Score(
        units=len(outcomes),
        ends=len(foretold),
        ends_without_precursor=len(ending) - len(foretold),
        announced=_share(sum(map(announced, foretold)), len(foretold)),
        tickets=len(tickets),
        false=len(false),
        precision=1 - _share(len(false), len(tickets)),
        coverage=_share(len(covered), len(known)),
        window_months=widths[len(widths) // 2] / 30.4 if widths else 0.0,
        leads=(_at(leads, 0.1), _at(leads, 0.5), _at(leads, 0.9)),
        fixed={name: _fixed(name, outcomes) for name in (outcomes[0].fixed if outcomes else ())},
    )


def _covers(one: Outcome) -> bool:
    return (
        one.window is not None
        and one.end_day is not None
        and one.window[0] <= one.end_day <= one.window[1]
    )


def _fixed(name: str, outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    spoke = [(one, day) for one in outcomes if (day := one.fixed.get(name)) is not None]
    return (
        len(spoke),
        sum(is_false(day, one.end_day) for one, day in spoke),
        sum(
            ends_in_year(one)
            and one.has_precursor
            and one.end_day is not None
            and one.end_day - day >= LEAD_DAYS
            for one, day in spoke
        ),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _at(values: Sequence[int], share: float) -> int:
    return values[int(share * (len(values) - 1))] if values else 0
