"""The simulated year: its truth holds together, and its scores are those of hand-made cases."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.judgement.observed import A_DAY, observe
from bench.judgement.others import year_of
from bench.judgement.score import Outcome, announced, is_false, score
from bench.judgement.truth import BEFORE_DAYS, END, WATCHED_DAYS, truth

SEEDS = range(700, 712)


@pytest.mark.parametrize("seed", SEEDS)
def test_capacity_never_grows_but_by_a_new_battery_and_the_end_is_its_first_day_below(seed):
    real = truth(np.random.default_rng(seed))
    grows = np.flatnonzero(np.diff(real.capacity) > 1e-12) + 1

    assert list(grows) in ([], [real.swapped_on])
    if real.end_day is not None:
        after = real.swapped_on or 0
        assert real.capacity[real.end_day] < END
        assert (real.capacity[after : real.end_day] >= END).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_seen_stays_what_a_unit_can_show(seed):
    chance = np.random.default_rng(seed)
    seen = observe(truth(chance), chance)
    known = np.isfinite(seen.load)

    assert len(seen.start) == WATCHED_DAYS * A_DAY
    assert (np.diff(seen.start) == 900).all()
    assert seen.charge[known].min() >= 0
    assert seen.charge[known].max() <= 100
    assert np.nanmax(seen.on_battery) <= 900 + 10


def test_the_same_seed_is_the_same_unit():
    one, other = (truth(np.random.default_rng(5)) for _ in range(2))
    assert (one.capacity == other.capacity).all()


def test_the_simulated_truth_knows_nothing_of_the_estimator():
    code = (
        "import sys, bench.judgement.truth, bench.judgement.observed, bench.judgement.fixed,"
        " bench.judgement.score; print(any(m.startswith('rules') for m in sys.modules))"
    )
    root = Path(__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"


def outcome(
    end: int | None, ticket: int | None, *, window=None, has_precursor: bool = True, fixed=None
) -> Outcome:
    return Outcome("rich", "proportional", "power", end, has_precursor, ticket, window, fixed or {})


YEAR = BEFORE_DAYS


def test_a_ticket_a_year_and_a_day_before_the_end_or_without_one_is_false():
    assert not is_false(100, 465)
    assert is_false(100, 466)
    assert is_false(100, None)


def test_sixty_days_ahead_is_announced_and_fifty_nine_are_not():
    assert announced(outcome(YEAR + 100, YEAR + 40))
    assert not announced(outcome(YEAR + 100, YEAR + 41))
    assert not announced(outcome(YEAR + 100, None))


def test_scores_add_up():
    outcomes = [
        outcome(YEAR + 200, YEAR + 50, window=(YEAR + 100, YEAR + 300), fixed={"t": YEAR + 10.0}),
        outcome(YEAR + 200, YEAR + 180, window=(YEAR + 210, YEAR + 300), fixed={"t": None}),
        outcome(YEAR + 900, YEAR + 10, window=(YEAR + 800, YEAR + 1000), fixed={"t": YEAR + 1.0}),
        outcome(None, None, fixed={"t": YEAR + 5.0}),
        outcome(YEAR + 300, None, has_precursor=False, fixed={"t": None}),
        # Ends within the first sixty days cannot be announced in the year, and are not asked for.
        outcome(YEAR + 30, None, fixed={"t": None}),
    ]
    found = score(outcomes)

    assert (found.ends, found.ends_without_precursor) == (2, 1)
    assert found.announced == 0.5
    assert (found.tickets, found.false) == (3, 1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.coverage == pytest.approx(2 / 3)
    assert found.leads == (20, 20, 20)
    assert found.fixed == {"t": (3, 2, 1)}


def test_a_sensor_that_lies_hot_opens_a_false_ticket_and_a_hot_room_a_true_one():
    chance = np.random.default_rng(SEEDS[0])
    real = truth(chance)
    seen = observe(real, chance)
    seen.celsius[:] = 22.0
    real.celsius[:] = 22.0
    first = (BEFORE_DAYS + 30) * A_DAY
    seen.celsius[first : first + A_DAY] = 58.0
    lying = year_of(real, seen)
    hot = [one for one in lying.false if one.rule == "battery_overheated"]
    assert len(hot) == 1
    real.celsius[BEFORE_DAYS + 30] = 58.0
    true = year_of(real, seen)
    assert not [one for one in true.false if one.rule == "battery_overheated"]
    assert true.causes[hot[0].mode] == 1
