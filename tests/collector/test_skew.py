"""Clocks that are wrong, and what both sides find out about them."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.skew import HeardSkew, OwnSkew

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def later(seconds):
    return AT + timedelta(seconds=seconds)


def test_nothing_is_known_before_the_center_has_answered():
    skew = OwnSkew()
    skew.ask(1, steady=0.0)
    assert skew.seconds(AT, steady=0.0) is None


def test_what_an_earlier_life_knew_holds_until_the_first_answer():
    skew = OwnSkew(remembered=90.0)
    assert skew.seconds(AT, steady=0.0) == 90.0
    skew.ask(1, steady=0.0)
    skew.hear(1, AT, steady=0.0)
    assert skew.seconds(AT, steady=0.0) == 0.0


def test_the_quickest_round_trip_counts():
    skew = OwnSkew()
    skew.ask(1, steady=100.0)
    skew.hear(1, later(0.05), steady=100.1)  # there and back in a tenth of a second
    skew.ask(2, steady=105.0)
    skew.hear(2, later(9.0), steady=109.0)
    assert skew.seconds(later(10.0), steady=110.0) == pytest.approx(0.0)
    assert skew.seconds(later(130.0), steady=110.0) == pytest.approx(120.0)


def test_a_step_of_the_clock_is_known_at_once():
    skew = OwnSkew()
    skew.ask(1, steady=0.0)
    skew.hear(1, AT, steady=0.0)
    assert skew.seconds(later(3_601), steady=1.0) == pytest.approx(3_600.0)


@pytest.mark.parametrize(
    ("number", "steady"),
    [(2, 0.1), (1, 6.0), (1, -1.0)],
    ids=["another beat's", "too late", "before it was asked"],
)
def test_an_answer_that_cannot_be_right_tells_nothing(number, steady):
    skew = OwnSkew()
    skew.ask(1, steady=0.0)
    skew.hear(number, AT, steady=steady)
    assert skew.seconds(AT, steady=0.0) is None


def test_an_answer_counts_once():
    skew = OwnSkew()
    skew.ask(1, steady=0.0)
    skew.hear(1, AT, steady=0.0)
    skew.hear(1, later(50), steady=0.0)
    assert skew.seconds(AT, steady=0.0) == 0.0


def test_the_center_believes_the_beat_that_came_quickest():
    heard = HeardSkew()
    assert heard.hear(AT, later(0.4)) == pytest.approx(-0.4)
    assert heard.hear(later(5), later(5.1)) == pytest.approx(-0.1)
    assert heard.hear(later(10), later(19)) == pytest.approx(-0.1)


def test_the_center_forgets_what_is_long_gone():
    heard = HeardSkew()
    heard.hear(later(100), AT)
    assert [heard.hear(later(n), later(n)) for n in range(12)][-1] == 0.0
