"""Check what is owed for a unit at an instant; the verdict itself is `rules.entitlement`'s."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from psycopg.rows import class_row
from pydantic import AwareDatetime
from starlette.responses import Response

from rules.entitlement import Entitlement
from rules.entitlement_store import DeviceCover, covers_for
from service_api.errors import PROBLEM_RESPONSES, NotFound
from service_api.figures import zone
from service_api.pages import render
from service_api.paging import Strict
from service_api.request import Connection, CurrentUser, Now, Transaction

api = APIRouter(prefix="/api/v1/entitlements", tags=["contracts"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/entitlements", include_in_schema=False)


class CheckQuery(Strict):
    """For which unit, and when; now unless said otherwise."""

    device_id: int
    at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class ConditionAnswer:
    """One condition: true, false, or null as a fact is missing."""

    name: str
    holds: bool | None
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """One step of the arithmetic."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class EntitlementAnswer:
    """What is owed, why, and by when."""

    device_id: int
    at: datetime
    covered: bool
    conditions: list[ConditionAnswer]
    contract_id: int | None
    contract_name: str | None
    contract_name_zh: str | None
    clause_en: str
    clause_zh: str
    lines: list[LineAnswer]
    respond_by_at: datetime | None
    restore_by_at: datetime | None


def _cover(connection: Connection, device_id: int) -> DeviceCover:
    found = covers_for(connection, [device_id]).get(device_id)
    if found is None:
        raise NotFound
    return found


def _answer(verdict: Entitlement, at: datetime) -> EntitlementAnswer:
    name = verdict.contract_name
    return EntitlementAnswer(
        device_id=verdict.device_id,
        at=at,
        covered=verdict.covered,
        conditions=[
            ConditionAnswer(one.name, one.holds, one.en, one.zh) for one in verdict.conditions
        ],
        contract_id=verdict.contract_id,
        contract_name=None if name is None else name.en,
        contract_name_zh=None if name is None else name.zh,
        clause_en=verdict.clause_en,
        clause_zh=verdict.clause_zh,
        lines=[LineAnswer(one.en, one.zh) for one in verdict.lines],
        respond_by_at=verdict.respond_by_at,
        restore_by_at=verdict.restore_by_at,
    )


@api.get("/check")
def check_entitlement(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[CheckQuery, Query()]
) -> EntitlementAnswer:
    """Tell what is owed for a unit at an instant, each condition and the arithmetic shown."""
    at = query.at or now
    return _answer(_cover(connection, query.device_id).check(at), at)


@dataclass(frozen=True, slots=True)
class _Choice:
    id: int
    name: str
    site: str
    site_zh: str


def _choices(connection: Connection) -> list[_Choice]:
    with connection.cursor(row_factory=class_row(_Choice)) as cursor:
        return cursor.execute(
            """
            SELECT d.id, d.name, s.name AS site, s.name_zh AS site_zh
            FROM device d JOIN site s ON s.id = d.site_id ORDER BY s.name, d.name LIMIT 2000
            """
        ).fetchall()


@pages.get("")
def show_check(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    device_id: int | None = None,
    at: str = "",
) -> Response:
    """Show the check, and its verdict once a unit is chosen; `at` is the site's wall clock."""
    verdict, time_zone, asked_at = None, None, None
    if device_id is not None:
        cover = _cover(connection, device_id)
        time_zone = cover.time_zone
        asked_at = _wall_clock(at, time_zone) or now
        verdict = _answer(cover.check(asked_at), asked_at)
    return render(
        request,
        "entitlements/check.html",
        choices=_choices(connection),
        device_id=device_id,
        at=at,
        verdict=verdict,
        time_zone=time_zone,
    )


def _wall_clock(text: str, time_zone: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone(time_zone))
    except ValueError:
        return None
