"""Alarms: the list, one alarm with its reason and log, and what staff do with it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules import operations
from service_api.alarms import store
from service_api.alarms.groups import flood_now, groups
from service_api.alarms.schemas import (
    Alarm,
    AlarmEvent,
    AlarmGroups,
    AlarmPageQuery,
    AlarmQuery,
    Closing,
    ClosingForm,
    SelectionForm,
    Shelving,
    ShelvingForm,
)
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, is_fragment, render
from service_api.paging import Page
from service_api.request import CurrentUser, Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/alarms", tags=["alarms"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/alarms", include_in_schema=False)


@api.get("")
def list_alarms(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[AlarmQuery, Query()]
) -> Page[Alarm]:
    """List alarms: standing ones worst first, others newest first."""
    return store.alarms(connection, query, now)


@api.get("/groups")
def list_alarm_groups(_user: CurrentUser, connection: Transaction, now: Now) -> AlarmGroups:
    """Tell what stands by its cause, worst first, and whether a flood is going on."""
    return AlarmGroups(flood_now(connection, now), groups(connection))


@api.get("/{alarm_id}")
def get_alarm(_user: CurrentUser, connection: Transaction, alarm_id: int) -> Alarm:
    """Tell one alarm with the reason it was raised for."""
    return store.alarm(connection, alarm_id)


@api.get("/{alarm_id}/log")
def get_alarm_log(_user: CurrentUser, connection: Transaction, alarm_id: int) -> list[AlarmEvent]:
    """Tell what happened to an alarm, newest first."""
    store.alarm(connection, alarm_id)
    return store.alarm_log(connection, alarm_id)


@api.post("/{alarm_id}/acknowledge")
def acknowledge_alarm(user: Staff, connection: Transaction, now: Now, alarm_id: int) -> Alarm:
    """Say that somebody has seen a standing alarm."""
    operations.acknowledge_alarm(connection, alarm_id, actor=user.name, now=now)
    return store.alarm(connection, alarm_id)


@api.post("/{alarm_id}/unacknowledge")
def unacknowledge_alarm(user: Staff, connection: Transaction, now: Now, alarm_id: int) -> Alarm:
    """Take an acknowledgement back."""
    operations.unacknowledge_alarm(connection, alarm_id, actor=user.name, now=now)
    return store.alarm(connection, alarm_id)


@api.post("/{alarm_id}/shelve")
def shelve_alarm(
    user: Staff, connection: Transaction, now: Now, alarm_id: int, body: Shelving
) -> Alarm:
    """Put a standing alarm aside for at most 24 hours; it comes back by itself."""
    operations.shelve_alarm(
        connection,
        alarm_id,
        until_at=body.until_at,
        reason=body.reason,
        actor=user.name,
        now=now,
    )
    return store.alarm(connection, alarm_id)


@api.post("/{alarm_id}/unshelve")
def unshelve_alarm(user: Staff, connection: Transaction, now: Now, alarm_id: int) -> Alarm:
    """Bring a shelved alarm back before its time."""
    operations.unshelve_alarm(connection, alarm_id, actor=user.name, now=now)
    return store.alarm(connection, alarm_id)


@api.post("/{alarm_id}/close")
def close_alarm(
    user: Staff, connection: Transaction, now: Now, alarm_id: int, body: Closing
) -> Alarm:
    """Close a stale alarm by hand; every other alarm clears by itself."""
    operations.close_stale_alarm(connection, alarm_id, reason=body.reason, actor=user.name, now=now)
    return store.alarm(connection, alarm_id)


@api.post("/{alarm_id}/reset")
def reset_alarm(user: Staff, connection: Transaction, now: Now, alarm_id: int) -> Alarm:
    """Let a latched alarm go, whose condition is over."""
    operations.reset_alarm(connection, alarm_id, actor=user.name, now=now)
    return store.alarm(connection, alarm_id)


@pages.get("")
def show_alarms(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[AlarmPageQuery, Query()],
) -> Response:
    """Show the alarms that speak, unless asked otherwise; to the page itself, its live part.

    In a flood, which nobody can follow line by line, they are grouped by cause.
    """
    if query.state == "standing" and query.quiet is None:
        query = query.model_copy(update={"quiet": False})
    is_plain = not query.model_dump(exclude_defaults=True, exclude={"quiet", "limit", "group"})
    flood = flood_now(connection, now) if is_plain and not query.quiet else None
    is_grouped = query.group == "cause" or (flood is not None and query.group is None)
    return render(
        request,
        "alarms/live.html" if is_fragment(request) else "alarms/list.html",
        page=store.alarms(connection, query, now),
        flood=flood,
        groups=groups(connection) if is_grouped else None,
        query=query,
        counts=store.counts(connection, now),
    )


@pages.get("/{alarm_id}")
def show_alarm(
    request: Request, _user: CurrentUser, connection: Transaction, alarm_id: int
) -> Response:
    """Show one alarm."""
    return render(
        request,
        "alarms/alarm.html",
        alarm=store.alarm(connection, alarm_id),
        log=store.alarm_log(connection, alarm_id),
    )


@pages.post("/{alarm_id}/shelve")
def shelve_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    alarm_id: int,
    form: Annotated[ShelvingForm, FormBody()],
) -> Response:
    """Shelve for a number of hours."""
    until_at = now + timedelta(hours=form.hours)
    operations.shelve_alarm(
        connection, alarm_id, until_at=until_at, reason=form.reason, actor=user.name, now=now
    )
    return done(request, form.next, msg("Shelved for %(n)s h"), n=form.hours)


@pages.post("/{alarm_id}/close")
def close_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    alarm_id: int,
    form: Annotated[ClosingForm, FormBody()],
) -> Response:
    """Close a stale alarm."""
    operations.close_stale_alarm(connection, alarm_id, reason=form.reason, actor=user.name, now=now)
    return done(request, form.next, msg("Closed by hand"))


_DEEDS: Mapping[str, tuple[Callable[..., None], str]] = {
    "acknowledge": (operations.acknowledge_alarm, msg("Acknowledged: %(n)s")),
    "unacknowledge": (operations.unacknowledge_alarm, msg("Acknowledgement taken back: %(n)s")),
    "reset": (operations.reset_alarm, msg("Reset: %(n)s")),
    "unshelve": (operations.unshelve_alarm, msg("Brought back: %(n)s")),
}
"""What can be done to ticked alarms, and what is said of how many it was done to."""


@pages.post("/{deed}")
def do_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    deed: Literal["acknowledge", "unacknowledge", "reset", "unshelve"],
    form: Annotated[SelectionForm, FormBody()],
) -> Response:
    """Do it to the ticked alarms, in id order; those that are already so are passed over."""
    change, said = _DEEDS[deed]
    changed = 0
    for alarm_id in sorted(set(form.ids)):
        with suppress(operations.OperationRefused):
            change(connection, alarm_id, actor=user.name, now=now)
            changed += 1
    return done(request, form.next, said, n=changed)
