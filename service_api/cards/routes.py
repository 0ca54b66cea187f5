"""A unit's card: what is known of it, and how it is to be asked."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.auth import User
from service_api.cards import store
from service_api.cards.schemas import Card, PatienceForm, PatienceSetting
from service_api.devices.store import require_device
from service_api.errors import PROBLEM_RESPONSES, NotFound
from service_api.language import msg
from service_api.pages import done
from service_api.request import Now, Transaction, require

api = APIRouter(prefix="/api/v1/devices", tags=["devices"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/devices", include_in_schema=False)

Tuner = Annotated[User, require("admin", "dispatcher", "integrator")]
"""A user who may decide how a card is asked."""


@api.put("/{device_id}/patience")
def set_device_patience(
    _user: Tuner, connection: Transaction, now: Now, device_id: int, body: PatienceSetting
) -> Card:
    """Fix how a unit's card is asked; what is left out is learned."""
    require_device(connection, device_id)
    store.set_patience(connection, device_id, body)
    card = store.card(connection, device_id, now)
    if card is None:
        raise NotFound(msg("This unit is not polled: it speaks by itself."))
    return card


@pages.post("/{device_id}/patience")
def set_patience_on_page(
    request: Request,
    _user: Tuner,
    connection: Transaction,
    device_id: int,
    form: Annotated[PatienceForm, FormBody()],
) -> Response:
    """Fix how a unit's card is asked."""
    require_device(connection, device_id)
    store.set_patience(connection, device_id, form.setting())
    return done(request, f"/devices/{device_id}", msg("Taken over within seconds"))
