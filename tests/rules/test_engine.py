"""Facts in, changes out: merged rows, expiry, unknown, rounds, rules that fail."""

from datetime import UTC, datetime, timedelta

import polars as pl

from rules.alarms import Change, Phase
from rules.believed import Facts
from rules.catalogue import catalogue, read_rules
from rules.engine import Engine
from rules.facts import Reading

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
RULES = read_rules("""
[hot]
title = {en = "Hot", zh = "热"}
severity = "minor"
condition = "battery_temperature > 40"
clear = "battery_temperature <= 37"
raise_after_seconds = 60
clear_after_seconds = 0
source = "test"
[battery]
title = {en = "On battery", zh = "电池供电"}
severity = "major"
condition = "status_on_battery AND NOT COALESCE(status_testing, FALSE)"
raise_after_seconds = 60
clear_after_seconds = 0
source = "test"
matures_unseen = true
[silent]
title = {en = "Silent", zh = "失联"}
severity = "minor"
condition = "seconds_since_seen > 900"
raise_after_seconds = 0
clear_after_seconds = 0
source = "test"
[fault]
title = {en = "Fault", zh = "故障"}
severity = "minor"
condition = "COALESCE(alarm_fan_fault, FALSE) OR COALESCE(alarm_fuse_fault, FALSE)"
raise_after_seconds = 0
clear_after_seconds = 0
source = "test"
""")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def facts(engine: Engine, device_id: int = 1) -> Facts:
    return Facts(device_id, dict.fromkeys(engine.columns), None, None, None)


def reading(seconds: float, device_id: int = 1, valid: float | None = 90, **points) -> Reading:
    return Reading(device_id, at(seconds), at(seconds), points, stays_valid_seconds=valid)


def story(judged) -> list:
    return [
        (change.rule.key, step.change, (step.at - T0).total_seconds())
        for change in judged.changes
        for step in change.steps
    ]


def test_several_readings_of_one_device_are_judged_in_order():
    engine = Engine(RULES)
    judged = engine.judge_readings(
        {1: facts(engine)},
        {
            1: [
                reading(s, battery_temperature=t)
                for s, t in ((0, 45), (30, 45), (70, 45), (80, 36))
            ]
        },
        {},
    )
    assert story(judged) == [
        ("hot", Change.RAISED, 60),
        ("hot", Change.CLEARING, 80),
        ("hot", Change.CLEARED, 80),
    ]
    assert judged.states == {}


def test_a_point_that_is_missing_keeps_its_newest_value_until_it_expires():
    engine = Engine(RULES)
    known = facts(engine)
    engine.judge_readings({1: known}, {1: [reading(0, battery_temperature=45.0)]}, {})
    known.take(reading(30, ups_load=50.0))
    assert known.row(at(30), 0)["battery_temperature"] == 45.0
    assert known.row(at(30 + 91), 0)["battery_temperature"] is None


def test_an_expired_value_does_not_come_back_with_the_next_partial_reading():
    engine = Engine(RULES)
    known = facts(engine)
    known.take(reading(0, battery_temperature=45.0))
    known.take(reading(500, status_on_battery=False))
    assert known.row(at(500), 0)["battery_temperature"] is None


def test_missing_everywhere_is_unknown_even_for_a_rule_that_coalesces():
    engine = Engine(RULES)
    known = facts(engine)
    first = engine.judge_readings({1: known}, {1: [reading(0, alarm_fan_fault=True)]}, {})
    assert story(first) == [("fault", Change.RAISED, 0)]
    later = engine.judge_time([known], {1: 600.0}, first.states, at(600))
    assert story(later) == []
    assert later.states[1, "fault"].unknown_since_at == at(90)


def test_on_battery_and_then_silent_raises_both_at_their_times():
    engine = Engine(RULES)
    known = facts(engine)
    judged = engine.judge_readings(
        {1: known}, {1: [reading(0, valid=15, status_on_battery=True)]}, {}
    )
    told = []
    states = judged.states
    for second in range(1, 1000):
        judged = engine.judge_time([known], {1: float(second)}, states, at(second))
        states = judged.states
        told += story(judged)
    assert told == [("battery", Change.RAISED, 60), ("silent", Change.RAISED, 901)]


