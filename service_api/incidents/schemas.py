"""What is told of incidents."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service_api.alarms.schemas import Severity
from service_api.paging import ListQuery


@dataclass(frozen=True, slots=True)
class Incident:
    """Alarms with one cause; counts and the shortest time are of this moment.

    `runtime_left_seconds` is the shortest predicted time to the end of a battery among its units
    that are on battery now.
    """

    id: int
    subject: str
    cause: str
    title_en: str
    title_zh: str
    site_id: int | None
    site: str | None
    site_zh: str | None
    time_zone: str | None
    customer_id: int | None
    customer: str | None
    customer_zh: str | None
    opened_at: datetime
    closed_at: datetime | None
    severity: Severity | None
    units: int
    units_standing: int
    units_on_battery: int
    runtime_left_seconds: float | None
    shortest_device_id: int | None
    shortest_device: str | None
    unacknowledged: int
    ticket_id: int | None
    ticket_state: str | None
    respond_by_at: datetime | None
    responded_at: datetime | None
    owner: str | None
    owner_zh: str | None


class IncidentQuery(ListQuery):
    """Which incidents."""

    state: Literal["open", "closed", "all"] = "open"
    site_id: int | None = None
    customer_id: int | None = None
