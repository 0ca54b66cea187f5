"""Times on battery as episodes, and what their promises were worth."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.power_events import (
    LOST_AFTER,
    EventKind,
    PowerEvent,
    Proof,
    Sample,
    Unproven,
    power_events,
    trust,
)

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
LONG_AFTER = T0 + timedelta(days=2)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def reading(seconds: float, *, on: bool, **values: object) -> Sample:
    return Sample(at(seconds), {"status_on_battery": on, **values})


def outage(seconds: int, *, lasts: float, promises: float, load: float = 50.0) -> list[Sample]:
    """A discharge of a battery that lasts so long from full, promising another time."""
    step, begin = 5, 60
    found = [reading(0, on=False, battery_charge=100.0, ups_load=load, battery_runtime=promises)]
    for passed in range(0, seconds + 1, step):
        left = 100.0 * (1 - passed / lasts)
        found.append(
            reading(
                begin + passed,
                on=True,
                battery_charge=left,
                battery_runtime=promises * left / 100,
                ups_load=load,
                battery_voltage=54.0 - passed / 600,
            )
        )
    found.append(reading(begin + seconds + step, on=False, battery_charge=left, ups_load=load))
    return found


def only(samples: list[Sample], now: datetime = LONG_AFTER) -> PowerEvent:
    (event,) = power_events(samples, now)
    return event


def test_an_outage_with_begin_end_depth_energy_and_voltage():
    samples = [
        Sample(one.at, {**one.values, "ups_realpower": 1_200.0, "input_transfer_reason": "sag"})
        for one in outage(600, lasts=1_800, promises=1_800)
    ]
    event = only(samples)
    assert (event.kind, event.began_at, event.ended_at) == (EventKind.OUTAGE, at(60), at(665))
    assert event.watt_hours == pytest.approx(1_200 * 605 / 3_600)
    assert event.energy_from == "watts"
    assert event.depth == pytest.approx(100 * 600 / 1_800)
    assert event.voltage_lowest == pytest.approx(53.0)
    assert (event.load_mean, event.load_max, event.cause) == (50.0, 50.0, "sag")


def test_energy_from_load_where_no_watts_are_told():
    samples = [
        Sample(one.at, {**one.values, "ups_realpower_nominal": 2_000.0})
        for one in outage(600, lasts=1_800, promises=1_800)
    ]
    event = only(samples)
    assert event.energy_from == "load"
    assert event.watt_hours == pytest.approx(1_000 * 605 / 3_600)


@pytest.mark.parametrize(("lasts", "promises"), [(1_800, 1_800), (1_200, 2_400), (2_400, 1_600)])
def test_a_promise_is_held_against_what_the_battery_would_have_given(lasts, promises):
    event = only(outage(600, lasts=lasts, promises=promises))
    assert event.proof.ratio == pytest.approx(lasts / promises, rel=0.02)
    assert event.proof.low < event.proof.lasted < event.proof.high


def test_a_battery_that_ran_empty_proves_more_than_one_that_did_not():
    deep = only(outage(1_200, lasts=1_250, promises=2_500))
    shallow = only(outage(400, lasts=1_250, promises=2_500))
    assert deep.reached_end
    assert deep.proof.ratio == pytest.approx(0.5, rel=0.05)
    assert deep.proof.high / deep.proof.low < shallow.proof.high / shallow.proof.low


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (outage(150, lasts=600, promises=600), Unproven.TOO_SHORT),
        (outage(600, lasts=36_000, promises=36_000), Unproven.TOO_SHALLOW),
        (
            [
                Sample(one.at, {k: v for k, v in one.values.items() if k != "battery_runtime"})
                for one in outage(600, lasts=1_800, promises=1_800)
            ],
            Unproven.NO_PROMISE,
        ),
        (
            [
                Sample(one.at, {k: v for k, v in one.values.items() if k != "battery_charge"})
                for one in outage(600, lasts=1_800, promises=1_800)
            ],
            Unproven.NO_CHARGE,
        ),
        (
            [
                Sample(one.at, {**one.values, "ups_load": 20.0 if number < 60 else 70.0})
                for number, one in enumerate(outage(600, lasts=1_800, promises=1_800))
            ],
            Unproven.LOAD_CHANGED,
        ),
    ],
)
def test_what_proves_nothing_says_why(samples, why):
    event = only(samples)
    assert (event.proof, event.unproven) == (None, why)


def test_an_episode_that_goes_on_is_open_and_one_whose_end_was_not_seen_is_lost():
    samples = outage(600, lasts=1_800, promises=1_800)[:-1]
    going = only(samples, now=at(700))
    assert (going.ended_at, going.lost, going.unproven) == (None, False, Unproven.OPEN)
    lost = only(samples, now=at(660) + LOST_AFTER + timedelta(seconds=1))
    assert (lost.ended_at, lost.lost) == (at(660), True)
    back = only([*samples, reading(9_000, on=False)])
    assert (back.ended_at, back.lost) == (at(660), True)


def test_mains_that_flaps_is_one_episode_and_two_outages_are_two():
    samples = outage(300, lasts=1_800, promises=1_800)
    flapping = [*samples, reading(395, on=True), reading(400, on=False)]
    event = only(flapping)
    assert (event.interruptions, event.ended_at) == (1, at(400))
    apart = [*samples, reading(900, on=True), reading(905, on=False)]
    assert len(power_events(apart, LONG_AFTER)) == 2


def test_a_test_is_no_outage_unless_mains_failed_under_it():
    def tested(**more: object) -> list[Sample]:
        return [
            Sample(one.at, {**one.values, "status_testing": True, **more})
            for one in outage(30, lasts=1_800, promises=1_800)
        ]

    assert only(tested(input_voltage=231.0)).kind is EventKind.SELF_TEST
    assert only(tested(input_voltage=0.0)).kind is EventKind.OUTAGE
    assert only(tested(status_calibrating=True)).kind is EventKind.CALIBRATION


def test_nan_and_absurd_values_are_as_if_not_told():
    samples = [
        Sample(one.at, {**one.values, "battery_voltage": nan, "ups_load": 900.0})
        for one in outage(600, lasts=1_800, promises=1_800)
    ]
    event = only(samples)
    assert (event.voltage_lowest, event.load_mean) == (None, None)
    assert event.proof is not None


def test_readings_without_the_flag_say_nothing():
    assert power_events([Sample(at(0), {"battery_charge": 50.0})], LONG_AFTER) == []
    assert power_events([], LONG_AFTER) == []


@given(st.lists(st.tuples(st.integers(0, 20_000), st.booleans()), max_size=60), st.randoms())
def test_order_and_repetition_of_readings_change_nothing(told, shuffle: random.Random):
    samples = [reading(second, on=on) for second, on in dict(told).items()]
    mixed = [*samples, *samples]
    shuffle.shuffle(mixed)
    events = power_events(samples, LONG_AFTER)
    assert power_events(mixed, LONG_AFTER) == events
    covered = sum(event.seconds for event in events)
    assert 0 <= covered <= 20_000
    assert all(a.ended_at <= b.began_at for a, b in pairwise(events))


def test_trust_needs_more_than_one_shallow_discharge():
    kept = Proof(1_000, 1_000, 900, 1_111)
    broken = Proof(1_000, 500, 450, 556)
    assert trust([]) is None
    assert trust([kept]).ratio == pytest.approx(1.0)
    once, often = trust([broken]), trust([broken] * 5)
    assert 0.5 < often.ratio < once.ratio < 1
    assert often.high - often.low < once.high - once.low
    assert often.episodes == 5
