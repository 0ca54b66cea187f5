"""Patience is taken back quickly and given slowly, and what people fixed wins."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.patience import (
    BOUNDS,
    Ground,
    Patience,
    Seen,
    look_after,
    manner,
    next_patience,
    patience_of,
)

GROUND = Ground(objects=30, wanted=30, deadline_seconds=2.0, interval_seconds=30.0)
CLEAN = Seen(clean=1)


def after(learned, *seen, ground=GROUND):
    for one in seen:
        learned = next_patience(learned, one, ground)
    return learned


def test_a_faultless_card_is_soon_asked_for_all_it_has_at_once():
    sizes = []
    learned = Patience()
    while look_after(learned, GROUND) == 1:
        learned = after(learned, CLEAN)
        sizes.append(learned.objects)
    assert sizes == [20, 30]
    assert look_after(learned, GROUND) == inf


def test_a_card_of_few_objects_is_not_tried_with_more():
    ground = replace(GROUND, wanted=8)
    assert look_after(Patience(), ground) == inf
    assert after(Patience(), CLEAN, ground=ground).objects == 10


def test_what_a_card_calls_too_big_is_halved_at_once_and_not_tried_again_soon():
    learned = after(Patience(objects=20, proven=20), Seen(too_big_at=20))
    assert (learned.objects, learned.ceiling) == (10, 20)
    grown = after(learned, *[Seen(clean=1)] * 1_000)
    assert 10 < grown.objects < 20


def test_a_longer_request_lost_at_the_first_try_brings_back_the_proven_one():
    learned = after(Patience(), CLEAN)
    assert learned.objects == 20
    learned = after(learned, Seen(lost_at=20))
    assert (learned.objects, learned.ceiling) == (10, 20)


def test_one_datagram_lost_on_the_way_changes_nothing_and_two_in_a_row_do():
    settled = Patience(objects=30, proven=30)
    once = after(settled, Seen(lost_at=30))
    assert once.objects == 30
    assert after(once, CLEAN, Seen(lost_at=30)).objects == 30
    assert after(once, Seen(lost_at=30)).objects == 15


def test_a_ceiling_is_forgotten_after_a_day_of_good_polls():
    learned = Patience(objects=28, ceiling=29, proven=28)
    for _ in range(150):
        learned = after(learned, Seen(clean=20))
    assert learned.ceiling is None
    assert look_after(learned, GROUND) == 1


def test_a_hurried_card_is_given_pauses_which_shrink_again():
    learned = after(Patience(), *[Seen(hurried=True)] * 6)
    assert learned.pause_seconds == pytest.approx(0.2)
    assert after(learned, *[Seen(clean=20)] * 3).pause_seconds == pytest.approx(0.1)
    assert after(learned, *[Seen(clean=20)] * 30).pause_seconds == 0.0


def test_a_slow_card_is_given_time_which_is_taken_back_when_it_is_not_needed():
    learned = after(Patience(), Seen(slow=True), Seen(slow=True))
    assert learned.deadline_seconds == pytest.approx(4.5)
    assert after(Patience(), Seen(slow=True, seconds=5.0)).deadline_seconds == pytest.approx(7.5)
    assert after(learned, *[Seen(slow=True)] * 20).deadline_seconds == 15.0
    assert after(learned, *[Seen(clean=20)] * 10).deadline_seconds is None


def test_a_card_that_falls_silent_for_a_moment_again_and_again_is_polled_less_often():
    blips = [Seen(blip=True), Seen(clean=5)] * 3
    learned = after(Patience(), *blips)
    assert learned.interval_seconds == 60.0
    assert after(learned, *blips, *blips).interval_seconds == 120.0
    assert after(learned, *[Seen(clean=20)] * 20).interval_seconds is None


def test_rare_moments_of_silence_slow_no_card_down():
    learned = after(Patience(), *[Seen(blip=True), Seen(clean=25)] * 20)
    assert learned.interval_seconds is None


def test_what_people_fixed_wins_over_what_was_learned():
    learned = Patience(objects=4, pause_seconds=0.8, deadline_seconds=9.0, interval_seconds=90.0)
    asked = manner(learned, {"objects": 25, "pause_seconds": 0.0, "bulk": False}, GROUND)
    assert (asked.objects, asked.pause_seconds, asked.bulk) == (25, 0.0, False)
    assert (asked.deadline_seconds, asked.interval_seconds) == (9.0, 90.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"objects": 0},
        {"objects": "many"},
        {"objects": True},
        {"objects": 10_000},
        {"pause_seconds": -1},
        {"deadline_seconds": float("nan")},
        {"interval_seconds": float("inf")},
        {"bulk": "no"},
        {"ceiling": "x"},
        {"unknown": 3},
    ],
)
def test_what_was_kept_wrongly_is_learned_anew(wrong):
    assert patience_of(wrong) == Patience()
    assert manner(Patience(), wrong, GROUND) == manner(Patience(), {}, GROUND)


SEEN = st.builds(
    Seen,
    clean=st.integers(0, 200),
    lost_at=st.integers(0, 60),
    too_big_at=st.integers(0, 60),
    hurried=st.booleans(),
    slow=st.booleans(),
    seconds=st.floats(0.0, 60.0),
    blip=st.booleans(),
    bulk_failed=st.booleans(),
)
GROUNDS = st.builds(
    Ground,
    objects=st.integers(1, 60),
    wanted=st.integers(1, 200),
    deadline_seconds=st.floats(0.5, 30.0),
    interval_seconds=st.floats(1.0, 3_600.0),
)


@given(st.lists(SEEN, max_size=60), GROUNDS)
def test_whatever_is_seen_the_manner_stays_within_bounds_and_survives_being_kept(seen, ground):
    learned = after(Patience(), *seen, ground=ground)
    asked = manner(learned, {}, ground)
    for name, (low, high) in BOUNDS.items():
        value = getattr(asked, name)
        assert low <= value <= high or (name == "interval_seconds" and value == 0.0)
    assert asked.objects <= ground.objects
    assert asked.deadline_seconds >= ground.deadline_seconds
    kept = patience_of(learned.to_json())
    assert kept.to_json() == learned.to_json()
    assert manner(kept, {}, ground) == asked


@given(st.lists(SEEN, max_size=30), GROUNDS, st.integers(2, 60))
def test_no_trouble_ever_makes_a_request_longer(seen, ground, size):
    learned = after(Patience(), *seen, ground=ground)
    for trouble in (Seen(lost_at=size), Seen(too_big_at=size)):
        assert after(learned, trouble, ground=ground).objects <= learned.objects


@given(st.integers(1, 59), GROUNDS)
def test_a_card_with_a_limit_is_found_out_and_hardly_bothered_above_it(limit, ground):
    """What an honest card bears is found in a few polls, and later seldom exceeded."""
    learned, lost = Patience(), []
    for poll in range(400):
        size = min(manner(learned, {}, ground).objects, ground.wanted)
        if size > limit:
            lost.append(poll)
            learned = next_patience(learned, Seen(too_big_at=size), ground)
        else:
            learned = next_patience(learned, CLEAN, ground)
    assert len(lost) <= 12
    assert not [poll for poll in lost if 20 <= poll < 50]


@given(st.lists(SEEN, max_size=30), GROUNDS)
def test_good_polls_bring_every_card_to_rest(seen, ground):
    learned = after(Patience(), *seen, ground=ground)
    polls = 0
    while (wait := look_after(learned, ground)) < inf and polls < 40_000:
        learned = next_patience(learned, Seen(clean=int(wait)), ground)
        polls += int(wait)
    assert look_after(learned, ground) == inf
    asked = manner(learned, {}, ground)
    assert asked.pause_seconds == 0.0
    assert asked.deadline_seconds == ground.deadline_seconds
