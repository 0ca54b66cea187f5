"""Which suppression covers an alarm, and when one chatters."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.catalogue import catalogue
from rules.suppression import (
    STANDS_ANYWAY,
    Subject,
    Suppression,
    SuppressionKind,
    covering,
    flaps,
    may_be_quietened,
)

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WORK = Suppression(
    id=1,
    kind=SuppressionKind.PLANNED_WORK,
    site_id=7,
    device_id=None,
    rule_keys=None,
    lets_critical_through=True,
    begins_at=NOW - 30 * MINUTE,
    ends_at=NOW + 30 * MINUTE,
)
ALARM = Subject(
    device_id=70, site_id=7, rule_key="fan_fault", severity="minor", raised_at=NOW - 5 * MINUTE
)


@pytest.mark.parametrize(
    ("work", "alarm", "is_covered"),
    [
        ({}, {}, True),
        ({"device_id": 70}, {}, True),
        ({"device_id": 71}, {}, False),
        ({}, {"site_id": 8}, False),
        ({"rule_keys": ("fan_fault", "on_battery")}, {}, True),
        ({"rule_keys": ("on_battery",)}, {}, False),
        ({"rule_keys": ()}, {}, False),
        ({}, {"severity": "critical"}, False),
        ({"lets_critical_through": False}, {"severity": "critical"}, True),
        ({}, {"raised_at": NOW - 31 * MINUTE}, False),
        ({"kind": SuppressionKind.WORK_MODE}, {"raised_at": NOW - 31 * MINUTE}, True),
        ({"begins_at": NOW + MINUTE}, {}, False),
        ({"ends_at": NOW}, {}, False),
        ({"ends_at": None}, {}, True),
    ],
)
def test_what_a_suppression_covers(work, alarm, is_covered):
    found = covering([replace(WORK, **work)], replace(ALARM, **alarm), NOW)
    assert (found is not None) is is_covered


def test_a_chattering_alarm_that_stands_on_is_heard():
    quiet = replace(WORK, kind=SuppressionKind.CHATTERING, device_id=70, rule_keys=("fan_fault",))
    stands = replace(ALARM, raised_at=NOW - STANDS_ANYWAY)
    assert covering([quiet], ALARM, NOW) is quiet
    assert covering([quiet], stands, NOW) is None
    assert covering([quiet], replace(stands, is_active=False), NOW) is quiet


def test_what_a_person_took_out_goes_before_what_was_found():
    out = replace(WORK, id=9, kind=SuppressionKind.OUT_OF_SERVICE, device_id=70)
    assert covering([WORK, out], ALARM, NOW) is out


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((0, 30, 60), True),
        ((0, 30, 61), False),
        ((0, 900, 1800, 2700, 3600), True),
        ((0, 900, 1800, 2700, 3601), False),
        ((0, 1, 400), False),
        ((), False),
    ],
)
def test_three_in_a_minute_chatter_and_five_in_an_hour_flap(seconds, expected):
    assert flaps([NOW + timedelta(seconds=second) for second in seconds]) is expected


@given(st.lists(st.integers(0, 100_000), max_size=12))
def test_more_alarms_never_make_it_calmer(seconds):
    raised = sorted(NOW + timedelta(seconds=second) for second in seconds)
    if flaps(raised[:-1]):
        assert flaps(raised)


def test_what_is_critical_or_shares_a_cause_is_never_made_quiet_by_itself():
    rules = catalogue().values()
    assert {rule.key for rule in rules if may_be_quietened(rule)}.isdisjoint(
        {rule.key for rule in rules if rule.severity == "critical" or rule.cause is not None}
    )
    assert may_be_quietened(catalogue()["high_load"])
