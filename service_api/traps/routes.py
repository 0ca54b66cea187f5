"""Traps that were heard: for those who look after how units report."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service_api.auth import User
from service_api.errors import PROBLEM_RESPONSES
from service_api.pages import render
from service_api.paging import Page
from service_api.request import Transaction, require
from service_api.traps import store
from service_api.traps.schemas import Trap, TrapQuery

api = APIRouter(prefix="/api/v1/traps", tags=["traps"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/traps", include_in_schema=False)

Inside = Annotated[User, require("admin", "dispatcher", "engineer", "integrator")]


@api.get("")
def list_traps(
    _user: Inside, connection: Transaction, query: Annotated[TrapQuery, Query()]
) -> Page[Trap]:
    """List the kinds of traps that were heard, those heard last first."""
    return store.traps(connection, query)


@pages.get("")
def show_traps(
    request: Request, _user: Inside, connection: Transaction, query: Annotated[TrapQuery, Query()]
) -> Response:
    """Show them."""
    return render(request, "traps/list.html", page=store.traps(connection, query), query=query)
