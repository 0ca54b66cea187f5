"""What is told of reliability."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from rules.reliability import Range, Times
from service_api.paging import Strict

By: TypeAlias = Literal["device", "model", "site", "customer"]


class ReliabilityQuery(Strict):
    """Of what, and how many days back."""

    by: By = "model"
    days: Annotated[int, Field(ge=7, le=3_660)] = 365
    limit: Annotated[int, Field(ge=1, le=500)] = 100


@dataclass(frozen=True, slots=True)
class Reliability:
    """One unit, model, site or customer; the one with the most failures an hour stands first.

    `hours` of all its units while they were watched. Times: `acknowledge` from alarm to
    acknowledgement, `restore` from alarm to the end of its condition, `repair` from arrival to the
    end of the work. `availability` is MTBF / (MTBF + mean time to restore); `output_share` the
    share of seen days' time in which the output was not off.
    """

    key: str
    name: str
    name_zh: str
    units: int
    hours: float
    failures: int
    between_failures: Range
    acknowledge: Times
    restore: Times
    repair: Times
    availability: float | None
    output_share: float | None


@dataclass(frozen=True, slots=True)
class ReliabilityReport:
    """A span, and what failed in it; `items` stop at `limit`, `total` counts all."""

    since: datetime
    until: datetime
    by: By
    total: int
    items: list[Reliability]
