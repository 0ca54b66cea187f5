"""Which faults come back, so that their root is worth looking for (ITIL problem management). Pure.

Occurrences in, findings out. What a person closed or dismissed does not come back for the same
evidence: only what happened since then counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import exp, lgamma, log

UNIT_TIMES, UNIT_WITHIN = 3, timedelta(days=180)
"""The same failure of one unit so often within half a year is no chance (judgement)."""
SITE_TIMES, SITE_WITHIN = 3, timedelta(days=90)
"""The same cause at a site so often within a quarter (judgement)."""
ALARM_TIMES, ALARM_WITHIN = 3, timedelta(days=30)
"""An alarm that had to be quietened so often within a month (judgement)."""
MODEL_WITHIN = timedelta(days=180)
MODEL_UNITS = 3
"""Fewer units than that are units, not a model."""
MODEL_RATIO = 3.0
"""A model fails so much more often than the rest before it is looked at (judgement)."""
MODEL_CHANCE = 0.001
"""Chance of so many failures if the model were like the rest, at most; a fleet has many pairs of
model and failure, so that one in a thousand is asked for (judgement)."""


class ProblemKind(StrEnum):
    """What a fault comes back at."""

    UNIT = "unit"
    MODEL = "model"
    SITE = "site"
    ALARM = "alarm"
    """A rule on one unit whose alarm comes and goes too fast, again and again."""


class ProblemState(StrEnum):
    """Where a problem stands, after ITIL."""

    DETECTED = "detected"
    INVESTIGATING = "investigating"
    KNOWN_ERROR = "known_error"
    """The root is known, or how to live with it."""
    RESOLVED = "resolved"
    CLOSED = "closed"
    DISMISSED = "dismissed"


OPEN_STATES = (
    ProblemState.DETECTED,
    ProblemState.INVESTIGATING,
    ProblemState.KNOWN_ERROR,
    ProblemState.RESOLVED,
)

NEXT: Mapping[ProblemState, tuple[ProblemState, ...]] = {
    ProblemState.DETECTED: (ProblemState.INVESTIGATING, ProblemState.DISMISSED),
    ProblemState.INVESTIGATING: (
        ProblemState.KNOWN_ERROR,
        ProblemState.RESOLVED,
        ProblemState.DISMISSED,
    ),
    ProblemState.KNOWN_ERROR: (ProblemState.RESOLVED, ProblemState.DISMISSED),
    ProblemState.RESOLVED: (ProblemState.CLOSED, ProblemState.INVESTIGATING),
    ProblemState.CLOSED: (),
    ProblemState.DISMISSED: (),
}
"""Where a problem can go from where."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that something failed: `failure` is a failure mode, a cause or a rule.

    `ref` is the id of the ticket, incident or suppression that tells of it.
    """

    ref: int
    at: datetime
    failure: str
    device_id: int | None
    site_id: int
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault that comes back: at what, how often, and by which evidence, oldest first.

    `subject` is the id of the unit or site, or the model.
    """

    kind: ProblemKind
    subject: str
    failure: str
    occurrences: tuple[Occurrence, ...]

    @property
    def last_at(self) -> datetime:
        """When it happened last."""
        return self.occurrences[-1].at


Settled = Mapping[tuple[ProblemKind, str, str], datetime]
"""(kind, subject, failure) → when a person last closed or dismissed it."""


def recurring(
    kind: ProblemKind, occurrences: Iterable[Occurrence], settled: Settled, now: datetime
) -> list[Finding]:
    """Return what came back at units, sites or alarms often enough."""
    times, within = {
        ProblemKind.UNIT: (UNIT_TIMES, UNIT_WITHIN),
        ProblemKind.SITE: (SITE_TIMES, SITE_WITHIN),
        ProblemKind.ALARM: (ALARM_TIMES, ALARM_WITHIN),
    }[kind]
    groups: dict[tuple[str, str], list[Occurrence]] = defaultdict(list)
    for one in occurrences:
        subject = str(one.site_id if kind is ProblemKind.SITE else one.device_id)
        since = settled.get((kind, subject, one.failure))
        if now - within < one.at <= now and (since is None or one.at > since):
            groups[subject, one.failure].append(one)
    return [
        Finding(kind, subject, failure, _in_order(found))
        for (subject, failure), found in sorted(groups.items())
        if len(found) >= times
    ]


def of_models(
    occurrences: Sequence[Occurrence],
    units: Mapping[str, int],
    settled: Settled,
    now: datetime,
) -> list[Finding]:
    """Return failures that a model has more often than the rest of the fleet, beyond chance.

    `units` counts the fleet by model. Each unit counts once for each failure, so that one bad unit
    does not make a bad model; it has a record of its own.
    """
    recent = [one for one in occurrences if now - MODEL_WITHIN < one.at <= now]
    struck: dict[tuple[str, str], dict[int, Occurrence]] = defaultdict(dict)
    everywhere: dict[str, set[int]] = defaultdict(set)
    for one in sorted(recent, key=lambda each: each.at):
        if one.model is None or one.device_id is None:
            continue
        everywhere[one.failure].add(one.device_id)
        since = settled.get((ProblemKind.MODEL, one.model, one.failure))
        if since is None or one.at > since:
            struck[one.model, one.failure].setdefault(one.device_id, one)
    fleet = sum(units.values())
    found = []
    for (model, failure), first in sorted(struck.items()):
        own, rest = units.get(model, 0), fleet - units.get(model, 0)
        others = len(everywhere[failure] - first.keys())
        if len(first) < MODEL_UNITS or not own or not rest:
            continue
        is_more = len(first) / own >= MODEL_RATIO * max(others, 0.5) / rest
        if is_more and chance(len(first), len(first) + others, own / fleet) <= MODEL_CHANCE:
            found.append(Finding(ProblemKind.MODEL, model, failure, _in_order(first.values())))
    return found


def chance(hits: int, trials: int, share: float) -> float:
    """Return the chance of at least `hits` of `trials` falling on a `share` (binomial tail)."""
    if hits <= 0:
        return 1.0
    if share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    return min(
        1.0,
        sum(
            exp(
                lgamma(trials + 1)
                - lgamma(n + 1)
                - lgamma(trials - n + 1)
                + n * log(share)
                + (trials - n) * log(1 - share)
            )
            for n in range(hits, trials + 1)
        ),
    )


def _in_order(found: Iterable[Occurrence]) -> tuple[Occurrence, ...]:
    return tuple(sorted(found, key=lambda one: (one.at, one.ref)))
