"""Which days are this unit's own, when another one told in its place for a while."""

import numpy as np
import pytest

from rules.battery.facts import Days
from rules.battery.swaps import told_by

DAYS = Days(
    np.arange(100, 110),
    np.full(10, 22.0),
    np.full(10, 40),
    *(np.full(10, value) for value in (3.6, 7.3, 3.9, 7.0)),
)


@pytest.mark.parametrize(
    ("serial", "changes", "heard"),
    [
        ("A", [], range(100, 110)),
        ("B", [(104, "A", "B")], range(104, 110)),
        ("A", [(103, "A", "B"), (106, "B", "A")], [100, 101, 102, 106, 107, 108, 109]),
        ("C", [(103, "A", "B"), (106, "B", "C")], range(106, 110)),
        ("A", [(90, "A", "B"), (95, "B", "A")], range(100, 110)),
        ("A", [(103, "A", "B"), (103, "B", "A")], range(100, 110)),
        ("A", [(103, "A", "B")], range(100, 103)),
        (None, [(103, "A", "B")], range(100, 110)),
    ],
)
def test_only_days_that_the_unit_told_itself_count(serial, changes, heard):
    told = told_by(DAYS, serial, changes)
    kept = set(told.day[told.samples > 0].tolist())
    assert kept == set(heard)
    assert set(told.day[np.isfinite(told.log_runtime_low)].tolist()) == set(heard)
    assert np.isfinite(told.celsius).all(), "the room is the same"
