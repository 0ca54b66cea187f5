"""When odd readings become a doubt, and when sound ones end it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.dwell import LAST, ODD_ENOUGH, SOUND_ENOUGH, Dwell, Turn, step
from tests.conftest import NOW


def walk(said, *, seconds=30.0, dwell=None):
    """Walk through readings, 'x' odd and '.' sound; returns the memory and the turns by place."""
    dwell, turns = dwell or Dwell(), {}
    for place, sign in enumerate(said):
        at = NOW + timedelta(seconds=seconds * place)
        dwell, turn = step(dwell, is_odd=sign == "x", at=at)
        if turn is not None:
            turns[place] = turn
    return dwell, turns


@pytest.mark.parametrize(
    ("said", "turns"),
    [
        ("x.......", {}),
        ("xx......", {}),
        ("xxx", {2: Turn.RAISE}),
        ("x.x.x", {4: Turn.RAISE}),
        ("x..x..x", {}),
        ("xxxxxxxxxx", {2: Turn.RAISE}),
        ("xxx.........", {2: Turn.RAISE}),
        ("xxx..........", {2: Turn.RAISE, 12: Turn.END}),
        ("xxx.....x.....", {2: Turn.RAISE}),
        ("xxx..........xx", {2: Turn.RAISE, 12: Turn.END}),
        ("xxx..........xxx", {2: Turn.RAISE, 12: Turn.END, 15: Turn.RAISE}),
    ],
)
def test_some_of_the_last_readings_make_a_doubt_and_a_run_of_sound_ones_ends_it(said, turns):
    assert walk(said)[1] == turns


def test_a_burst_counts_once():
    dwell, turns = walk("x" * 14, seconds=1.0)
    assert turns == {}
    assert walk("x" * 31, seconds=1.0)[1] == {30: Turn.RAISE}
    assert not dwell.is_quiet


@given(st.text(alphabet="x.", max_size=60))
def test_a_doubt_is_raised_and_ended_in_turn(said):
    dwell, turns = walk(said)
    kinds = [turns[place] for place in sorted(turns)]
    assert kinds == [Turn.RAISE, Turn.END] * (len(kinds) // 2) + [Turn.RAISE] * (len(kinds) % 2)
    assert dwell.is_open == (len(kinds) % 2 == 1)
    for place, kind in turns.items():
        if kind is Turn.RAISE:
            assert said[max(0, place + 1 - LAST) : place + 1].count("x") >= ODD_ENOUGH
        else:
            assert "x" not in said[place + 1 - SOUND_ENOUGH : place + 1]
