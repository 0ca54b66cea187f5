"""Users and API keys: administrators only."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.auth import User
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import Now, Transaction, require
from service_api.users import operations, store
from service_api.users.schemas import (
    ApiKey,
    KeyForm,
    KeyRequest,
    NewApiKey,
    NewUser,
    NewUserForm,
    PasswordForm,
    SwitchForm,
    UserChange,
    UserLine,
    UserQuery,
)

api = APIRouter(prefix="/api/v1/users", tags=["users"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/users", include_in_schema=False)

Admin = Annotated[User, require("admin")]


@api.get("")
def list_users(
    _user: Admin, connection: Transaction, query: Annotated[UserQuery, Query()]
) -> Page[UserLine]:
    """List users by name."""
    return store.users(connection, query)


@api.post("", status_code=HTTPStatus.CREATED)
def create_user(_user: Admin, connection: Transaction, body: NewUser) -> UserLine:
    """Make a user."""
    user_id = operations.add_user(connection, **body.model_dump())
    return store.user(connection, user_id)


@api.get("/{user_id}")
def get_user(_user: Admin, connection: Transaction, user_id: int) -> UserLine:
    """Tell one user."""
    return store.user(connection, user_id)


@api.patch("/{user_id}")
def change_user(user: Admin, connection: Transaction, user_id: int, body: UserChange) -> UserLine:
    """Change a user; a new password and a disabling end every login."""
    operations.change_user(connection, user_id, body, by_user_id=user.id)
    return store.user(connection, user_id)


@api.get("/{user_id}/api-keys")
def list_api_keys(_user: Admin, connection: Transaction, user_id: int) -> list[ApiKey]:
    """List a user's keys; the keys themselves are not kept."""
    store.user(connection, user_id)
    return store.api_keys(connection, user_id)


@api.post("/{user_id}/api-keys", status_code=HTTPStatus.CREATED)
def create_api_key(
    _user: Admin, connection: Transaction, now: Now, user_id: int, body: KeyRequest
) -> NewApiKey:
    """Make a key for a machine; it is told this once."""
    return NewApiKey(operations.add_api_key(connection, user_id=user_id, label=body.label, now=now))


@api.delete("/{user_id}/api-keys/{key_id}", status_code=HTTPStatus.NO_CONTENT)
def revoke_api_key(_user: Admin, connection: Transaction, user_id: int, key_id: str) -> None:
    """Make a key worthless at once."""
    operations.take_api_key(connection, user_id, key_id)


@pages.get("")
def show_users(
    request: Request,
    _user: Admin,
    connection: Transaction,
    query: Annotated[UserQuery, Query()],
) -> Response:
    """Show the users."""
    return render(
        request,
        "users/list.html",
        page=store.users(connection, query),
        customers=store.customers(connection),
    )


@pages.post("")
def create_on_page(
    request: Request,
    _user: Admin,
    connection: Transaction,
    form: Annotated[NewUserForm, FormBody()],
) -> Response:
    """Make a user."""
    user_id = operations.add_user(
        connection,
        name=form.name,
        password=form.password,
        role=form.role,
        customer_id=int(form.customer_id) if form.customer_id else None,
        language=form.language,
    )
    return done(request, f"/users/{user_id}", msg("User made"))


@pages.get("/{user_id}")
def show_user(request: Request, _user: Admin, connection: Transaction, user_id: int) -> Response:
    """Show one user with their keys."""
    return render(
        request,
        "users/user.html",
        line=store.user(connection, user_id),
        keys=store.api_keys(connection, user_id),
        new_key="",
    )


@pages.post("/{user_id}/enabled")
def switch_on_page(
    request: Request,
    user: Admin,
    connection: Transaction,
    user_id: int,
    form: Annotated[SwitchForm, FormBody()],
) -> Response:
    """Enable or disable a user."""
    change = UserChange(enabled=form.enabled)
    operations.change_user(connection, user_id, change, by_user_id=user.id)
    return done(request, f"/users/{user_id}", msg("Saved"))


@pages.post("/{user_id}/password")
def set_password_on_page(
    request: Request,
    user: Admin,
    connection: Transaction,
    user_id: int,
    form: Annotated[PasswordForm, FormBody()],
) -> Response:
    """Give a new password."""
    change = UserChange(password=form.password)
    operations.change_user(connection, user_id, change, by_user_id=user.id)
    return done(request, f"/users/{user_id}", msg("Saved; every login of this user has ended"))


@pages.post("/{user_id}/api-keys")
def create_key_on_page(
    request: Request,
    _user: Admin,
    connection: Transaction,
    now: Now,
    user_id: int,
    form: Annotated[KeyForm, FormBody()],
) -> Response:
    """Make a key and show it this once."""
    line = store.user(connection, user_id)
    key = operations.add_api_key(connection, user_id=user_id, label=form.label, now=now)
    return render(
        request,
        "users/user.html",
        line=line,
        keys=store.api_keys(connection, user_id),
        new_key=key,
    )


@pages.post("/{user_id}/api-keys/{key_id}/revoke")
def revoke_key_on_page(
    request: Request, _user: Admin, connection: Transaction, user_id: int, key_id: str
) -> Response:
    """Make a key worthless."""
    operations.take_api_key(connection, user_id, key_id)
    return done(request, f"/users/{user_id}", msg("The key no longer works"))
