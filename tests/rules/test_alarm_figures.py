"""Floods and rates of an alarm system, on instants counted by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from rules.alarm_figures import (
    Flood,
    busy_share,
    chatters,
    flooded_share,
    floods,
    peak_count,
)

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def every(seconds: float, count: int, *, first: float = 0) -> list[datetime]:
    return [at(first + seconds * number) for number in range(count)]


LATER = at(86_400)


def test_ten_alarms_in_ten_minutes_are_no_flood_and_eleven_are():
    assert floods(every(30, 10), LATER) == []
    # The fifth-last came at 180 s: ten minutes later only four are left.
    assert floods(every(30, 11), LATER) == [Flood(at(0), at(780), 11, 11)]


def test_alarms_spread_wider_than_ten_minutes_are_no_flood():
    assert floods(every(60, 100), LATER) == []


def test_a_flood_goes_on_while_five_come_in_ten_minutes():
    # After the burst one every 120 s: five lie within any ten minutes.
    raised = every(30, 11) + every(120, 10, first=420)

    (one,) = floods(raised, LATER)

    assert one.began_at == at(0)
    # The last five came at 1,020 to 1,500 s.
    assert one.ended_at == at(1_020 + 600)
    assert one.alarms == 21


def test_a_flood_ends_when_the_fifth_last_is_ten_minutes_old_though_more_come():
    # One every 140 s is too few: at 900 s only four lie within ten minutes.
    raised = every(30, 11) + every(140, 10, first=440)
    assert [one.ended_at for one in floods(raised, LATER)] == [at(300 + 600)]


def test_a_second_burst_after_a_calm_is_a_second_flood():
    raised = every(10, 12) + every(10, 12, first=3_600)
    assert [one.began_at for one in floods(raised, LATER)] == [at(0), at(3_600)]


def test_a_flood_that_lasts_has_no_end_yet():
    (one,) = floods(every(10, 12), at(200))
    assert one.ended_at is None
    assert flooded_share([one], START, at(200)) == 1.0


def test_the_share_counts_only_what_lies_in_the_span():
    flood = Flood(at(-300), at(300), 20, 20)
    assert flooded_share([flood], START, at(3_000)) == pytest.approx(0.1)
    assert flooded_share([flood], START, START) == 0.0


def test_peak_and_busy_stretches():
    raised = every(10, 12) + every(300, 5, first=1_200)
    assert peak_count(raised) == 12
    # Ten stretches of ten minutes, the first has twelve.
    assert busy_share(raised, START, at(6_000)) == pytest.approx(0.1)
    assert peak_count([]) == 0
    assert busy_share([], START, START) == 0.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((0, 20, 60), True), ((0, 20, 61), False), ((0, 30), False), ((0, 500, 530, 555), True)],
)
def test_three_times_within_a_minute_is_chattering(seconds, expected):
    assert chatters([at(second) for second in seconds]) is expected
