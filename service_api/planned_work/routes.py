"""Planned work: announced by customers for their own sites or by dispatchers, in one step."""

from datetime import datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules.operations import OperationRefused
from rules.planned_work import Work
from rules.version_store import known_rules
from service_api.auth import User
from service_api.devices.store import site_of
from service_api.errors import PROBLEM_RESPONSES, Invalid
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.planned_work import operations, store
from service_api.planned_work.schemas import (
    Announced,
    Announcement,
    AnnouncementForm,
    Day,
    DayForm,
    PlannedWork,
    PlannedWorkQuery,
)
from service_api.request import Connection, CurrentUser, Now, Transaction, require

api = APIRouter(prefix="/api/v1/planned-work", tags=["alarms"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/planned-work", include_in_schema=False)

Announcer = Annotated[User, require("admin", "dispatcher", "engineer", "customer")]
"""Whoever may announce work: staff anywhere, a customer at their own sites."""


@api.get("")
def list_planned_work(
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[PlannedWorkQuery, Query()],
) -> Page[PlannedWork]:
    """List announced work, what comes next first."""
    return store.planned_works(connection, query, now)


@api.post("", status_code=201)
def announce_work(
    user: Announcer, connection: Transaction, now: Now, body: Announcement
) -> PlannedWork:
    """Announce work: alarms that it explains are quiet while it lasts."""
    made, _ = operations.announce(connection, body, actor=user.name, now=now)
    return store.planned_work(connection, made, now)


@api.post("/preview")
def preview_work(
    _user: Announcer, connection: Transaction, now: Now, body: Announcement
) -> Announced:
    """Tell what an announcement would do, and what speaks against it."""
    return operations.look_ahead(connection, body, now=now)


@api.get("/{planned_work_id}")
def get_planned_work(
    _user: CurrentUser, connection: Transaction, now: Now, planned_work_id: int
) -> PlannedWork:
    """Tell one announcement with its times and what was seen of them."""
    return store.planned_work(connection, planned_work_id, now)


@api.post("/{planned_work_id}/end")
def end_planned_work(
    user: Announcer, connection: Transaction, now: Now, planned_work_id: int
) -> PlannedWork:
    """End it: what is under way is heard again, and nothing more of it comes."""
    operations.end(connection, planned_work_id, actor=user.name, now=now)
    return store.planned_work(connection, planned_work_id, now)


@api.post("/{planned_work_id}/skip")
def skip_planned_work(
    user: Announcer, connection: Transaction, now: Now, planned_work_id: int, body: Day
) -> PlannedWork:
    """Leave one time of it out."""
    day = operations.time_on(connection, planned_work_id, body.on, now)
    operations.skip(connection, planned_work_id, day, actor=user.name, now=now)
    return store.planned_work(connection, planned_work_id, now)


@api.post("/{planned_work_id}/unskip")
def unskip_planned_work(
    _user: Announcer, connection: Transaction, now: Now, planned_work_id: int, body: Day
) -> PlannedWork:
    """Let a time that was left out take place after all."""
    day = operations.time_on(connection, planned_work_id, body.on, now)
    operations.unskip(connection, planned_work_id, day, now=now)
    return store.planned_work(connection, planned_work_id, now)


@pages.get("")
def show_planned_works(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[PlannedWorkQuery, Query()],
) -> Response:
    """Show announced work."""
    return render(
        request,
        "planned_work/list.html",
        page=store.planned_works(connection, query, now),
        query=query,
    )


@pages.get("/new")
def show_announcement(
    request: Request,
    _user: Announcer,
    connection: Transaction,
    now: Now,
    site_id: int | None = None,
    device_id: int | None = None,
) -> Response:
    """Show the form; with a site, its units can be chosen."""
    if device_id is not None:
        site_id = site_of(connection, device_id)
    return _form(request, connection, now, site_id=site_id, chosen=[device_id] if device_id else [])


def _form(
    request: Request,
    connection: Connection,
    now: datetime,
    *,
    site_id: int | None,
    chosen: list[int],
) -> Response:
    return render(
        request,
        "planned_work/new.html",
        sites=store.sites(connection),
        site_id=site_id,
        units=[] if site_id is None else store.units_at(connection, site_id),
        chosen=chosen,
        works=list(Work),
        usual_on=now.date() + timedelta(days=1),
        usual_at=time(10),
    )


@pages.post("/preview")
def preview_on_page(
    request: Request,
    _user: Announcer,
    connection: Transaction,
    now: Now,
    form: Annotated[AnnouncementForm, FormBody()],
) -> Response:
    """Show beside the form what it would do, or why it cannot be."""
    asked = form.model_copy(update={"reason": form.reason or "–"})
    try:
        told = operations.look_ahead(connection, _asked(asked), now=now)
    except OperationRefused as refusal:
        return render(request, "planned_work/preview.html", told=None, refusal=str(refusal))
    known = known_rules(connection)
    return render(
        request,
        "planned_work/preview.html",
        told=told,
        titles=None if told.rules is None else [known.title(key) for key in told.rules],
        time_zone=store.time_zone_of(connection, form.site_id),
        lets_critical_through=not form.all_quiet,
    )


def _asked(form: AnnouncementForm) -> Announcement:
    try:
        return form.announcement()
    except ValueError as error:
        raise Invalid("until: give a date such as 2026-12-31, and a reason.") from error


@pages.post("")
def announce_on_page(
    request: Request,
    user: Announcer,
    connection: Transaction,
    now: Now,
    form: Annotated[AnnouncementForm, FormBody()],
) -> Response:
    """Announce work."""
    made, _ = operations.announce(connection, _asked(form), actor=user.name, now=now)
    return done(request, f"/planned-work/{made}", msg("Announced"))


@pages.get("/{planned_work_id}")
def show_planned_work(
    request: Request, _user: CurrentUser, connection: Transaction, now: Now, planned_work_id: int
) -> Response:
    """Show one announcement: what it makes quiet, its times, and what was seen of them."""
    work = store.planned_work(connection, planned_work_id, now)
    known = known_rules(connection)
    seen = {key for one in work.times for key in _rules_seen(one.result)}
    return render(
        request,
        "planned_work/work.html",
        work=work,
        rule_titles={key: known.title(key) for key in seen | set(work.rules or ())},
    )


def _rules_seen(result: dict[str, dict[str, int]] | None) -> set[str]:
    return set() if result is None else {*result["quiet"], *result["through"]}


@pages.post("/{planned_work_id}/end")
def end_on_page(
    request: Request,
    user: Announcer,
    connection: Transaction,
    now: Now,
    planned_work_id: int,
) -> Response:
    """End it."""
    operations.end(connection, planned_work_id, actor=user.name, now=now)
    return done(
        request, f"/planned-work/{planned_work_id}", msg("Ended: its alarms are heard again")
    )


@pages.post("/{planned_work_id}/skip")
def skip_on_page(
    request: Request,
    user: Announcer,
    connection: Transaction,
    now: Now,
    planned_work_id: int,
    form: Annotated[DayForm, FormBody()],
) -> Response:
    """Leave one time out."""
    day = operations.time_on(connection, planned_work_id, form.on, now)
    operations.skip(connection, planned_work_id, day, actor=user.name, now=now)
    return done(request, f"/planned-work/{planned_work_id}", msg("Left out"))


@pages.post("/{planned_work_id}/unskip")
def unskip_on_page(
    request: Request,
    _user: Announcer,
    connection: Transaction,
    now: Now,
    planned_work_id: int,
    form: Annotated[DayForm, FormBody()],
) -> Response:
    """Let it take place after all."""
    day = operations.time_on(connection, planned_work_id, form.on, now)
    operations.unskip(connection, planned_work_id, day, now=now)
    return done(request, f"/planned-work/{planned_work_id}", msg("Takes place"))
