"""Contracts and the calendars they count on."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.contracts import operations, store
from service_api.contracts.schemas import (
    CalendarLine,
    ContractChange,
    ContractLine,
    ContractQuery,
    ContractStateForm,
    CoveredDevice,
    CoveredDevices,
    NewCalendar,
    NewContract,
    NewContractForm,
)
from service_api.customers import store as customers
from service_api.customers.schemas import SiteQuery
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import CurrentUser, Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/contracts", tags=["contracts"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/contracts", include_in_schema=False)


@api.get("")
def list_contracts(
    _user: CurrentUser, connection: Transaction, query: Annotated[ContractQuery, Query()]
) -> Page[ContractLine]:
    """List contracts, the first to end first."""
    return store.contracts(connection, query)


@api.post("", status_code=HTTPStatus.CREATED)
def create_contract(_user: Staff, connection: Transaction, body: NewContract) -> ContractLine:
    """Write a contract down."""
    return store.contract(connection, operations.add_contract(connection, body))


@api.get("/calendars")
def list_calendars(_user: CurrentUser, connection: Transaction) -> list[CalendarLine]:
    """List the calendars."""
    return store.calendars(connection)


@api.post("/calendars", status_code=HTTPStatus.CREATED)
def create_calendar(_user: Staff, connection: Transaction, body: NewCalendar) -> list[CalendarLine]:
    """Write a calendar down; tells all of them."""
    operations.add_calendar(connection, body)
    return store.calendars(connection)


@api.get("/{contract_id}")
def get_contract(_user: CurrentUser, connection: Transaction, contract_id: int) -> ContractLine:
    """Tell one contract."""
    return store.contract(connection, contract_id)


@api.patch("/{contract_id}")
def change_contract(
    _user: Staff, connection: Transaction, contract_id: int, body: ContractChange
) -> ContractLine:
    """Change a contract."""
    operations.change_contract(connection, contract_id, body)
    return store.contract(connection, contract_id)


@api.get("/{contract_id}/devices")
def list_covered_devices(
    _user: CurrentUser, connection: Transaction, contract_id: int
) -> list[CoveredDevice]:
    """List the units that a contract covers."""
    store.contract(connection, contract_id)
    return store.covered_devices(connection, contract_id)


@api.put("/{contract_id}/devices")
def set_covered_devices(
    _user: Staff, connection: Transaction, contract_id: int, body: CoveredDevices
) -> list[CoveredDevice]:
    """Say which units a contract covers from now on."""
    store.contract(connection, contract_id)
    operations.set_devices(connection, contract_id, body.device_ids)
    return store.covered_devices(connection, contract_id)


@pages.get("")
def show_contracts(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[ContractQuery, Query()],
) -> Response:
    """Show the contracts."""
    page = store.contracts(connection, query)
    today = now.date()
    return render(
        request,
        "contracts/list.html",
        page=page,
        query=query,
        standing={line.id: store.standing(line, today) for line in page.items},
    )


@pages.get("/new")
def show_new_contract(
    request: Request, _user: Staff, connection: Transaction, customer_id: int
) -> Response:
    """Show the form for a contract of a customer."""
    return render(
        request,
        "contracts/new.html",
        customer=customers.customer(connection, customer_id),
        sites=customers.sites(connection, SiteQuery(customer_id=customer_id, limit=500)).items,
        calendars=store.calendars(connection),
    )


@pages.post("/new")
def add_on_page(
    request: Request,
    _user: Staff,
    connection: Transaction,
    form: Annotated[NewContractForm, FormBody()],
) -> Response:
    """Write a contract down."""
    new = NewContract(
        **form.model_dump(exclude={"csrf_token", "respond_hours", "site_ids"}),
        respond_minutes=round(form.respond_hours * 60),
        device_ids=operations.devices_at(connection, form.customer_id, form.site_ids),
    )
    contract_id = operations.add_contract(connection, new)
    return done(request, f"/contracts/{contract_id}", msg("Contract added"))


@pages.get("/{contract_id}")
def show_contract(
    request: Request, _user: CurrentUser, connection: Transaction, now: Now, contract_id: int
) -> Response:
    """Show one contract."""
    line = store.contract(connection, contract_id)
    return render(
        request,
        "contracts/contract.html",
        contract=line,
        standing=store.standing(line, now.date()),
        devices=store.covered_devices(connection, contract_id),
        calendar=next(one for one in store.calendars(connection) if one.id == line.calendar_id),
    )


@pages.post("/{contract_id}/state")
def change_state_on_page(
    request: Request,
    _user: Staff,
    connection: Transaction,
    contract_id: int,
    form: Annotated[ContractStateForm, FormBody()],
) -> Response:
    """Cancel a contract, or take that back."""
    operations.change_contract(connection, contract_id, ContractChange(state=form.state))
    return done(request, f"/contracts/{contract_id}", msg("Saved"))
