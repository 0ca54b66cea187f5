"""Back-tests: the same alarms as live from the same readings; gaps, rollups, scopes, limits."""

import math
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.rollup import roll_up
from collector.telemetry_store import copy_newer, ensure_partition, insert_late
from rules.alarms import Change
from rules.backtest_store import Asked, NotPossible, Scope, estimated, run, units_in
from rules.believed import Facts
from rules.catalogue import catalogue, read_rules
from rules.engine import Engine
from rules.facts import Reading
from rules.windows import Past, longest_spans
from tests.cast import START, register

_RULE = """
[{key}]
title = {{en = "{key}", zh = "{key}"}}
severity = "minor"
condition = "{condition}"
{clear}
raise_after_seconds = {raise_after}
clear_after_seconds = {clear_after}
matures_unseen = {unseen}
source = "test"
"""


def rule(key, condition, clear=None, raise_after=0, clear_after=0, *, unseen=False):
    text = _RULE.format(
        key=key,
        condition=condition,
        clear="" if clear is None else f'clear = "{clear}"',
        raise_after=raise_after,
        clear_after=clear_after,
        unseen=str(unseen).lower(),
    )
    return read_rules(text)[key]


RULES = (
    rule("hot", "battery_temperature > 40", "battery_temperature <= 37", 60, 120),
    rule("out", "status_on_battery AND NOT COALESCE(status_testing, FALSE)", None, 60, 10),
    rule("unseen", "status_on_battery", None, 100, 0, unseen=True),
    rule("test", "COALESCE(ups_test_result, 'none') = 'failed'", "ups_test_result = 'passed'"),
    rule("average", "avg_5m(battery_temperature) > 40", "avg_5m(battery_temperature) < 38"),
    rule("worst", "max_10m(battery_temperature) - min_10m(battery_temperature) > 15", None, 30),
    rule("jump", "ABS(delta_5m(battery_temperature)) >= 20"),
    rule("steep", "rate_5m(battery_temperature) > 100 OR battery_temperature > 60", None, 0, 45),
    rule("long", "since(status_on_battery) >= 120", None, 0, 0),
    rule("often", "count_10m(status_on_battery) >= 2", "count_10m(status_on_battery) = 0", 0, 60),
    rule("share", "share_10m(status_on_battery) > 0.5 AND battery_temperature IS NOT NULL"),
)
POINTS = st.fixed_dictionaries(
    {},
    optional={
        "battery_temperature": st.sampled_from([20.0, 36.0, 38.5, 41.0, 45.0, 70.0, math.nan]),
        "status_on_battery": st.booleans(),
        "status_testing": st.booleans(),
        "ups_test_result": st.sampled_from(["passed", "failed", "none"]),
        "ups_load": st.just(40.0),
    },
)
FULL = st.fixed_dictionaries(
    {
        "battery_temperature": st.sampled_from([36.0, 38.5, 41.0, 45.0]),
        "status_on_battery": st.booleans(),
    }
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Reading, bool, list[int]]]:
    """One device's readings as they arrive: whether each is late, and when ticks follow it."""
    at, story = 0, []
    for _ in range(draw(st.integers(1, 18))):
        at += draw(st.sampled_from([5, 30, 60, 60, 60, 61, 130, 181, 700, 90_000]))
        points = draw(st.one_of(POINTS, FULL, FULL))
        hidden = draw(st.sets(st.sampled_from(["battery_temperature"]), max_size=1))
        for column in hidden if draw(st.booleans()) else ():
            points.pop(column, None)
        valid = draw(st.sampled_from([60.0, 180.0, 180.0, None]))
        moment = START + timedelta(seconds=at)
        one = Reading(1, moment, moment, points, stays_valid_seconds=valid)
        if "battery_temperature" not in points and hidden:
            one = Reading(
                1, moment, moment, points, stays_valid_seconds=valid, withheld=frozenset(hidden)
            )
        ticks = draw(st.lists(st.sampled_from([1, 20, 59, 75, 200]), max_size=2, unique=True))
        story.append((one, False, sorted(ticks)))
        if draw(st.integers(0, 5)) == 0:
            early = moment - timedelta(seconds=draw(st.integers(1, 300)), milliseconds=7)
            late = Reading(1, early, moment, draw(FULL), stays_valid_seconds=180.0)
            story.append((late, True, []))
    return story


