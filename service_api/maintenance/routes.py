"""Planned work: what is due and why, plans, visits, what was done, freezes, the months ahead."""

from datetime import date, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service_api.csv_file import csv_response
from service_api.errors import PROBLEM_RESPONSES, Forbidden, Invalid
from service_api.maintenance import forecasting, occurrences, operations, store, visits
from service_api.maintenance.catalog import seed_plans
from service_api.maintenance.page_routes import pages
from service_api.maintenance.schemas import (
    Compliance,
    Done,
    DueLine,
    DueQuery,
    ForecastInfo,
    ForecastQuery,
    FreezeLine,
    LastDone,
    Merge,
    NewFreeze,
    NewPlan,
    Occurrence,
    OccurrenceQuery,
    PlanChange,
    PlanLine,
    PlanVersion,
    PromiseLine,
    Split,
    UnitException,
    VisitInfo,
)
from service_api.paging import Page
from service_api.request import CurrentUser, Dispatcher, Now, Staff, Transaction

__all__ = ["api", "pages"]

api = APIRouter(prefix="/api/v1/maintenance", tags=["maintenance"], responses=PROBLEM_RESPONSES)

NO_CONTENT = HTTPStatus.NO_CONTENT


@api.get("")
def list_maintenance(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[DueQuery, Query()]
) -> Page[DueLine]:
    """List what is due when and why, the first due first."""
    return store.due(connection, query, today=now.date())


@api.get("/plans")
def list_maintenance_plans(_user: CurrentUser, connection: Transaction) -> list[PlanLine]:
    """List the plans of work."""
    return store.plans(connection)


@api.post("/plans", status_code=HTTPStatus.CREATED)
def create_maintenance_plan(
    user: Staff, connection: Transaction, now: Now, body: NewPlan
) -> list[PlanLine]:
    """Write a plan down; tells all of them."""
    operations.add_plan(connection, body, actor=user.name, now=now)
    return store.plans(connection)


@api.post("/plans/shipped", status_code=HTTPStatus.CREATED)
def create_shipped_plans(_user: Staff, connection: Transaction) -> list[PlanLine]:
    """Write down the shipped plans that are missing; tells all of them."""
    seed_plans(connection)
    return store.plans(connection)


@api.get("/plans/{plan_id}")
def get_maintenance_plan(_user: CurrentUser, connection: Transaction, plan_id: int) -> PlanLine:
    """Tell one plan."""
    return store.plan(connection, plan_id)


@api.patch("/plans/{plan_id}")
def change_maintenance_plan(
    user: Staff, connection: Transaction, now: Now, plan_id: int, body: PlanChange
) -> PlanLine:
    """Change a plan; what it was before is kept with who, when and why."""
    operations.change_plan(connection, plan_id, body, actor=user.name, now=now)
    return store.plan(connection, plan_id)


@api.get("/plans/{plan_id}/versions")
def list_maintenance_plan_versions(
    _user: Staff, connection: Transaction, plan_id: int
) -> list[PlanVersion]:
    """Tell what a plan was before, the newest first."""
    store.plan(connection, plan_id)
    return store.versions(connection, plan_id)


@api.post("/plans/{plan_id}/versions/{version}/restore")
def restore_maintenance_plan(
    user: Staff, connection: Transaction, now: Now, plan_id: int, version: int
) -> PlanLine:
    """Bring a plan back to what it was."""
    operations.restore_plan(connection, plan_id, version, actor=user.name, now=now)
    return store.plan(connection, plan_id)


@api.get("/occurrences")
def list_maintenance_occurrences(
    _user: CurrentUser, connection: Transaction, query: Annotated[OccurrenceQuery, Query()]
) -> Page[Occurrence]:
    """List what was done or missed, the newest entry first."""
    return store.occurrences(connection, query)


@api.post("/occurrences/{occurrence_id}/undo", status_code=NO_CONTENT)
def undo_maintenance_occurrence(
    user: Staff, connection: Transaction, now: Now, occurrence_id: int
) -> None:
    """Take an entry back that was made by hand."""
    occurrences.undo(connection, occurrence_id, actor=user.name, now=now)


@api.get("/visits")
def list_maintenance_visits(_user: CurrentUser, connection: Transaction) -> list[VisitInfo]:
    """List the visits that are open, the first first."""
    return store.visits(connection)


@api.get("/visits/{visit_id}")
def get_maintenance_visit(_user: CurrentUser, connection: Transaction, visit_id: int) -> VisitInfo:
    """Tell one visit with its lines."""
    return store.visit(connection, visit_id)


@api.post("/visits/{visit_id}/split", status_code=HTTPStatus.CREATED)
def split_maintenance_visit(
    user: Dispatcher, connection: Transaction, now: Now, visit_id: int, body: Split
) -> VisitInfo:
    """Make a visit of its own of some lines; tells that one."""
    taken = [(line.device_id, line.plan_id) for line in body.lines]
    made = visits.split(connection, visit_id, taken, actor=user.name, now=now)
    return store.visit(connection, made)


