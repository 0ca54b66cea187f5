"""Pages: templates, what each of them knows, and how it is written in both languages.

How a noun adds a page
    1. In `service_api/<noun>/routes.py` make `pages = APIRouter(prefix="/<noun>",
       include_in_schema=False)` and a sync route that takes `request: Request`, `user: CurrentUser`
       and `connection: Transaction`, reads what it shows through the noun's `store`, and returns
       `render(request, "<noun>/list.html", rows=rows)`. A form on the page is posted to a page
       route of its own, which does the work and returns `done(request, "/<noun>/7", msg("Saved"))`.
    2. Put the template into web/templates/<noun>/ and begin it with
       `{% extends "base.html" %}` and `{% import "macros.html" as ui with context %}`. macros.html
       says at its top what there is: page head, tables, badges, chips, empty states, forms.
    3. Every text is `_('English')`, with values `_('%(n)s units', n=3)`, counted
       `ngettext('%(n)s unit', '%(n)s units', n)`; texts that Python hands over are marked with
       `language.msg`. Their Chinese goes into web/locales/zh/<noun>.po; a test finds gaps.
    4. Add the entry to `NAVIGATION` below and the noun to `NOUNS` in `app`.

In every template: `user` (None before login), `language`, `theme`, `now`, `path`, `csrf_token`,
`freshness`, and the filters and functions of `_environment`. `pick(en, zh)` chooses between two
columns of a row. There are no inline scripts and no inline styles: the content security policy
refuses them. What moves is a file in web/static.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode

import psycopg
from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from psycopg.rows import TupleRow
from starlette.responses import HTMLResponse, RedirectResponse, Response

from service_api import figures
from service_api.language import (
    LANGUAGES,
    count_translator,
    language_of,
    msg,
    translate,
    translator,
)

if TYPE_CHECKING:
    from service_api.auth import User

THEME_COOKIE = "theme"
THEMES = ("auto", "light", "dark")
SAID_COOKIE = "said"
SILENT_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the navigation; `roles` None: everybody."""

    path: str
    title: str
    group: str
    roles: tuple[str, ...] | None = None


_STAFF = ("admin", "dispatcher", "engineer")

NAVIGATION: tuple[Entry, ...] = (
    Entry("/", msg("Fleet"), msg("Watch")),
    Entry("/alarms", msg("Alarms"), msg("Watch")),
    Entry("/incidents", msg("Incidents"), msg("Watch")),
    Entry("/tickets", msg("Tickets"), msg("Watch")),
    Entry("/coverage", msg("Coverage"), msg("Watch"), (*_STAFF, "integrator")),
    Entry("/work-orders", msg("Work orders"), msg("Serve")),
    Entry("/maintenance", msg("Maintenance"), msg("Serve")),
    Entry("/planned-work", msg("Planned work"), msg("Serve")),
    Entry("/batteries", msg("Batteries"), msg("Serve")),
    Entry("/reminders", msg("Reminders"), msg("Serve"), (*_STAFF, "integrator")),
    Entry("/parts", msg("Parts"), msg("Serve"), (*_STAFF, "integrator")),
    Entry("/notifications", msg("Notices"), msg("Serve")),
    Entry("/problems", msg("Problems"), msg("Manage"), _STAFF),
    Entry("/reliability", msg("Reliability"), msg("Manage"), _STAFF),
    Entry("/doubts", msg("Data quality"), msg("Manage"), (*_STAFF, "integrator")),
    Entry("/customers", msg("Customers"), msg("Manage"), (*_STAFF, "integrator")),
    Entry("/contracts", msg("Contracts"), msg("Manage")),
    Entry("/rules", msg("Rules"), msg("Manage"), (*_STAFF, "integrator")),
    Entry("/backtests", msg("Back-tests"), msg("Manage"), (*_STAFF, "integrator")),
    Entry("/traps", msg("Traps"), msg("Manage"), (*_STAFF, "integrator")),
    Entry("/users", msg("Users"), msg("Manage"), ("admin",)),
)


FIELD_WORK = ("/work-orders", "/maintenance", "/parts", "/notifications")
"""What an engineer opens in a plant room."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """When the product last heard anything: the newest reading, or a collector's beat."""

    last_at: datetime | None
    now: datetime

    @property
    def is_silent(self) -> bool:
        """Whether the picture on the page can no longer be believed."""
        return self.last_at is None or self.now - self.last_at > SILENT_AFTER


def freshness_of(connection: psycopg.Connection[TupleRow], now: datetime) -> Freshness:
    """Look when anything was last heard, as far as this connection may see."""
    row = connection.execute(
        "SELECT greatest((SELECT max(received_at) FROM visible_device_state),"
        " (SELECT max(beat_at) FROM collector WHERE collector_group <> 'ingest'))"
    ).fetchone()
    return Freshness(row[0] if row else None, now)


