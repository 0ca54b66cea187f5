"""Fixed thresholds as common templates set them, on the same data: when each would open a ticket.

No template waits before it believes a flag, none knows how load and temperature change runtime.
"""

import numpy as np

from bench.judgement.observed import A_DAY, FIRST_DAY, Observed
from bench.judgement.truth import BEFORE_DAYS


def first_days(seen: Observed) -> dict[str, float | None]:
    """Return for each template the first day of the scored year on which it speaks."""
    year = slice(BEFORE_DAYS * A_DAY, None)
    charge, runtime, celsius = seen.charge[year], seen.runtime[year], seen.celsius[year]
    on_battery = seen.on_battery[year] > 0
    return {
        "replace indicator at once (Zabbix, LibreNMS)": _first_flag(seen),
        "self-test failed once (LibreNMS)": _first_failure(seen),
        "charge below 50 % (Zabbix)": _first(charge < 50),
        "charge below 100 % (netdata)": _first(charge < 100),
        "charge below 90 % on battery (checkmk)": _first((charge < 90) & on_battery),
        "runtime below 15 min (Prometheus rules)": _first(runtime < 900),
        "temperature above 40 °C (Prometheus rules)": _first(celsius > 40),
    }


def _first(holds: np.ndarray) -> float | None:
    places = np.flatnonzero(holds)
    return BEFORE_DAYS + places[0] / A_DAY if len(places) else None


def _first_flag(seen: Observed) -> float | None:
    days = [since.timestamp() / 86_400 - FIRST_DAY for since, _ in seen.flags]
    later = [day for day in days if day >= BEFORE_DAYS]
    return min(later) if later else None


def _first_failure(seen: Observed) -> float | None:
    days = [
        at.timestamp() / 86_400 - FIRST_DAY for at, outcome, _ in seen.tests if outcome == "failed"
    ]
    later = [day for day in days if day >= BEFORE_DAYS]
    return min(later) if later else None
