"""Corrections: those in force, one made by hand, the end of one."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.corrections import operations, store
from service_api.corrections.schemas import Correction, CorrectionQuery, NewCorrection
from service_api.devices.store import require_device
from service_api.doubts.schemas import BackForm
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done
from service_api.paging import Page
from service_api.request import CurrentUser, Integrator, Now, Transaction

api = APIRouter(prefix="/api/v1/corrections", tags=["doubts"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/corrections", include_in_schema=False)


@api.get("")
def list_corrections(
    _user: CurrentUser, connection: Transaction, query: Annotated[CorrectionQuery, Query()]
) -> Page[Correction]:
    """List what was decided about values, the newest first."""
    return store.corrections(connection, query)


@api.post("", status_code=HTTPStatus.CREATED)
def create_correction(
    user: Integrator, connection: Transaction, now: Now, body: NewCorrection
) -> Correction:
    """Correct a value by hand, in place of the correction in force; applied within seconds."""
    if body.device_id is not None:
        require_device(connection, body.device_id)
    made = operations.put_in_force(
        connection,
        body.whose,
        point=body.point,
        cure=body.cure,
        reason=body.reason,
        actor=user.name,
        now=now,
    )
    return store.correction(connection, made)


@api.post("/{correction_id}/end")
def end_correction(
    user: Integrator, connection: Transaction, now: Now, correction_id: int
) -> Correction:
    """End a correction: the value is taken as it comes again."""
    operations.end(connection, correction_id, actor=user.name, now=now)
    return store.correction(connection, correction_id)


@pages.post("/{correction_id}/end")
def end_on_page(
    request: Request,
    user: Integrator,
    connection: Transaction,
    now: Now,
    correction_id: int,
    form: Annotated[BackForm, FormBody()],
) -> Response:
    """End a correction and go back."""
    operations.end(connection, correction_id, actor=user.name, now=now)
    return done(request, form.next, msg("Correction ended; the value is taken as it comes"))
