"""A battery beside its like: same model, same kind of battery, about the same age.

Robust z after the median and its absolute deviation; with fewer than eight alike nothing is said.
"""

from collections.abc import Sequence

import numpy as np

FEWEST = 8
OUTLYING = 3.5
"""Robust z beyond which a member is not like the others (Iglewicz and Hoaglin's bound)."""
_NORMAL = 1.4826
_LEAST_DEVIATION = 1.0  # points of the index: nobody is an outlier for less


def robust_scores(values: Sequence[float]) -> list[float] | None:
    """Return each member's robust z, None while too few are alike."""
    if len(values) < FEWEST:
        return None
    array = np.asarray(values, dtype=float)
    middle = np.median(array)
    deviation = max(_LEAST_DEVIATION, _NORMAL * float(np.median(np.abs(array - middle))))
    return [float(score) for score in (array - middle) / deviation]


def age_band(years: float) -> int:
    """Return the band of a year and a half that an age lies in: about a third of a usual life."""
    return int(years // 1.5)
