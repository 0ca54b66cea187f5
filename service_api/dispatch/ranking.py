"""Rank engineers for a job: pure, with a sentence for every term of the score.

The score is a number of minutes, less is better: until the engineer can be there, and what an
open order, a missing skill or another center's territory is worth in waiting. Reading the facts
is in `dispatch.store`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rules.deadline_lines import Line, duration_words

EARTH_RADIUS_KM = 6_371.0
DETOUR = 1.3
"""Roads are about so much longer than the straight line."""
CITY_KM = 50.0
CITY_KM_PER_HOUR = 40.0
OPEN_ROAD_KM_PER_HOUR = 80.0
PREPARATION_MINUTES = 15.0

MINUTES_PER_OPEN_ORDER = 20.0
MINUTES_PER_MISSING_SKILL = 1_440.0
MINUTES_FOR_ANOTHER_CENTER = 30.0
MINUTES_WITHOUT_A_POSITION = 240.0
"""Neither side of an unknown distance is near: half a working day."""


@dataclass(frozen=True, slots=True)
class Position:
    """Degrees north and east."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Span:
    """From an instant until before another."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """What has to be done where, from when on, and by when somebody is promised on site."""

    skills: tuple[str, ...]
    position: Position | None
    minutes: int
    earliest_at: datetime
    respond_by_at: datetime | None = None
    service_center_id: int | None = None


@dataclass(frozen=True, slots=True)
class Engineer:
    """An engineer as far as dispatch is concerned."""

    id: int
    name: str
    name_zh: str
    skills: frozenset[str]
    position: Position | None = None
    service_center_id: int | None = None
    open_orders: int = 0
    busy: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engineer who could go, how soon, and why he or she stands where on the list."""

    engineer_id: int
    name: str
    name_zh: str
    score: float
    distance_km: float | None
    arrives_at: datetime
    ends_at: datetime
    open_orders: int
    missing_skills: tuple[str, ...]
    in_time: bool | None
    reasons: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as it is kept with a work order."""
        return {
            "engineer_id": self.engineer_id,
            "name": self.name,
            "name_zh": self.name_zh,
            "score": round(self.score),
            "distance_km": None if self.distance_km is None else round(self.distance_km, 1),
            "arrives_at": self.arrives_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
            "open_orders": self.open_orders,
            "missing_skills": list(self.missing_skills),
            "in_time": self.in_time,
            "reasons": [{"en": line.en, "zh": line.zh} for line in self.reasons],
        }


def distance_km(one: Position, other: Position) -> float:
    """Return the great-circle distance (haversine)."""
    north_1, north_2 = math.radians(one.latitude), math.radians(other.latitude)
    half_north = (north_2 - north_1) / 2
    half_east = math.radians(other.longitude - one.longitude) / 2
    chord = (
        math.sin(half_north) ** 2 + math.cos(north_1) * math.cos(north_2) * math.sin(half_east) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))


def travel_minutes(straight_km: float) -> float:
    """Return the time on the road, getting ready included."""
    road_km = straight_km * DETOUR
    in_city = min(road_km, CITY_KM)
    outside = road_km - in_city
    return PREPARATION_MINUTES + 60 * (in_city / CITY_KM_PER_HOUR + outside / OPEN_ROAD_KM_PER_HOUR)


def earliest_arrival(
    *, earliest_at: datetime, travel: timedelta, work: timedelta, busy: Iterable[Span]
) -> datetime:
    """Return when an engineer can be on site so that travel and work touch no other job."""
    leaves_at = earliest_at
    for span in sorted(busy, key=lambda one: one.starts_at):
        if span.ends_at <= leaves_at:
            continue
        if leaves_at + travel + work <= span.starts_at:
            break
        leaves_at = span.ends_at
    return leaves_at + travel


def rank(job: Job, engineers: Sequence[Engineer]) -> tuple[Candidate, ...]:
    """Return every engineer as a candidate, best first."""
    found = [_candidate(job, engineer) for engineer in engineers]
    return tuple(sorted(found, key=lambda one: (one.score, one.engineer_id)))


def _candidate(job: Job, engineer: Engineer) -> Candidate:
    missing = tuple(sorted(set(job.skills) - engineer.skills))
    apart = (
        None
        if job.position is None or engineer.position is None
        else distance_km(job.position, engineer.position)
    )
    travel = MINUTES_WITHOUT_A_POSITION if apart is None else travel_minutes(apart)
    work = timedelta(minutes=job.minutes)
    arrives_at = earliest_arrival(
        earliest_at=job.earliest_at,
        travel=timedelta(minutes=travel),
        work=work,
        busy=engineer.busy,
    )
    arrives_at = _next_five_minutes(arrives_at)
    waiting = (arrives_at - job.earliest_at).total_seconds() / 60
    elsewhere = (
        job.service_center_id is not None
        and engineer.service_center_id is not None
        and job.service_center_id != engineer.service_center_id
    )
    in_time = None if job.respond_by_at is None else arrives_at <= job.respond_by_at
    score = (
        waiting
        + MINUTES_PER_OPEN_ORDER * engineer.open_orders
        + MINUTES_PER_MISSING_SKILL * len(missing)
        + (MINUTES_FOR_ANOTHER_CENTER if elsewhere else 0.0)
    )
    return Candidate(
        engineer_id=engineer.id,
        name=engineer.name,
        name_zh=engineer.name_zh,
        score=score,
        distance_km=apart,
        arrives_at=arrives_at,
        ends_at=arrives_at + work,
        open_orders=engineer.open_orders,
        missing_skills=missing,
        in_time=in_time,
        reasons=(
            _about_skills(job, missing),
            _about_distance(apart, travel),
            _about_load(engineer.open_orders),
            *([_ELSEWHERE] if elsewhere else []),
            *([] if in_time is None else [_IN_TIME if in_time else _TOO_LATE]),
        ),
    )


def _next_five_minutes(at: datetime) -> datetime:
    # Nobody is told 09:37:12; seconds above a full five minutes count up.
    floor = at.replace(minute=at.minute - at.minute % 5, second=0, microsecond=0)
    return floor if floor == at else floor + timedelta(minutes=5)


_ELSEWHERE = Line("Belongs to another service center.", "属于其他服务中心。")
_IN_TIME = Line("Arrives before the response deadline.", "可在响应时限前到达。")
_TOO_LATE = Line("Arrives after the response deadline.", "到达时间晚于响应时限。")

SKILLS: dict[str, Line] = {
    "ups": Line("UPS", "UPS 维修"),
    "battery": Line("battery", "电池"),
    "high_power": Line("high power", "大功率"),
    "electrician": Line("electrician", "电工"),
}
"""How a skill is called; a skill without an entry is called by its key."""


def skill_names(skills: Iterable[str]) -> Line:
    """Return skills in words."""
    named = [SKILLS.get(skill, Line(skill, skill)) for skill in skills]
    return Line(", ".join(one.en for one in named), "、".join(one.zh for one in named))


def _about_skills(job: Job, missing: Sequence[str]) -> Line:
    if missing:
        names = skill_names(missing)
        return Line(f"Lacks the skill: {names.en}.", f"缺少技能：{names.zh}。")
    if not job.skills:
        return Line("No special skill is needed.", "无特殊技能要求。")
    names = skill_names(job.skills)
    return Line(f"Has the skill: {names.en}.", f"具备技能：{names.zh}。")


def _about_distance(apart: float | None, travel: float) -> Line:
    if apart is None:
        return Line("The distance is not known.", "距离未知。")
    takes = duration_words(travel)
    return Line(
        f"{apart:.0f} km away, about {takes.en} on the road.",
        f"距离 {apart:.0f} 公里，路程约 {takes.zh}。",
    )


def _about_load(open_orders: int) -> Line:
    if open_orders == 0:
        return Line("No open work order.", "手上没有未完成派工单。")
    plural = "" if open_orders == 1 else "s"
    return Line(f"{open_orders} open work order{plural}.", f"手上有 {open_orders} 张未完成派工单。")
