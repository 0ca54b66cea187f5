"""What is said when a request cannot be served: one form for programs, one page for people.

Routes raise a `Problem`; programs get RFC 9457 problem details, browsers a page with a next step.
One place decides which: paths under /api/ are for programs, whatever they accept.
"""

import contextlib
import logging
from http import HTTPStatus
from urllib.parse import quote

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from rules.operations import NotThere, OperationRefused
from service_api.auth import credentials_of, user_of
from service_api.language import msg
from service_api.pages import render

log = logging.getLogger(__name__)


class Problem(Exception):
    """A request that is answered with a status, a short title and a sentence for the asker."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers: dict[str, str] = {}


class NotLoggedIn(Problem):
    """Nobody is known by this request: 401, or the login page."""

    def __init__(self, detail: str = msg("Log in, or send a bearer token or an API key.")) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, msg("Not logged in"), detail)
        self.headers = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    """The user is known and may not do this."""

    def __init__(self, detail: str = msg("Your role does not allow this.")) -> None:
        super().__init__(HTTPStatus.FORBIDDEN, msg("Not allowed"), detail)


class NotFound(Problem):
    """There is no such thing, or none that this user may see: the two are not told apart."""

    def __init__(self, detail: str = msg("There is nothing at this address.")) -> None:
        super().__init__(HTTPStatus.NOT_FOUND, msg("Not found"), detail)


class Conflict(Problem):
    """The thing is not in a state that allows this."""

    def __init__(self, detail: str) -> None:
        super().__init__(HTTPStatus.CONFLICT, msg("Not possible now"), detail)


class Invalid(Problem):
    """What was sent cannot be used; the detail says what is wrong and what would be right."""

    def __init__(self, detail: str) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, msg("Not valid"), detail)


class TooMany(Problem):
    """Asked too often; `retry_seconds` says when to try again."""

    def __init__(self, detail: str, *, retry_seconds: int) -> None:
        super().__init__(HTTPStatus.TOO_MANY_REQUESTS, msg("Too many attempts"), detail)
        self.headers = {"Retry-After": str(retry_seconds)}


class FieldProblem(BaseModel):
    """One field that was refused."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """An RFC 9457 problem."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    instance: str | None = None
    fields: list[FieldProblem] = []


PROBLEM_TYPE = "application/problem+json"


def wants_page(request: Request) -> bool:
    """Tell whether a person in a browser asked."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get(
        "accept", ""
    )


def _recognize(request: Request) -> None:
    """Know who asked for an address that no route answers, so that the page is still theirs."""
    login = credentials_of(request)
    if login is None or getattr(request.state, "user", None) is not None:
        return
    here = request.app.state.wiring
    with contextlib.suppress(psycopg.Error, PoolTimeout), here.pool.connection() as connection:
        request.state.user = user_of(connection, login, now=here.now())
        request.state.login = login


def _answer(
    request: Request,
    problem: Problem,
    fields: list[FieldProblem] | None = None,
) -> Response:
    if wants_page(request):
        if isinstance(problem, NotLoggedIn):
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(target)}", HTTPStatus.SEE_OTHER)
        _recognize(request)
        response: Response = render(
            request,
            "error.html",
            status=problem.status,
            problem=problem,
            fields=fields or [],
        )
        response.headers.update(problem.headers)
        return response
    details = ProblemDetails(
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        instance=request.url.path,
        fields=fields or [],
    )
    return JSONResponse(
        details.model_dump(exclude_none=True),
        status_code=problem.status,
        headers=problem.headers,
        media_type=PROBLEM_TYPE,
    )


def _problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return _answer(request, error)


def _not_there(request: Request, error: Exception) -> Response:
    return _answer(request, NotFound(_sentence(error)))


def _refused(request: Request, error: Exception) -> Response:
    return _answer(request, Conflict(_sentence(error)))


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _refused_fields(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    fields = [
        FieldProblem(
            field=".".join(str(part) for part in entry["loc"] if part not in {"body", "query"}),
            message=entry["msg"],
        )
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry.field}: {entry.message}" for entry in fields[:5])
    return _answer(request, Invalid(detail), fields)


def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _answer(request, NotFound())
    problem = Problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
    problem.headers = dict(error.headers or {})
    return _answer(request, problem)


def _database_away(request: Request, error: Exception) -> Response:
    log.warning("the database did not answer: %s", error)
    problem = Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        msg("Temporarily unavailable"),
        msg("The database does not answer at the moment. Try again in a few seconds."),
    )
    problem.headers = {"Retry-After": "5"}
    return _answer(request, problem)


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("a request failed: %s %s", request.method, request.url.path, exc_info=error)
    return _answer(
        request,
        Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            msg("Something went wrong"),
            msg("The fault is ours and has been recorded. Try again; nothing was changed."),
        ),
    )


def add_error_handlers(app: FastAPI) -> None:
    """Make every failure of `app` leave in one of the two forms."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _refused_fields)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(NotThere, _not_there)
    app.add_exception_handler(OperationRefused, _refused)
    app.add_exception_handler(psycopg.OperationalError, _database_away)
    app.add_exception_handler(PoolTimeout, _database_away)
    app.add_exception_handler(Exception, _unexpected)


PROBLEM_RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": ProblemDetails, "description": text, "content": {PROBLEM_TYPE: {}}}
    for status, text in (
        (401, "Not logged in"),
        (403, "Not allowed"),
        (404, "Not found"),
        (409, "Not possible now"),
        (422, "Not valid"),
    )
}
"""The `responses=` of every API router: what can go wrong, described once."""
