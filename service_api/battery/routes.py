"""Batteries through the API and on pages: the fleet's figures, replacements, swaps of a unit."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.battery import store
from service_api.battery.operations import record_swap, undo_swap
from service_api.battery.schemas import (
    BatteryLine,
    BatteryQuery,
    NewSwap,
    Replacements,
    Swap,
    SwapForm,
)
from service_api.csv_file import csv_response
from service_api.devices.store import require_device
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Form, Page
from service_api.request import Connection, CurrentUser, Now, Staff, Transaction

api = APIRouter(prefix="/api/v1", tags=["batteries"], responses=PROBLEM_RESPONSES)
pages = APIRouter(include_in_schema=False)

_AT_ONCE = 500


@api.get("/batteries")
def list_batteries(
    _user: CurrentUser, connection: Transaction, query: Annotated[BatteryQuery, Query()]
) -> Page[BatteryLine]:
    """List the newest battery figures, what has to be done soonest first."""
    return store.batteries(connection, query)


@api.get("/batteries/replacements")
def list_battery_replacements(
    _user: Staff, connection: Transaction, now: Now
) -> list[Replacements]:
    """Tell how many batteries are to be replaced in each of eight quarters, and the cost."""
    return store.replacements(connection, now.date())


@api.get("/devices/{device_id}/battery-swaps")
def list_battery_swaps(_user: CurrentUser, connection: Transaction, device_id: int) -> list[Swap]:
    """List what was recorded of a unit's batteries, newest first."""
    require_device(connection, device_id)
    return store.swaps(connection, device_id)


@api.post("/devices/{device_id}/battery-swaps", status_code=HTTPStatus.CREATED)
def create_battery_swap(
    user: Staff, connection: Transaction, now: Now, device_id: int, body: NewSwap
) -> list[Swap]:
    """Record that a unit's battery was replaced; tells all that was recorded."""
    record_swap(
        connection,
        device_id,
        swapped_on=body.swapped_on,
        part_id=body.part_id,
        remark=body.remark,
        actor=user.name,
        now=now,
    )
    return store.swaps(connection, device_id)


@api.post("/devices/{device_id}/battery-swaps/{swap_id}/undo")
def undo_battery_swap(
    user: Staff, connection: Transaction, now: Now, device_id: int, swap_id: int
) -> list[Swap]:
    """Take the newest recorded replacement back."""
    undo_swap(connection, device_id, swap_id, actor=user.name, now=now)
    return store.swaps(connection, device_id)


@pages.get("/batteries")
def show_batteries(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[BatteryQuery, Query()],
) -> Response:
    """Show the fleet's batteries and what is to be replaced when."""
    return render(
        request,
        "batteries/list.html",
        page=store.batteries(connection, query),
        counts=store.counts(connection),
        quarters=store.replacements(connection, now.date()) if user.is_staff else [],
        query=query,
    )


@pages.get("/batteries.csv")
def export_batteries(
    _user: CurrentUser, connection: Transaction, query: Annotated[BatteryQuery, Query()]
) -> Response:
    """Write every battery of a filter as CSV, a byte order mark first for spreadsheets."""
    names = [field.name for field in fields(BatteryLine)]
    return csv_response("batteries.csv", names, _rows(connection, query, names))


def _rows(
    connection: Connection, query: BatteryQuery, names: Sequence[str]
) -> Iterator[list[object]]:
    query = query.model_copy(update={"limit": _AT_ONCE, "cursor": None})
    while True:
        page = store.batteries(connection, query)
        for line in page.items:
            values = asdict(line)
            yield [values[name] for name in names]
        if page.next is None:
            return
        query = query.model_copy(update={"cursor": page.next})


@pages.post("/devices/{device_id}/battery-swaps")
def add_battery_swap(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    device_id: int,
    form: Annotated[SwapForm, FormBody()],
) -> Response:
    """Take the form of a unit's page that says when its battery was replaced."""
    record_swap(
        connection,
        device_id,
        swapped_on=form.swapped_on,
        part_id=None,
        remark=form.remark,
        actor=user.name,
        now=now,
    )
    said = msg("Recorded. The battery counts from that day; its figure follows tonight.")
    return done(request, f"/devices/{device_id}", said)


@pages.post("/devices/{device_id}/battery-swaps/{swap_id}/undo")
def take_battery_swap_back(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    device_id: int,
    swap_id: int,
    _form: Annotated[Form, FormBody()],
) -> Response:
    """Take the newest recorded replacement back."""
    undo_swap(connection, device_id, swap_id, actor=user.name, now=now)
    return done(request, f"/devices/{device_id}", msg("Taken back."))
