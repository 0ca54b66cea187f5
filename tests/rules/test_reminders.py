"""Steps of a reminder: the furthest that was reached, each told once."""

import pytest

from rules.reminders import is_news, step_reached

EXPIRY = (180.0, 90.0, 60.0, 30.0, 7.0, -1.0)
DEADLINE = (50.0, 75.0, 90.0, 100.0)


@pytest.mark.parametrize(
    ("value", "steps", "reached"),
    [
        (181, EXPIRY, None),
        (180, EXPIRY, 180),
        (91, EXPIRY, 180),
        (31, EXPIRY, 60),
        (30, EXPIRY, 30),
        (0, EXPIRY, 7),
        (-1, EXPIRY, -1),
        (-400, EXPIRY, -1),
        (49.9, DEADLINE, None),
        (50, DEADLINE, 50),
        (99.9, DEADLINE, 90),
        (250, DEADLINE, 100),
        (None, DEADLINE, None),
        (5, (), None),
        (5, (3.0,), 3),
    ],
)
def test_the_furthest_step_is_reached(value, steps, reached):
    assert step_reached(value, steps) == reached


@pytest.mark.parametrize(
    ("reached", "told", "news"),
    [
        (180, None, True),
        (30, 60, True),
        (30, 30, False),
        (60, 30, False),
        (None, 30, False),
        (30, 45, True),
    ],
)
def test_only_a_step_beyond_the_last_is_news(reached, told, news):
    assert is_news(reached, told, EXPIRY) is news
