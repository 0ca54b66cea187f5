from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_api.dispatch.ranking import (
    Engineer,
    Job,
    Position,
    Span,
    distance_km,
    earliest_arrival,
    rank,
    travel_minutes,
)

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
BEIJING = Position(39.9042, 116.4074)
SHANGHAI = Position(31.2304, 121.4737)


def minutes(value: float) -> timedelta:
    return timedelta(minutes=value)


def engineer(number: int, **facts: object) -> Engineer:
    known: dict[str, object] = {
        "name": f"Engineer {number}",
        "name_zh": f"工程师{number}",
        "skills": frozenset({"ups"}),
        "position": SHANGHAI,
        "service_center_id": 1,
    }
    return Engineer(id=number, **{**known, **facts})


JOB = Job(
    skills=("ups",),
    position=SHANGHAI,
    minutes=120,
    earliest_at=AT,
    respond_by_at=AT + minutes(240),
    service_center_id=1,
)


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        (BEIJING, SHANGHAI, 1067),
        (SHANGHAI, SHANGHAI, 0),
        (Position(0, 179.5), Position(0, -179.5), 111),
        (Position(90, 0), Position(-90, 0), 20_015),
    ],
)
def test_distance_is_along_the_great_circle(one, other, km):
    assert distance_km(one, other) == pytest.approx(km, abs=1)


@pytest.mark.parametrize(("km", "takes"), [(0, 15), (10, 34.5), (100, 150)])
def test_travel_is_slow_in_the_city_and_faster_outside(km, takes):
    assert travel_minutes(km) == pytest.approx(takes)


@pytest.mark.parametrize(
    ("busy", "arrives"),
    [
        pytest.param((), 30, id="free now"),
        pytest.param(((0, 60),), 90, id="after the job under way"),
        pytest.param(((160, 220),), 30, id="before a later job"),
        pytest.param(((140, 220),), 250, id="the gap is too short"),
        pytest.param(((140, 220), (300, 400)), 430, id="the next gap is too short as well"),
        pytest.param(((-60, 0),), 30, id="a finished job is nothing"),
        pytest.param(((100, 110), (0, 120)), 150, id="unsorted and nested"),
    ],
)
def test_an_engineer_arrives_when_travel_and_work_fit(busy, arrives):
    spans = [Span(AT + minutes(a), AT + minutes(b)) for a, b in busy]
    found = earliest_arrival(earliest_at=AT, travel=minutes(30), work=minutes(120), busy=spans)
    assert found == AT + minutes(arrives)


@given(
    st.lists(st.tuples(st.integers(-300, 2_000), st.integers(1, 500)), max_size=8),
    st.integers(0, 300),
    st.integers(1, 500),
)
def test_the_earliest_arrival_never_touches_another_job(jobs, travel, work):
    spans = [Span(AT + minutes(start), AT + minutes(start + length)) for start, length in jobs]
    arrives_at = earliest_arrival(
        earliest_at=AT, travel=minutes(travel), work=minutes(work), busy=spans
    )
    leaves_at, ends_at = arrives_at - minutes(travel), arrives_at + minutes(work)
    assert leaves_at >= AT
    assert all(s.ends_at <= leaves_at or s.starts_at >= ends_at for s in spans)


BUSY = (Span(AT, AT + minutes(300)),)


@pytest.mark.parametrize(
    ("engineers", "order"),
    [
        pytest.param([engineer(1, position=BEIJING), engineer(2)], [2, 1], id="near before far"),
        pytest.param([engineer(1, skills=frozenset()), engineer(2)], [2, 1], id="skilled first"),
        pytest.param([engineer(1, open_orders=2), engineer(2)], [2, 1], id="less loaded first"),
        pytest.param([engineer(1, busy=BUSY), engineer(2)], [2, 1], id="free before busy"),
        pytest.param(
            [engineer(1, service_center_id=2), engineer(2)], [2, 1], id="own center first"
        ),
        pytest.param(
            [engineer(1, skills=frozenset()), engineer(2, position=Position(31.5, 122))],
            [2, 1],
            id="skill outweighs nearness",
        ),
        pytest.param([engineer(1, position=None), engineer(2)], [2, 1], id="unknown is not near"),
        pytest.param([engineer(2), engineer(1)], [1, 2], id="equals by number"),
        pytest.param([], [], id="nobody"),
    ],
)
def test_candidates_stand_in_order(engineers, order):
    assert [c.engineer_id for c in rank(JOB, engineers)] == order


def test_a_candidate_says_why_in_both_languages():
    best = rank(JOB, [engineer(1, open_orders=1, position=Position(31.3, 121.4737))])[0]
    assert best.in_time is True
    assert best.missing_skills == ()
    assert [line.en for line in best.reasons] == [
        "Has the skill: UPS.",
        "8 km away, about 30 min on the road.",
        "1 open work order.",
        "Arrives before the response deadline.",
    ]
    assert best.reasons[2].zh == "手上有 1 张未完成派工单。"
    assert best.arrives_at == AT + minutes(35)


def test_a_candidate_who_comes_too_late_is_told_so():
    late = rank(JOB, [engineer(1, busy=BUSY, skills=frozenset())])[0]
    assert late.in_time is False
    assert late.to_json()["missing_skills"] == ["ups"]
    assert late.reasons[-1].en == "Arrives after the response deadline."


def test_without_a_promise_nobody_is_late():
    job = Job(skills=(), position=None, minutes=60, earliest_at=AT)
    assert rank(job, [engineer(1)])[0].in_time is None
