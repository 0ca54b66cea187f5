"""What functions over time say: known cases, and a plain second-by-second count beside them."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.believed import Facts
from rules.catalogue import COLUMNS
from rules.conditions import parse
from rules.conditions.tree import Aggregate, Column, ColumnType, Window
from rules.facts import Reading
from rules.history import NOT_TOLD, Carried, Rows, merge, steps_by_device
from rules.points import BY_COLUMN, Pace
from rules.windows import ALWAYS, Past, microseconds, values_of, window_values

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def window(text: str) -> Window:
    (found,) = parse(f"{text} > 0", COLUMNS).windows
    return found


def reading(seconds: float, valid: float | None = 90, withheld=(), **points) -> Reading:
    return Reading(
        1,
        at(seconds),
        at(seconds),
        points,
        stays_valid_seconds=valid,
        withheld=frozenset(withheld),
    )


def told(text: str, *readings: Reading) -> float | None:
    """What a window says at the last of some readings."""
    one = window(text)
    past = Past({one.column.name: one.seconds})
    for each in readings:
        past.take(each)
    (value,) = values_of([one], [past], [(0, past.at)])[one.name]
    return value


def minutes(*loads: float | None, **options) -> list[Reading]:
    """A reading a minute, without the point where there is None."""
    return [
        reading(60 * n, **options, **({} if load is None else {"ups_load": load}))
        for n, load in enumerate(loads)
    ]


CASES = [
    # Ten minutes: 40 % for the first five, then 80 %: the last five minutes are all 80.
    ("avg_5m(ups_load)", minutes(*[40] * 5, *[80] * 6), 80.0),
    ("avg_10m(ups_load)", minutes(*[40] * 5, *[80] * 6), 60.0),
    # Held values weigh by time: 10 holds for four minutes, 60 for one: (40 + 60) / 5.
    (
        "avg_5m(ups_load)",
        [
            reading(0, 600, ups_load=10.0),
            reading(240, 600, ups_load=60.0),
            reading(300, 600, ups_load=0.0),
        ],
        20.0,
    ),
    # The value that held when the window began counts, the newest too.
    ("min_5m(ups_load)", minutes(10, 90, 90, 90, 90, 90, 90), 90.0),
    ("min_5m(ups_load)", minutes(10, 90, 90, 90, 90, 90), 10.0),
    ("max_5m(ups_load)", minutes(10, 10, 10, 10, 10, 99), 99.0),
    ("delta_5m(ups_load)", minutes(10, 20, 30, 40, 50, 60, 75), 75.0 - 20.0),
    # 55 points within five minutes are 660 an hour.
    ("rate_5m(ups_load)", minutes(10, 20, 30, 40, 50, 60, 75), 660.0),
    # Half of the window has to be known: 90 s of 5 min are not, 150 s are.
    ("avg_5m(ups_load)", [reading(0, ups_load=50.0), reading(90, ups_load=50.0)], None),
    (
        "avg_5m(ups_load)",
        [reading(0, ups_load=50.0), reading(75, ups_load=70.0), reading(150, ups_load=9.0)],
        60.0,
    ),
    # The newest value is not known: told to be unbelievable, or never told.
    ("avg_5m(ups_load)", [*minutes(*[50] * 6), reading(360, withheld=["ups_load"])], None),
    ("avg_5m(battery_charge)", minutes(*[50] * 6), None),
    ("max_5m(ups_load)", [*minutes(*[50] * 6), reading(360, ups_load=math.nan)], None),
    # A point that later readings do not tell holds as long as the unit is heard.
    ("avg_5m(ups_load)", minutes(50, None, None, None, None, None, None), None),
    (
        "avg_5m(ups_load)",
        [reading(0, ups_load=50.0), *(reading(60 * n, status_on_line=True) for n in range(1, 6))],
        50.0,
    ),
    ("delta_1h(ups_load)", [reading(0, ups_load=50.0), reading(3000, ups_load=60.0)], None),
    # At the window's start (300 s) the first value (0 s, good to 90 s) had expired.
    ("delta_5m(ups_load)", [reading(0, ups_load=50.0), reading(600, ups_load=60.0)], None),
]


@pytest.mark.parametrize(("text", "readings", "expected"), CASES)
def test_a_window_says_what_was_worked_out_by_hand(text, readings, expected):
    assert told(text, *readings) == expected


def flags(*values: bool | None, valid: float | None = 90) -> list[Reading]:
    return [
        reading(60 * n, valid, status_on_battery=value)
        for n, value in enumerate(values)
        if value is not None
    ]


FLAG_CASES = [
    ("since(status_on_battery)", flags(False, True, True, True), 120.0),
    ("since(status_on_battery)", flags(True, True, False), 0.0),
    ("since(status_on_battery)", [*flags(True), reading(60, withheld=["status_on_battery"])], None),
    # Minutes 2 and 3 were missed: nobody knows, so it counts from when it was known again.
    ("since(status_on_battery)", flags(True, True, None, None, True, True), 60.0),
    # One poll missed of three is no gap: the value was still believed.
    ("since(status_on_battery)", flags(True, True, None, True, valid=180), 180.0),
    ("share_5m(status_on_battery)", flags(False, False, True, True, False, False), 0.4),
    ("share_5m(status_on_battery)", flags(True), None),
    ("count_10m(status_on_battery)", flags(False, True, False, True, True, False), 2.0),
    # The first of the three rises lies before the window of five minutes.
    ("count_5m(status_on_battery)", flags(False, True, False, True, False, True, False), 2.0),
    # What became true in a gap may have done so once or many times: it is not counted.
    ("count_5m(status_on_battery)", flags(False, False, False, None, None, True), 0.0),
]


@pytest.mark.parametrize(("text", "readings", "expected"), FLAG_CASES)
def test_a_window_over_a_flag_says_what_was_worked_out_by_hand(text, readings, expected):
    assert told(text, *readings) == expected


def test_a_slow_point_holds_for_two_days_and_comes_back_with_the_next_slow_one():
    day = 86_400
    early = reading(0, ups_realpower_nominal=1000.0)
    assert told("avg_24h(ups_realpower_nominal)", early, reading(day, ups_load=1.0)) == 1000.0
    late = reading(3 * day, ups_load=1.0)
    assert told("avg_24h(ups_realpower_nominal)", early, late) is None


def test_since_counts_up_to_seven_days():
    eight_days = [reading(3600 * n, None, status_bypass=True) for n in range(8 * 24)]
    assert told("since(status_bypass)", *eight_days) == 7 * 86_400


WINDOWS = [
    Window(aggregate, span, Column(column, kind))
    for column, kind in (
        ("ups_load", ColumnType.NUMBER),
        ("ups_realpower_nominal", ColumnType.NUMBER),
        ("status_on_battery", ColumnType.FLAG),
    )
    for aggregate in Aggregate
    if aggregate.is_of_flags is (kind is ColumnType.FLAG)
    for span in (("7d",) if aggregate is Aggregate.SINCE else ("5m", "10m"))
]
SPANS = {each.column.name: 604_800 for each in WINDOWS}
LOADS = st.sampled_from([0.0, 10.0, 55.5, 80.0, 100.0, math.nan, 1e300])
POINTS = st.fixed_dictionaries(
    {},
    optional={
        "ups_load": LOADS,
        "ups_realpower_nominal": LOADS,
        "status_on_battery": st.booleans(),
        "battery_charge": st.just(90.0),
    },
)


@st.composite
def readings_of_one_device(draw: st.DrawFn) -> list[Reading]:
    seconds, readings = 0, []
    for _ in range(draw(st.integers(1, 14))):
        seconds += draw(st.sampled_from([1, 20, 60, 60, 90, 91, 150, 400]))
        points = draw(POINTS)
        hidden = draw(st.sets(st.sampled_from(["ups_load", "status_on_battery"]), max_size=1))
        for column in hidden:
            points.pop(column, None)
        valid = draw(st.sampled_from([10, 30, 90, 90, 200, None]))
        readings.append(reading(seconds, valid, hidden, **points))
    return readings


def believed_at(readings: list[Reading], column: str, instants: list[datetime]) -> list[float]:
    """The merged row of live judging, looked at at ascending instants; NaN is unknown."""
    facts = Facts(1, {}, None, None, None)
    seen: list[float] = []
    left = list(readings)
    for one in instants:
        while left and left[0].observed_at <= one:
            facts.take(left.pop(0))
        value = facts.row(one, 0.0).get(column)
        usable = value is not None and abs(value) <= 1e15
        seen.append(float(value) if usable else math.nan)
    return seen


def counted(one: Window, readings: list[Reading]) -> float | None:
    """The window worked out plainly from the middles of the seconds before the newest reading."""
    end = readings[-1].observed_at
    seconds = int((end - T0).total_seconds())
    column = one.column.name
    seen = believed_at(readings, column, [at(second + 0.5) for second in range(seconds)])
    begin = end - timedelta(seconds=one.seconds)
    before, newest = believed_at(readings, column, [begin, end])
    if math.isnan(newest):
        return None
    if one.aggregate is Aggregate.SINCE:
        run = 0
        while run < len(seen) and seen[-1 - run] == 1.0:
            run += 1
        return float(run) if newest == 1.0 else 0.0
    inside = seen[-one.seconds :]
    known = [value for value in inside if not math.isnan(value)]
    if one.aggregate in {Aggregate.DELTA, Aggregate.RATE}:
        if math.isnan(before):
            return None
        change = newest - before
        return change * 3600 / one.seconds if one.aggregate is Aggregate.RATE else change
    if 2 * len(known) < one.seconds:
        return None
    everything = [*inside, newest]
    match one.aggregate:
        case Aggregate.AVERAGE | Aggregate.SHARE:
            return sum(known) / len(known)
        case Aggregate.LEAST:
            return min([*known, newest])
        case Aggregate.GREATEST:
            return max([*known, newest])
        case _:
            pairs = pairwise(everything)
            return float(sum(before == 0.0 and after == 1.0 for before, after in pairs))


def same(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return left == pytest.approx(right, abs=1e-5)


@settings(max_examples=25)
@given(readings=readings_of_one_device())
def test_windows_agree_with_a_plain_count_of_seconds(readings):
    past = Past(SPANS)
    for each in readings:
        past.take(each)
    found = values_of(WINDOWS, [past], [(0, past.at)])
    for one in WINDOWS:
        assert same(found[one.name][0], counted(one, readings)), one.name


def rows_of(devices: list[list[Reading]]) -> Rows:
    slow = {column for column, point in BY_COLUMN.items() if point.pace is Pace.SLOW}
    flat = [each for readings in devices for each in readings]

    def told_of(column: str) -> np.ndarray:
        return np.array(
            [
                math.nan
                if column in each.withheld or abs(each.points.get(column, 0.0)) > 1e15
                else float(each.points.get(column, NOT_TOLD))
                for each in flat
            ]
        )

    return Rows(
        np.cumsum([len(readings) for readings in devices]),
        np.array([microseconds(each.observed_at) for each in flat], np.int64),
        np.array(
            [
                ALWAYS if each.stays_valid_seconds is None else each.stays_valid_seconds * 10**6
                for each in flat
            ],
            np.int64,
        ),
        np.array([not slow.issuperset(each.points) for each in flat], bool),
        np.array([not slow.isdisjoint(each.points) for each in flat], bool),
        {column: told_of(column) for column in SPANS},
    )


def as_list(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


@settings(max_examples=60)
@given(
    devices=st.lists(readings_of_one_device(), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 5_000), max_size=3),
)
def test_merging_a_piece_of_history_at_a_time_is_merging_reading_by_reading(devices, cuts):
    """Beliefs, expiry, windows and what is remembered at the end, over any cuts."""
    carried = Carried.nothing(len(devices), SPANS)
    edges = [-1, *sorted(cuts), 100_000]
    answers = {one.name: [[] for _ in devices] for one in WINDOWS}
    believed = {column: [[] for _ in devices] for column in SPANS}
    expired = [[] for _ in devices]
    for begin, end in pairwise(edges):
        piece = [
            [each for each in readings if at(begin) < each.observed_at <= at(end)]
            for readings in devices
        ]
        rows = rows_of(piece)
        merged = merge(rows, carried, SPANS)
        for one in WINDOWS:
            found = window_values(one, merged.steps[one.column.name], merged.devices, rows.at)
            for device, value in zip(merged.devices, as_list(found), strict=True):
                answers[one.name][device].append(value)
        for column, values in merged.believed.items():
            for device, value in zip(merged.devices, as_list(values), strict=True):
                believed[column][device].append(value)
        for device, value in zip(merged.devices, merged.expired_at, strict=True):
            expired[device].append(int(value))
    for device, readings in enumerate(devices):
        past, facts = Past(SPANS), Facts(1, {}, None, None, None)
        for n, each in enumerate(readings):
            past.take(each)
            expired_at = facts.take(each)
            row = facts.row(each.observed_at, 0.0)
            for column in SPANS:
                value = row.get(column)
                usable = value is not None and abs(value) <= 1e15
                assert believed[column][device][n] == (float(value) if usable else None)
            assert (expired_at is None) == (expired[device][n] < 0)
            if expired_at is not None:
                assert expired[device][n] == microseconds(expired_at)
            live = values_of(WINDOWS, [past], [(0, past.at)])
            for one in WINDOWS:
                assert same(answers[one.name][device][n], live[one.name][0]), one.name


@settings(max_examples=40)
@given(readings=readings_of_one_device(), cut=st.integers(0, 14))
def test_a_past_that_was_read_back_goes_on_as_the_one_that_was_kept(readings, cut):
    first, second = readings[:cut], readings[cut:]
    kept = Past(SPANS)
    for each in first:
        kept.take(each)
    if not first:
        return
    carried = Carried.nothing(1, SPANS)
    merged = merge(rows_of([first]), carried, SPANS)
    restored = Past.loaded(
        SPANS,
        observed_at=first[-1].observed_at,
        fast_at=int(carried.fast_at[0]),
        slow_at=int(carried.slow_at[0]),
        valid=int(carried.valid[0]),
        held={column: float(carried.held[column][0]) for column in SPANS},
        steps=steps_by_device(merged.steps, 0),
    )
    for each in second:
        kept.take(each)
        restored.take(each)
    look = [(0, kept.at)]
    assert values_of(WINDOWS, [restored], look) == values_of(WINDOWS, [kept], look)


def test_a_long_past_keeps_no_more_than_windows_look_back_on():
    past = Past({"ups_load": 300})
    for n in range(2_000):
        past.take(reading(10 * n, ups_load=float(n % 7)))
    starts, _ = past.steps["ups_load"]
    assert len(starts) < 300
    one = window("avg_5m(ups_load)")
    recent = Past({"ups_load": 300})
    for n in range(1_900, 2_000):
        recent.take(reading(10 * n, ups_load=float(n % 7)))
    assert values_of([one], [past], [(0, past.at)]) == values_of([one], [recent], [(0, recent.at)])
