"""Choose which stocked part to reserve for a job: pure; reading the offers is in `spares.store`."""

from collections.abc import Sequence

from service_api.dispatch.ranking import Position, distance_km
from service_api.spares.store import Offer

UNKNOWN_KM = 100_000.0


def in_order_of_use(
    offers: Sequence[Offer],
    *,
    kinds: Sequence[str],
    engineer_id: int | None,
    engineer_at: Position | None,
) -> list[Offer]:
    """Return the offers, the best first.

    The job's first kind of part comes first, what is made for the model before what fits all
    (the store lists the former by lower id), the engineer's own van before warehouses by
    distance to the engineer, and another engineer's van last.
    """

    def key(offer: Offer) -> tuple[int, int, float, int, int]:
        if engineer_id is not None and offer.engineer_id == engineer_id:
            place = 0
        else:
            place = 1 if offer.engineer_id is None else 2
        apart = (
            UNKNOWN_KM
            if engineer_at is None or offer.latitude is None or offer.longitude is None
            else distance_km(engineer_at, Position(offer.latitude, offer.longitude))
        )
        return kinds.index(offer.kind), place, apart, offer.part_id, offer.warehouse_id

    return sorted(offers, key=key)
