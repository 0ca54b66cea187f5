"""Reliability through the API and on a page; for staff."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service_api.errors import PROBLEM_RESPONSES
from service_api.pages import render
from service_api.reliability import store
from service_api.reliability.schemas import ReliabilityQuery, ReliabilityReport
from service_api.request import Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/reports", tags=["reports"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/reliability", include_in_schema=False)


@api.get("/reliability")
def get_reliability(
    _user: Staff, connection: Transaction, now: Now, query: Annotated[ReliabilityQuery, Query()]
) -> ReliabilityReport:
    """Tell how often units fail and how long it takes, by unit, model, site or customer."""
    return store.report(connection, by=query.by, days=query.days, limit=query.limit, now=now)


@pages.get("")
def show_reliability(
    request: Request,
    _user: Staff,
    connection: Transaction,
    now: Now,
    query: Annotated[ReliabilityQuery, Query()],
) -> Response:
    """Show the report with its definitions."""
    return render(
        request,
        "reliability/report.html",
        report=store.report(connection, by=query.by, days=query.days, limit=query.limit, now=now),
        query=query,
    )