def of(device_id: int, one: Reading) -> Reading:
    return replace(one, device_id=device_id)


def live(device_id: int, story: list, until) -> dict[str, list]:
    """What live judging makes of it, readings and ticks in the order of time."""
    engine = Engine({one.key: one for one in RULES})
    facts = Facts(device_id, dict.fromkeys(engine.columns), None, None, None)
    past = Past(longest_spans(engine.windows))
    states, told = {}, {one.key: [] for one in RULES}

    def note(judged):
        for change in judged.changes:
            for step in change.steps:
                if step.change is Change.RAISED:
                    told[change.rule.key].append([step.at, None])
                elif step.change is Change.CLEARED:
                    told[change.rule.key][-1][1] = step.at
        return judged.states

    def tick(now):
        return note(
            engine.judge_time([facts], {device_id: 0.0}, states, now, {}, {device_id: past})
        )

    on_time = [(one, ticks) for one, is_late, ticks in story if not is_late]
    for number, (one, ticks) in enumerate(on_time):
        mine = of(device_id, one)
        states = note(
            engine.judge_readings(
                {device_id: facts}, {device_id: [mine]}, states, {device_id: past}
            )
        )
        ends = on_time[number + 1][0].observed_at if number + 1 < len(on_time) else until
        for seconds in ticks:
            now = one.observed_at + timedelta(seconds=seconds)
            if now < ends:
                states = tick(now)
    states = tick(until)
    return {key: [tuple(alarm) for alarm in alarms] for key, alarms in told.items()}


@pytest.fixture
def two_units(database):
    return register(database.admin_dsn, devices=2)


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(stories=st.lists(histories(), min_size=1, max_size=2))
def test_a_back_test_raises_and_clears_what_live_judging_did(database, two_units, stories):
    until = START + timedelta(days=20)
    devices = two_units[: len(stories)]
    with psycopg.connect(database.admin_dsn, options="-c timezone=UTC") as connection:
        connection.execute("DELETE FROM telemetry")
        for device_id, story in zip(devices, stories, strict=True):
            for one, is_late, _ in story:
                ensure_partition(connection, one.observed_at)
                (insert_late if is_late else copy_newer)(connection, [of(device_id, one)])
        connection.commit()
        result = run([connection], Asked(RULES, START, until))
    for device_id, story in zip(devices, stories, strict=True):
        expected = live(device_id, story, until)
        for outcome in result.outcomes:
            found = [
                (alarm.raised_at, alarm.cleared_at)
                for alarm in outcome.raised
                if alarm.device_id == device_id
            ]
            assert found == expected[outcome.rule.key], outcome.rule.condition.text


def put(connection, device_id, minute, **points):
    """A reading at a minute, believed for three."""
    at = START + timedelta(minutes=minute)
    ensure_partition(connection, at)
    copy_newer(connection, [Reading(device_id, at, at, points, stays_valid_seconds=180.0)])


def minutes(raised):
    return [
        tuple(
            None if at is None else (at - START).total_seconds() / 60
            for at in (alarm.raised_at, alarm.cleared_at)
        )
        for alarm in raised
    ]


@pytest.fixture
def history(database, two_units):
    """Two units, five hours of minutes: the first is hot from 60 to 120 and silent 200 to 230."""
    hot, cool = two_units
    with psycopg.connect(database.admin_dsn, options="-c timezone=UTC") as connection:
        for minute in range(300):
            if not 200 <= minute < 230:
                put(connection, hot, minute, battery_temperature=45.0 if 60 <= minute < 120 else 25)
            put(connection, cool, minute, battery_temperature=25.0)
        connection.commit()
        yield connection


HOT = rule("hot", "battery_temperature > 40", "battery_temperature <= 37", 900, 1800)


