"""The pages of planned work: calendar, plan, unit's line, visits, months ahead."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.errors import Forbidden, Invalid
from service_api.language import msg
from service_api.maintenance import forecasting, occurrences, operations, store, visits
from service_api.maintenance.catalog import seed_plans
from service_api.maintenance.schemas import (
    DoneForm,
    DueQuery,
    ExceptionForm,
    ForecastInfo,
    ForecastQuery,
    FreezeForm,
    NewFreeze,
    OccurrenceQuery,
    PlanForm,
    SplitForm,
    UnitException,
)
from service_api.pages import done, render
from service_api.request import CurrentUser, Dispatcher, Now, Staff, Transaction

pages = APIRouter(prefix="/maintenance", include_in_schema=False)


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
    if "show" not in request.query_params and query.device_id is None:
        query.show = "on_site"
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


@pages.get("/plans/{plan_id}")
def show_plan(
    request: Request, user: CurrentUser, connection: Transaction, plan_id: int
) -> Response:
    """Show a plan with its form and what it was before."""
    plan = store.plan(connection, plan_id)
    return render(
        request,
        "maintenance/plan.html",
        plan=plan,
        limits=operations.limits_text(plan),
        versions=store.versions(connection, plan_id) if user.role != "customer" else [],
    )


@pages.post("/plans/{plan_id}")
def change_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    plan_id: int,
    form: Annotated[PlanForm, FormBody()],
) -> Response:
    """Change a plan."""
    change = operations.change_of(form)
    operations.change_plan(connection, plan_id, change, actor=user.name, now=now)
    return done(request, f"/maintenance/plans/{plan_id}", msg("Saved; due dates follow tonight"))


@pages.post("/plans/{plan_id}/versions/{version}/restore")
def restore_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, plan_id: int, version: int
) -> Response:
    """Bring a plan back to what it was."""
    operations.restore_plan(connection, plan_id, version, actor=user.name, now=now)
    return done(request, f"/maintenance/plans/{plan_id}", msg("Saved; due dates follow tonight"))


@pages.get("/visits")
def show_visits(
    request: Request, _user: CurrentUser, connection: Transaction, now: Now
) -> Response:
    """Show the visits that are open, and the days on which nothing may be changed."""
    return render(
        request,
        "maintenance/visits.html",
        visits=store.visits(connection),
        freezes=store.freezes(connection, today=now.date()),
        sites=store.sites(connection),
    )


@pages.post("/visits/{visit_id}/split")
def split_on_page(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    visit_id: int,
    form: Annotated[SplitForm, FormBody()],
) -> Response:
    """Make a visit of its own of the chosen lines."""
    try:
        taken = [
            (int(device), int(plan))
            for device, _, plan in (line.partition(":") for line in form.lines)
        ]
    except ValueError as error:
        raise Invalid("lines: choose lines of this visit") from error
    visits.split(connection, visit_id, taken, actor=user.name, now=now)
    return done(request, "/maintenance/visits", msg("Split"))


@pages.post("/visits/{visit_id}/merge/{into_id}")
def merge_on_page(
    request: Request, user: Dispatcher, connection: Transaction, now: Now, visit_id: int,
    into_id: int,
) -> Response:  # fmt: skip
    """Take a visit into another one."""
    visits.merge_into(connection, visit_id, into_id, actor=user.name, now=now)
    return done(request, "/maintenance/visits", msg("Merged"))


@pages.post("/freezes")
def freeze_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    form: Annotated[FreezeForm, FormBody()],
) -> Response:
    """Freeze a site for some days."""
    if form.ends_on < form.starts_on:
        raise Invalid("ends_on is before starts_on")
    new = NewFreeze.model_validate(form.model_dump(exclude={"csrf_token"}))
    operations.add_freeze(connection, new, actor=user.name, now=now)
    return done(request, "/maintenance/visits", msg("Saved"))


@pages.post("/freezes/{freeze_id}/end")
def end_freeze_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, freeze_id: int
) -> Response:
    """Lift a freeze."""
    operations.end_freeze(connection, freeze_id, actor=user.name, now=now)
    return done(request, "/maintenance/visits", msg("Lifted"))


@pages.get("/forecast")
def show_forecast(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[ForecastQuery, Query()],
) -> Response:
    """Show what the months ahead will need, whether contracts are kept, and how it went."""
    if user.role == "customer":
        raise Forbidden
    today = now.date()
    found = forecasting.look_ahead(
        connection, today=today, months=query.months, center_id=query.center_id
    )
    return render(
        request,
        "maintenance/forecast.html",
        forecast=found,
        bars=_bars(found.months, {need.month: 0.0 for need in found.needs}, found),
        promises=forecasting.promises(connection, today=today),
        compliance=store.compliance(
            connection, since=today - timedelta(days=365), until=today, now=now
        ),
        query=query,
    )


def _bars(
    months: list[date], hours: dict[date, float], found: ForecastInfo
) -> list[tuple[date, float, int]]:
    """Return (month, hours, visits) of all skills together, a bar each."""
    sums = dict.fromkeys(months, 0.0) | hours
    trips = dict.fromkeys(months, 0)
    for need in found.needs:
        sums[need.month] += need.hours + need.follow_up_hours
        trips[need.month] += need.visits
    return [(month, round(sums[month], 1), trips[month]) for month in months]


@pages.get("/{device_id}/{plan_id}")
def show_line(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    device_id: int,
    plan_id: int,
) -> Response:
    """Show why a unit's work is due when it is, and what was done."""
    return render(
        request,
        "maintenance/line.html",
        line=store.line(connection, device_id, plan_id, today=now.date()),
        plan=store.plan(connection, plan_id),
        history=store.occurrences(
            connection, OccurrenceQuery(device_id=device_id, plan_id=plan_id, limit=100)
        ).items,
        today=now.date(),
    )


