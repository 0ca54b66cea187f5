import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from device_sims.history import history, past_readings
from device_sims.spec import BatterySpec, RoomSpec, UpsSpec
from device_sims.surroundings import outages
from device_sims.ups import SimulatedUps

END = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
START = END - timedelta(days=60)
STEP = timedelta(minutes=15)


def spec(**room):
    return UpsSpec(
        manufacturer="Example Power",
        model="Tower 3000",
        serial="S1",
        firmware="1.0",
        installed_at=START - timedelta(days=400),
        battery=BatterySpec(capacity_ah=9.0, cells=36, installed_at=START - timedelta(days=400)),
        room=RoomSpec(seed=3, **room),
    )


@pytest.fixture(scope="module")
def past():
    return list(history(spec(outages_per_year=60.0), 1, START, END, STEP))


def test_instants_rise_and_stay_between_start_and_end(past):
    instants = [instant for instant, _ in past]
    assert instants == sorted(set(instants))
    assert START < instants[0] <= START + timedelta(hours=1)
    assert END - STEP <= instants[-1] < END


def test_it_is_hourly_far_back_and_at_the_asked_step_on_the_last_day(past):
    recent = [instant for instant, _ in past if instant >= END - timedelta(days=1)]
    assert len(recent) in (95, 96)
    widths = Counter(
        later - earlier
        for (earlier, _), (later, _) in itertools.pairwise(past)
        if later < END - timedelta(days=1)
    )
    assert widths[timedelta(hours=1)] > 1_300


def test_outages_of_the_past_show_and_are_over_before_the_last_day(past):
    happened = outages(spec(outages_per_year=60.0).room, start=START, end=END - timedelta(hours=36))
    assert len(happened) > 3
    by_instant = dict(past)
    for outage in happened:
        assert by_instant[outage.starts_at]["status_on_battery"] is True
        assert by_instant[outage.ends_at]["status_on_line"] is True
    on_battery = [instant for instant, row in past if row["status_on_battery"]]
    assert max(on_battery) < END - timedelta(hours=36)


def test_weekly_self_tests_of_the_past_left_their_result(past):
    assert {row["ups_test_result"] for _, row in past} <= {"passed", "aborted", "in_progress"}
    assert past[-1][1]["ups_test_result"] == "passed"


def test_the_same_seed_gives_the_same_past():
    first, second = (list(history(spec(), 4, END - timedelta(days=3), END, STEP)) for _ in range(2))
    assert first == second


def test_a_unit_built_anew_stands_where_the_past_left_off():
    aged = SimulatedUps(spec(), 1, start=START)
    for _ in past_readings(aged, end=END, step=STEP):
        pass
    fresh = SimulatedUps(spec(), 1, start=END)
    assert aged.now == END
    assert fresh.battery.age_years == pytest.approx(aged.battery.age_years, rel=0.02)
    gone_on, begun = aged.points(), fresh.points()
    for column, tolerance in {
        "battery_charge": 0.5,
        "battery_runtime": 0.06 * begun["battery_runtime"],
        "battery_voltage": 0.3,
        "battery_temperature": 1.0,
        "ups_temperature": 1.5,
        "ups_load": 0.0,
        "input_voltage": 0.0,
    }.items():
        assert gone_on[column] == pytest.approx(begun[column], abs=tolerance), column


def test_units_of_one_site_lose_mains_together():
    room = RoomSpec(seed=9, outages_per_year=40.0)
    assert outages(room, start=START, end=END) == outages(room, start=START, end=END)
    longer = outages(room, start=START - timedelta(days=90), end=END)
    assert outages(room, start=START, end=END) == [
        outage for outage in longer if outage.starts_at >= START
    ]
