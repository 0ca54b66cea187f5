"""Work mode: check in, see what the unit says meanwhile, check out."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import CurrentUser, Now, Staff, Transaction
from service_api.work_sessions import operations, store
from service_api.work_sessions.schemas import (
    CheckIn,
    CheckInForm,
    CheckOut,
    CheckOutForm,
    FoundCheck,
    MoreTime,
    MoreTimeForm,
    WorkSession,
    WorkSessionQuery,
)

api = APIRouter(prefix="/api/v1/work-sessions", tags=["work orders"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/work-sessions", include_in_schema=False)


@api.get("")
def list_work_sessions(
    _user: CurrentUser, connection: Transaction, query: Annotated[WorkSessionQuery, Query()]
) -> Page[WorkSession]:
    """List who is at work on which unit, or was."""
    return store.sessions(connection, query)


@api.post("", status_code=201)
def check_in(user: Staff, connection: Transaction, now: Now, body: CheckIn) -> WorkSession:
    """Check in at a unit: its alarms become lines of the work, until check-out or the time is up.

    Repeating it gives the same session.
    """
    made = operations.check_in(connection, **body.model_dump(), actor=user.name, now=now)
    return store.session(connection, made)


@api.get("/{session_id}")
def get_work_session(_user: CurrentUser, connection: Transaction, session_id: int) -> WorkSession:
    """Tell one session with what the unit said meanwhile."""
    return store.session(connection, session_id)


@api.get("/{session_id}/checks")
def look_at_unit(
    _user: Staff, connection: Transaction, now: Now, session_id: int
) -> list[FoundCheck]:
    """Tell what a check-out would find now."""
    device_id = store.session(connection, session_id).device_id
    found = operations.look_at(connection, device_id, now)
    return [FoundCheck(one.key, one.verdict, one.en, one.zh) for one in found]


@api.post("/{session_id}/check-out")
def check_out(
    user: Staff, connection: Transaction, now: Now, session_id: int, body: CheckOut
) -> WorkSession:
    """Check out: what does not pass needs a reason; alarms are heard again at once."""
    operations.check_out(connection, session_id, exception=body.exception, actor=user.name, now=now)
    return store.session(connection, session_id)


@api.post("/{session_id}/extend")
def extend_work_session(
    user: Staff, connection: Transaction, now: Now, session_id: int, body: MoreTime
) -> WorkSession:
    """Stay longer."""
    operations.stay(connection, session_id, until_at=body.until_at, actor=user.name, now=now)
    return store.session(connection, session_id)


@pages.post("")
def check_in_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    form: Annotated[CheckInForm, FormBody()],
) -> Response:
    """Check in and show the session."""
    body = form.model_dump(exclude={"csrf_token", "next"})
    made = operations.check_in(connection, **body, actor=user.name, now=now)
    return done(request, f"/work-sessions/{made}", msg("Checked in: alarms are quiet"))


@pages.get("/{session_id}")
def show_work_session(
    request: Request, _user: CurrentUser, connection: Transaction, now: Now, session_id: int
) -> Response:
    """Show one session: what was said meanwhile, and how the unit stands now."""
    session = store.session(connection, session_id)
    return render(
        request,
        "work_sessions/session.html",
        session=session,
        checks=session.checks or operations.look_at(connection, session.device_id, now),
    )


@pages.post("/{session_id}/check-out")
def check_out_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    session_id: int,
    form: Annotated[CheckOutForm, FormBody()],
) -> Response:
    """Check out, or show what is not as it should be."""
    operations.check_out(connection, session_id, exception=form.exception, actor=user.name, now=now)
    return done(request, f"/work-sessions/{session_id}", msg("Checked out: alarms are heard"))


@pages.post("/{session_id}/extend")
def extend_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    session_id: int,
    form: Annotated[MoreTimeForm, FormBody()],
) -> Response:
    """Stay some hours longer, counted from now."""
    until_at = now + timedelta(hours=form.hours)
    operations.stay(connection, session_id, until_at=until_at, actor=user.name, now=now)
    return done(request, f"/work-sessions/{session_id}", msg("Quiet for %(n)s h"), n=form.hours)
