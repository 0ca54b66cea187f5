"""Problem records: the list, one with its evidence, and what people find out; for staff."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules import problem_store as operations
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.problems import store
from service_api.problems.schemas import (
    Problem,
    ProblemDescription,
    ProblemDescriptionForm,
    ProblemDetail,
    ProblemMove,
    ProblemMoveForm,
    ProblemQuery,
)
from service_api.request import Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/problems", tags=["tickets"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/problems", include_in_schema=False)


@api.get("")
def list_problems(
    _user: Staff, connection: Transaction, query: Annotated[ProblemQuery, Query()]
) -> Page[Problem]:
    """List faults that come back, what came last first."""
    return store.problems(connection, query)


@api.get("/{problem_id}")
def get_problem(_user: Staff, connection: Transaction, problem_id: int) -> ProblemDetail:
    """Tell one with its evidence and log."""
    return store.problem(connection, problem_id)


@api.put("/{problem_id}")
def describe_problem(
    user: Staff, connection: Transaction, now: Now, problem_id: int, body: ProblemDescription
) -> ProblemDetail:
    """Keep what is known: owner, root cause, workaround, measures."""
    operations.describe(connection, problem_id, **body.model_dump(), actor=user.name, now=now)
    return store.problem(connection, problem_id)


@api.post("/{problem_id}/state")
def move_problem(
    user: Staff, connection: Transaction, now: Now, problem_id: int, body: ProblemMove
) -> ProblemDetail:
    """Take it on: investigating, known error, resolved, closed; or dismiss it."""
    operations.move(connection, problem_id, body.to, reason=body.reason, actor=user.name, now=now)
    return store.problem(connection, problem_id)


@api.post("/{problem_id}/undo")
def undo_problem_move(
    user: Staff, connection: Transaction, now: Now, problem_id: int
) -> ProblemDetail:
    """Take the last change of state back."""
    operations.undo(connection, problem_id, actor=user.name, now=now)
    return store.problem(connection, problem_id)


@pages.get("")
def show_problems(
    request: Request,
    _user: Staff,
    connection: Transaction,
    query: Annotated[ProblemQuery, Query()],
) -> Response:
    """Show faults that come back."""
    return render(
        request, "problems/list.html", page=store.problems(connection, query), query=query
    )


@pages.get("/{problem_id}")
def show_problem(
    request: Request, _user: Staff, connection: Transaction, problem_id: int
) -> Response:
    """Show one."""
    found = store.problem(connection, problem_id)
    return render(request, "problems/problem.html", found=found, problem=found.problem)


@pages.post("/{problem_id}/describe")
def describe_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    problem_id: int,
    form: Annotated[ProblemDescriptionForm, FormBody()],
) -> Response:
    """Keep what is known."""
    told = form.model_dump(exclude={"csrf_token"})
    operations.describe(connection, problem_id, **told, actor=user.name, now=now)
    return done(request, f"/problems/{problem_id}", msg("Saved"))


@pages.post("/{problem_id}/state")
def move_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    problem_id: int,
    form: Annotated[ProblemMoveForm, FormBody()],
) -> Response:
    """Take it on."""
    operations.move(connection, problem_id, form.to, reason=form.reason, actor=user.name, now=now)
    return done(request, f"/problems/{problem_id}", msg("Saved"))


@pages.post("/{problem_id}/undo")
def undo_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, problem_id: int
) -> Response:
    """Take the last change of state back."""
    operations.undo(connection, problem_id, actor=user.name, now=now)
    return done(request, f"/problems/{problem_id}", msg("Decision taken back"))
