"""What a work order's page shows beside the order itself: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service_api.figures import zone
from service_api.spares.store import Offer
from service_api.work_orders.schemas import OrderPart


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate as the page shows one; `starts_on` is the site's wall clock for the form."""

    engineer_id: int
    name: str
    name_zh: str
    arrives_at: datetime
    starts_on: str
    in_time: bool | None
    reasons: list[dict[str, str]]


def choice(candidate: dict[str, Any], time_zone: str, now: datetime) -> Choice:
    """Return a candidate for the page; nobody arrives in the past."""
    arrives_at = max(datetime.fromisoformat(candidate["arrives_at"]), now)
    return Choice(
        engineer_id=candidate["engineer_id"],
        name=candidate["name"],
        name_zh=candidate["name_zh"],
        arrives_at=arrives_at,
        starts_on=arrives_at.astimezone(zone(time_zone)).strftime("%Y-%m-%dT%H:%M"),
        in_time=candidate["in_time"],
        reasons=candidate["reasons"],
    )


@dataclass(frozen=True, slots=True)
class Usable:
    """A part that the engineer may have fitted; `value` is what the form sends."""

    value: str
    name: str
    name_zh: str
    place: str
    place_zh: str
    reserved: bool


def usable(
    parts: Sequence[OrderPart], offers: Sequence[Offer], engineer_id: int | None
) -> list[Usable]:
    """Return what is reserved for the order, then what fits in the engineer's own van."""
    kept = [
        Usable(
            f"{part.part_id}:{part.warehouse_id}",
            part.name,
            part.name_zh,
            part.warehouse,
            part.warehouse_zh,
            reserved=True,
        )
        for part in parts
        if part.reserved > 0
    ]
    known = {one.value for one in kept}
    in_van = [
        Usable(
            f"{offer.part_id}:{offer.warehouse_id}",
            offer.name,
            offer.name_zh,
            offer.warehouse_name,
            offer.warehouse_name_zh,
            reserved=False,
        )
        for offer in offers
        if engineer_id is not None and offer.engineer_id == engineer_id
    ]
    return kept + [one for one in in_van if one.value not in known]


def usual_code(source: str, kinds: Sequence[str]) -> str:
    """Return the closing code that most such jobs end with."""
    if source == "schedule":
        return "maintenance_done"
    if "battery_set" in kinds:
        return "battery_replaced"
    return "part_replaced" if kinds else "repaired"
