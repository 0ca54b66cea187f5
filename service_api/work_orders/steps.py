"""The forms on a work order's page: each does one step and goes back to the page."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.figures import zone
from service_api.language import msg
from service_api.pages import done
from service_api.request import Dispatcher, Now, Staff, Transaction
from service_api.spares.operations import Item
from service_api.work_orders import operations, store
from service_api.work_orders.drafting import draft_order
from service_api.work_orders.operations import Report, UsedPart
from service_api.work_orders.schemas import (
    AssignmentForm,
    CancellingForm,
    ClosingForm,
    ReserveForm,
)
from service_api.work_orders.undoing import undo

pages = APIRouter(include_in_schema=False)

SAID = {
    "closed": msg("Done; the ticket is closed"),
    "resolved": msg("Done; the ticket is resolved and waits for the unit to agree"),
    "open": msg("Done; the ticket stays open"),
}


def _item(text: str) -> Item:
    part, _, warehouse = text.partition(":")
    return Item(int(part), int(warehouse))


@pages.post("/draft/{ticket_id}")
def draft_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, ticket_id: int
) -> Response:
    """Draft the order of a ticket."""
    order_id = draft_order(connection, ticket_id, actor=user.name, now=now)
    return done(request, "/work-orders" if order_id is None else f"/work-orders/{order_id}")


@pages.post("/{order_id}/assign")
def assign_on_page(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    order_id: int,
    form: Annotated[AssignmentForm, FormBody()],
) -> Response:
    """Send the chosen engineer."""
    site_zone = zone(store.order(connection, order_id).line.time_zone)
    operations.assign(
        connection,
        order_id,
        engineer_id=form.engineer_id,
        starts_at=datetime.fromisoformat(form.starts_on).replace(tzinfo=site_zone),
        actor=user.name,
        now=now,
    )
    return done(request, f"/work-orders/{order_id}", msg("Dispatched"))


@pages.post("/{order_id}/accept")
def accept_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, order_id: int
) -> Response:
    """Take the job."""
    operations.accept(connection, order_id, actor=user.name, now=now)
    return done(request, f"/work-orders/{order_id}", msg("Accepted"))


@pages.post("/{order_id}/arrive")
def arrive_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, order_id: int
) -> Response:
    """Check in at the site."""
    operations.arrive(connection, order_id, actor=user.name, now=now)
    return done(request, f"/work-orders/{order_id}", msg("On site; the response clock stopped"))


@pages.post("/{order_id}/close")
def close_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    order_id: int,
    form: Annotated[ClosingForm, FormBody()],
) -> Response:
    """Finish the job; each ticked part counts as all that was reserved of it there."""
    reserved = {
        Item(part.part_id, part.warehouse_id): part.reserved
        for part in store.order(connection, order_id).parts
    }
    report = Report(
        text=form.report,
        signed_by=form.signed_by,
        used=[
            UsedPart(item, max(1, reserved.get(item, 1)))
            for item in dict.fromkeys(map(_item, form.used))
        ],
        closing_code=form.closing_code or None,
    )
    outcome = operations.close(connection, order_id, report, actor=user.name, now=now)
    return done(request, f"/work-orders/{order_id}", SAID[outcome])


@pages.post("/{order_id}/cancel")
def cancel_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    order_id: int,
    form: Annotated[CancellingForm, FormBody()],
) -> Response:
    """Call the order off."""
    operations.cancel(connection, order_id, reason=form.reason, actor=user.name, now=now)
    return done(request, f"/work-orders/{order_id}", msg("Called off"))


@pages.post("/{order_id}/undo")
def undo_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, order_id: int
) -> Response:
    """Take the newest step back."""
    undo(connection, order_id, actor=user.name, now=now)
    return done(request, f"/work-orders/{order_id}", msg("Taken back"))


@pages.post("/{order_id}/reserve")
def reserve_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    order_id: int,
    form: Annotated[ReserveForm, FormBody()],
) -> Response:
    """Keep a part for the order."""
    operations.reserve_part(
        connection, order_id, UsedPart(_item(form.item), 1), actor=user.name, now=now
    )
    return done(request, f"/work-orders/{order_id}", msg("Part reserved"))
