"""Engineers and who could go for a ticket: for the organization's own people."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter

from service_api.dispatch import store
from service_api.dispatch.store import EngineerRow
from service_api.errors import PROBLEM_RESPONSES, NotFound
from service_api.request import Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/dispatch", tags=["dispatch"], responses=PROBLEM_RESPONSES)


@dataclass(frozen=True, slots=True)
class ReasonAnswer:
    """One term of the ranking in words."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class CandidateAnswer:
    """An engineer who could go; the score is in minutes, less is better."""

    engineer_id: int
    name: str
    name_zh: str
    score: float
    distance_km: float | None
    arrives_at: datetime
    ends_at: datetime
    open_orders: int
    missing_skills: list[str]
    in_time: bool | None
    reasons: list[ReasonAnswer]


@api.get("/engineers")
def list_engineers(_user: Staff, connection: Transaction) -> list[EngineerRow]:
    """List the active engineers with the number of open orders."""
    return store.engineer_rows(connection)


@api.get("/candidates")
def list_candidates(
    _user: Staff, connection: Transaction, now: Now, ticket_id: int
) -> list[CandidateAnswer]:
    """Rank the engineers for a ticket, best first, with the reasons."""
    found = store.candidates_for(connection, ticket_id, now=now)
    if found is None:
        raise NotFound
    return [
        CandidateAnswer(
            one.engineer_id,
            one.name,
            one.name_zh,
            round(one.score),
            one.distance_km,
            one.arrives_at,
            one.ends_at,
            one.open_orders,
            list(one.missing_skills),
            one.in_time,
            [ReasonAnswer(line.en, line.zh) for line in one.reasons],
        )
        for one in found
    ]
