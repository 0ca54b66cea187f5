import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.schedule import first_wait, next_due, rhythm, wait_after


@pytest.mark.parametrize(
    ("poll_seconds", "on_battery", "seconds"),
    [(30, False, 30), (30, True, 5), (2, True, 2), (86_400, True, 5)],
)
def test_a_unit_on_battery_is_polled_each_five_seconds(poll_seconds, on_battery, seconds):
    assert rhythm(poll_seconds, on_battery=on_battery) == seconds


@pytest.mark.parametrize(
    ("failures", "interval", "wait"),
    [
        (1, 30, 30),
        (2, 30, 60),
        (3, 30, 120),
        (4, 30, 240),
        (50, 30, 240),
        (4, 60, 300),
        (9, 600, 600),
        (3, 5, 20),
    ],
)
def test_a_dead_device_is_asked_ever_more_rarely_up_to_a_bound(failures, interval, wait):
    assert wait_after(failures, interval) == wait


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 100])
def test_first_polls_are_spread_evenly_whatever_ids_there_are(step):
    waits = sorted(first_wait(1_000 + step * n, 30.0) for n in range(300))
    per_second = [sum(second <= wait < second + 1 for wait in waits) for second in range(30)]
    assert sum(per_second) == 300
    assert max(per_second) <= 20


def test_a_rare_poll_does_not_wait_its_whole_interval_for_its_first():
    assert max(first_wait(n, 86_400.0) for n in range(100)) <= 60


@given(due=st.floats(0, 1e6), interval=st.floats(1, 86_400), late=st.floats(0, 1e5))
def test_the_next_tick_is_ahead_and_on_the_beat(due, interval, late):
    now = due + late
    following, skipped = next_due(due, interval, now)
    assert following > now or following == pytest.approx(now)
    assert following <= now + interval or following == pytest.approx(now + interval)
    assert following == pytest.approx(due + (skipped + 1) * interval)
