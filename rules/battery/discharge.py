"""What one time on battery says: how long a full battery would have lasted at that load.

The first minutes of a discharge tell nothing (the coup de fouet), and a 10 s self-test lies inside
them. A gauge that runs ahead of voltage and time is a faulty gauge and no faulty battery.
"""

from dataclasses import dataclass

import numpy as np

from rules.battery.facts import Discharge

SHORTEST_SECONDS = 120.0
LEAST_DEPTH = 0.15
"""Share of the charge: below it the gauge's rounding outweighs what it says."""
GAUGE_FAULT_RATIO = 0.25
"""Charge that falls four times as fast as the unit's own estimate says (as shipped by others)."""

_CELSIUS = (-1.1, 10.0, 15.8, 21.1, 25.0, 29.4, 35.0)
_GIVES = (0.70, 0.86, 0.92, 0.96, 1.00, 1.03, 1.05)
"""Share of the load for 15 min that a battery gives by temperature (King & Knight, p. 199)."""


@dataclass(frozen=True, slots=True)
class Lasted:
    """Logarithm of the seconds that a full battery would have lasted at `load` percent, at 25 °C.

    `is_least` when it lasted at least so long, its end not having been seen.
    """

    log_seconds: float
    spread: float
    load: float
    day: float
    is_least: bool


def lasted(discharge: Discharge) -> Lasted | None:
    """Read one discharge; None where it says nothing."""
    if not (discharge.seconds >= SHORTEST_SECONDS and discharge.load > 0):
        return None
    depth = _depth(discharge)
    if depth is not None and _is_gauge_fault(discharge, depth):
        depth = None
    if discharge.reached_end:
        seconds, spread, is_least = discharge.seconds, 0.10, False
    elif depth is not None and depth >= LEAST_DEPTH:
        # The deeper, the less is extrapolated; gauges are seldom linear.
        seconds, spread, is_least = discharge.seconds / depth, 0.08 + 0.06 / depth, False
    else:
        seconds, spread, is_least = discharge.seconds, 0.10, True
    gives = 1.0
    if discharge.celsius is not None and -5 <= discharge.celsius <= 60:
        gives = float(np.interp(discharge.celsius, _CELSIUS, _GIVES))
    return Lasted(
        log_seconds=float(np.log(seconds / gives)),
        spread=spread,
        load=discharge.load,
        day=discharge.ended_at.timestamp() / 86_400,
        is_least=is_least,
    )


def _depth(discharge: Discharge) -> float | None:
    if discharge.charge_before is None or discharge.charge_after is None:
        return None
    return (discharge.charge_before - discharge.charge_after) / 100.0


def _is_gauge_fault(discharge: Discharge, depth: float) -> bool:
    if depth <= 0 or discharge.expected_seconds is None or discharge.reached_end:
        return False
    implied = discharge.seconds / depth
    return implied < GAUGE_FAULT_RATIO * discharge.expected_seconds
