"""What is told of coverage, and the definitions by which it is counted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from service_api.language import msg
from service_api.paging import ListQuery

By: TypeAlias = Literal["site", "customer", "contract"]
Gap: TypeAlias = Literal["fresh", "identity", "battery_date", "traps", "doubt"]
Cause: TypeAlias = Literal[
    "collector", "site", "credentials", "restarted", "card", "network", "never", "unknown"
]

GAPS: dict[Gap, tuple[str, str]] = {
    "fresh": (
        msg("Fresh data"),
        msg("Heard within three polls, at least 60 s; a unit that reports changes, within 15 min."),
    ),
    "identity": (
        msg("Identity known"),
        msg("Model and serial number are known."),
    ),
    "battery_date": (
        msg("Battery date"),
        msg(
            "The battery's installation date is there and can be: not ahead, not over 20 years"
            " ago, not long before the unit, and not what cards say until somebody sets it."
        ),
    ),
    "traps": (
        msg("Traps proven"),
        msg("A trap came through within 400 days; what reports by itself or has no traps counts."),
    ),
    "doubt": (
        msg("No doubt"),
        msg("No value of the unit is in doubt."),
    ),
}
"""What makes a unit truly seen: the title and the definition of each."""

MISSING: dict[Gap, str] = {
    "fresh": msg("not heard"),
    "identity": msg("identity not known"),
    "battery_date": msg("battery date not valid"),
    "traps": msg("traps not proven"),
    "doubt": msg("in doubt"),
}
"""What is said of a unit that does not meet a criterion."""

CAUSES: dict[Cause, tuple[str, str]] = {
    "collector": (msg("Collector down"), msg("No collector of the unit's group is running.")),
    "site": (msg("Whole site"), msg("Most units of the site were lost together.")),
    "credentials": (msg("Credentials"), msg("The card answers and refuses the credentials.")),
    "restarted": (msg("Card restarted"), msg("The card restarted within the last 15 minutes.")),
    "card": (msg("Card"), msg("The card answers, but nothing that can be used.")),
    "network": (msg("Network"), msg("Nothing answers at the unit's address.")),
    "never": (msg("Never heard"), msg("The unit was registered and has not been heard yet.")),
    "unknown": (msg("Not known"), msg("Nothing tells why the unit is silent.")),
}
"""Why a unit is not heard, the first that fits."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Units of a group, and how many of them meet each criterion; `seen` meet all of them."""

    units: int
    seen: int
    fresh: int
    identity: int
    battery_date: int
    traps: int
    doubt: int

    @property
    def share(self) -> float:
        """The share of units that are truly seen."""
        return self.seen / self.units if self.units else 0.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """The coverage of one site, customer or contract; `id` is None for units without contract."""

    by: By
    id: int | None
    name: str
    name_zh: str
    units: int
    seen: int
    share: float
    fresh: int
    identity: int
    battery_date: int
    traps: int
    doubt: int


@dataclass(frozen=True, slots=True)
class CoverageSummary:
    """The coverage of the whole fleet, why units are not heard, and what the words mean."""

    at: datetime
    units: int
    seen: int
    share: float
    met: dict[Gap, int]
    causes: dict[Cause, int]
    definitions: dict[str, str]


@dataclass(frozen=True, slots=True)
class UncoveredUnit:
    """A unit that is not truly seen: what is missing, and why it is not heard if it is not."""

    device_id: int
    device: str
    site_id: int
    site: str
    site_zh: str
    time_zone: str
    customer: str
    customer_zh: str
    gaps: list[Gap]
    cause: Cause | None
    detail: str | None
    received_at: datetime | None


class CoverageQuery(ListQuery):
    """How units are grouped; the groups with the least share seen come first."""

    by: By = "site"


class UnitsQuery(ListQuery):
    """Which units that are not truly seen: by what is missing, why not heard, and where."""

    gap: Gap | None = None
    cause: Cause | None = None
    site_id: int | None = None
    customer_id: int | None = None
    contract_id: Annotated[int | None, Field(description="0: units without contract")] = None


class PageQuery(UnitsQuery):
    """What the page shows."""

    by: By = "site"
