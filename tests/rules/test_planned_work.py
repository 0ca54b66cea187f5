"""When announced work takes place, in the site's time, and which rules it explains."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.catalogue import catalogue
from rules.planned_work import Repeat, Series, Work, occurrences, quiet_rules

LATER = datetime(2027, 6, 1, tzinfo=UTC)
MONDAY = date(2026, 3, 2)


def test_every_monday_at_ten_stays_at_ten_when_the_clocks_change():
    series = Series(date(2026, 3, 23), time(10), Repeat.WEEKLY)
    found = list(islice(occurrences(series, "Europe/Berlin", LATER), 2))
    assert [one.begins_at for one in found] == [
        datetime(2026, 3, 23, 9, tzinfo=UTC),  # the clocks go forward on the 29th
        datetime(2026, 3, 30, 8, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        # 02:30 is skipped on 29 March: it is 03:30 then, 01:30 in UTC.
        (date(2026, 3, 29), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        # 02:30 comes twice on 25 October: the first one is in summer time.
        (date(2026, 10, 25), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ],
)
def test_times_that_the_clocks_skip_or_double(day, expected):
    (only,) = occurrences(Series(day, time(2, 30), Repeat.ONCE), "Europe/Berlin", LATER)
    assert only.begins_at == expected


def test_the_first_saturday_of_the_month_and_months_without_a_fifth():
    first = Series(date(2026, 1, 3), time(8), Repeat.MONTHLY)
    days = [one.occurs_on for one in islice(occurrences(first, "Asia/Shanghai", LATER), 4)]
    assert days == [date(2026, 1, 3), date(2026, 2, 7), date(2026, 3, 7), date(2026, 4, 4)]
    fifth = Series(date(2026, 1, 31), time(8), Repeat.MONTHLY)
    days = [one.occurs_on for one in islice(occurrences(fifth, "Asia/Shanghai", LATER), 3)]
    assert days == [date(2026, 1, 31), date(2026, 5, 30), date(2026, 8, 29)]


def test_a_series_ends_on_its_last_day():
    series = Series(MONDAY, time(10), Repeat.WEEKLY, every=2, until=date(2026, 3, 30))
    days = [one.occurs_on for one in occurrences(series, "UTC", LATER)]
    assert days == [date(2026, 3, 2), date(2026, 3, 16), date(2026, 3, 30)]


@given(
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    st.times(),
    st.sampled_from(list(Repeat)),
    st.integers(1, 8),
    st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]),
)
def test_times_come_in_order_on_the_same_weekday_and_local_time(day, at, repeat, every, zone):
    series = Series(day, at, repeat, every)
    found = list(islice(occurrences(series, zone, LATER), 30))
    assert found[0].occurs_on == day
    assert [one.begins_at for one in found] == sorted({one.begins_at for one in found})
    assert {one.occurs_on.weekday() for one in found} == {day.weekday()}
    for one in found:
        local = one.begins_at.astimezone(ZoneInfo(zone))
        shift = abs(local.replace(tzinfo=None) - datetime.combine(one.occurs_on, at))
        assert shift <= timedelta(hours=1)


def test_work_explains_what_it_brings_about_and_nothing_else():
    rules = catalogue()
    mains = quiet_rules(Work.GENERATOR_TEST, rules)
    assert {"on_battery", "low_battery", "input_out_of_range"} <= set(mains)
    assert {"communication_lost", "fan_fault", "battery_fault", "overload"}.isdisjoint(mains)
    network = quiet_rules(Work.NETWORK_WORK, rules)
    assert "communication_lost" in network
    assert {"on_battery", "output_off", "overload"}.isdisjoint(network)
    battery = quiet_rules(Work.BATTERY_WORK, rules)
    assert {"battery_fault", "battery_test_failed", "replace_battery"} <= set(battery)
    assert {"on_battery", "output_off", "over_temperature"}.isdisjoint(battery)
    cooling = quiet_rules(Work.COOLING_WORK, rules)
    assert {"over_temperature", "battery_hot"} <= set(cooling)
    assert {"on_battery", "fan_fault"}.isdisjoint(cooling)
    assert quiet_rules(Work.OTHER, rules) is None
    assert not {key for key, rule in rules.items() if rule.reminder} & {*mains, *battery}
