"""What the unit itself says of its battery, and how far it is believed: self-tests and its flag.

A test counts only when it was valid; aborted and refused ones say nothing. A flag has to stand:
some APC units show it for seconds or a minute once or twice a day (NUT 2347, 3623).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rules.battery.facts import FlagTime, TestOutcome, TestResult

VALID_FROM_PERCENT = 75.0
"""Charge from which a test counts (APC self-test note)."""
STANDS_AFTER = timedelta(minutes=15)
SPEAKS_FOR = timedelta(days=70)
"""A passed test older than twice a five-week interval says nothing any more."""
GOES_AFTER = timedelta(days=7)
"""A flag that was gone for so long is over."""
ABORTED_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Signs:
    """What stands at an instant.

    `failures` counts the valid failed tests since the last passed one. `chatter` counts flags too
    short to stand in the last 30 days. `overdue` when no valid test ended in twice the interval.
    """

    is_flagged: bool
    failures: int
    has_passed: bool
    last_valid: TestResult | None
    aborted_in_a_row: int
    chatter: int
    overdue: bool
    knows_flag: bool


def signs_at(
    now: datetime,
    tests: Sequence[TestResult],
    flags: Sequence[FlagTime] | None,
    *,
    since: datetime | None,
    test_interval_days: float | None,
) -> Signs:
    """Read tests and flags from `since` (the battery's installation) to `now`.

    `flags` None: the unit has no such flag.
    """
    ended = sorted(
        (t for t in tests if t.ended_at <= now and (since is None or t.ended_at >= since)),
        key=lambda test: test.ended_at,
    )
    valid = [test for test in ended if _is_valid(test)]
    failures = 0
    for test in reversed(valid):
        if test.outcome is not TestOutcome.FAILED:
            break
        failures += 1
    aborted = 0
    for test in reversed(ended):
        if test.outcome not in {TestOutcome.ABORTED, TestOutcome.INVALID}:
            break
        aborted += 1
    last = valid[-1] if valid else None
    known = [
        flag
        for flag in flags or ()
        if flag.since_at <= now and (since is None or (flag.until_at or now) >= since)
    ]
    return Signs(
        is_flagged=any(_stands(flag, now) for flag in known),
        failures=failures,
        has_passed=last is not None
        and last.outcome is TestOutcome.PASSED
        and now - last.ended_at <= SPEAKS_FOR,
        last_valid=last,
        aborted_in_a_row=aborted,
        chatter=sum(
            (flag.until_at or now) - flag.since_at < STANDS_AFTER
            and now - flag.since_at <= timedelta(days=30)
            for flag in known
        ),
        overdue=test_interval_days is not None
        and (last is None or now - last.ended_at > timedelta(days=2 * test_interval_days)),
        knows_flag=flags is not None,
    )


def _is_valid(test: TestResult) -> bool:
    if test.outcome not in {TestOutcome.PASSED, TestOutcome.FAILED}:
        return False
    return test.charge_before is None or test.charge_before >= VALID_FROM_PERCENT


def _stands(flag: FlagTime, now: datetime) -> bool:
    until = now if flag.until_at is None or flag.until_at > now else flag.until_at
    return until - flag.since_at >= STANDS_AFTER and now - until < GOES_AFTER
