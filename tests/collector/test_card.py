"""What is news of a card: what it taught, who it is, when it started, why it cannot be read."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.card import Card
from collector.patience import Ground, Seen
from collector.raw import CardMemory, Habits

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def card(kept=None, fixed=None, *, is_failing=False) -> Card:
    return Card.of(kept or {}, fixed or {}, Ground(), is_failing=is_failing)


def test_a_good_poll_of_a_card_of_which_all_is_known_is_no_news():
    known = card({"objects": 30})
    known.clean += 1
    assert known.clean < known.look_at
    assert known.read() is None


def test_what_is_learned_is_news_once_and_changes_how_the_card_is_asked():
    known = card()
    known.clean += 1
    assert known.clean >= known.look_at
    assert known.learn(Seen())
    assert known.manner.objects == 20
    assert known.habits(Habits(varbinds=30, gap_seconds=0.1)).gap_seconds == 0.1
    news = known.read()
    assert news is not None
    assert news.patience == {"objects": 20}
    assert known.read() is None


def test_what_people_set_changes_how_the_card_is_asked_and_is_no_news():
    known = card({"objects": 30})
    assert known.change(fixed={"objects": 4, "bulk": False})
    habits = known.habits(Habits())
    assert (known.manner.objects, habits.bulk) == (4, False)
    assert not known.change(fixed={"objects": 4, "bulk": False})
    assert known.read() is None


def test_a_streak_is_told_at_its_start_at_a_change_of_kind_and_at_its_end():
    known = card()
    assert known.fail("timeout", "no answer", NOW, is_streak=False) is None
    news = known.fail("timeout", "no answer", NOW, is_streak=True)
    assert news is not None
    assert (news.failure, news.failing_since_at) == ("timeout", NOW)
    assert known.fail("timeout", "no answer still", NOW, is_streak=True) is None
    news = known.fail("auth", "no such user", NOW, is_streak=True)
    assert news is not None
    assert (news.failure, news.failure_detail) == ("auth", "no such user")
    news = known.read()
    assert news is not None
    assert (news.failure, news.failing_since_at, news.failure_detail) == (None, None, None)
    assert known.read() is None


def test_a_failure_told_by_an_earlier_collector_ends_with_the_first_good_poll():
    news = card(is_failing=True).read()
    assert news is not None
    assert news.failure is None


def test_a_failure_told_by_an_earlier_collector_is_told_again_with_its_kind():
    known = card(is_failing=True)
    assert known.fail("timeout", "no answer", NOW, is_streak=True) is not None


@pytest.mark.parametrize(
    ("before", "ticks", "passed", "is_restart"),
    [
        (5_000_000, 700, 30.0, True),
        (2**32 - 2_000, 1_000, 30.0, False),
        (2**32 - 2_000_000, 1_000, 30.0, True),
        (2**32 - 2_000_000, 1_000, 20_000.0, False),
    ],
    ids=["restarted", "counter began anew", "restarted before that", "began anew unseen"],
)
def test_a_restart_is_told_from_a_counter_that_began_anew(before, ticks, passed, is_restart):
    known = card()
    assert known.note_uptime(before, ticks, NOW, passed_seconds=passed) is is_restart
    news = known.read()
    assert (news is not None) is is_restart
    if news is not None:
        assert news.restarted_at == NOW - timedelta(seconds=ticks / 100)


def test_an_engine_is_told_once_and_its_restart_by_its_boots():
    known, memory = card(), CardMemory(engine_id=b"engine", boots=3)
    assert not known.note_engine(memory, NOW)
    news = known.read()
    assert news is not None
    assert news.engine_id == b"engine"
    assert not known.note_engine(memory, NOW)
    assert known.read() is None
    memory.boots = 4
    assert known.note_engine(memory, NOW)
    news = known.read()
    assert news is not None
    assert news.restarted_at == NOW


def test_another_engine_at_the_same_address_is_no_restart():
    known = card()
    known.note_engine(CardMemory(engine_id=b"engine", boots=3), NOW)
    assert not known.note_engine(CardMemory(engine_id=b"other", boots=9), NOW)
    assert known.restarted_at is None