@cache
def _static_version(name: str) -> str:
    content = files("service_api").joinpath("web/static", name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:10]


def static(name: str) -> str:
    """Return the address of a static file; it changes with the file, so browsers may keep it."""
    return f"/static/{name}?v={_static_version(name)}"


@pass_context
def _with_query(context: Context, **changes: object) -> str:
    """Return this page's address with query parameters changed; None takes one away."""
    request: Request = context["request"]
    query = {key: value for key, value in request.query_params.multi_items() if key != "cursor"}
    query |= {key: str(value) for key, value in changes.items() if value is not None}
    kept = {key: value for key, value in query.items() if changes.get(key, "") is not None}
    return request.url.path + (f"?{urlencode(kept)}" if kept else "")


@cache
def _environment(language: str) -> Environment:
    """Build one environment a language, so that macros need no language handed to them."""
    environment = Environment(
        loader=PackageLoader("service_api", "web/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )

    def written(name: str) -> object:
        return figures.bound(getattr(figures, name), language)

    def ago(at: datetime | None, now: datetime) -> str:
        return figures.ago(language, at, now)

    environment.globals |= {
        "_": translator(language),
        "ngettext": count_translator(language),
        "language": language,
        "languages": LANGUAGES,
        "pick": lambda en, zh: (zh or en) if language == "zh" else (en or zh),
        "static": static,
        "with_query": _with_query,
        "point_name": written("point_name"),
        "point_value": written("point_value"),
        "quantity": written("quantity"),
        "moment": written("moment"),
        "short_moment": written("short_moment"),
    }
    environment.filters |= {
        "number": written("number"),
        "duration": written("duration"),
        "day": written("day"),
        "ago": ago,
        "json_text": lambda value: json.dumps(value, ensure_ascii=False, default=str),
    }
    return environment


def html(request: Request, template: str, context: Mapping[str, object]) -> str:
    """Return a template's text with what every page knows."""
    wiring = request.app.state.wiring
    now: datetime = wiring.now()
    user: User | None = getattr(request.state, "user", None)
    login = getattr(request.state, "login", None)
    connection = getattr(request.state, "connection", None)
    theme = request.cookies.get(THEME_COOKIE, "auto")
    ground = {
        "request": request,
        "path": request.url.path,
        "user": user,
        "now": now,
        "theme": theme if theme in THEMES else "auto",
        "themes": THEMES,
        "csrf_token": login.form_token if login else "",
        "freshness": freshness_of(connection, now) if connection else None,
        "navigation": _navigation(user),
        "said": unquote(request.cookies.get(SAID_COOKIE, "")),
    }
    return _environment(language_of(request)).get_template(template).render({**ground, **context})


def _navigation(user: "User | None") -> list[Entry]:
    """Return what a user may open, most wanted first: a phone shows four in its bar."""
    if user is None:
        return []
    mine = [entry for entry in NAVIGATION if entry.roles is None or user.role in entry.roles]
    if user.role == "engineer":
        mine.sort(key=lambda entry: entry.path not in FIELD_WORK)
    return mine


def render(
    request: Request, template: str, /, *, status: int = HTTPStatus.OK, **context: object
) -> HTMLResponse:
    """Return a page, or a part of one, in the asker's language."""
    response = HTMLResponse(html(request, template, context), status_code=status)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Cookie, Accept-Language, HX-Request"
    if SAID_COOKIE in request.cookies and not is_fragment(request):
        response.delete_cookie(SAID_COOKIE)
    return response


def is_fragment(request: Request) -> bool:
    """Tell whether a page in the browser asks for a part of itself."""
    return request.headers.get("hx-request") == "true"


def local_target(target: str | None, otherwise: str = "/") -> str:
    """Return an address of ours to go to: never another site's, whatever a link says."""
    if (
        target is None
        or not target.startswith("/")
        or target.startswith("//")
        or any(ord(sign) <= 32 or sign == "\\" for sign in target)
    ):
        return otherwise
    return target


def done(request: Request, target: str, said: str = "", /, **values: object) -> Response:
    """Answer a form that was carried out: go to `target`, which says `said` (marked) once."""
    response = RedirectResponse(local_target(target), status_code=HTTPStatus.SEE_OTHER)
    if said:
        text = translate(language_of(request), said, **values)
        response.set_cookie(
            SAID_COOKIE,
            quote(text),
            max_age=60,
            httponly=True,
            samesite="lax",
            secure=request.app.state.wiring.config.secure_cookies,
        )
    return response
