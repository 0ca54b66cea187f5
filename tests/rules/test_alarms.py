"""The life of an alarm: by table where the times matter, by property where any order may come."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.alarms import (
    STALE_AFTER,
    Change,
    IsaState,
    Phase,
    RuleState,
    Seen,
    Timing,
    advance,
    inhibitor,
    isa_state,
)

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HELD = Timing(timedelta(seconds=60), timedelta(seconds=30))
AT_ONCE = Timing(timedelta(0), timedelta(0))
UNSEEN = Timing(timedelta(seconds=60), timedelta(seconds=30), matures_unseen=True)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def walk(timing: Timing, *looks: tuple[float, Seen]) -> tuple[RuleState | None, list]:
    state, story = None, []
    for seconds, seen in looks:
        state, steps = advance(state, seen, at(seconds), timing)
        story += [(step.change, (step.at - T0).total_seconds()) for step in steps]
    return state, story


def test_a_condition_that_holds_long_enough_raises_at_the_end_of_its_hold_time():
    state, story = walk(HELD, (0, Seen.RAISE), (30, Seen.RAISE), (90, Seen.RAISE))
    assert story == [(Change.RAISED, 60)]
    assert state == RuleState(Phase.ACTIVE, at(60))


def test_a_flicker_shorter_than_the_hold_time_raises_nothing():
    assert walk(HELD, (0, Seen.RAISE), (30, Seen.CLEAR), (90, Seen.CLEAR)) == (None, [])


def test_without_hold_times_raise_and_clear_are_immediate():
    state, story = walk(AT_ONCE, (0, Seen.RAISE), (5, Seen.CLEAR))
    assert state is None
    assert story == [(Change.RAISED, 0), (Change.CLEARING, 5), (Change.CLEARED, 5)]


def test_clearing_must_hold_and_a_relapse_keeps_the_same_alarm():
    _, story = walk(
        HELD,
        (0, Seen.RAISE),
        (60, Seen.RAISE),
        (70, Seen.CLEAR),
        (80, Seen.RAISE),
        (100, Seen.CLEAR),
        (131, Seen.CLEAR),
    )
    assert story == [
        (Change.RAISED, 60),
        (Change.CLEARING, 70),
        (Change.RECURRED, 80),
        (Change.CLEARING, 100),
        (Change.CLEARED, 130),
    ]


def test_the_hysteresis_band_neither_raises_nor_clears():
    state, story = walk(HELD, (0, Seen.BETWEEN), (1, Seen.RAISE), (61, Seen.BETWEEN))
    assert (state.phase, story) == (Phase.ACTIVE, [(Change.RAISED, 61)])


def test_time_without_sight_does_not_count_towards_the_hold_time():
    _, story = walk(
        HELD, (0, Seen.RAISE), (40, Seen.UNKNOWN), (1000, Seen.RAISE), (1020, Seen.RAISE)
    )
    assert story == [(Change.RAISED, 1020)]


def test_on_battery_and_then_silent_is_raised_all_the_same():
    state, story = walk(UNSEEN, (0, Seen.RAISE), (15, Seen.UNKNOWN), (300, Seen.UNKNOWN))
    assert story == [(Change.RAISED, 60)]
    assert state.unknown_since_at == at(15)


def test_an_active_alarm_goes_stale_after_a_day_of_silence_and_is_fresh_again_when_seen():
    day = STALE_AFTER.total_seconds()
    state, story = walk(
        HELD, (0, Seen.RAISE), (60, Seen.RAISE), (100, Seen.UNKNOWN), (100 + day, Seen.UNKNOWN)
    )
    assert story == [(Change.RAISED, 60), (Change.STALE, 100 + day)]
    assert state.is_stale
    assert state.next_at is None
    state, steps = advance(state, Seen.RAISE, at(200 + day), HELD)
    assert [step.change for step in steps] == [Change.FRESH]
    assert state == RuleState(Phase.ACTIVE, at(60))


def test_a_pending_rule_that_is_never_seen_again_is_forgotten():
    day = STALE_AFTER.total_seconds()
    assert walk(HELD, (0, Seen.RAISE), (10, Seen.UNKNOWN), (10 + day, Seen.UNKNOWN)) == (None, [])


@pytest.mark.parametrize(
    ("inhibited_by", "standing", "found"),
    [
        ((), {"a"}, None),
        (("a",), set(), None),
        (("a", "b"), {"b", "c"}, "b"),
        (("a", "b"), {"b", "a"}, "a"),
    ],
)
def test_the_first_standing_inhibitor_explains_an_alarm(inhibited_by, standing, found):
    assert inhibitor(inhibited_by, standing) == found


looks = st.lists(st.tuples(st.integers(0, 4000), st.sampled_from(Seen)), max_size=40)
timings = st.builds(
    Timing,
    st.integers(0, 600).map(lambda s: timedelta(seconds=s)),
    st.integers(0, 600).map(lambda s: timedelta(seconds=s)),
    st.booleans(),
)


@given(looks=looks, timing=timings)
def test_any_sequence_keeps_the_invariants(looks, timing):
    state, now, standing = None, T0, False
    clear_seen_since_raise = raise_seen = False
    last_step_at = T0
    for gap, seen in looks:
        now += timedelta(seconds=gap)
        raise_seen |= seen is Seen.RAISE
        clear_seen_since_raise |= seen is Seen.CLEAR
        state, steps = advance(state, seen, now, timing)
        for step in steps:
            assert last_step_at <= step.at <= now
            last_step_at = step.at
            if step.change is Change.RAISED:
                assert not standing
                assert raise_seen
                standing, clear_seen_since_raise = True, seen is Seen.CLEAR
            elif step.change is Change.CLEARED:
                assert standing
                assert clear_seen_since_raise
                standing, raise_seen = False, seen is Seen.RAISE
            elif step.change is not Change.FRESH:
                assert standing
        raise_seen |= seen is Seen.RAISE
        assert standing == (state is not None and state.phase is not Phase.PENDING)
        assert state is None or state.next_at is None or state.next_at > now
        assert state is None or not state.is_stale or state.unknown_since_at is not None
        again, nothing = advance(state, seen, now, timing)
        assert (again, nothing) == (state, ())


@given(looks=looks, timing=timings)
def test_unknown_alone_never_raises_and_never_clears(looks, timing):
    state = RuleState(Phase.ACTIVE, T0)
    now = T0
    for gap, _ in looks:
        now += timedelta(seconds=gap)
        state, steps = advance(state, Seen.UNKNOWN, now, timing)
        assert all(step.change is Change.STALE for step in steps)
        assert advance(None, Seen.UNKNOWN, now, timing) == (None, ())


@given(looks=looks, timing=timings, extra=st.lists(st.integers(0, 4000), max_size=5))
def test_ticks_between_readings_change_no_times(looks, timing, extra):
    """A tick that looks with the same facts only notices earlier what the next look would."""
    with_ticks = without = None
    story_with, story_without = [], []
    now = T0
    for gap, seen in looks:
        begins = now
        now += timedelta(seconds=gap)
        for tick in sorted(extra):
            moment = begins + timedelta(seconds=tick)
            unknown = with_ticks is not None and with_ticks.unknown_since_at is not None
            if moment < now and unknown:
                with_ticks, steps = advance(with_ticks, Seen.UNKNOWN, moment, timing)
                story_with += steps
        with_ticks, steps = advance(with_ticks, seen, now, timing)
        story_with += steps
        without, steps = advance(without, seen, now, timing)
        story_without += steps
    assert story_with == story_without
    assert with_ticks == without


@pytest.mark.parametrize(
    ("state", "acknowledged", "shelved", "quiet", "out", "expected"),
    [
        ("active", False, False, False, False, IsaState.UNACKNOWLEDGED),
        ("active", True, False, False, False, IsaState.ACKNOWLEDGED),
        ("clearing", False, True, False, False, IsaState.SHELVED),
        ("active", True, True, True, False, IsaState.SHELVED),
        ("active", True, True, True, True, IsaState.OUT_OF_SERVICE),
        ("active", False, False, True, False, IsaState.SUPPRESSED),
        ("stale", True, False, True, False, IsaState.SUPPRESSED),
        ("latched", True, False, False, False, IsaState.LATCHED),
        ("latched", False, False, True, False, IsaState.SUPPRESSED),
        ("cleared", False, False, False, False, IsaState.RETURNED),
        ("cleared", True, False, False, False, IsaState.NORMAL),
        ("cleared", False, False, True, False, IsaState.NORMAL),
        ("cleared", False, False, True, True, IsaState.NORMAL),
    ],
)
def test_how_an_alarm_stands_in_the_words_of_the_standard(
    state, acknowledged, shelved, quiet, out, expected
):
    told = isa_state(
        state=state,
        is_acknowledged=acknowledged,
        is_shelved=shelved,
        is_quiet=quiet,
        is_out_of_service=out,
    )
    assert told is expected
