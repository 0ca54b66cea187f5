"""What is told of incidents."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service_api.alarms.schemas import Severity
from service_api.paging import ListQuery


@dataclass(frozen=True, slots=True)
class Incident:
    """Alarms with one cause; counts and the shortest time are of this moment.

    `runtime_left_seconds` is the shortest time that units on battery now report. An incident of a
    region gathers those of its sites, whose `parent_id` it is; `place` names the room, the network
    path or the substation that it is about. `is_storm`: so large that its units are ranked.
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
    parent_id: int | None
    merged_into_id: int | None
    restore_expected_at: datetime | None
    sites: int
    tickets: int
    is_storm: bool
    place: str | None
    place_zh: str | None


class IncidentQuery(ListQuery):
    """Which incidents."""

    state: Literal["open", "closed", "all"] = "open"
    site_id: int | None = None
    customer_id: int | None = None
