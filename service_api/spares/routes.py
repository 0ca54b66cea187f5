"""Parts, what lies where, and the ledger: for those who work with the organization."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.auth import User
from service_api.errors import PROBLEM_RESPONSES, NotFound
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import Connection, Now, Staff, Transaction, require
from service_api.spares import operations, store
from service_api.spares.operations import Item
from service_api.spares.schemas import (
    Count,
    Issue,
    MoveForm,
    MoveQuery,
    NewPart,
    NewPartForm,
    PartQuery,
    Receipt,
    Return,
    StockQuery,
)
from service_api.spares.store import Balance, LedgerRow, Part, Warehouse

api = APIRouter(prefix="/api/v1", tags=["spares"], responses=PROBLEM_RESPONSES)
pages = APIRouter(include_in_schema=False)

Inside = Annotated[User, require("admin", "dispatcher", "engineer", "integrator")]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a booking made."""

    move_id: int


@api.get("/parts")
def list_parts(
    _user: Inside, connection: Transaction, query: Annotated[PartQuery, Query()]
) -> Page[Part]:
    """List parts with what is on hand everywhere."""
    return store.parts(connection, query)


@api.post("/parts", status_code=HTTPStatus.CREATED)
def create_part(_user: Staff, connection: Transaction, body: NewPart) -> Part:
    """Write a part into the catalog."""
    return store.part(connection, store.add_part(connection, body))


@api.get("/parts/{part_id}")
def get_part(_user: Inside, connection: Transaction, part_id: int) -> Part:
    """Tell one part."""
    return store.part(connection, part_id)


@api.get("/stock")
def list_stock(
    _user: Inside, connection: Transaction, query: Annotated[StockQuery, Query()]
) -> list[Balance]:
    """Tell what lies where."""
    return store.balances(connection, part_id=query.part_id, warehouse_id=query.warehouse_id)


@api.get("/stock/warehouses")
def list_warehouses(_user: Inside, connection: Transaction) -> list[Warehouse]:
    """List warehouses and vans."""
    return store.warehouses(connection)


@api.get("/stock/moves")
def list_stock_moves(
    _user: Inside, connection: Transaction, query: Annotated[MoveQuery, Query()]
) -> Page[LedgerRow]:
    """Read the ledger, the newest row first."""
    return store.moves(connection, query)


@api.post("/stock/receipts", status_code=HTTPStatus.CREATED)
def book_receipt(user: Staff, connection: Transaction, now: Now, body: Receipt) -> Moved:
    """Book a delivery."""
    return Moved(
        operations.receive(
            connection,
            item=Item(body.part_id, body.warehouse_id),
            quantity=body.quantity,
            actor=user.name,
            remark=body.remark,
            now=now,
        )
    )


@api.post("/stock/issues", status_code=HTTPStatus.CREATED)
def book_issue(user: Staff, connection: Transaction, now: Now, body: Issue) -> Moved:
    """Book parts out; 409 when there are not so many."""
    return Moved(
        operations.issue(
            connection,
            item=Item(body.part_id, body.warehouse_id),
            quantity=body.quantity,
            work_order_id=body.work_order_id,
            actor=user.name,
            remark=body.remark,
            now=now,
        )
    )


@api.post("/stock/returns", status_code=HTTPStatus.CREATED)
def book_return(user: Staff, connection: Transaction, now: Now, body: Return) -> Moved:
    """Book unused parts back."""
    return Moved(
        operations.give_back(
            connection,
            item=Item(body.part_id, body.warehouse_id),
            quantity=body.quantity,
            work_order_id=body.work_order_id,
            actor=user.name,
            remark=body.remark,
            now=now,
        )
    )


@api.post("/stock/counts", status_code=HTTPStatus.CREATED)
def book_count(user: Staff, connection: Transaction, now: Now, body: Count) -> Moved:
    """Set the books to what was counted."""
    return Moved(
        operations.count(
            connection,
            item=Item(body.part_id, body.warehouse_id),
            counted=body.counted,
            actor=user.name,
            remark=body.remark,
            now=now,
        )
    )


