"""Incidents: the list, one with its units, and what people decide about them."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules import incident_operations as operations
from rules.operations import NotThere
from rules.regroup import bounds
from service_api.alarms.schemas import AlarmQuery
from service_api.alarms.store import alarms
from service_api.auth import User
from service_api.errors import PROBLEM_RESPONSES, Invalid
from service_api.incidents import store
from service_api.incidents.map import HEIGHT, WIDTH, spots
from service_api.incidents.schemas import (
    Incident,
    IncidentBounds,
    IncidentDetail,
    IncidentQuery,
    MergeForm,
    Merging,
    Restoration,
    RestorationForm,
    SplitForm,
    Splitting,
    UndoForm,
    Undoing,
)
from service_api.language import msg
from service_api.pages import done, is_fragment, render
from service_api.paging import Page
from service_api.request import CurrentUser, Dispatcher, Now, Transaction, require

api = APIRouter(prefix="/api/v1/incidents", tags=["incidents"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/incidents", include_in_schema=False)

Administrator = Annotated[User, require("admin")]

ALARMS_ON_PAGE = 50
FIRST_UNITS = 200
"""So many units are shown at first: the page of a storm is asked for every few seconds."""
PARTED_BY_HAND = 60
"""So many units can be ticked on the page; more are parted by program."""


@api.get("")
def list_incidents(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[IncidentQuery, Query()]
) -> Page[Incident]:
    """List incidents, newest first; those of sites that a regional one gathers are in it."""
    return store.incidents(connection, query, now)


@api.get("/bounds")
def get_incident_bounds(_user: CurrentUser, connection: Transaction) -> IncidentBounds:
    """Tell from when on an incident is regional, a storm, and when its units get a ticket."""
    return IncidentBounds(**asdict(bounds(connection)))


@api.put("/bounds")
def put_incident_bounds(
    user: Administrator, connection: Transaction, now: Now, body: IncidentBounds
) -> IncidentBounds:
    """Change these bounds; what stands already is looked at anew."""
    store.put_bounds(connection, body, actor=user.name, now=now)
    return body


@api.get("/{incident_id}")
def get_incident(
    _user: CurrentUser, connection: Transaction, now: Now, incident_id: int
) -> IncidentDetail:
    """Tell one incident: its units in the order in which they need care, evidence and log."""
    return store.incident_detail(connection, incident_id, now)


@api.post("/{incident_id}/merge")
def merge_incidents(
    user: Dispatcher, connection: Transaction, now: Now, incident_id: int, body: Merging
) -> IncidentDetail:
    """Make other incidents part of this one; tells the one that is left."""
    left = operations.merge(
        connection,
        [incident_id, *body.incident_ids],
        reason=body.reason,
        actor=user.name,
        now=now,
    )
    return store.incident_detail(connection, left, now)


@api.post("/{incident_id}/split")
def split_incident(
    user: Dispatcher, connection: Transaction, now: Now, incident_id: int, body: Splitting
) -> IncidentDetail:
    """Part units, or incidents of sites, from this one; tells what stands apart now."""
    apart = operations.split(
        connection,
        incident_id,
        device_ids=body.device_ids,
        child_ids=body.incident_ids,
        reason=body.reason,
        actor=user.name,
        now=now,
    )
    return store.incident_detail(connection, apart, now)


@api.post("/{incident_id}/undo")
def undo_decision(
    user: Dispatcher, connection: Transaction, now: Now, incident_id: int, body: Undoing
) -> IncidentDetail:
    """Take a decision back; tells an incident that it concerned."""
    _require_decision(connection, incident_id, body.decision_id)
    look_at = operations.undo(connection, body.decision_id, actor=user.name, now=now)
    return store.incident_detail(connection, look_at, now)


@api.post("/{incident_id}/restoration")
def expect_restoration(
    user: Dispatcher, connection: Transaction, now: Now, incident_id: int, body: Restoration
) -> IncidentDetail:
    """Say when mains is expected back: units whose battery ends before get a ticket."""
    operations.expect_restoration(connection, incident_id, at=body.at, actor=user.name, now=now)
    return store.incident_detail(connection, incident_id, now)


def _require_decision(connection: Transaction, incident_id: int, decision_id: int) -> None:
    if decision_id not in {one.id for one in store.decisions(connection, incident_id)}:
        raise NotThere(f"there is no decision {decision_id} about this incident")


@pages.get("")
def show_incidents(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[IncidentQuery, Query()],
) -> Response:
    """Show the incidents; asked by the page itself, only its live part."""
    return render(
        request,
        "incidents/live.html" if is_fragment(request) else "incidents/list.html",
        page=store.incidents(connection, query, now),
        query=query,
    )


@pages.get("/{incident_id}")
def show_incident(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    now: Now,
    incident_id: int,
    units: Literal["first", "all"] = "first",
) -> Response:
    """Show one incident; asked by the page itself, only its live part."""
    one = store.incident_detail(connection, incident_id, now)
    may_decide = user.role in {"admin", "dispatcher"} and one.closed_at is None
    first = one.members[0] if one.members else None
    query = AlarmQuery(state="all", incident_id=incident_id, limit=ALARMS_ON_PAGE)
    return render(
        request,
        "incidents/incident_live.html" if is_fragment(request) else "incidents/incident.html",
        incident=one,
        names={place.id: (place.name, place.name_zh) for place in one.places},
        spots=spots(one.places) if len(one.places) > 1 else [],
        map_size=(int(WIDTH), int(HEIGHT)),
        phone=None if first is None else store.phone_of(connection, first.site_id),
        page=None if one.is_storm else alarms(connection, query, now),
        may_decide=may_decide,
        others=store.mergeable(connection, one, now) if may_decide else [],
        parted_by_hand=PARTED_BY_HAND,
        shown=FIRST_UNITS if units == "first" else len(one.members),
    )


@pages.post("/{incident_id}/merge")
def merge_on_page(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    incident_id: int,
    form: Annotated[MergeForm, FormBody()],
) -> Response:
    """Merge another incident into this one, and show what is left."""
    left = operations.merge(
        connection, [incident_id, form.incident_id], reason=form.reason, actor=user.name, now=now
    )
    return done(request, f"/incidents/{left}", msg("Incidents merged"))


@pages.post("/{incident_id}/split")
def split_on_page(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    incident_id: int,
    form: Annotated[SplitForm, FormBody()],
) -> Response:
    """Part what was ticked, and show it."""
    apart = operations.split(
        connection,
        incident_id,
        device_ids=form.device_id,
        child_ids=form.child_id,
        reason=form.reason,
        actor=user.name,
        now=now,
    )
    return done(request, f"/incidents/{apart}", msg("Parted; it stands for itself now"))


@pages.post("/{incident_id}/undo")
def undo_on_page(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    incident_id: int,
    form: Annotated[UndoForm, FormBody()],
) -> Response:
    """Take a decision back, and show an incident that it concerned."""
    _require_decision(connection, incident_id, form.decision_id)
    look_at = operations.undo(connection, form.decision_id, actor=user.name, now=now)
    return done(request, f"/incidents/{look_at}", msg("Decision taken back"))


@pages.post("/{incident_id}/restoration")
def expect_on_page(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    incident_id: int,
    form: Annotated[RestorationForm, FormBody()],
) -> Response:
    """Keep when mains is expected back, and go back."""
    text = form.minutes.strip()
    if text and not text.isdecimal():
        raise Invalid("minutes: write a whole number, or nothing where nobody knows.")
    at = now + timedelta(minutes=int(text)) if text else None
    operations.expect_restoration(connection, incident_id, at=at, actor=user.name, now=now)
    return done(request, f"/incidents/{incident_id}", msg("Kept"))
