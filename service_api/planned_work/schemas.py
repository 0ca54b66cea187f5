"""What is told of planned work, and what people may send."""

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Any

from pydantic import Field

from rules.planned_work import Repeat, Work
from service_api.paging import Form, ListQuery, Strict


@dataclass(frozen=True, slots=True)
class WorkTime:
    """One time of planned work.

    `result` is what was seen of it: units at work, units that ran on battery meanwhile, the alarms
    that were quiet and those that came through, by rule. None before it is over.
    """

    id: int
    occurs_on: date
    begins_at: datetime
    ends_at: datetime
    skipped_at: datetime | None
    skipped_by: str | None
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """Announced work. `device_ids` empty: every unit of the site; `at` is the site's local time.

    `rules` fall quiet while it lasts, None: all of them. `times` are the next ones and the last.
    """

    id: int
    customer_id: int
    customer: str
    customer_zh: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    device_ids: list[int]
    devices: list[str]
    work: Work
    first_on: date
    at: time
    minutes: int
    repeat: Repeat
    every: int
    until: date | None
    lets_critical_through: bool
    reason: str
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str | None
    rules: list[str] | None
    times: list[WorkTime]


@dataclass(frozen=True, slots=True)
class Announced:
    """What an announcement would do: its next times, rules and units, and what speaks against it.

    `warnings` are pairs (en, zh).
    """

    times: list[datetime]
    rules: list[str] | None
    units: int
    warnings: list[tuple[str, str]]


class PlannedWorkQuery(ListQuery):
    """Which work: `open` is what still has times to come or has not ended."""

    state: Annotated[str, Field(pattern="^(open|over|all)$")] = "open"
    site_id: int | None = None
    device_id: int | None = None
    customer_id: int | None = None


class Announcement(Strict):
    """Work that will take place, in the site's local time; without units, at all of the site."""

    site_id: int
    device_ids: Annotated[list[int], Field(max_length=500)] = Field(default_factory=list)
    work: Work
    first_on: date
    at: time
    minutes: Annotated[int, Field(ge=5, le=20_160)]
    repeat: Repeat = Repeat.ONCE
    every: Annotated[int, Field(ge=1, le=52)] = 1
    until: date | None = None
    lets_critical_through: bool = True
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Day(Strict):
    """Which time of a series."""

    on: date


class AnnouncementForm(Form):
    """What the page's form sends; `rhythm` is once, weekly, fortnightly or monthly."""

    site_id: int
    device_ids: list[int] = Field(default_factory=list)
    work: Work
    first_on: date
    at: time
    minutes: Annotated[int, Field(ge=5, le=20_160)]
    rhythm: Annotated[str, Field(pattern="^(once|weekly|fortnightly|monthly)$")] = "once"
    until: str = ""
    all_quiet: bool = False
    reason: Annotated[str, Field(max_length=500)] = ""

    def announcement(self) -> Announcement:
        """Return what it announces; raise ValueError where `until` is no date."""
        repeat = {"once": Repeat.ONCE, "monthly": Repeat.MONTHLY}.get(self.rhythm, Repeat.WEEKLY)
        return Announcement(
            site_id=self.site_id,
            device_ids=self.device_ids,
            work=self.work,
            first_on=self.first_on,
            at=self.at,
            minutes=self.minutes,
            repeat=repeat,
            every=2 if self.rhythm == "fortnightly" else 1,
            until=date.fromisoformat(self.until) if self.until else None,
            lets_critical_through=not self.all_quiet,
            reason=self.reason,
        )


class DayForm(Form, Day):
    """What the page's button sends."""
