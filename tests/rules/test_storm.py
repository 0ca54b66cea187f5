"""Which unit of a storm comes first, and which one needs a ticket."""

from datetime import timedelta

import pytest

from rules.predicted_end import Discharge, predicted_end
from rules.storm import Standing, need, rank, stage_of
from tests.conftest import NOW

MINUTE = timedelta(minutes=1)


def ends_in(minutes: float | None):
    return None if minutes is None else predicted_end(Discharge(NOW, runtime_seconds=minutes * 60))


def test_time_left_times_load_times_contract_orders_the_units():
    units = {
        # name: (stage, minutes left, criticality, response promised)
        "normal, 10 min": ("on_battery", 10, "normal", None),  # 10
        "critical, 18 min": ("on_battery", 18, "critical", None),  # 9
        "critical, 18 min, promised 2 h": ("on_battery", 18, "critical", 120),  # 7.2
        "high, 14 min, promised next day": ("on_battery", 14, "high", 1_440),  # 9.45
        "dark": ("off", None, "normal", None),
        "silent, 8 min when last heard": ("silent", 8, "normal", None),  # 8
        "on battery, no figure": ("on_battery", None, "normal", None),  # 30
        "back": ("back", 3, "critical", 120),
    }
    order = sorted(
        units,
        key=lambda name: rank(
            stage=units[name][0],
            prediction=ends_in(units[name][1]),
            criticality=units[name][2],
            respond_minutes=units[name][3],
            now=NOW,
        ),
    )
    assert order == [
        "dark",
        "critical, 18 min, promised 2 h",
        "silent, 8 min when last heard",
        "critical, 18 min",
        "high, 14 min, promised next day",
        "normal, 10 min",
        "on battery, no figure",
        "back",
    ]


@pytest.mark.parametrize(
    ("off", "on_battery", "silent", "over", "expected"),
    [
        (False, True, False, False, "on_battery"),
        (None, None, False, False, "on_battery"),  # its alarm stands; missing is not normal
        (False, False, False, False, "back"),  # mains is back, the alarm has yet to clear
        (True, False, False, False, "off"),
        (True, True, True, False, "silent"),
        (False, True, True, True, "back"),
    ],
)
def test_the_stage_of_a_unit(off, on_battery, silent, over, expected):
    found = stage_of(is_off=off, on_battery=on_battery, is_silent=silent, is_over=over)
    assert found == expected


@pytest.mark.parametrize(
    ("left", "on_battery", "silent", "back", "expected_in", "why"),
    [
        (20, True, False, None, None, None),
        (3, True, False, None, None, "will_not_survive"),
        (3.1, True, False, None, None, None),
        (20, True, False, None, 30, "will_not_survive"),
        (40, True, False, None, 30, None),
        (None, True, False, None, 30, None),  # nothing is known of it
        (2, False, False, None, None, None),  # back on mains, alarm yet to clear
        (2, True, True, None, None, None),  # its own alarm of being on battery speaks for it
        (20, True, False, 9, None, None),
        (20, True, False, 10, None, "not_back"),
        (None, None, True, 10, None, "not_back"),
        (20, False, False, 10, None, None),
    ],
)
def test_who_needs_a_ticket(left, on_battery, silent, back, expected_in, why):
    one = Standing(
        heard_at=NOW,
        prediction=ends_in(left),
        on_battery=on_battery,
        is_silent=silent,
        back_at=None if back is None else NOW - back * MINUTE,
        restore_expected_at=None if expected_in is None else NOW + expected_in * MINUTE,
    )
    assert need(one, now=NOW, low=3 * MINUTE, back=10 * MINUTE) == why


def test_what_a_unit_said_before_mains_came_back_does_not_send_anybody():
    long_ago = Standing(
        heard_at=NOW - 20 * MINUTE,
        prediction=ends_in(2),
        on_battery=True,
        is_silent=False,
        back_at=NOW - 5 * MINUTE,
        restore_expected_at=None,
    )
    assert need(long_ago, now=NOW, low=3 * MINUTE, back=10 * MINUTE) is None
