"""Reminders: what a duty must see to, taken, put off with a reason, and back again."""

from datetime import datetime, time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules import reminder_store
from service_api.errors import PROBLEM_RESPONSES, Forbidden
from service_api.figures import zone
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.reminders import store
from service_api.reminders.schemas import (
    PutOff,
    PutOffForm,
    Reminder,
    ReminderEvent,
    ReminderQuery,
    WarrantyFault,
)
from service_api.reminders.words import OWNERS
from service_api.request import CurrentUser, Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/reminders", tags=["reminders"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/reminders", include_in_schema=False)

NO_CONTENT = HTTPStatus.NO_CONTENT


@api.get("")
def list_reminders(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[ReminderQuery, Query()]
) -> Page[Reminder]:
    """List reminders, the newest first; customers have none."""
    return store.reminders(connection, query, now=now)


@api.get("/warranty-faults")
def list_warranty_faults(
    _user: CurrentUser, connection: Transaction, device_id: int | None = None
) -> list[WarrantyFault]:
    """List the first fault within each warranty."""
    return store.warranty_faults(connection, device_id)


@api.get("/{reminder_id}")
def get_reminder(_user: CurrentUser, connection: Transaction, reminder_id: int) -> Reminder:
    """Tell one reminder."""
    return store.reminder(connection, reminder_id)


@api.get("/{reminder_id}/events")
def list_reminder_events(
    _user: CurrentUser, connection: Transaction, reminder_id: int
) -> list[ReminderEvent]:
    """Tell what happened to a reminder, in order."""
    store.reminder(connection, reminder_id)
    return store.events(connection, reminder_id)


@api.post("/{reminder_id}/take", status_code=NO_CONTENT)
def take_reminder(user: Staff, connection: Transaction, now: Now, reminder_id: int) -> None:
    """See to it oneself."""
    reminder_store.take_reminder(connection, reminder_id, actor=user.name, now=now)


@api.post("/{reminder_id}/give-back", status_code=NO_CONTENT)
def give_reminder_back(user: Staff, connection: Transaction, now: Now, reminder_id: int) -> None:
    """Leave it to its duty again."""
    reminder_store.give_reminder_back(connection, reminder_id, actor=user.name, now=now)


@api.post("/{reminder_id}/put-off", status_code=NO_CONTENT)
def put_reminder_off(
    user: Staff, connection: Transaction, now: Now, reminder_id: int, body: PutOff
) -> None:
    """Hide it until an instant, with a reason; its next step brings it back before."""
    reminder_store.put_reminder_off(
        connection,
        reminder_id,
        until_at=body.until_at,
        reason=body.reason,
        actor=user.name,
        now=now,
    )


@api.post("/{reminder_id}/bring-back", status_code=NO_CONTENT)
def bring_reminder_back(user: Staff, connection: Transaction, now: Now, reminder_id: int) -> None:
    """Show it again."""
    reminder_store.bring_reminder_back(connection, reminder_id, actor=user.name, now=now)


@pages.get("")
def show_reminders(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[ReminderQuery, Query()],
) -> Response:
    """Show what duties must see to."""
    if user.role == "customer":
        raise Forbidden
    return render(
        request,
        "reminders/list.html",
        page=store.reminders(connection, query, now=now),
        counts=store.counts(connection, now=now),
        query=query,
        owners=OWNERS,
    )


@pages.post("/{reminder_id}/take")
def take_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, reminder_id: int
) -> Response:
    """Take a reminder and go back."""
    reminder_store.take_reminder(connection, reminder_id, actor=user.name, now=now)
    return done(request, "/reminders", msg("You see to it"))


@pages.post("/{reminder_id}/give-back")
def give_back_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, reminder_id: int
) -> Response:
    """Give a reminder back."""
    reminder_store.give_reminder_back(connection, reminder_id, actor=user.name, now=now)
    return done(request, "/reminders", msg("Given back"))


@pages.post("/{reminder_id}/put-off")
def put_off_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    reminder_id: int,
    form: Annotated[PutOffForm, FormBody()],
) -> Response:
    """Put a reminder off until the morning of a day."""
    reminder_store.put_reminder_off(
        connection,
        reminder_id,
        until_at=datetime.combine(form.until_on, time(8), zone(None)),
        reason=form.reason,
        actor=user.name,
        now=now,
    )
    return done(request, "/reminders", msg("Put off"))


@pages.post("/{reminder_id}/bring-back")
def bring_back_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, reminder_id: int
) -> Response:
    """Show a reminder again."""
    reminder_store.bring_reminder_back(connection, reminder_id, actor=user.name, now=now)
    return done(request, "/reminders?state=put_off", msg("Shown again"))
