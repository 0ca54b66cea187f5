"""A storm: many units on their batteries at once, the one to care for first at the top.

Pure: which unit comes before which, and which one needs a ticket though its incident has none.
Reading and opening is in `rules.storm_store`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from rules.predicted_end import Prediction

Stage: TypeAlias = Literal["off", "on_battery", "silent", "back"]
"""The output has no power; the battery carries it; nobody knows; mains carries it again."""

CRITICALITY: Mapping[str, float] = {"critical": 0.5, "high": 0.75, "normal": 1.0}
"""A minute of a critical load counts as half a minute (judgement)."""

QUICK_RESPONSE_MINUTES = 240
COVER: Mapping[str, float] = {"quick": 0.8, "covered": 0.9, "none": 1.0}
"""What was promised shortens the time too: within four hours, at all, nothing (judgement)."""

_STAGES: Mapping[Stage, int] = {"off": 0, "on_battery": 1, "silent": 2, "back": 3}
_UNKNOWN_LEFT = 1_800.0
"""A battery of which nothing is known is taken for half an hour (judgement)."""


def cover_of(respond_minutes: int | None) -> str:
    """Return the class of what a contract promises; None: no contract."""
    if respond_minutes is None:
        return "none"
    return "quick" if respond_minutes <= QUICK_RESPONSE_MINUTES else "covered"


def stage_of(
    *, is_off: bool | None, on_battery: bool | None, is_silent: bool, is_over: bool
) -> Stage:
    """Return how a unit of a mains failure is now; `is_over`: none of its alarms stands."""
    if is_over:
        return "back"
    if is_silent:
        return "silent"
    if is_off:
        return "off"
    return "on_battery" if on_battery is not False else "back"


def rank(
    *,
    stage: Stage,
    prediction: Prediction | None,
    criticality: str,
    respond_minutes: int | None,
    now: datetime,
) -> tuple[int, float]:
    """Return the place of a unit among the others, the least first.

    Those without output come first; then the time to the battery's end × load × contract; a silent
    unit stands by the last that was known of its battery, among those that run.
    """
    left = _UNKNOWN_LEFT
    if prediction is not None:
        left = max(0.0, (prediction.end_at - now).total_seconds())
    weighted = left * CRITICALITY[criticality] * COVER[cover_of(respond_minutes)]
    place = _STAGES["on_battery"] if stage == "silent" else _STAGES[stage]
    return place, weighted


Need: TypeAlias = Literal["will_not_survive", "not_back"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A unit's alarm in a mains failure, with what is known.

    `heard_at` is when the unit last spoke; `back_at` since when mains is back at its site, None
    while it is away; `restore_expected_at` when people say that it will be.
    """

    heard_at: datetime | None
    prediction: Prediction | None
    on_battery: bool | None
    is_silent: bool
    back_at: datetime | None
    restore_expected_at: datetime | None


def need(one: Standing, *, now: datetime, low: timedelta, back: timedelta) -> Need | None:
    """Return why a unit needs somebody, None while it rides through.

    1. Mains has been back at its site for `back`, and it is silent, or says that it is still on
       battery. What it said before mains came back says nothing any more.
    2. Its battery ends within `low`, or before mains is expected back: it will not survive.
    """
    if one.is_silent:
        return "not_back" if one.back_at is not None and now - one.back_at >= back else None
    if not one.on_battery:
        return None
    if one.back_at is not None:
        if one.heard_at is None or one.heard_at < one.back_at:
            return None
        if now - one.back_at >= back:
            return "not_back"
    if one.prediction is None:
        return None
    end_at = one.prediction.end_at
    if end_at <= now + low:
        return "will_not_survive"
    if one.restore_expected_at is not None and end_at < one.restore_expected_at:
        return "will_not_survive"
    return None