@api.post("/stock/moves/{move_id}/undo", status_code=HTTPStatus.CREATED)
def undo_stock_move(user: Staff, connection: Transaction, now: Now, move_id: int) -> Moved:
    """Book the opposite of a move, once."""
    return Moved(operations.undo(connection, move_id=move_id, actor=user.name, now=now))


@pages.get("/parts")
def show_parts(
    request: Request,
    _user: Inside,
    connection: Transaction,
    query: Annotated[PartQuery, Query()],
) -> Response:
    """Show the catalog of parts."""
    return render(
        request,
        "spares/parts.html",
        page=store.parts(connection, query),
        query=query,
        kinds=store.kinds(connection),
    )


@pages.get("/parts/new")
def show_new_part(request: Request, _user: Staff, _connection: Transaction) -> Response:
    """Show the form for a part."""
    return render(request, "spares/new.html")


@pages.post("/parts/new")
def add_on_page(
    request: Request,
    _user: Staff,
    connection: Transaction,
    form: Annotated[NewPartForm, FormBody()],
) -> Response:
    """Write a part into the catalog."""
    new = NewPart(
        sku=form.sku,
        kind=form.kind,
        name=form.name,
        name_zh=form.name_zh,
        fits_models=[model.strip() for model in form.models.split(",") if model.strip()],
        price=Decimal(form.price) if form.price else None,
    )
    return done(request, f"/parts/{store.add_part(connection, new)}", msg("Part added"))


@pages.get("/parts/{part_id}")
def show_part(request: Request, _user: Inside, connection: Transaction, part_id: int) -> Response:
    """Show a part: where it lies and its ledger."""
    return render(
        request,
        "spares/part.html",
        part=store.part(connection, part_id),
        balances=store.balances(connection, part_id=part_id),
        warehouses=store.warehouses(connection),
        moves=store.moves(connection, MoveQuery(part_id=part_id, limit=100)),
    )


@pages.post("/parts/{part_id}/move")
def move_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    part_id: int,
    form: Annotated[MoveForm, FormBody()],
) -> Response:
    """Book a move of this part."""
    _book(connection, Item(part_id, form.warehouse_id), form, actor=user.name, now=now)
    return done(request, f"/parts/{part_id}", msg("Booked"))


def _book(connection: Connection, item: Item, form: MoveForm, *, actor: str, now: datetime) -> None:
    if form.kind == "count":
        operations.count(
            connection, item=item, counted=form.quantity, actor=actor, remark=form.remark, now=now
        )
    elif form.kind == "receipt":
        operations.receive(
            connection, item=item, quantity=form.quantity, actor=actor, remark=form.remark, now=now
        )
    else:
        book = operations.issue if form.kind == "issue" else operations.give_back
        book(
            connection,
            item=item,
            quantity=form.quantity,
            work_order_id=None,
            actor=actor,
            remark=form.remark,
            now=now,
        )


@pages.post("/stock/moves/{move_id}/undo")
def undo_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, move_id: int
) -> Response:
    """Book the opposite of a move."""
    part_id = store.part_of_move(connection, move_id)
    if part_id is None:
        raise NotFound
    operations.undo(connection, move_id=move_id, actor=user.name, now=now)
    return done(request, f"/parts/{part_id}", msg("Undone"))


@pages.get("/stock")
def show_stock(
    request: Request,
    _user: Inside,
    connection: Transaction,
    query: Annotated[StockQuery, Query()],
) -> Response:
    """Show what lies where, by warehouse, with the newest moves."""
    return render(
        request,
        "spares/stock.html",
        query=query,
        warehouses=store.warehouses(connection),
        balances=store.balances(connection, warehouse_id=query.warehouse_id),
        moves=store.moves(connection, MoveQuery(warehouse_id=query.warehouse_id, limit=30)).items,
    )
