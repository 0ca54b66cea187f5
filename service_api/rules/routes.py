"""Rules through the API and on pages: read by staff and integrators, switched by dispatchers."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules.catalogue import RuleInvalid, read_rules
from service_api.auth import User
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import STAFF_ROLES, Dispatcher, Now, Transaction, require
from service_api.rules import store
from service_api.rules.drafting import place_of
from service_api.rules.operations import switch
from service_api.rules.schemas import (
    Checked,
    RuleEvent,
    RuleLine,
    RuleText,
    Switching,
    SwitchingForm,
)

api = APIRouter(prefix="/api/v1/rules", tags=["rules"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/rules", include_in_schema=False)

Insider = Annotated[User, require(*STAFF_ROLES, "integrator")]


@api.get("")
def list_rules(_user: Insider, connection: Transaction, now: Now) -> Page[RuleLine]:
    """List every rule with what it did, those that stand most first."""
    lines = store.rules(connection, now)
    return Page(items=lines, total=len(lines), next=None)


@api.post("/check")
def check_rules(_user: Insider, body: RuleText) -> Checked:
    """Read rules in TOML without keeping them: their keys, or the first problem and its place."""
    try:
        return Checked(sorted(read_rules(body.text)), None)
    except RuleInvalid as problem:
        return Checked([], str(problem), place_of(problem))


@api.get("/{key}")
def get_rule(_user: Insider, connection: Transaction, now: Now, key: str) -> RuleLine:
    """Tell one rule: condition, words, source, what follows, what it did."""
    return store.rule(connection, key, now)


@api.get("/{key}/log")
def get_rule_log(_user: Insider, connection: Transaction, now: Now, key: str) -> list[RuleEvent]:
    """Tell when a rule was switched off and on, by whom and why."""
    store.rule(connection, key, now)
    return store.events(connection, key)


@api.post("/{key}/off")
def switch_rule_off(
    user: Dispatcher, connection: Transaction, now: Now, key: str, body: Switching
) -> RuleLine:
    """Switch a rule off; its standing alarms turn stale."""
    switch(connection, key, enabled=False, reason=body.reason, actor=user.name, now=now)
    return store.rule(connection, key, now)


@api.post("/{key}/on")
def switch_rule_on(
    user: Dispatcher, connection: Transaction, now: Now, key: str, body: Switching
) -> RuleLine:
    """Switch a rule on again; its alarms are taken up where they stood."""
    switch(connection, key, enabled=True, reason=body.reason, actor=user.name, now=now)
    return store.rule(connection, key, now)


@pages.get("")
def show_rules(request: Request, user: Insider, connection: Transaction, now: Now) -> Response:
    """Show every rule."""
    return render(
        request,
        "rules/list.html",
        rules=store.rules(connection, now),
        unusable=store.unusable(connection),
        retired=store.retired(connection),
        may_change=user.role in {"admin", "dispatcher"},
    )


@pages.get("/{key}")
def show_rule(
    request: Request, user: Insider, connection: Transaction, now: Now, key: str
) -> Response:
    """Show one rule, explained."""
    return render(
        request,
        "rules/rule.html",
        rule=store.rule(connection, key, now),
        events=store.events(connection, key),
        overrides=store.overrides(connection, key),
        versions=store.versions(connection, key),
        may_switch=user.role in {"admin", "dispatcher"},
    )


@pages.post("/{key}/off")
def put_rule_off(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    form: Annotated[SwitchingForm, FormBody()],
) -> Response:
    """Switch a rule off from its page."""
    switch(connection, key, enabled=False, reason=form.reason, actor=user.name, now=now)
    return done(request, f"/rules/{key}", msg("Switched off."))


@pages.post("/{key}/on")
def put_rule_on(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    form: Annotated[SwitchingForm, FormBody()],
) -> Response:
    """Switch a rule on again from its page."""
    switch(connection, key, enabled=True, reason=form.reason, actor=user.name, now=now)
    return done(request, f"/rules/{key}", msg("Switched on."))
