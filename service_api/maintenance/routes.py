"""Planned work: the calendar of what is due, the plans, and when something was last done."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.maintenance import store
from service_api.maintenance.catalog import seed_plans
from service_api.maintenance.store import DueLine, DueQuery, LastDone, NewPlan, PlanLine
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import CurrentUser, Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/maintenance", tags=["maintenance"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/maintenance", include_in_schema=False)


@api.get("")
def list_maintenance(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[DueQuery, Query()]
) -> Page[DueLine]:
    """List what is due when, the first due first."""
    return store.due(connection, query, today=now.date())


@api.get("/plans")
def list_maintenance_plans(_user: CurrentUser, connection: Transaction) -> list[PlanLine]:
    """List the plans of work."""
    return store.plans(connection)


@api.post("/plans", status_code=HTTPStatus.CREATED)
def create_maintenance_plan(_user: Staff, connection: Transaction, body: NewPlan) -> list[PlanLine]:
    """Write a plan down; tells all of them."""
    store.add_plan(connection, body)
    return store.plans(connection)


@api.post("/plans/shipped", status_code=HTTPStatus.CREATED)
def create_shipped_plans(_user: Staff, connection: Transaction) -> list[PlanLine]:
    """Write down the shipped plans that are missing; tells all of them."""
    seed_plans(connection)
    return store.plans(connection)


@api.put("/{device_id}/{plan_id}", status_code=HTTPStatus.NO_CONTENT)
def set_last_done(
    _user: Staff, connection: Transaction, device_id: int, plan_id: int, body: LastDone
) -> None:
    """Enter when a plan's work was last done at a unit."""
    store.set_last_done(connection, device_id, plan_id, body.last_done_on)


@pages.get("")
def show_maintenance(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[DueQuery, Query()],
) -> Response:
    """Show the calendar of what is due."""
    today = now.date()
    return render(
        request,
        "maintenance/calendar.html",
        page=store.due(connection, query, today=today),
        query=query,
        counts=store.counts(connection, today=today),
        plans=store.plans(connection),
    )


@pages.post("/plans/shipped")
def add_shipped_on_page(request: Request, _user: Staff, connection: Transaction) -> Response:
    """Write the shipped plans down."""
    seed_plans(connection)
    return done(request, "/maintenance", msg("Plans added; due dates follow tonight"))
