"""Incidents: the list and one with its alarms."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service_api.alarms.schemas import AlarmQuery
from service_api.alarms.store import alarms
from service_api.errors import PROBLEM_RESPONSES
from service_api.incidents import store
from service_api.incidents.schemas import Incident, IncidentQuery
from service_api.pages import is_fragment, render
from service_api.paging import Page
from service_api.request import CurrentUser, Now, Transaction

api = APIRouter(prefix="/api/v1/incidents", tags=["incidents"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/incidents", include_in_schema=False)


@api.get("")
def list_incidents(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[IncidentQuery, Query()]
) -> Page[Incident]:
    """List incidents, newest first."""
    return store.incidents(connection, query, now)


@api.get("/{incident_id}")
def get_incident(
    _user: CurrentUser, connection: Transaction, now: Now, incident_id: int
) -> Incident:
    """Tell one incident; the list of alarms takes its id."""
    return store.incident(connection, incident_id, now)


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
    request: Request, _user: CurrentUser, connection: Transaction, now: Now, incident_id: int
) -> Response:
    """Show one incident with its alarms."""
    return render(
        request,
        "incidents/incident_live.html" if is_fragment(request) else "incidents/incident.html",
        incident=store.incident(connection, incident_id, now),
        page=alarms(connection, AlarmQuery(state="all", incident_id=incident_id, limit=500), now),
    )
