"""The door: tokens for programs, login and logout for people, their language and theme, events."""

from http import HTTPStatus
from typing import Annotated, Literal

import psycopg
from fastapi import APIRouter, Depends, Header, Request
from fastapi import Form as FormBody
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response, StreamingResponse

from service_api.auth import (
    SESSION_COOKIE,
    User,
    credentials_of,
    give_token,
    take_token,
    user_of,
    user_with_password,
)
from service_api.errors import PROBLEM_RESPONSES, Forbidden, NotLoggedIn
from service_api.events import stream
from service_api.language import LANGUAGE_COOKIE, language_of, msg, translate
from service_api.pages import THEME_COOKIE, local_target, render
from service_api.paging import Form
from service_api.request import (
    CurrentUser,
    Now,
    Transaction,
    Wiring,
    is_same_origin,
    wiring,
)

YEAR_SECONDS = 31_536_000

api = APIRouter(prefix="/api/v1", tags=["door"], responses=PROBLEM_RESPONSES)
pages = APIRouter(include_in_schema=False)


class Token(BaseModel):
    """A bearer token; `expires_in` is in seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a word of OAuth
    expires_in: int


class Me(BaseModel):
    """Who the asker is."""

    id: int
    name: str
    role: str
    customer_id: int | None
    language: str


class LoginForm(Form):
    """What the login page sends."""

    name: Annotated[str, Field(max_length=200)]
    password: Annotated[str, Field(max_length=1_000)]
    next: str = "/"


class Preferences(Form):
    """What the switches in the header send."""

    language: Literal["en", "zh"] | None = None
    theme: Literal["auto", "light", "dark"] | None = None
    next: str = "/"


def _checked_user(
    here: Wiring, connection: psycopg.Connection, address: str, name: str, password: str
) -> User | None:
    now = here.now()
    here.limiter.check(name, address, now=now)
    user = user_with_password(connection, name=name, password=password)
    if user is None:
        here.limiter.failed(name, address, now=now)
    else:
        here.limiter.succeeded(name, address)
    return user


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


@api.post("/auth/token")
def give_bearer_token(
    request: Request, form: Annotated[OAuth2PasswordRequestForm, Depends()]
) -> Token:
    """Exchange a name and a password for a bearer token (OAuth 2 password form)."""
    here = wiring(request)
    with here.pool.connection() as connection:
        user = _checked_user(here, connection, _address(request), form.username, form.password)
        if user is None:
            raise NotLoggedIn("Name or password is wrong.")
        token = give_token(
            connection, user.id, kind="bearer", now=here.now(), life=here.config.token_life
        )
    return Token(access_token=token, expires_in=int(here.config.token_life.total_seconds()))


@api.get("/me")
def get_me(user: CurrentUser) -> Me:
    """Tell who is asking."""
    return Me(
        id=user.id,
        name=user.name,
        role=user.role,
        customer_id=user.customer_id,
        language=user.language,
    )


@api.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def get_events(
    request: Request,
    user: CurrentUser,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> StreamingResponse:
    """Stream changes as server-sent events.

    `change` carries id, at, topic and ref (the id of the alarm, incident, ticket … that the topic
    names); resume with Last-Event-ID. `fleet`, without an id, comes at most once a second when
    readings arrived.
    """
    here = wiring(request)
    login = credentials_of(request)

    def still_allowed() -> bool:
        if login is None:
            return False
        with here.pool.connection() as connection:
            return user_of(connection, login, now=here.now()) is not None

    events = stream(
        here.hub,
        here.pool,
        visibility=user.visibility,
        last_id=last_event_id,
        now=here.now,
        still_allowed=still_allowed,
    )
    return StreamingResponse(
        events,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@pages.get("/login")
def show_login(request: Request, next: str = "/") -> Response:  # noqa: A002 - the word in the address
    """Show the login page."""
    return render(request, "login.html", target=local_target(next), problem="", name="")


@pages.post("/login")
def log_in(request: Request, form: Annotated[LoginForm, FormBody()]) -> Response:
    """Open a session, or say no without saying why."""
    if not is_same_origin(request):
        raise Forbidden(msg("This form is not from this site."))
    here = wiring(request)
    target = local_target(form.next)
    with here.pool.connection() as connection:
        user = _checked_user(here, connection, _address(request), form.name, form.password)
        if user is None:
            said = translate(language_of(request), msg("Name or password is wrong."))
            return render(
                request,
                "login.html",
                status=HTTPStatus.UNAUTHORIZED,
                target=target,
                problem=said,
                name=form.name,
            )
        token = give_token(
            connection, user.id, kind="session", now=here.now(), life=here.config.session_life
        )
    response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=int(here.config.session_life.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=here.config.secure_cookies,
    )
    return response


@pages.post("/logout")
def log_out(request: Request, _user: CurrentUser, connection: Transaction) -> Response:
    """End the session everywhere this cookie is."""
    login = credentials_of(request)
    if login is not None:
        take_token(connection, login.token)
    response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    response.delete_cookie(SESSION_COOKIE)
    return response


@pages.post("/preferences")
def set_preferences(
    request: Request, form: Annotated[Preferences, FormBody()], now: Now
) -> Response:
    """Keep the chosen language or theme in this browser, the language with the user too."""
    if not is_same_origin(request):
        raise Forbidden(msg("This form is not from this site."))
    response = RedirectResponse(local_target(form.next), HTTPStatus.SEE_OTHER)
    here = wiring(request)
    for cookie, value in ((LANGUAGE_COOKIE, form.language), (THEME_COOKIE, form.theme)):
        if value is not None:
            response.set_cookie(
                cookie,
                value,
                max_age=YEAR_SECONDS,
                httponly=True,
                samesite="lax",
                secure=here.config.secure_cookies,
            )
    login = credentials_of(request)
    if form.language is not None and login is not None:
        with here.pool.connection() as connection:
            user = user_of(connection, login, now=now)
            if user is not None:
                connection.execute(
                    "UPDATE app_user SET language = %s WHERE id = %s", (form.language, user.id)
                )
    return response


@pages.get("/freshness")
def show_freshness(request: Request, _user: CurrentUser, _connection: Transaction) -> Response:
    """Show the part of every page that says when nothing has been heard for a while."""
    return render(request, "freshness.html")
