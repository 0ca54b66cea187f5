"""Whether the unit behind an entry is the one that the records know."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.identity import Entry, Mismatch, doubts


def entry(id_: int, confirmed: str | None, told: str | None, maker: str = "Maker") -> Entry:
    return Entry(id_, maker, confirmed, told)


def test_units_that_tell_what_was_confirmed_are_in_no_doubt():
    assert doubts([entry(1, "A100", "A100"), entry(2, "B200", "B200"), entry(3, None, "C3")]) == {}


def test_two_that_tell_each_other_s_number_have_changed_addresses():
    found = doubts([entry(1, "A100", "B200"), entry(2, "B200", "A100"), entry(3, "C3", "C3")])
    assert found == {1: (Mismatch.SWAPPED, 2), 2: (Mismatch.SWAPPED, 1)}


def test_the_first_half_of_a_swap_is_told_twice_until_the_other_half_is_known():
    found = doubts([entry(1, "A100", "B200"), entry(2, "B200", "B200")])
    assert found == {1: (Mismatch.TOLD_TWICE, 2), 2: (Mismatch.TOLD_TWICE, 1)}


def test_a_number_that_nobody_knows_is_another_unit():
    assert doubts([entry(1, "A100", "Z999"), entry(2, "B200", "B200")]) == {
        1: (Mismatch.EXCHANGED, None)
    }


@pytest.mark.parametrize("serial", ["", "  ", "Unknown", "N/A", "0000000", "none", None, "xxxx"])
def test_what_cards_tell_that_know_no_number_says_nothing(serial):
    assert doubts([entry(1, "A100", serial), entry(2, "B200", serial)]) == {}
    assert doubts([entry(1, serial, "A100")]) == {}


def test_the_same_number_of_two_makers_is_no_doubt():
    assert doubts([entry(1, "A100", "A100"), entry(2, "A100", "A100", maker="Other")]) == {}


def test_three_that_go_round_are_each_another_unit():
    found = doubts([entry(1, "A1", "B2"), entry(2, "B2", "C3"), entry(3, "C3", "A1")])
    assert {doubt for doubt, _ in found.values()} == {Mismatch.EXCHANGED}
    assert {other for _, other in found.values()} == {1, 2, 3}


@given(
    st.lists(
        st.tuples(st.sampled_from(["A1", "B2", "C3", ""]), st.sampled_from(["A1", "B2", "C3", ""])),
        max_size=6,
    ),
    st.randoms(),
)
def test_the_order_of_entries_changes_nothing(numbers, shuffle: random.Random):
    entries = [entry(n, confirmed, told) for n, (confirmed, told) in enumerate(numbers)]
    found = doubts(entries)
    shuffle.shuffle(entries)
    assert doubts(entries) == found
    for one, (doubt, other) in found.items():
        if doubt is Mismatch.SWAPPED:
            assert found[other] == (Mismatch.SWAPPED, one)
