"""When a battery ends: what the unit says, what its charge says, and who is right."""

import math
from datetime import timedelta

import pytest

from rules.predicted_end import Discharge, predicted_end
from tests.conftest import NOW


def discharge(runtime=None, charge=None, *, drop=0.0, span=300, fell=0.0) -> Discharge:
    """A battery that lost `drop` points of charge and `fell` of its voltage within `span` s."""
    return Discharge(
        NOW,
        runtime,
        charge,
        voltage=50.0 * (1 - fell),
        anchor_at=NOW - timedelta(seconds=span),
        anchor_charge=None if charge is None else charge + drop,
        anchor_voltage=50.0,
    )


def minutes(instant) -> float:
    return round((instant - NOW).total_seconds() / 60, 1)


@pytest.mark.parametrize(
    ("one", "basis", "end", "early", "late"),
    [
        # Nothing but the unit's figure: 20 min, off by 20 %.
        (discharge(1_200), "reported", 20, 16, 24),
        # Half a point a minute at 50 %: 100 min by the slope; the unit says 60. Within a factor 2.
        (discharge(3_600, 50, drop=5, span=600), "reported", 60, 48, 100),
        # The other way: 60 min by the slope (50 % at 5/6 point a minute), the unit says 100.
        (discharge(6_000, 50, drop=5, span=360), "reported", 100, 60, 120),
        # Charge falls 10 points in 2 min, 40 % is left: 8 min; the unit still says 20.
        (discharge(1_200, 40, drop=10, span=120, fell=0.05), "corrected", 8, 5.2, 20),
        # As before, 48 points in 90 s, at a flat voltage while the unit says 18 min: the gauge.
        (discharge(1_080, 52, drop=48, span=90, fell=0.01), "gauge_fault", 18, 9, 21.6),
        # The same where the voltage falls with it is the battery: 52 / 48 × 90 s = 97.5 s.
        (discharge(1_080, 52, drop=48, span=90, fell=0.06), "corrected", 1.6, 1.1, 18),
        # Charge falls slower than the unit says: the earlier end holds.
        (discharge(600, 80, drop=4, span=600), "reported", 10, 8, 200),
        # No figure of its own: 60 % at one point a minute.
        (discharge(None, 60, drop=5, span=300), "charge", 60, 39, 81),
        # A card without the figure says 0 beside a full battery.
        (discharge(0, 90, drop=5, span=300), "charge", 90, 58.5, 121.5),
        # An empty battery says 0 as well.
        (discharge(0, 3), "reported", 0, 0, 0),
    ],
)
def test_the_end_of_a_battery(one, basis, end, early, late):
    found = predicted_end(one)
    assert (found.basis, minutes(found.end_at)) == (basis, end)
    assert (minutes(found.early_at), minutes(found.late_at)) == (early, late)


@pytest.mark.parametrize(
    "one",
    [
        Discharge(NOW),
        discharge(math.nan),
        discharge(-1),
        discharge(math.inf),
        discharge(None, 60),  # no slope
        discharge(None, 60, drop=2),  # two points may be rounding
        discharge(None, 60, drop=10, span=30),  # the first dip
        discharge(None, 60, drop=-5),  # it charges
        discharge(None, math.nan, drop=5),
        discharge(0, 90),
    ],
)
def test_nothing_is_predicted_from_nothing(one):
    assert predicted_end(one) is None


@pytest.mark.parametrize(
    ("proof", "end"), [(1.0, 20), (0.5, 10), (1.2, 24), (0.0, 20), (math.nan, 20)]
)
def test_what_a_unit_kept_of_its_predictions_shortens_the_next(proof, end):
    assert minutes(predicted_end(discharge(1_200), proof=proof).end_at) == end


def test_a_reading_is_counted_on_from_its_own_time():
    old = Discharge(NOW - timedelta(minutes=15), runtime_seconds=1_200)
    assert minutes(predicted_end(old).end_at) == 5
