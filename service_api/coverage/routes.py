"""Coverage through the API and on its page; for the service organization and its integrators."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service_api.auth import User
from service_api.coverage import store
from service_api.coverage.schemas import (
    CAUSES,
    GAPS,
    MISSING,
    Coverage,
    CoverageQuery,
    CoverageSummary,
    PageQuery,
    UncoveredUnit,
    UnitsQuery,
)
from service_api.errors import PROBLEM_RESPONSES
from service_api.pages import is_fragment, render
from service_api.paging import Page
from service_api.request import STAFF_ROLES, Now, Transaction, require

api = APIRouter(prefix="/api/v1/coverage", tags=["coverage"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/coverage", include_in_schema=False)

# A customer does not see cards, traps and doubts: their coverage would be counted wrong.
Insider = Annotated[User, require(*STAFF_ROLES, "integrator")]


@api.get("")
def list_coverage(
    _user: Insider, connection: Transaction, now: Now, query: Annotated[CoverageQuery, Query()]
) -> Page[Coverage]:
    """List how much is truly seen of each site, customer or contract, the least first."""
    return store.coverage(connection, query, now)


@api.get("/summary")
def get_coverage_summary(_user: Insider, connection: Transaction, now: Now) -> CoverageSummary:
    """Tell how much of the fleet is truly seen, why units are not heard, and the definitions."""
    return store.summary(connection, now)


@api.get("/units")
def list_uncovered_units(
    _user: Insider, connection: Transaction, now: Now, query: Annotated[UnitsQuery, Query()]
) -> Page[UncoveredUnit]:
    """List the units behind the gaps."""
    return store.uncovered(connection, query, now)


@pages.get("")
def show_coverage(
    request: Request,
    _user: Insider,
    connection: Transaction,
    now: Now,
    query: Annotated[PageQuery, Query()],
) -> Response:
    """Show the coverage; asked by the page itself, only its live part."""
    return render(
        request,
        "coverage/live.html" if is_fragment(request) else "coverage/coverage.html",
        query=query,
        summary=store.summary(connection, now),
        groups=store.coverage(connection, CoverageQuery(by=query.by, limit=100), now),
        page=store.uncovered(connection, query, now),
        place=store.place_names(connection, query),
        gaps=GAPS,
        missing=MISSING,
        causes=CAUSES,
    )
