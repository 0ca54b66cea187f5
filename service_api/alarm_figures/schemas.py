"""What is told of the alarm system."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from rules.alarm_figures import Flood
from service_api.paging import Strict


class FiguresQuery(Strict):
    """How many days back."""

    days: Annotated[int, Field(ge=1, le=365)] = 30


@dataclass(frozen=True, slots=True)
class Frequent:
    """A rule on a unit that alarms often, and its share of all alarms."""

    device_id: int
    device: str
    rule_key: str
    title_en: str
    title_zh: str
    alarms: int
    share: float
    chatters: bool


@dataclass(frozen=True, slots=True)
class AlarmFigures:
    """The alarm system over a span; shares are between 0 and 1, times in seconds.

    Alarms that another one explains do not count. `known_days` are days of the span since the first
    alarm or unit there was; `enough` when they reach what the standard asks for. `frequent` are the
    ten most frequent, `frequent_share` what they come to.
    """

    since: datetime
    until: datetime
    known_days: float
    enough: bool
    alarms: int
    a_day: float
    peak_ten_minutes: int
    busy_share: float
    floods: list[Flood]
    flood_share: float
    standing_over_a_day: int
    stale: int
    latched: int
    shelved: int
    quiet: int
    priorities: dict[str, float]
    acknowledged: int
    acknowledge_median: float | None
    acknowledge_ninety: float | None
    frequent: list[Frequent]
    frequent_share: float
