"""Who a unit says it is: the doubt, and the step that sets it right."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.auth import User
from service_api.devices.store import require_device
from service_api.errors import PROBLEM_RESPONSES
from service_api.identity import store
from service_api.identity.schemas import AddressExchange, AddressExchangeForm, IdentityDoubt
from service_api.language import msg
from service_api.pages import done
from service_api.request import Connection, CurrentUser, Now, Transaction, require

api = APIRouter(prefix="/api/v1/devices", tags=["devices"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/devices", include_in_schema=False)

Registrar = Annotated[User, require("admin", "dispatcher", "integrator")]
"""A user who keeps the register of units."""


def doubt_of(connection: Connection, device_id: int) -> IdentityDoubt | None:
    """Return why a unit is not the one that the records know, None where it is."""
    found = store.doubts_of(connection, [device_id]).get(device_id)
    if found is None:
        return None
    doubt, other_id = found
    row = connection.execute(
        """
        SELECT d.serial, d.serial_confirmed, o.name FROM device d
        LEFT JOIN device o ON o.id = %s WHERE d.id = %s
        """,
        (other_id, device_id),
    ).fetchone()
    if row is None:
        return None
    told, confirmed, other = row
    return IdentityDoubt(device_id, doubt, told, confirmed, other_id, other)


@api.get("/{device_id}/identity-doubt")
def get_identity_doubt(
    _user: CurrentUser, connection: Transaction, device_id: int
) -> IdentityDoubt | None:
    """Tell why the unit behind an entry is not the one that the records know; null where it is."""
    require_device(connection, device_id)
    return doubt_of(connection, device_id)


@api.post("/{device_id}/confirm-identity", status_code=204)
def confirm_identity(user: Registrar, connection: Transaction, now: Now, device_id: int) -> None:
    """Say that the unit which is told now is the one that stands there."""
    store.confirm(connection, device_id, actor=user.name, now=now)


@api.post("/{device_id}/exchange-address", status_code=204)
def exchange_address(
    user: Registrar, connection: Transaction, now: Now, device_id: int, body: AddressExchange
) -> None:
    """Change addresses with another entry; once more takes it back."""
    store.exchange_addresses(connection, device_id, body.with_device_id, actor=user.name, now=now)


@pages.post("/{device_id}/confirm-identity")
def confirm_on_page(
    request: Request, user: Registrar, connection: Transaction, now: Now, device_id: int
) -> Response:
    """Confirm the unit that is told."""
    store.confirm(connection, device_id, actor=user.name, now=now)
    return done(request, f"/devices/{device_id}", msg("Confirmed: check warranty and battery date"))


@pages.post("/{device_id}/exchange-address")
def exchange_on_page(
    request: Request,
    user: Registrar,
    connection: Transaction,
    now: Now,
    device_id: int,
    form: Annotated[AddressExchangeForm, FormBody()],
) -> Response:
    """Change addresses with the other entry."""
    store.exchange_addresses(connection, device_id, form.with_device_id, actor=user.name, now=now)
    return done(request, f"/devices/{device_id}", msg("Addresses exchanged"))