def test_an_alarm_comes_and_goes_by_its_hold_times(history, two_units):
    (outcome,) = run([history], Asked((HOT,), START, START + timedelta(hours=5))).outcomes
    assert minutes(outcome.raised) == [(75, 150)]
    assert outcome.raised[0].device_id == two_units[0]
    assert [(week.alarms, week.tickets) for week in outcome.weeks] == [(1, 0)]


def test_two_versions_are_tried_on_the_same_readings(history):
    lower = rule("lower", "battery_temperature > 20", None, 900, 0)
    asked = Asked((HOT, lower), START, START + timedelta(hours=5))
    with psycopg.connect(history.info.dsn, password=history.info.password) as second:
        result = run([history, second], asked)
    hot, low = (minutes(outcome.raised) for outcome in result.outcomes)
    assert hot == [(75, 150)]
    # The second unit is above 20 throughout; the first stands over its silence, unknown then.
    assert low == [(15, None), (15, None)]
    assert result.readings == 570


def test_a_span_begins_with_nothing_standing_and_ends_with_what_stands(history):
    asked = Asked((HOT,), START + timedelta(minutes=90), START + timedelta(minutes=110))
    (outcome,) = run([history], asked).outcomes
    assert minutes(outcome.raised) == [(105, None)]


def test_units_are_chosen_by_device_site_customer_and_model(history, two_units):
    history.execute("UPDATE device SET model = 'Galaxy VS' WHERE id = %s", (two_units[1],))
    everything = units_in(history, Scope())
    assert [unit.id for unit in everything] == two_units
    assert [unit.id for unit in units_in(history, Scope(device=everything[0].key))] == two_units[:1]
    assert len(units_in(history, Scope(site="site-0", customer="customer"))) == 2
    assert [unit.id for unit in units_in(history, Scope(model="galaxy%"))] == two_units[1:]
    assert units_in(history, Scope(site="nowhere")) == []


def test_what_cannot_be_tried_is_refused_with_the_reason(history):
    def refused(*rules, site=None):
        asked = Asked(rules, START, START + timedelta(hours=1), Scope(site=site))
        with pytest.raises(NotPossible) as refusal:
            run([history], asked)
        assert refusal.value.reason.zh
        return refusal.value.reason.en

    assert "silence is not kept" in refused(catalogue()["communication_lost"])
    assert "no unit" in refused(HOT, site="nowhere")


def test_it_is_told_how_far_it_is_and_ends_when_asked(history):
    told = []

    class EnoughError(Exception):
        pass

    def progress(done, parts):
        told.append((done, parts))
        if done == 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        run([history], Asked((HOT,), START, START + timedelta(days=9)), progress=progress)
    assert told == [(1, 10), (2, 10)]


def test_averages_stand_in_for_readings_that_are_gone_where_the_rule_allows(history, two_units):
    hot, _ = two_units
    for minute in range(300):
        at = START + timedelta(minutes=minute)
        history.execute(
            "INSERT INTO rollup_dirty VALUES ('15m', %s, date_bin('15 min', %s, 'epoch'))"
            " ON CONFLICT DO NOTHING",
            (hot, at),
        )
    history.commit()
    roll_up(history, now=START + timedelta(days=1))
    gone = START + timedelta(minutes=180)
    history.execute("DELETE FROM telemetry WHERE observed_at < %s", (gone,))
    history.commit()
    asked = Asked((HOT,), START, START + timedelta(hours=5))
    estimate = estimated(history, asked, units_in(history, Scope()))
    assert estimate.rolled_up
    assert estimate.raw_since == gone
    (outcome,) = run([history], asked).outcomes
    # Quarters are told at their end: hot from 75 to 120, over at 135; the rule's own times after.
    assert minutes(outcome.raised) == [(90, 165)]
    quick = Asked((rule("quick", "battery_temperature > 40", None, 60, 0),), *_span(asked))
    left_out = estimated(history, quick, units_in(history, Scope())).left_out
    assert "less than 15 minutes" in left_out.en
    assert run([history], quick).outcomes[0].raised == []
    apart = Asked((rule("apart", "input_l1_current > 40", None, 900, 0),), *_span(asked))
    assert "input_l1_current" in estimated(history, apart, units_in(history, Scope())).left_out.en


def _span(asked):
    return asked.since, asked.until