@api.post("/visits/{visit_id}/merge")
def merge_maintenance_visit(
    user: Dispatcher, connection: Transaction, now: Now, visit_id: int, body: Merge
) -> VisitInfo:
    """Take a visit's lines into another one of the same site; tells that one."""
    visits.merge_into(connection, visit_id, body.into_id, actor=user.name, now=now)
    return store.visit(connection, body.into_id)


@api.get("/freezes")
def list_change_freezes(_user: CurrentUser, connection: Transaction, now: Now) -> list[FreezeLine]:
    """List the days on which nothing may be changed, as far as they are not over."""
    return store.freezes(connection, today=now.date())


@api.post("/freezes", status_code=HTTPStatus.CREATED)
def create_change_freeze(
    user: Staff, connection: Transaction, now: Now, body: NewFreeze
) -> list[FreezeLine]:
    """Let nothing be changed at a site for some days; tells all of them."""
    operations.add_freeze(connection, body, actor=user.name, now=now)
    return store.freezes(connection, today=now.date())


@api.delete("/freezes/{freeze_id}", status_code=NO_CONTENT)
def end_change_freeze(user: Staff, connection: Transaction, now: Now, freeze_id: int) -> None:
    """Lift a freeze."""
    operations.end_freeze(connection, freeze_id, actor=user.name, now=now)


@api.get("/forecast")
def get_maintenance_forecast(
    user: CurrentUser, connection: Transaction, now: Now, query: Annotated[ForecastQuery, Query()]
) -> ForecastInfo:
    """Say what planned work will need: visits, hours, people and parts by month and center."""
    if user.role == "customer":
        raise Forbidden
    return forecasting.look_ahead(
        connection, today=now.date(), months=query.months, center_id=query.center_id
    )


@api.get(
    "/forecast.csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def get_maintenance_forecast_as_csv(
    user: CurrentUser, connection: Transaction, now: Now, query: Annotated[ForecastQuery, Query()]
) -> Response:
    """Give the forecast as a table: a row a month, center and skill, then a row a part."""
    if user.role == "customer":
        raise Forbidden
    found = forecasting.look_ahead(
        connection, today=now.date(), months=query.months, center_id=query.center_id
    )
    titles = (
        "month", "center", "skill", "visits", "hours", "follow_up_hours", "available_hours",
        "engineers", "engineers_needed", "part_kind", "sku", "quantity", "cost",
    )  # fmt: skip
    needs = [
        (f"{need.month:%Y-%m}", need.center, need.skill, need.visits, need.hours,
         need.follow_up_hours, need.available_hours, need.engineers, need.engineers_needed,
         "", "", "", "")
        for need in found.needs
    ]  # fmt: skip
    parts = [
        (f"{part.month:%Y-%m}", part.center, "", "", "", "", "", "", "", part.kind, part.sku,
         part.quantity, part.cost)
        for part in found.parts
    ]  # fmt: skip
    return csv_response("maintenance-forecast.csv", titles, [*needs, *parts])


@api.get("/promises")
def list_maintenance_promises(
    _user: CurrentUser, connection: Transaction, now: Now
) -> list[PromiseLine]:
    """Compare the visits that contracts promise with those done and planned; short ones first."""
    return forecasting.promises(connection, today=now.date())


@api.get("/compliance")
def get_maintenance_compliance(
    _user: Staff,
    connection: Transaction,
    now: Now,
    since: date | None = None,
    until: date | None = None,
) -> Compliance:
    """Count how planned work was kept to; the last year where no days are given."""
    last = until or now.date()
    first = since or last - timedelta(days=365)
    if first > last:
        raise Invalid("since: must not be after until")
    return store.compliance(connection, since=first, until=last, now=now)


@api.put("/{device_id}/{plan_id}", status_code=NO_CONTENT)
def set_last_done(
    user: Staff, connection: Transaction, now: Now, device_id: int, plan_id: int, body: LastDone
) -> None:
    """Enter when a plan's work was last done at a unit."""
    occurrences.enter_done(
        connection,
        device_id,
        plan_id,
        done_on=body.last_done_on,
        remark="",
        actor=user.name,
        now=now,
    )


@api.post("/{device_id}/{plan_id}/done", status_code=HTTPStatus.CREATED)
def enter_maintenance_done(
    user: Staff, connection: Transaction, now: Now, device_id: int, plan_id: int, body: Done
) -> dict[str, int]:
    """Enter that work was done on a day; tells the entry, which can be taken back."""
    made = occurrences.enter_done(
        connection,
        device_id,
        plan_id,
        done_on=body.done_on,
        remark=body.remark,
        actor=user.name,
        now=now,
    )
    return {"occurrence_id": made}


@api.put("/{device_id}/{plan_id}/exception", status_code=NO_CONTENT)
def set_maintenance_exception(
    user: Staff,
    connection: Transaction,
    now: Now,
    device_id: int,
    plan_id: int,
    body: UnitException,
) -> None:
    """Give a unit another interval than its plan's, or waive the work, with the reason."""
    operations.set_exception(connection, device_id, plan_id, body, actor=user.name, now=now)


@api.delete("/{device_id}/{plan_id}/exception", status_code=NO_CONTENT)
def end_maintenance_exception(
    _user: Staff, connection: Transaction, device_id: int, plan_id: int
) -> None:
    """Treat a unit as its plan says again."""
    operations.end_exception(connection, device_id, plan_id)
