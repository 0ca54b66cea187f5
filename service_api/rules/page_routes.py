"""Pages on which rules are made, changed, overridden, compared and imported."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules import version_operations as operations
from rules.catalogue import SEVERITIES, RuleInvalid
from rules.catalogue.text import override_of, read_tables
from rules.catalogue.writing import fields_of, table
from rules.rule_import import import_rules
from rules.version_store import known_rules, newest_of
from rules.versions import RULE, Scope, fields_in
from service_api.errors import Invalid, NotFound
from service_api.language import msg
from service_api.pages import done, render
from service_api.request import Connection, Dispatcher, Now, Transaction
from service_api.rules import store
from service_api.rules.drafting import drafted, place_of, the_rule
from service_api.rules.forms import UNITS, RuleForm, begun, filled, override_toml, rule_toml, turned
from service_api.rules.own_routes import Insider, same_key
from service_api.rules.schemas import Drafted, ImportForm, OverrideEndForm, SwitchingForm
from service_api.rules.words import words

pages = APIRouter(prefix="/rules", include_in_schema=False)

TRIED_OVER = timedelta(days=30)
"""How far back a draft is tried on history at first."""


@dataclass(frozen=True, slots=True)
class _Mode:
    """What a form is for: where it is sent, and which rule and override it begins with."""

    deed: str
    action: str
    key: str = ""


def _form_page(
    request: Request,
    connection: Connection,
    now: datetime,
    mode: _Mode,
    form: RuleForm,
    *,
    problem: RuleInvalid | None = None,
) -> Response:
    known = known_rules(connection)
    rule = known.rules.get(mode.key)
    return render(
        request,
        "rules/form.html",
        status=200 if problem is None else 422,
        mode=mode,
        form=form,
        rule=rule,
        units=list(UNITS),
        severities=SEVERITIES,
        failure_modes=sorted({r.ticket.failure_mode for r in known.rules.values() if r.ticket}),
        sites=store.sites(connection) if mode.deed == "override" else [],
        models=store.models(connection) if mode.deed == "override" else [],
        problem=None if problem is None else place_of(problem),
        draft=None,
        scope=None,
        words=words(""),
        **_span(now),
    )


def _span(now: datetime) -> dict[str, Any]:
    return {"since": (now - TRIED_OVER).date(), "until": now.date()}


@pages.get("/new")
def show_new_rule(
    request: Request,
    _user: Dispatcher,
    connection: Transaction,
    now: Now,
    like: Annotated[str, Query(max_length=100)] = "",
    by: Annotated[str, Query(max_length=10)] = "form",
) -> Response:
    """Show the form of a new rule, empty or like another."""
    rule = known_rules(connection).rules.get(like)
    fields = {} if rule is None else fields_of(rule)
    form = filled(fields, by=by, toml="" if rule is None else table("[my_rule]", fields))
    return _form_page(request, connection, now, _Mode("new", "/rules/new"), form)


@pages.post("/new")
def make_rule(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    form: Annotated[RuleForm, FormBody()],
) -> Response:
    """Make the rule of a form."""
    try:
        rule = the_rule(rule_toml(form, {}))
        operations.make_rule(connection, rule, actor=user.name, reason=_reason(form), now=now)
    except RuleInvalid as error:
        mode = _Mode("new", "/rules/new")
        return _form_page(request, connection, now, mode, form, problem=error)
    return done(request, f"/rules/{rule.key}", msg("Saved. It judges within seconds."))


def _reason(form: RuleForm) -> str:
    reason = form.reason.strip()
    if not reason:
        raise RuleInvalid("say why", reason_zh="请填写原因", rule=form.key[:80], field="reason")
    return reason


@pages.get("/words")
def show_words(
    request: Request, _user: Insider, q: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Show the words that a search finds, for the form."""
    return render(request, "rules/words.html", words=words(q))


@pages.post("/draft")
def check_draft(
    request: Request,
    _user: Dispatcher,
    connection: Transaction,
    now: Now,
    form: Annotated[RuleForm, FormBody()],
    deed: Annotated[str, Query(max_length=10)] = "new",
) -> Response:
    """Show what the form's rule would be, while it is filled in."""
    scope, draft = _drafted(connection, form, deed, now)
    return render(
        request,
        "rules/check.html",
        draft=draft,
        scope=scope,
        form=form,
        key=form.key if deed != "new" else "",
        **_span(now),
    )


