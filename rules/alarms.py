"""The life of one rule on one device: pending, active, clearing, and what silence does to it.

Pure: states, what was seen and an instant go in; a state and transitions come out. Both readings
and ticks come through `advance`, so an alarm has the same times whether a tick or the next reading
brought it about. Not here: which condition holds (engine), what a raised alarm sets off (tickets).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum

STALE_AFTER = timedelta(hours=24)
"""A condition unknown for so long makes its alarm stale: visible, never counted as normal."""


class Phase(Enum):
    """What a rule remembers of a device; no state at all is normal."""

    PENDING = "pending"
    ACTIVE = "active"
    CLEARING = "clearing"


class Seen(Enum):
    """What one look at the facts says of a rule."""

    RAISE = "raise"
    CLEAR = "clear"
    BETWEEN = "between"
    """In the hysteresis band: neither the condition nor its clear condition holds."""
    UNKNOWN = "unknown"


class IsaState(StrEnum):
    """How an alarm stands towards people, in the words of ISA-18.2 and IEC 62682."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned"
    """Over before anybody acknowledged it."""
    NORMAL = "normal"
    LATCHED = "latched"
    """Over, and standing on until a person resets it."""
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    """By design: another alarm explains it, work is going on, or it chatters."""
    OUT_OF_SERVICE = "out_of_service"


def isa_state(
    *,
    state: str,
    is_acknowledged: bool,
    is_shelved: bool,
    is_quiet: bool,
    is_out_of_service: bool,
) -> IsaState:
    """Say how an alarm stands; what a person decided goes before suppression by design.

    `state` is the alarm's own: active, clearing, stale, latched or cleared.
    """
    if state == "cleared":
        return IsaState.NORMAL if is_acknowledged or is_quiet else IsaState.RETURNED
    if is_out_of_service:
        return IsaState.OUT_OF_SERVICE
    if is_shelved:
        return IsaState.SHELVED
    if is_quiet:
        return IsaState.SUPPRESSED
    if state == "latched":
        return IsaState.LATCHED
    return IsaState.ACKNOWLEDGED if is_acknowledged else IsaState.UNACKNOWLEDGED


class Change(Enum):
    """What happened to the alarm."""

    RAISED = "raised"
    CLEARING = "clearing"
    RECURRED = "recurred"
    CLEARED = "cleared"
    STALE = "stale"
    FRESH = "fresh"
    """A stale alarm's condition is known again."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A rule's hold times."""

    raise_after: timedelta
    clear_after: timedelta
    matures_unseen: bool = False


@dataclass(frozen=True, slots=True)
class RuleState:
    """What is remembered between looks.

    `next_at` is when time alone will change something, None when it will not.
    `unknown_since_at` is set while the condition cannot be told. `is_stale` only while unknown.
    """

    phase: Phase
    since_at: datetime
    next_at: datetime | None = None
    unknown_since_at: datetime | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One change of an alarm, at the instant it happened (which a tick may notice later)."""

    change: Change
    at: datetime


Outcome = tuple[RuleState | None, tuple[Step, ...]]


def advance(state: RuleState | None, seen: Seen, now: datetime, timing: Timing) -> Outcome:
    """Let time pass until `now`, then take in what was seen at `now`.

    1. Hold times that ended before `now` take effect at their own instant.
    2. What was seen begins, continues or ends a state; UNKNOWN never raises and never clears.
    3. A hold time of zero takes effect at once.

    What was seen earlier than the state's own last instant, because it arrived late, counts as
    seen then: nothing ends before it began. Hold times are those of `timing`, from when the state
    began: they may have been changed since.
    """
    if state is not None:
        now = max(now, state.since_at, state.unknown_since_at or now)
        state = _with_hold_of(state, timing)
    state, before = _elapse(state, now, timing)
    state, at_now = _observe(state, seen, now, timing)
    state, after = _elapse(state, now, timing)
    return state, (*before, *at_now, *after)


def _with_hold_of(state: RuleState, timing: Timing) -> RuleState:
    """Return a state whose hold time is the one of `timing`; without sight none counts."""
    if state.phase is Phase.ACTIVE or state.unknown_since_at is not None:
        return state
    hold = timing.raise_after if state.phase is Phase.PENDING else timing.clear_after
    next_at = state.since_at + hold
    return state if state.next_at == next_at else replace(state, next_at=next_at)


def _elapse(state: RuleState | None, now: datetime, timing: Timing) -> Outcome:
    steps: list[Step] = []
    while state is not None and state.next_at is not None and state.next_at <= now:
        state, step = _mature(state, state.next_at, timing)
        if step is not None:
            steps.append(step)
    return state, tuple(steps)


def _mature(state: RuleState, at: datetime, timing: Timing) -> tuple[RuleState | None, Step | None]:
    """Do what the end of the hold time at `at` means."""
    unknown = state.unknown_since_at
    if state.phase is Phase.PENDING:
        if unknown is not None and not timing.matures_unseen:
            return None, None  # forgotten: nothing had been raised
        next_at = None if unknown is None else unknown + STALE_AFTER
        return RuleState(Phase.ACTIVE, at, next_at, unknown), Step(Change.RAISED, at)
    if unknown is not None:
        return replace(state, next_at=None, is_stale=True), Step(Change.STALE, at)
    return None, Step(Change.CLEARED, at)


def _observe(state: RuleState | None, seen: Seen, now: datetime, timing: Timing) -> Outcome:
    if seen is Seen.UNKNOWN:
        return _lose_sight(state, now, timing), ()
    if state is None:
        if seen is not Seen.RAISE:
            return None, ()
        return RuleState(Phase.PENDING, now, now + timing.raise_after), ()
    was_stale = state.is_stale
    state = _regain_sight(state, now, timing)
    steps = (Step(Change.FRESH, now),) if was_stale else ()
    if state.phase is Phase.PENDING:
        return (state if seen is Seen.RAISE else None), steps
    if state.phase is Phase.ACTIVE and seen is Seen.CLEAR:
        clearing = RuleState(Phase.CLEARING, now, now + timing.clear_after)
        return clearing, (*steps, Step(Change.CLEARING, now))
    if state.phase is Phase.CLEARING and seen is not Seen.CLEAR:
        return RuleState(Phase.ACTIVE, now), (*steps, Step(Change.RECURRED, now))
    return state, steps


def _lose_sight(state: RuleState | None, now: datetime, timing: Timing) -> RuleState | None:
    """Stop the hold times, except a pending one that goes on unseen."""
    if state is None or state.unknown_since_at is not None:
        return state
    if state.phase is Phase.PENDING and timing.matures_unseen:
        return replace(state, unknown_since_at=now)
    return replace(state, unknown_since_at=now, next_at=now + STALE_AFTER)


def _regain_sight(state: RuleState, now: datetime, timing: Timing) -> RuleState:
    """Go on where the hold time stood: time without sight does not count."""
    if state.unknown_since_at is None:
        return state
    if state.phase is Phase.ACTIVE:
        return RuleState(Phase.ACTIVE, state.since_at)
    if state.phase is Phase.PENDING and timing.matures_unseen:
        return replace(state, unknown_since_at=None)
    since_at = state.since_at + (now - state.unknown_since_at)
    hold = timing.raise_after if state.phase is Phase.PENDING else timing.clear_after
    return RuleState(state.phase, since_at, since_at + hold)


def inhibitor(inhibited_by: Iterable[str], standing: set[str]) -> str | None:
    """Return the first of a rule's inhibitors that stands on the same device, else None."""
    return next((key for key in inhibited_by if key in standing), None)
