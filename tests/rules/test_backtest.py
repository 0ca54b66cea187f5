"""What is made of alarms that would have been: weeks, tickets, and what past tickets say."""

from datetime import UTC, datetime, timedelta

import pytest

from rules.backtest import PastTicket, Raised, refusal_of_rollups, scored, weeks
from rules.catalogue import catalogue, read_rules

T0 = datetime(2026, 1, 5, tzinfo=UTC)


def day(number: float) -> datetime:
    return T0 + timedelta(days=number)


def alarm(begins: float, ends: float | None = None, device: int = 1) -> Raised:
    return Raised(device, day(begins), None if ends is None else day(ends))


def ticket(number: int, begins: float, ends: float, code: str, device: int = 1) -> PastTicket:
    return PastTicket(number, device, day(begins), day(ends), code)


def test_weeks_count_alarms_and_a_relapse_opens_no_second_ticket():
    raised = [alarm(1, 2), alarm(3, 4), alarm(9, 10, device=2), alarm(18.5, 19)]
    found = weeks(raised, T0, day(20), opens_ticket=True)
    assert [(week.begins_at, week.alarms, week.tickets) for week in found] == [
        (day(0), 2, 1),
        (day(7), 1, 1),
        # 14.5 days after the first unit's last alarm cleared: a ticket of its own.
        (day(14), 1, 1),
    ]
    assert sum(week.tickets for week in weeks(raised, T0, day(20), opens_ticket=False)) == 0


def test_an_alarm_is_a_hit_where_something_was_done_and_false_where_nothing_was_wrong():
    tickets = [
        ticket(1, 40, 45, "battery_replaced"),
        ticket(2, 10, 11, "false_alarm", device=2),
        ticket(3, 10, 11, "duplicate", device=3),
        ticket(4, 90, 95, "repaired", device=4),
        ticket(5, 5, 6, "repaired", device=5),
    ]
    raised = [
        alarm(1),  # 39 days ahead of the replacement
        alarm(10.5, device=2),
        alarm(10.5, device=3),
        alarm(20, device=4),  # 70 days ahead: no longer the same matter
        alarm(8, device=5),  # two days after it was closed
        alarm(8, device=6),
    ]
    scores = scored(raised, tickets)
    assert (scores.hits, scores.false_alarms, scores.unknown) == (1, 1, 4)
    assert scores.missed_tickets == [4, 5]


ROLLED_UP = [
    ("battery_temperature > 40", 900, None),
    ("battery_temperature > 40", 60, "less than 15 minutes"),
    ("avg_1h(ups_load) > 80", 0, None),
    ("avg_15m(ups_load) > 80", 0, "less than 15 minutes"),
    ("avg_1h(ups_load) > 80 AND ups_load > 90", 0, "less than 15 minutes"),
    ("avg_1h(ups_load) > 80 AND ups_load > 90", 3600, None),
    ("battery_current > 5", 3600, "do not keep battery_current"),
    ("status_bypass", 3600, None),
    ("ups_test_result = 'failed'", 3600, "do not keep ups_test_result"),
]


@pytest.mark.parametrize(("condition", "holds", "reason"), ROLLED_UP)
def test_averages_of_a_quarter_are_only_for_conditions_about_longer_times(condition, holds, reason):
    (rule,) = read_rules(
        f"""
        [one]
        title = {{en = "One", zh = "一"}}
        severity = "minor"
        condition = "{condition}"
        raise_after_seconds = {holds}
        clear_after_seconds = 0
        source = "test"
        """
    ).values()
    found = refusal_of_rollups(rule)
    assert (found is None) == (reason is None)
    if found is not None:
        assert reason in found.en
        assert found.zh


def test_shipped_rules_over_a_day_of_warmth_may_use_averages():
    assert refusal_of_rollups(catalogue()["battery_warm"]) is None
    assert refusal_of_rollups(catalogue()["low_battery"]) is not None
