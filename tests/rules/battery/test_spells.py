"""Times on battery and of the flag, from buckets of 15 minutes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from rules.battery.cohort import robust_scores
from rules.battery.facts import Buckets
from rules.battery.figure import Advice
from rules.battery.spells import discharges_of, flag_times
from rules.battery.verdict import opens_ticket, stands_since

START = 20_500 * 86_400


def buckets(on_battery: list[float], charge: list[float], starts: list[int] | None = None):
    n = len(on_battery)
    start = START + 900 * np.array(starts if starts is not None else range(n))
    load = np.full(n, 40.0)
    return Buckets(
        start, load, load, load, np.full(n, 1200.0), np.array(charge), np.full(n, 22.0),
        np.array(on_battery),
    )  # fmt: skip


def test_an_outage_over_several_buckets_is_one_discharge():
    (one,) = discharges_of(buckets([0, 300, 900, 120, 0], [100, 90, 60, 55, 58]))

    assert one.seconds == 1_320
    assert (one.charge_before, one.charge_after, one.reached_end) == (100, 55, False)
    assert one.expected_seconds == 1_200
    assert one.ended_at == datetime.fromtimestamp(START + 4 * 900, UTC)


def test_one_that_goes_on_is_left_for_the_next_night():
    assert discharges_of(buckets([0, 300, 900], [100, 90, 60])) == []


def test_a_gap_ends_a_discharge_and_hides_what_was_before_the_next():
    first, second = discharges_of(
        buckets([300, 300, 300, 0], [80, 70, 50, 60], starts=[0, 1, 20, 21])
    )

    assert first.charge_before is None
    assert second.charge_before is None
    assert (first.seconds, second.seconds) == (600, 300)


def test_a_battery_that_ran_empty_reached_its_end():
    (one,) = discharges_of(buckets([0, 900, 0], [100, 4, 20]))
    assert one.reached_end


def test_a_flag_lasts_as_long_as_it_was_held_and_not_as_its_bucket():
    now = datetime.fromtimestamp(START + 10 * 900, UTC)
    start = START + 900 * np.array([0, 3, 4])
    short, long = flag_times(start, np.array([2.0, 900.0, 900.0]), now)

    assert short.until_at - short.since_at == timedelta(seconds=2)
    assert long.until_at - long.since_at == timedelta(minutes=30)


def test_an_advice_has_to_last_and_a_milder_one_keeps_no_place_for_a_graver():
    day = datetime(2026, 3, 2, tzinfo=UTC).date()
    earlier = day - timedelta(days=20)

    assert stands_since(Advice.PLAN, Advice.PLAN, earlier, day) == earlier
    assert stands_since(Advice.PLAN, Advice.REPLACE, earlier, day) == earlier
    assert stands_since(Advice.REPLACE, Advice.PLAN, earlier, day) == day
    assert stands_since(Advice.PLAN, None, None, day) == day
    assert opens_ticket(Advice.PLAN, earlier, day)
    assert not opens_ticket(Advice.PLAN, day - timedelta(days=13), day)
    assert not opens_ticket(Advice.TEST, earlier, day)
    assert opens_ticket(Advice.REPLACE, day - timedelta(days=1), day)


def test_one_battery_far_from_its_like_stands_out_and_few_say_nothing():
    alike = [96.0, 95.0, 97.0, 96.5, 95.5, 96.2, 94.8]
    scores = robust_scores([*alike, 70.0])

    assert scores is not None
    # Median 95.75, absolute deviations' median 0.75 → 1.11 points: (70 − 95.75) / 1.11.
    assert scores[-1] == pytest.approx(-23.2, abs=0.2)
    assert max(map(abs, scores[:-1])) < 3.5
    assert robust_scores(alike) is None
