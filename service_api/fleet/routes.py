"""The fleet: API, the live page, the wall, the search."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service_api.errors import PROBLEM_RESPONSES
from service_api.fleet import store
from service_api.fleet.schemas import FleetQuery, FleetSummary, FleetUnit
from service_api.fleet.search import search
from service_api.incidents.store import open_incidents
from service_api.pages import is_fragment, render
from service_api.paging import Page
from service_api.request import Connection, CurrentUser, Now, Transaction

api = APIRouter(prefix="/api/v1/fleet", tags=["fleet"], responses=PROBLEM_RESPONSES)
pages = APIRouter(include_in_schema=False)

ON_A_WALL = 60


@api.get("")
def list_fleet(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[FleetQuery, Query()]
) -> Page[FleetUnit]:
    """List the units, worst first if not sorted otherwise."""
    return store.units(connection, query, now)


@api.get("/summary")
def get_fleet_summary(
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    site_id: int | None = None,
    customer_id: int | None = None,
) -> FleetSummary:
    """Count the units by state and severity."""
    return store.summary(connection, now, site_id=site_id, customer_id=customer_id)


def _scope_name(connection: Connection, query: FleetQuery) -> tuple[str, str] | None:
    """Return the name (en, zh) of the site or customer that the page is narrowed to."""
    if query.site_id is not None:
        row = connection.execute(
            "SELECT name, name_zh FROM site WHERE id = %s", (query.site_id,)
        ).fetchone()
    elif query.customer_id is not None:
        row = connection.execute(
            "SELECT name, name_zh FROM customer WHERE id = %s", (query.customer_id,)
        ).fetchone()
    else:
        row = None
    return (row[0], row[1]) if row else None


@pages.get("/")
def show_fleet(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[FleetQuery, Query()],
) -> Response:
    """Show the fleet; asked by the page itself, only its live part."""
    if "limit" not in request.query_params:
        query.limit = 100
    return render(
        request,
        "fleet/live.html" if is_fragment(request) else "fleet/fleet.html",
        page=store.units(connection, query, now),
        summary=store.summary(
            connection, now, site_id=query.site_id, customer_id=query.customer_id
        ),
        incidents=[
            one
            for one in open_incidents(connection, now)
            if query.site_id in {None, one.site_id} and query.customer_id in {None, one.customer_id}
        ],
        query=query,
        scope_name=_scope_name(connection, query),
    )


@pages.get("/wall")
def show_wall(request: Request, _user: CurrentUser, connection: Transaction, now: Now) -> Response:
    """Show the fleet for a screen across the room."""
    return render(
        request,
        "fleet/wall_live.html" if is_fragment(request) else "fleet/wall.html",
        page=store.units(connection, FleetQuery(limit=ON_A_WALL), now),
        summary=store.summary(connection, now),
        incidents=open_incidents(connection, now, limit=6),
    )


@pages.get("/search")
def show_search(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    q: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Show what fits the words typed into the header."""
    return render(request, "fleet/search.html", q=q, found=search(connection, q))
