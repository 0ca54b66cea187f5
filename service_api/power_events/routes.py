"""Times on battery: the list, one with its readings, and how far a unit's promises held."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from rules.power_trust import trust_of
from service_api.devices.store import require_device
from service_api.errors import PROBLEM_RESPONSES
from service_api.pages import render
from service_api.paging import Page
from service_api.power_events import store
from service_api.power_events.picture import picture_of
from service_api.power_events.schemas import (
    PowerEvent,
    PowerEventDetail,
    PowerEventQuery,
    UnitTrust,
)
from service_api.request import Connection, CurrentUser, Now, Transaction

api = APIRouter(prefix="/api/v1", tags=["devices"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/power-events", include_in_schema=False)


@api.get("/power-events")
def list_power_events(
    _user: CurrentUser, connection: Transaction, query: Annotated[PowerEventQuery, Query()]
) -> Page[PowerEvent]:
    """List times on battery, newest first."""
    return store.power_events(connection, query)


@api.get("/power-events/{event_id}")
def get_power_event(_user: CurrentUser, connection: Transaction, event_id: int) -> PowerEventDetail:
    """Tell one with its readings."""
    return store.power_event(connection, event_id)


@api.get("/devices/{device_id}/runtime-proof")
def get_runtime_proof(
    _user: CurrentUser, connection: Transaction, now: Now, device_id: int
) -> UnitTrust | None:
    """Tell how far a unit's promised runtime held so far, null where nothing proved it."""
    require_device(connection, device_id)
    return proof_of(connection, device_id, now)


def proof_of(connection: Connection, device_id: int, now: Now) -> UnitTrust | None:
    """Return how far a unit's promises held."""
    told = trust_of(connection, [device_id], now).get(device_id)
    return None if told is None else UnitTrust(told.ratio, told.low, told.high, told.episodes)


@pages.get("")
def show_power_events(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    query: Annotated[PowerEventQuery, Query()],
) -> Response:
    """Show times on battery."""
    return render(
        request,
        "power_events/list.html",
        page=store.power_events(connection, query),
        query=query,
    )


@pages.get("/{event_id}")
def show_power_event(
    request: Request, _user: CurrentUser, connection: Transaction, now: Now, event_id: int
) -> Response:
    """Show one: its course, and what became of the promise."""
    found = store.power_event(connection, event_id)
    return render(
        request,
        "power_events/event.html",
        event=found.event,
        picture=picture_of(found.event, found.trace),
        proof=proof_of(connection, found.event.device_id, now),
    )
