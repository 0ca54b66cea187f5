"""Work orders: the list, one with its candidates and parts, and its steps."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from rules.operations import CLOSING_CODES
from service_api.auth import User
from service_api.errors import PROBLEM_RESPONSES, NotFound
from service_api.pages import is_fragment, render
from service_api.paging import Page
from service_api.request import Connection, CurrentUser, Dispatcher, Now, Staff, Transaction
from service_api.spares.operations import Item
from service_api.spares.store import offers
from service_api.work_orders import operations, steps, store, views
from service_api.work_orders.drafting import draft_order, refresh_candidates
from service_api.work_orders.operations import Report, UsedPart
from service_api.work_orders.schemas import (
    Assignment,
    Cancelling,
    NewOrder,
    Order,
    OrderEvent,
    OrderLine,
    OrderQuery,
    Used,
    WorkReport,
)
from service_api.work_orders.undoing import undo
from service_api.work_sessions.schemas import WorkSession, WorkSessionQuery
from service_api.work_sessions.store import sessions

api = APIRouter(prefix="/api/v1/work-orders", tags=["work orders"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/work-orders", include_in_schema=False)
pages.include_router(steps.pages)


def _seen(connection: Connection, order_id: int, user: User) -> Order:
    """Read an order; who else could have gone is not for customers."""
    order = store.order(connection, order_id)
    return replace(order, candidates=[]) if user.role == "customer" else order


@api.get("")
def list_work_orders(
    user: CurrentUser, connection: Transaction, query: Annotated[OrderQuery, Query()]
) -> Page[OrderLine]:
    """List work orders: open ones in the order of time, others newest first."""
    mine = store.engineer_of_user(connection, user.id)
    return store.orders(connection, query, mine=mine)


@api.post("", status_code=HTTPStatus.CREATED)
def draft_work_order(user: Staff, connection: Transaction, now: Now, body: NewOrder) -> Order:
    """Draft the work order of a ticket; the open one is told if there is one."""
    order_id = draft_order(connection, body.ticket_id, actor=user.name, now=now)
    if order_id is None:
        raise NotFound
    return store.order(connection, order_id)


@api.get("/{order_id}")
def get_work_order(user: CurrentUser, connection: Transaction, order_id: int) -> Order:
    """Tell one work order with its candidates and parts."""
    return _seen(connection, order_id, user)


@api.get("/{order_id}/log")
def get_work_order_log(
    _user: CurrentUser, connection: Transaction, order_id: int
) -> list[OrderEvent]:
    """Tell what happened to an order, newest first."""
    store.order(connection, order_id)
    return store.events(connection, order_id)


@api.post("/{order_id}/assign")
def assign_work_order(
    user: Dispatcher, connection: Transaction, now: Now, order_id: int, body: Assignment
) -> Order:
    """Give an order to an engineer; 409 with the reason when the engineer is elsewhere then."""
    operations.assign(
        connection,
        order_id,
        engineer_id=body.engineer_id,
        starts_at=body.starts_at,
        minutes=body.minutes,
        actor=user.name,
        now=now,
    )
    return store.order(connection, order_id)


@api.post("/{order_id}/accept")
def accept_work_order(user: Staff, connection: Transaction, now: Now, order_id: int) -> Order:
    """Say that the engineer will come."""
    operations.accept(connection, order_id, actor=user.name, now=now)
    return store.order(connection, order_id)


@api.post("/{order_id}/arrive")
def arrive_at_work_order(user: Staff, connection: Transaction, now: Now, order_id: int) -> Order:
    """Say that the engineer is on site."""
    operations.arrive(connection, order_id, actor=user.name, now=now)
    return store.order(connection, order_id)


@api.post("/{order_id}/close")
def close_work_order(
    user: Staff, connection: Transaction, now: Now, order_id: int, body: WorkReport
) -> Order:
    """Finish an order: report, parts, and with a closing code the ticket."""
    report = Report(
        text=body.report,
        signed_by=body.signed_by,
        used=[UsedPart(Item(one.part_id, one.warehouse_id), one.quantity) for one in body.used],
        closing_code=body.closing_code,
    )
    operations.close(connection, order_id, report, actor=user.name, now=now)
    return store.order(connection, order_id)


@api.post("/{order_id}/cancel")
def cancel_work_order(
    user: Staff, connection: Transaction, now: Now, order_id: int, body: Cancelling
) -> Order:
    """Call an order off; what was kept for it is free again."""
    operations.cancel(connection, order_id, reason=body.reason, actor=user.name, now=now)
    return store.order(connection, order_id)


@api.post("/{order_id}/undo")
def undo_work_order_step(user: Staff, connection: Transaction, now: Now, order_id: int) -> Order:
    """Take back the newest step, with its stock moves and what it did to the ticket."""
    undo(connection, order_id, actor=user.name, now=now)
    return store.order(connection, order_id)


@api.post("/{order_id}/reserve")
def reserve_for_work_order(
    user: Staff, connection: Transaction, now: Now, order_id: int, body: Used
) -> Order:
    """Keep a part for an order."""
    operations.reserve_part(
        connection,
        order_id,
        UsedPart(Item(body.part_id, body.warehouse_id), body.quantity),
        actor=user.name,
        now=now,
    )
    return store.order(connection, order_id)


@api.post("/{order_id}/candidates")
def rank_candidates_again(
    _user: Dispatcher, connection: Transaction, now: Now, order_id: int
) -> Order:
    """Rank the engineers of a draft again."""
    refresh_candidates(connection, order_id, now=now)
    return store.order(connection, order_id)


@pages.get("")
def show_orders(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    query: Annotated[OrderQuery, Query()],
) -> Response:
    """Show the work orders; asked by the page itself, only its live part."""
    mine = store.engineer_of_user(connection, user.id)
    return render(
        request,
        "work_orders/live.html" if is_fragment(request) else "work_orders/list.html",
        page=store.orders(connection, query, mine=mine),
        query=query,
        counts=store.counts(connection, mine=mine),
        is_engineer=mine is not None,
    )


@pages.get("/{order_id}")
def show_order(
    request: Request, user: CurrentUser, connection: Transaction, now: Now, order_id: int
) -> Response:
    """Show one work order, a draft with its candidates as of now."""
    if user.role in {"admin", "dispatcher"}:
        refresh_candidates(connection, order_id, now=now)
    order = _seen(connection, order_id, user)
    is_staff = user.role in {"admin", "dispatcher", "engineer"}
    line = order.line
    kinds = store.part_kinds(connection, line.ticket_id)
    in_stock = offers(connection, kinds=kinds, model=order.device_model) if is_staff else []
    return render(
        request,
        "work_orders/order.html",
        order=order,
        k=line,
        log=store.events(connection, order_id),
        choices=[views.choice(one, line.time_zone, now) for one in order.candidates],
        offers=in_stock,
        usable=views.usable(order.parts, in_stock, line.engineer_id),
        closing_codes=CLOSING_CODES,
        usual_code=views.usual_code(order.ticket_source, kinds),
        is_staff=is_staff,
        is_over=order.next_step is None,
        at_work=_at_work(connection, line.device_id),
    )


def _at_work(connection: Connection, device_id: int | None) -> WorkSession | None:
    """Return who is checked in at the order's unit."""
    if device_id is None:
        return None
    found = sessions(connection, WorkSessionQuery(device_id=device_id, limit=1)).items
    return found[0] if found else None
