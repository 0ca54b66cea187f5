"""Data quality: values in doubt by family, the decision in one step, the corrections in force."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.corrections.operations import Cure
from service_api.corrections.schemas import CorrectionQuery
from service_api.corrections.store import corrections
from service_api.doubts import operations, store
from service_api.doubts.schemas import Acceptance, DecisionForm, Dismissal, Doubt, DoubtQuery
from service_api.errors import PROBLEM_RESPONSES, Invalid
from service_api.language import msg
from service_api.pages import done, is_fragment, render
from service_api.paging import Page
from service_api.request import CurrentUser, Integrator, Now, Transaction

api = APIRouter(prefix="/api/v1/doubts", tags=["doubts"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/doubts", include_in_schema=False)


@api.get("")
def list_doubts(
    _user: CurrentUser, connection: Transaction, query: Annotated[DoubtQuery, Query()]
) -> Page[Doubt]:
    """List values in doubt, the newest first."""
    return store.doubts(connection, query)


@api.get("/{doubt_id}")
def get_doubt(_user: CurrentUser, connection: Transaction, doubt_id: int) -> Doubt:
    """Tell one doubt with its evidence and what would cure it."""
    return store.doubt(connection, doubt_id)


@api.post("/{doubt_id}/accept")
def accept_doubt(
    user: Integrator, connection: Transaction, now: Now, doubt_id: int, body: Acceptance
) -> Doubt:
    """Correct the value as proposed, or as said here, for the device or its family."""
    cure = None if body.action is None else _cure(body.action, body.factor, body.addend)
    operations.accept(
        connection, doubt_id, scope=body.scope, cure=cure, reason=body.reason,
        actor=user.name, now=now,
    )  # fmt: skip
    return store.doubt(connection, doubt_id)


@api.post("/{doubt_id}/dismiss")
def dismiss_doubt(
    user: Integrator, connection: Transaction, now: Now, doubt_id: int, body: Dismissal
) -> Doubt:
    """Say that the value is right as it is, for the device or its family."""
    operations.dismiss(
        connection, doubt_id, scope=body.scope, reason=body.reason, actor=user.name, now=now
    )
    return store.doubt(connection, doubt_id)


def _cure(action: str, factor: float, addend: float) -> Cure:
    if action == "convert":
        if factor == 0 or (factor, addend) == (1.0, 0.0):
            raise Invalid("factor: say by what the value is to be multiplied, not 0.")
        return Cure("convert", factor, addend)
    return Cure("trust" if action == "trust" else "ignore")


@pages.get("")
def show_doubts(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    query: Annotated[DoubtQuery, Query()],
) -> Response:
    """Show what is in doubt, family by family; asked by the page itself, only its live part."""
    is_open = query.state == "open"
    return render(
        request,
        "doubts/live.html" if is_fragment(request) else "doubts/list.html",
        query=query,
        counts=store.counts(connection),
        families=store.families(connection) if is_open else [],
        page=None if is_open else store.doubts(connection, query),
        corrections=corrections(connection, CorrectionQuery(limit=100)) if is_open else None,
        may_decide=user.role in {"admin", "integrator"},
    )


@pages.post("/{doubt_id}/accept")
def accept_on_page(
    request: Request,
    user: Integrator,
    connection: Transaction,
    now: Now,
    doubt_id: int,
    form: Annotated[DecisionForm, FormBody()],
) -> Response:
    """Accept a doubt and go back."""
    cure = None
    if form.action is not None:
        try:
            cure = _cure(form.action, float(form.factor or 1), float(form.addend or 0))
        except ValueError as error:
            raise Invalid("factor, addend: write numbers.") from error
    operations.accept(
        connection, doubt_id, scope=form.scope, cure=cure, reason="", actor=user.name, now=now
    )
    return done(request, form.next, msg("Decided; the next readings are corrected"))


@pages.post("/{doubt_id}/dismiss")
def dismiss_on_page(
    request: Request,
    user: Integrator,
    connection: Transaction,
    now: Now,
    doubt_id: int,
    form: Annotated[DecisionForm, FormBody()],
) -> Response:
    """Dismiss a doubt and go back."""
    operations.dismiss(connection, doubt_id, scope=form.scope, reason="", actor=user.name, now=now)
    return done(request, form.next, msg("Decided; the value is believed as it is"))
