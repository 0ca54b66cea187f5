"""From nightly figures to a ticket: advice has to last before anybody is sent.

One open ticket for a unit's battery; what closes it is a person or a new battery.
"""

from datetime import date, timedelta

from rules.battery.figure import Advice

LASTS = {Advice.PLAN: timedelta(days=14), Advice.REPLACE: timedelta(days=1)}
"""How long an advice has to stand, in figures of every night, before it becomes a ticket."""
PRIORITY = {Advice.PLAN: 4, Advice.REPLACE: 3}


def stands_since(
    advice: Advice, before: Advice | None, before_since: date | None, day: date
) -> date:
    """Return since when an advice at least as urgent as this has been given without a break."""
    if before is None or before_since is None or _RANK[before] < _RANK[advice]:
        return day
    return before_since


def opens_ticket(advice: Advice, since: date, day: date) -> bool:
    """Tell whether an advice has stood long enough."""
    return advice in LASTS and day - since >= LASTS[advice]


_RANK = {advice: rank for rank, advice in enumerate(Advice)}
