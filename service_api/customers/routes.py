"""Customers, their contacts and sites."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.contracts import store as contracts
from service_api.contracts.schemas import ContractQuery
from service_api.customers import operations, store
from service_api.customers.schemas import (
    Contact,
    CustomerChange,
    CustomerLine,
    CustomerQuery,
    NewContact,
    NewContactForm,
    NewCustomer,
    NewCustomerForm,
    NewSite,
    SiteLine,
    SiteQuery,
)
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import CurrentUser, Staff, Transaction, wiring
from service_api.secrets import Sealer

api = APIRouter(prefix="/api/v1", tags=["customers"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/customers", include_in_schema=False)


def _sealer(request: Request) -> Sealer | None:
    key = wiring(request).config.encryption_key
    return None if key is None else Sealer(key)


@api.get("/customers")
def list_customers(
    _user: CurrentUser, connection: Transaction, query: Annotated[CustomerQuery, Query()]
) -> Page[CustomerLine]:
    """List customers by name."""
    return store.customers(connection, query)


@api.post("/customers", status_code=HTTPStatus.CREATED)
def create_customer(_user: Staff, connection: Transaction, body: NewCustomer) -> CustomerLine:
    """Write a customer down."""
    return store.customer(connection, operations.add_customer(connection, body))


@api.get("/customers/{customer_id}")
def get_customer(_user: CurrentUser, connection: Transaction, customer_id: int) -> CustomerLine:
    """Tell one customer."""
    return store.customer(connection, customer_id)


@api.patch("/customers/{customer_id}")
def change_customer(
    _user: Staff, connection: Transaction, customer_id: int, body: CustomerChange
) -> CustomerLine:
    """Change a customer."""
    operations.change_customer(connection, customer_id, body)
    return store.customer(connection, customer_id)


@api.get("/customers/{customer_id}/contacts")
def list_contacts(_user: CurrentUser, connection: Transaction, customer_id: int) -> list[Contact]:
    """List a customer's contacts."""
    store.customer(connection, customer_id)
    return store.contacts(connection, customer_id)


@api.post("/customers/{customer_id}/contacts", status_code=HTTPStatus.CREATED)
def create_contact(
    request: Request, _user: Staff, connection: Transaction, customer_id: int, body: NewContact
) -> list[Contact]:
    """Write a contact down; tells all of the customer's."""
    operations.add_contact(connection, customer_id, body, sealer=_sealer(request))
    return store.contacts(connection, customer_id)


@api.delete("/customers/{customer_id}/contacts/{contact_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_contact(
    _user: Staff, connection: Transaction, customer_id: int, contact_id: int
) -> None:
    """Forget a contact."""
    operations.remove_contact(connection, customer_id, contact_id)


@api.post("/customers/{customer_id}/sites", status_code=HTTPStatus.CREATED)
def create_site(_user: Staff, connection: Transaction, customer_id: int, body: NewSite) -> SiteLine:
    """Write a site down."""
    return store.site(connection, operations.add_site(connection, customer_id, body))


@api.get("/sites")
def list_sites(
    _user: CurrentUser, connection: Transaction, query: Annotated[SiteQuery, Query()]
) -> Page[SiteLine]:
    """List sites by name."""
    return store.sites(connection, query)


@api.get("/sites/{site_id}")
def get_site(_user: CurrentUser, connection: Transaction, site_id: int) -> SiteLine:
    """Tell one site."""
    return store.site(connection, site_id)


@pages.get("")
def show_customers(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    query: Annotated[CustomerQuery, Query()],
) -> Response:
    """Show the customers."""
    page = store.customers(connection, query)
    return render(request, "customers/list.html", page=page, query=query)


@pages.get("/new")
def show_new_customer(request: Request, _user: Staff, _connection: Transaction) -> Response:
    """Show the form for a customer."""
    return render(request, "customers/new.html")


@pages.post("/new")
def add_on_page(
    request: Request,
    _user: Staff,
    connection: Transaction,
    form: Annotated[NewCustomerForm, FormBody()],
) -> Response:
    """Write a customer down."""
    new = NewCustomer(**form.model_dump(exclude={"csrf_token"}))
    customer_id = operations.add_customer(connection, new)
    return done(request, f"/customers/{customer_id}", msg("Customer added"))


@pages.get("/{customer_id}")
def show_customer(
    request: Request, _user: CurrentUser, connection: Transaction, customer_id: int
) -> Response:
    """Show one customer."""
    return render(
        request,
        "customers/customer.html",
        customer=store.customer(connection, customer_id),
        contacts=store.contacts(connection, customer_id),
        sites=store.sites(connection, SiteQuery(customer_id=customer_id, limit=500)).items,
        contracts=contracts.contracts(
            connection, ContractQuery(customer_id=customer_id, limit=100)
        ).items,
    )


@pages.post("/{customer_id}/contacts")
def add_contact_on_page(
    request: Request,
    _user: Staff,
    connection: Transaction,
    customer_id: int,
    form: Annotated[NewContactForm, FormBody()],
) -> Response:
    """Write a contact down."""
    new = NewContact(**form.model_dump(exclude={"csrf_token"}))
    operations.add_contact(connection, customer_id, new, sealer=_sealer(request))
    return done(request, f"/customers/{customer_id}", msg("Contact added"))


@pages.post("/{customer_id}/contacts/{contact_id}/remove")
def remove_contact_on_page(
    request: Request, _user: Staff, connection: Transaction, customer_id: int, contact_id: int
) -> Response:
    """Forget a contact."""
    operations.remove_contact(connection, customer_id, contact_id)
    return done(request, f"/customers/{customer_id}", msg("Contact removed"))