@pages.post("/{device_id}/{plan_id}/done")
def done_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    device_id: int,
    plan_id: int,
    form: Annotated[DoneForm, FormBody()],
) -> Response:
    """Enter that work was done."""
    occurrences.enter_done(
        connection,
        device_id,
        plan_id,
        done_on=form.done_on,
        remark=form.remark,
        actor=user.name,
        now=now,
    )
    return done(
        request,
        f"/maintenance/{device_id}/{plan_id}",
        msg("Entered; the next date follows tonight"),
    )


@pages.post("/{device_id}/{plan_id}/occurrences/{occurrence_id}/undo")
def undo_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    device_id: int,
    plan_id: int,
    occurrence_id: int,
) -> Response:
    """Take an entry back."""
    occurrences.undo(connection, occurrence_id, actor=user.name, now=now)
    return done(request, f"/maintenance/{device_id}/{plan_id}", msg("Taken back"))


@pages.post("/{device_id}/{plan_id}/exception")
def except_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    device_id: int,
    plan_id: int,
    form: Annotated[ExceptionForm, FormBody()],
) -> Response:
    """Give the unit another interval, or waive the work where none is given."""
    try:
        months = int(form.interval_months) if form.interval_months.strip() else None
    except ValueError as error:
        raise Invalid("interval_months: write a number of months") from error
    if months is not None and not 1 <= months <= 240:
        raise Invalid("interval_months: 1 to 240")
    exception = UnitException(waived=months is None, interval_months=months, reason=form.reason)
    operations.set_exception(connection, device_id, plan_id, exception, actor=user.name, now=now)
    return done(
        request, f"/maintenance/{device_id}/{plan_id}", msg("Saved; due dates follow tonight")
    )


@pages.post("/{device_id}/{plan_id}/exception/end")
def end_exception_on_page(
    request: Request, _user: Staff, connection: Transaction, device_id: int, plan_id: int
) -> Response:
    """Treat the unit as its plan says again."""
    operations.end_exception(connection, device_id, plan_id)
    return done(
        request, f"/maintenance/{device_id}/{plan_id}", msg("Saved; due dates follow tonight")
    )
