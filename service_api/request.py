"""What a route asks for: the user, the transaction, the time; and what the application carries.

Who a user is (passwords, tokens) is decided in `auth`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

import psycopg
from fastapi import Depends, Request
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from service_api.auth import Login, User, credentials_of, user_of
from service_api.database import request_transaction
from service_api.errors import Forbidden, NotLoggedIn
from service_api.events import Hub
from service_api.language import msg
from service_api.limiter import Limiter

Role: TypeAlias = Literal["admin", "dispatcher", "engineer", "customer", "integrator"]
Connection: TypeAlias = psycopg.Connection[TupleRow]

STAFF_ROLES: tuple[Role, ...] = ("admin", "dispatcher", "engineer")
"""Who may change what the service organisation decides; a customer and a machine may not."""

DISPATCH_ROLES: tuple[Role, ...] = ("admin", "dispatcher")
"""Who decides which engineer goes where."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class AppConfig:
    """What the application must be told.

    `listen_dsn` is where events are listened for (role ridethrough_api), None: no live updates but
    the look every five seconds. `raw_days` bounds how far back raw readings are offered.
    `encryption_key` seals contacts' channels, None: none can be kept.
    """

    listen_dsn: str | None = None
    secure_cookies: bool = False
    session_life: timedelta = timedelta(days=14)
    token_life: timedelta = timedelta(hours=12)
    raw_days: int = 14
    encryption_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every route may reach, put together once by `create_app`."""

    pool: ConnectionPool
    config: AppConfig
    now: Callable[[], datetime]
    hub: Hub
    limiter: Limiter


def wiring(request: Request) -> Wiring:
    """Return what `create_app` put together."""
    found: Wiring = request.app.state.wiring
    return found


def _now(request: Request) -> datetime:
    return wiring(request).now()


Now = Annotated[datetime, Depends(_now)]


async def _sent_form_token(request: Request) -> str | None:
    """Return the token that a page's own form or script sent along."""
    if request.method in SAFE_METHODS:
        return None
    if header := request.headers.get("x-csrf-token"):
        return header
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        value = (await request.form()).get("csrf_token")
        return value if isinstance(value, str) else None
    return None


def is_same_origin(request: Request) -> bool:
    """Tell whether a browser says that our own page sent this; a program says nothing."""
    if site := request.headers.get("sec-fetch-site"):
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def _current_user(
    request: Request, now: Now, form_token: Annotated[str | None, Depends(_sent_form_token)]
) -> User:
    sent = credentials_of(request)
    if sent is None:
        raise NotLoggedIn
    with wiring(request).pool.connection() as connection:
        user = user_of(connection, sent, now=now)
    if user is None:
        raise NotLoggedIn
    # Only a browser sends a cookie unasked; a token in a header was put there on purpose.
    if (
        sent.kind == "session"
        and request.method not in SAFE_METHODS
        and not (is_same_origin(request) and sent.allows_form(form_token))
    ):
        raise Forbidden(msg("This form is not from this session. Load the page again and repeat."))
    request.state.user = user
    request.state.login = sent
    return user


CurrentUser = Annotated[User, Depends(_current_user)]


def require(*roles: Role) -> Any:  # noqa: ANN401 - what Depends returns
    """Return a dependency that refuses users of other roles with 403."""

    def allowed(user: CurrentUser) -> User:
        if user.role not in roles:
            raise Forbidden
        return user

    return Depends(allowed)


Staff = Annotated[User, require(*STAFF_ROLES)]
"""A user who works for the service organization; customers and machines get 403."""

Integrator = Annotated[User, require("admin", "integrator")]
"""A user who knows devices and decides what their values mean."""

Dispatcher = Annotated[User, require(*DISPATCH_ROLES)]
"""A user who decides which engineer goes where."""


def _transaction(request: Request, user: CurrentUser) -> Iterator[Connection]:
    with request_transaction(wiring(request).pool, user.visibility) as connection:
        request.state.connection = connection
        try:
            yield connection
        finally:
            request.state.connection = None


Transaction = Annotated[Connection, Depends(_transaction, scope="function")]
"""One transaction that sees what the user may see; committed before the answer leaves."""

__all__ = [
    "STAFF_ROLES",
    "AppConfig",
    "Connection",
    "CurrentUser",
    "Dispatcher",
    "Integrator",
    "Login",
    "Now",
    "Role",
    "Staff",
    "Transaction",
    "Wiring",
    "is_same_origin",
    "require",
    "wiring",
]
