"""Back-tests: asked for, followed while they run, cancelled, read and compared."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, status
from fastapi import Form as FormBody
from starlette.responses import Response

from rules.version_store import known_rules
from service_api.auth import User
from service_api.backtests import operations, store
from service_api.backtests.asking import AskedWrongly
from service_api.backtests.schemas import (
    Backtest,
    BacktestQuery,
    BacktestRow,
    BacktestsQuery,
    NewBacktest,
    NewBacktestForm,
    RuleChoice,
)
from service_api.errors import PROBLEM_RESPONSES, Invalid
from service_api.language import language_of, msg
from service_api.pages import done, is_fragment, render
from service_api.paging import Form, Page
from service_api.request import Connection, Now, Transaction, require

api = APIRouter(prefix="/api/v1/backtests", tags=["backtests"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/backtests", include_in_schema=False)

Tester = Annotated[User, require("admin", "dispatcher", "engineer", "integrator")]
"""A user who may try rules; customers may not: history has more than their own rows."""

USUAL_SPAN = timedelta(days=30)


def _ask(connection: Connection, body: NewBacktest, actor: str, now: datetime, zh: bool) -> int:  # noqa: FBT001 - the asker's language
    try:
        return operations.ask(connection, body, actor=actor, now=now)
    except AskedWrongly as error:
        raise Invalid(error.reason.zh if zh else error.reason.en) from error


@api.get("")
def list_backtests(
    _user: Tester, connection: Transaction, query: Annotated[BacktestQuery, Query()]
) -> Page[BacktestRow]:
    """List back-tests, the newest first, without their results."""
    return store.backtests(connection, query)


@api.post("", status_code=status.HTTP_201_CREATED)
def ask_for_backtest(
    user: Tester, connection: Transaction, now: Now, body: NewBacktest
) -> Backtest:
    """Ask for a rule to be tried on history, or for the estimate of what that would take."""
    return store.backtest(connection, _ask(connection, body, user.name, now, zh=False))


@api.get("/{backtest_id}")
def get_backtest(_user: Tester, connection: Transaction, backtest_id: int) -> Backtest:
    """Tell how far a back-test is, and its result once it is done."""
    return store.backtest(connection, backtest_id)


@api.post("/{backtest_id}/run")
def run_backtest(_user: Tester, connection: Transaction, backtest_id: int) -> Backtest:
    """Run a back-test that was only estimated."""
    operations.let_run(connection, backtest_id)
    return store.backtest(connection, backtest_id)


@api.delete("/{backtest_id}")
def cancel_backtest(user: Tester, connection: Transaction, now: Now, backtest_id: int) -> Backtest:
    """Cancel a back-test that is not finished."""
    operations.cancel(connection, backtest_id, actor=user.name, now=now)
    return store.backtest(connection, backtest_id)


@pages.get("")
def show_backtests(
    request: Request,
    _user: Tester,
    connection: Transaction,
    now: Now,
    query: Annotated[BacktestsQuery, Query()],
) -> Response:
    """Show the form and what was tried before."""
    return render(
        request,
        "backtests/list.html",
        page=store.backtests(connection, query),
        rules=sorted(known_rules(connection).rules.values(), key=lambda rule: rule.key),
        rule=query.rule,
        sites=store.sites(connection),
        since=(now - USUAL_SPAN).date(),
        until=now.date(),
    )


@pages.post("")
def ask_on_page(
    request: Request,
    user: Tester,
    connection: Transaction,
    now: Now,
    form: Annotated[NewBacktestForm, FormBody()],
) -> Response:
    """Ask for a back-test and go to it."""
    body = NewBacktest(
        rule=_choice(form.rule, form.text),
        against=_choice(form.against, form.against_text)
        if form.against or form.against_text.strip()
        else None,
        since=_midnight(form.since),
        until=min(_midnight(form.until) + timedelta(days=1), now),
        device=form.device or None,
        site=form.site or None,
        model=form.model or None,
        run=form.deed == "run",
    )
    zh = language_of(request) == "zh"
    return done(request, f"/backtests/{_ask(connection, body, user.name, now, zh)}")


def _choice(key: str, text: str) -> RuleChoice:
    return RuleChoice(text=text) if text.strip() else RuleChoice(key=key or None)


def _midnight(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time.min, UTC)
    except ValueError as error:
        raise Invalid(msg("Give a day like 2026-03-02.")) from error


@pages.get("/{backtest_id}")
def show_backtest(
    request: Request, _user: Tester, connection: Transaction, backtest_id: int
) -> Response:
    """Show one back-test; asked by the page itself, only its live part."""
    return render(
        request,
        "backtests/live.html" if is_fragment(request) else "backtests/backtest.html",
        test=store.backtest(connection, backtest_id),
    )


@pages.post("/{backtest_id}/run")
def run_on_page(
    request: Request,
    _user: Tester,
    connection: Transaction,
    backtest_id: int,
    _form: Annotated[Form, FormBody()],
) -> Response:
    """Run what was estimated."""
    operations.let_run(connection, backtest_id)
    return done(request, f"/backtests/{backtest_id}")


@pages.post("/{backtest_id}/cancel")
def cancel_on_page(
    request: Request,
    user: Tester,
    connection: Transaction,
    now: Now,
    backtest_id: int,
    _form: Annotated[Form, FormBody()],
) -> Response:
    """Cancel a back-test."""
    operations.cancel(connection, backtest_id, actor=user.name, now=now)
    return done(request, f"/backtests/{backtest_id}", msg("Cancelled"))
