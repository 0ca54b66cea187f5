"""How heat shortens the life of parts that wear: pure, with the makers' numbers.

A law says how long a part lives at 25 °C and at 50 °C; in between the logarithm of life is taken
for straight. Cold is not credited: at or below 25 °C a part ages by the calendar. What follows for
a due date is in `rules.maintenance_due`; the battery's health is `rules.battery`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean
from typing import Literal

Component = Literal["battery", "fans", "capacitors", "control_board", "auxiliary_supply"]

REFERENCE_CELSIUS = 25.0
COLDEST_CREDIBLE, HOTTEST_CREDIBLE = 5.0, 80.0
"""A day's mean outside is a sensor's fault, as in `rules.battery`."""
FEWEST_DAYS = 30
"""Days with a temperature below which the calendar alone decides (judgement)."""
RECENT_DAYS = 365
"""What the future is taken to be like: the last year with its seasons."""


@dataclass(frozen=True, slots=True)
class Law:
    """Years of life at 25 and at 50 °C, by whom."""

    years_at_25: float
    years_at_50: float
    source: str

    def pace(self, celsius: float) -> float:
        """Return how many times as fast as at 25 °C the part ages; never below 1."""
        ratio = self.years_at_25 / self.years_at_50
        return float(max(1.0, ratio ** ((celsius - REFERENCE_CELSIUS) / 25.0)))


LAWS: Mapping[Component, Law] = {
    "battery": Law(4.0, 4.0 / 2**2.5, "Life halves each 10 °C above 25 °C (Eaton, C&D)"),
    "fans": Law(5.0, 3.0, "5 years at 25 °C, 3 at 50 °C (Chloride)"),
    "capacitors": Law(8.0, 4.0, "8 years at 25 °C, 4 at 50 °C (Chloride)"),
    "control_board": Law(15.0, 12.0, "15 years at 25 °C, 12 at 50 °C (Chloride)"),
    "auxiliary_supply": Law(10.0, 5.0, "8-12 years at 25 °C, 4-6 at 50 °C (Chloride)"),
}


@dataclass(frozen=True, slots=True)
class WornOut:
    """When a part has used its life up; `mean_celsius` over the `days` that were measured."""

    on: date
    mean_celsius: float
    days: int


def worn_out(
    component: Component,
    *,
    since: date,
    life_days: int,
    measured: Sequence[tuple[date, float | None]],
    today: date,
) -> WornOut | None:
    """Tell when a part that is new on `since` and lives `life_days` at 25 °C is worn out.

    1. Each day since then ages it by that day's mean; a day without a credible one counts as 25 °C.
    2. The days ahead are as warm as the last year's measured days.

    None where too few days were measured to say more than the calendar does.
    """
    law = LAWS[component]
    warm = {
        day: celsius
        for day, celsius in measured
        if celsius is not None
        and COLDEST_CREDIBLE <= celsius <= HOTTEST_CREDIBLE
        and since <= day < today
    }
    if len(warm) < FEWEST_DAYS:
        return None
    aged = 0.0
    day = since
    # A life that is used up already ended on the day on which it was.
    while day < today and aged < life_days:
        aged += law.pace(warm.get(day, REFERENCE_CELSIUS))
        day += timedelta(days=1)
    mean = fmean(warm.values())
    if aged >= life_days:
        return WornOut(day, mean, len(warm))
    recent = [warm[one] for one in warm if one >= today - timedelta(days=RECENT_DAYS)]
    pace = fmean(law.pace(celsius) for celsius in (recent or warm.values()))
    ahead = -(-(life_days - aged) // pace)
    start = max(day, today)
    return WornOut(start + timedelta(days=int(ahead)), mean, len(warm))
