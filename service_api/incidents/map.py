"""Where the sites of an incident lie, as points of a plain picture. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians

from service_api.incidents.schemas import IncidentSite

WIDTH, HEIGHT, MARGIN = 480.0, 240.0, 36.0
LEAST_DEGREES = 0.05
"""Sites closer together are drawn no larger than they are."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A site in the picture: from its left and from its top."""

    site: IncidentSite
    x: float
    y: float


def spots(sites: Sequence[IncidentSite]) -> list[Spot]:
    """Place sites that have coordinates, north at the top, both axes on one scale.

    Longitudes are shortened by the cosine of the middle latitude: good for a region, and what else
    is a regional failure.
    """
    placed = [
        (one, one.longitude, one.latitude)
        for one in sites
        if one.latitude is not None and one.longitude is not None
    ]
    if not placed:
        return []
    middle = sum(north for _, _, north in placed) / len(placed)
    shorten = max(0.05, cos(radians(middle)))
    points = [(one, east * shorten, north) for one, east, north in placed]
    west, east = (end(x for _, x, _ in points) for end in (min, max))
    south, north = (end(y for _, _, y in points) for end in (min, max))
    scale = min(
        (WIDTH - 2 * MARGIN) / max(east - west, LEAST_DEGREES),
        (HEIGHT - 2 * MARGIN) / max(north - south, LEAST_DEGREES),
    )
    return [
        Spot(
            one,
            round(WIDTH / 2 + (x - (west + east) / 2) * scale, 1),
            round(HEIGHT / 2 - (y - (south + north) / 2) * scale, 1),
        )
        for one, x, y in points
    ]
