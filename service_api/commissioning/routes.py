"""Commissioning: the guided test of a unit's alarms, and the report that both parties sign."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.auth import User
from service_api.commissioning import operations, store
from service_api.commissioning.schemas import (
    Commissioning,
    CommissioningQuery,
    NewCommissioning,
    NewCommissioningForm,
    Signing,
    SigningForm,
    StepSkip,
    StepSkipForm,
)
from service_api.errors import PROBLEM_RESPONSES, Forbidden
from service_api.language import msg
from service_api.pages import done, is_fragment, render
from service_api.paging import Page
from service_api.request import Connection, CurrentUser, Now, Staff, Transaction, require

api = APIRouter(prefix="/api/v1/commissioning", tags=["work orders"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/commissioning", include_in_schema=False)

Signer = Annotated[User, require("admin", "dispatcher", "engineer", "customer")]
"""Whoever may sign: staff for either party, who hands the phone over; a customer for theirs."""


@api.get("")
def list_commissionings(
    _user: CurrentUser, connection: Transaction, query: Annotated[CommissioningQuery, Query()]
) -> Page[Commissioning]:
    """List guided tests, newest first."""
    return store.commissionings(connection, query)


@api.post("", status_code=201)
def begin_commissioning(
    user: Staff, connection: Transaction, now: Now, body: NewCommissioning
) -> Commissioning:
    """Begin a test, checked in at the unit; the one that runs is told if there is one."""
    made = operations.begin(connection, body.device_id, actor=user.name, now=now)
    return store.commissioning(connection, made)


@api.get("/{commissioning_id}")
def get_commissioning(
    _user: CurrentUser, connection: Transaction, commissioning_id: int
) -> Commissioning:
    """Tell one test with its steps, its report and signatures."""
    return store.commissioning(connection, commissioning_id)


@api.post("/{commissioning_id}/steps/{rule}/provoke")
def provoke_alarm(
    _user: Staff, connection: Transaction, now: Now, commissioning_id: int, rule: str
) -> Commissioning:
    """Wait for an alarm from now on."""
    operations.provoke(connection, commissioning_id, rule, now=now)
    return store.commissioning(connection, commissioning_id)


@api.post("/{commissioning_id}/steps/{rule}/skip")
def skip_alarm(
    _user: Staff, connection: Transaction, commissioning_id: int, rule: str, body: StepSkip
) -> Commissioning:
    """Leave an alarm out, with a reason."""
    operations.skip(connection, commissioning_id, rule, reason=body.reason)
    return store.commissioning(connection, commissioning_id)


@api.post("/{commissioning_id}/look")
def look_for_alarms(
    _user: Staff, connection: Transaction, now: Now, commissioning_id: int
) -> Commissioning:
    """See which alarms have arrived, and which are late."""
    operations.look(connection, commissioning_id, now=now)
    return store.commissioning(connection, commissioning_id)


@api.post("/{commissioning_id}/finish")
def finish_commissioning(
    user: Staff, connection: Transaction, now: Now, commissioning_id: int
) -> Commissioning:
    """Seal the report, once every alarm was tried or left out."""
    operations.finish(connection, commissioning_id, actor=user.name, now=now)
    return store.commissioning(connection, commissioning_id)


@api.post("/{commissioning_id}/sign")
def sign_commissioning(
    user: Signer, connection: Transaction, now: Now, commissioning_id: int, body: Signing
) -> Commissioning:
    """Sign the report for one party."""
    _sign(connection, user, commissioning_id, body, now)
    return store.commissioning(connection, commissioning_id)


def _sign(
    connection: Connection, user: User, commissioning_id: int, body: Signing, now: Now
) -> None:
    if user.role == "customer" and body.party != "customer":
        raise Forbidden
    operations.sign(
        connection,
        commissioning_id,
        party=body.party,
        name=body.name,
        strokes=body.strokes,
        now=now,
    )


@pages.post("")
def begin_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    form: Annotated[NewCommissioningForm, FormBody()],
) -> Response:
    """Begin, or go on with, a test."""
    made = operations.begin(connection, form.device_id, actor=user.name, now=now)
    return done(request, f"/commissioning/{made}", msg("Checked in: alarms are quiet"))


@pages.get("/{commissioning_id}")
def show_commissioning(
    request: Request, user: CurrentUser, connection: Transaction, now: Now, commissioning_id: int
) -> Response:
    """Show one test; asked by the page itself, only its live part."""
    test = store.commissioning(connection, commissioning_id)
    if user.is_staff and test.finished_at is None:
        operations.look(connection, commissioning_id, now=now)
        test = store.commissioning(connection, commissioning_id)
    return render(
        request,
        "commissioning/live.html" if is_fragment(request) else "commissioning/test.html",
        test=test,
    )


@pages.post("/{commissioning_id}/steps/{rule}/provoke")
def provoke_on_page(
    request: Request,
    _user: Staff,
    connection: Transaction,
    now: Now,
    commissioning_id: int,
    rule: str,
) -> Response:
    """Wait for an alarm from now on."""
    operations.provoke(connection, commissioning_id, rule, now=now)
    return done(request, f"/commissioning/{commissioning_id}", msg("Provoke it now"))


@pages.post("/{commissioning_id}/steps/{rule}/skip")
def skip_on_page(
    request: Request,
    _user: Staff,
    connection: Transaction,
    commissioning_id: int,
    rule: str,
    form: Annotated[StepSkipForm, FormBody()],
) -> Response:
    """Leave an alarm out."""
    operations.skip(connection, commissioning_id, rule, reason=form.reason)
    return done(request, f"/commissioning/{commissioning_id}", msg("Left out"))


@pages.post("/{commissioning_id}/finish")
def finish_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, commissioning_id: int
) -> Response:
    """Seal the report."""
    operations.finish(connection, commissioning_id, actor=user.name, now=now)
    return done(request, f"/commissioning/{commissioning_id}", msg("Finished: both sign now"))


@pages.post("/{commissioning_id}/sign")
def sign_on_page(
    request: Request,
    user: Signer,
    connection: Transaction,
    now: Now,
    commissioning_id: int,
    form: Annotated[SigningForm, FormBody()],
) -> Response:
    """Sign for one party."""
    _sign(connection, user, commissioning_id, form, now)
    return done(request, f"/commissioning/{commissioning_id}", msg("Signed"))