@pages.post("/turn")
def turn_form(
    request: Request,
    _user: Dispatcher,
    connection: Transaction,
    now: Now,
    form: Annotated[RuleForm, FormBody()],
    deed: Annotated[Literal["new", "edit", "override"], Query()] = "new",
) -> Response:
    """Show what was filled in as TOML, or what was written as a form; nothing is saved."""
    key = "" if deed == "new" else form.key
    mode = _Mode(deed, f"/rules/{key}/{deed}" if key else "/rules/new", key)
    try:
        form = turned(form, _base(connection, key), is_override=deed == "override")
    except RuleInvalid as error:
        return _form_page(request, connection, now, mode, form, problem=error)
    return _form_page(request, connection, now, mode, form)


def _drafted(
    connection: Connection, form: RuleForm, deed: str, now: datetime
) -> tuple[Scope | None, Drafted]:
    scope = None
    try:
        if deed == "override":
            scope = _named(connection, form.scope())
            return scope, drafted(connection, override_toml(begun(form)), scope, now)
        text = rule_toml(begun(form), _base(connection, form.key) if deed == "edit" else {})
    except RuleInvalid as error:
        return scope, Drafted(place_of(error), None, None, [], None)
    return scope, drafted(connection, text, None, now, is_new=deed == "new")


def _base(connection: Connection, key: str) -> dict[str, Any]:
    rule = known_rules(connection).rules.get(key)
    return {} if rule is None else fields_of(rule)


@pages.get("/import")
def show_import(request: Request, _user: Dispatcher, _connection: Transaction) -> Response:
    """Show where a text is taken in."""
    return render(request, "rules/import.html", form=None, plan=None, problem=None)


@pages.post("/import")
def take_import(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    form: Annotated[ImportForm, FormBody()],
) -> Response:
    """Say what a text would change, or save it."""
    try:
        plan = import_rules(
            connection,
            form.text,
            replace=form.replace == "yes",
            dry_run=form.deed != "save",
            actor=user.name,
            reason=form.reason.strip(),
            now=now,
        )
    except RuleInvalid as error:
        return render(
            request, "rules/import.html", status=422, form=form, plan=None, problem=place_of(error)
        )
    if form.deed == "save":
        return done(request, "/rules", msg("Saved: %(n)s"), n=len(plan))
    return render(request, "rules/import.html", form=form, plan=plan, problem=None)


@pages.get("/{key}/edit")
def show_edit(
    request: Request,
    _user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    by: Annotated[str, Query(max_length=10)] = "form",
) -> Response:
    """Show the form of a rule of ours; one that cannot be read only as its text."""
    newest = newest_of(connection, key, RULE)
    if newest is None or newest.text is None:
        raise NotFound(f"There is no rule {key} of your own.")
    fields = fields_in(key, RULE, newest.text)
    form = filled(
        fields,
        key=key,
        by=by if fields else "toml",
        toml=newest.text,
        based_on=str(newest.version),
    )
    return _form_page(request, connection, now, _Mode("edit", f"/rules/{key}/edit", key), form)


@pages.post("/{key}/edit")
def change_rule(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    form: Annotated[RuleForm, FormBody()],
) -> Response:
    """Save the next version of a rule."""
    form = form.model_copy(update={"key": key})
    try:
        rule = the_rule(rule_toml(form, _base(connection, key)))
        same_key(key, rule.key)
        operations.change_rule(
            connection,
            rule,
            based_on=form.version,
            actor=user.name,
            reason=_reason(form),
            now=now,
        )
    except RuleInvalid as error:
        mode = _Mode("edit", f"/rules/{key}/edit", key)
        return _form_page(request, connection, now, mode, form, problem=error)
    return done(request, f"/rules/{key}", msg("Saved. It judges within seconds."))


