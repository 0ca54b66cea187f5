"""Suppressions: what is quiet and why, taking units out of service, ending it early."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules import suppression_operations as operations
from rules.suppression import SuppressionKind
from rules.version_store import known_rules
from service_api.devices.store import site_of
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import Connection, CurrentUser, Now, Staff, Transaction
from service_api.suppressions import store
from service_api.suppressions.schemas import (
    Suppression,
    SuppressionEnd,
    SuppressionEndForm,
    SuppressionEvent,
    SuppressionExtension,
    SuppressionQuery,
    TakingOut,
    TakingOutForm,
)

api = APIRouter(prefix="/api/v1/suppressions", tags=["alarms"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/suppressions", include_in_schema=False)


@api.get("")
def list_suppressions(
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[SuppressionQuery, Query()],
) -> Page[Suppression]:
    """List what is quiet by design: planned work, work mode, out of service, chattering."""
    return store.suppressions(connection, query, now)


@api.post("", status_code=201)
def take_out_of_service(
    user: Staff, connection: Transaction, now: Now, body: TakingOut
) -> Suppression:
    """Take a unit out of service, or one rule on it, with a reason."""
    made = _take_out(
        connection, body.device_id, body.rule, body.until_at, body.reason, user.name, now
    )
    return store.suppression(connection, made)


@api.get("/{suppression_id}")
def get_suppression(
    _user: CurrentUser, connection: Transaction, suppression_id: int
) -> Suppression:
    """Tell one suppression."""
    return store.suppression(connection, suppression_id)


@api.get("/{suppression_id}/log")
def get_suppression_log(
    _user: CurrentUser, connection: Transaction, suppression_id: int
) -> list[SuppressionEvent]:
    """Tell what happened to a suppression, newest first."""
    store.suppression(connection, suppression_id)
    return store.suppression_log(connection, suppression_id)


@api.post("/{suppression_id}/end")
def end_suppression(
    user: Staff, connection: Transaction, now: Now, suppression_id: int, body: SuppressionEnd
) -> Suppression:
    """End it before its time; what stands is heard within seconds."""
    operations.end_suppression(
        connection, suppression_id, reason=body.reason, actor=user.name, now=now
    )
    return store.suppression(connection, suppression_id)


@api.post("/{suppression_id}/extend")
def extend_suppression(
    user: Staff, connection: Transaction, now: Now, suppression_id: int, body: SuppressionExtension
) -> Suppression:
    """Let it end later, or sooner."""
    operations.move_end(connection, suppression_id, ends_at=body.ends_at, actor=user.name, now=now)
    return store.suppression(connection, suppression_id)


def _take_out(
    connection: Connection,
    device_id: int,
    rule: str | None,
    until_at: datetime | None,
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    return operations.suppress(
        connection,
        kind=SuppressionKind.OUT_OF_SERVICE,
        site_id=site_of(connection, device_id),
        device_id=device_id,
        rule_keys=None if rule is None else [rule],
        lets_critical_through=False,
        begins_at=now,
        ends_at=until_at,
        reason=reason,
        actor=actor,
        now=now,
    )


@pages.get("")
def show_suppressions(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[SuppressionQuery, Query()],
) -> Response:
    """Show what is quiet by design."""
    page = store.suppressions(connection, query, now)
    known = known_rules(connection)
    keys = {key for one in page.items for key in one.rules or ()}
    return render(
        request,
        "suppressions/list.html",
        page=page,
        query=query,
        rule_titles={key: known.title(key) for key in keys},
    )


@pages.post("")
def take_out_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    form: Annotated[TakingOutForm, FormBody()],
) -> Response:
    """Take a unit or one of its rules out of service."""
    until_at = now + timedelta(days=form.days) if form.days else None
    _take_out(connection, form.device_id, form.rule or None, until_at, form.reason, user.name, now)
    return done(request, form.next, msg("Out of service"))


@pages.post("/{suppression_id}/end")
def end_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    suppression_id: int,
    form: Annotated[SuppressionEndForm, FormBody()],
) -> Response:
    """End it before its time."""
    operations.end_suppression(connection, suppression_id, reason="", actor=user.name, now=now)
    return done(request, form.next, msg("Ended: its alarms are heard again"))