def test_a_long_gap_between_readings_does_not_count_as_holding():
    engine = Engine(RULES)
    judged = engine.judge_readings(
        {1: facts(engine)},
        {
            1: [
                reading(0, valid=30, battery_temperature=45.0),
                reading(7200, valid=30, battery_temperature=20.0),
            ]
        },
        {},
    )
    assert story(judged) == []
    assert judged.states == {}


def test_nan_is_missing_and_never_raises():
    engine = Engine(RULES)
    judged = engine.judge_readings(
        {1: facts(engine)}, {1: [reading(0, battery_temperature=float("nan"))]}, {}
    )
    assert judged.states == {}


def test_a_rule_that_fails_is_named_and_the_others_go_on():
    engine = Engine(RULES)
    broken = pl.col("battery_temperature").cast(pl.String).str.to_integer(strict=True) > 3
    engine._conditions["hot"] = broken
    judged = engine.judge_readings(
        {1: facts(engine)},
        {1: [reading(0, battery_temperature=45.5, alarm_fan_fault=True)]},
        {},
    )
    assert set(judged.failed) == {"hot"}
    assert story(judged) == [("fault", Change.RAISED, 0)]


def test_devices_are_judged_side_by_side():
    engine = Engine(RULES)
    judged = engine.judge_readings(
        {n: facts(engine, n) for n in range(1, 501)},
        {n: [reading(0, n, status_on_battery=n % 2 == 0)] for n in range(1, 501)},
        {},
    )
    assert {key for key, _ in judged.states} == set(range(2, 501, 2))
    assert all(state.phase is Phase.PENDING for state in judged.states.values())


def test_the_shipped_rules_compile_and_stay_quiet_about_a_healthy_unit():
    engine = Engine(catalogue())
    known = facts(engine)
    judged = engine.judge_readings(
        {1: known},
        {
            1: [
                reading(
                    0,
                    status_on_line=True,
                    status_on_battery=False,
                    status_low_battery=False,
                    battery_charge=100.0,
                    battery_temperature=24.0,
                    input_voltage=231.0,
                    input_voltage_nominal=230.0,
                    input_frequency=50.0,
                    ups_load=42.0,
                    ups_test_result="passed",
                )
            ]
        },
        {},
    )
    assert judged.states == {}


def test_a_shipped_rule_does_not_clear_on_a_neighbor_when_its_own_points_are_gone():
    """The charge is known, the test's result is not: that is not a passed test."""
    engine = Engine(catalogue())
    known = facts(engine)
    failed = engine.judge_readings(
        {1: known},
        {1: [reading(0, valid=60, ups_test_result="failed", battery_charge=100.0)]},
        {},
    )
    assert ("battery_test_failed", Change.RAISED, 0) in story(failed)
    gone = engine.judge_readings(
        {1: known}, {1: [reading(600, valid=60, battery_charge=100.0)]}, failed.states
    )
    assert story(gone) == []
    passed = engine.judge_readings(
        {1: known}, {1: [reading(630, valid=60, ups_test_result="passed")]}, gone.states
    )
    assert ("battery_test_failed", Change.CLEARED, 630) in story(passed)


def test_an_alarm_that_time_raised_shows_what_was_last_read():
    engine = Engine(RULES)
    known = facts(engine)
    first = engine.judge_readings(
        {1: known}, {1: [reading(0, valid=15, status_on_battery=True)]}, {}
    )
    ticked = engine.judge_time([known], {1: 70.0}, first.states, at(70))
    (raised,) = [one for one in ticked.changes if one.steps]
    assert raised.values == {"status_on_battery": True, "status_testing": None}
    assert raised.observed_at == at(0)
    again = engine.judge_readings(
        {1: known}, {1: [reading(200, valid=15, status_on_battery=False)]}, first.states
    )
    assert story(again)[0] == ("battery", Change.RAISED, 60)
    (change, *_) = [one for one in again.changes if one.steps]
    assert (change.values["status_on_battery"], change.observed_at) == (True, at(0))