@pages.get("/{key}/override")
def show_override(
    request: Request,
    _user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    version: Annotated[int | None, Query(ge=1)] = None,
    device: Annotated[str, Query(max_length=200)] = "",
    by: Annotated[str, Query(max_length=10)] = "form",
) -> Response:
    """Show the form of an override: a new one, or the one of a version."""
    store.rule(connection, key, now)
    mode = _Mode("override", f"/rules/{key}/override", key)
    if version is None:
        form = RuleForm(key=key, device=device, by=by, toml=f"[{key}]\n")
        return _form_page(request, connection, now, mode, form)
    found = store.kept_version(connection, key, version)
    if found.scope == RULE:
        raise NotFound(f"Version {version} is no override.")
    scope = found.scope
    form = filled(
        fields_in(key, scope, found.text),
        key=key,
        by=by,
        toml=found.text or f"[{key}]\n",
        based_on=str(found.version),
        scope_kind=scope.kind,
        model=f"{scope.maker}\n{scope.about}",
        **({scope.kind: scope.about} if scope.kind in {"device", "site"} else {}),
    )
    return _form_page(request, connection, now, mode, form)


@pages.post("/{key}/override")
def save_override(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    form: Annotated[RuleForm, FormBody()],
) -> Response:
    """Save an override."""
    form = form.model_copy(update={"key": key})
    try:
        tables = read_tables(override_toml(form))
        operations.override_rule(
            connection,
            key,
            _named(connection, form.scope()),
            override_of(key, tables.get(key, {})),
            actor=user.name,
            reason=_reason(form),
            now=now,
        )
    except RuleInvalid as error:
        mode = _Mode("override", f"/rules/{key}/override", key)
        return _form_page(request, connection, now, mode, form, problem=error)
    return done(request, f"/rules/{key}", msg("Saved. It judges within seconds."))


def _named(connection: Connection, scope: Scope) -> Scope:
    """Return a scope whose unit was perhaps given by its name, by its key."""
    if scope.kind != "device":
        return scope
    keys = [
        key
        for (key,) in connection.execute(
            "SELECT key FROM device WHERE key = %(said)s OR name = %(said)s"
            " ORDER BY key <> %(said)s LIMIT 2",
            {"said": scope.about},
        )
    ]
    return Scope("device", keys[0]) if len(keys) == 1 or scope.about in keys else scope


@pages.post("/{key}/override/end")
def end_override(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    form: Annotated[OverrideEndForm, FormBody()],
) -> Response:
    """End an override from the rule's page."""
    found = store.kept_version(connection, key, form.version)
    if found.scope == RULE:
        raise Invalid(msg("This is no override."))
    operations.end_override(
        connection, key, found.scope, actor=user.name, reason=form.reason, now=now
    )
    return done(request, f"/rules/{key}", msg("The override has ended."))


@pages.post("/{key}/retire")
def retire_rule(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    form: Annotated[SwitchingForm, FormBody()],
) -> Response:
    """Retire a rule of ours."""
    operations.retire_rule(connection, key, actor=user.name, reason=form.reason, now=now)
    return done(request, f"/rules/{key}", msg("Retired. Its versions stay."))


@pages.get("/{key}/versions/{version_id}")
def show_version(
    request: Request,
    user: Insider,
    connection: Transaction,
    key: str,
    version_id: int,
    against: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """Show a version, and what it changed."""
    before, changes = store.changes(connection, key, version_id, against)
    return render(
        request,
        "rules/version.html",
        key=key,
        title=known_rules(connection).title(key),
        version=store.version(connection, key, version_id),
        before=before,
        changes=changes,
        versions=store.versions(connection, key),
        may_change=user.role in {"admin", "dispatcher"},
    )


@pages.post("/{key}/versions/{version_id}/restore")
def restore_version(
    request: Request,
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    version_id: int,
    form: Annotated[SwitchingForm, FormBody()],
) -> Response:
    """Go back to a version."""
    try:
        operations.go_back(
            connection, version_id, key=key, actor=user.name, reason=form.reason, now=now
        )
    except RuleInvalid as error:
        raise Invalid(str(error)) from error
    return done(request, f"/rules/{key}", msg("In force again, as a new version."))
