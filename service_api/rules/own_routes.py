"""Own rules and overrides through the API: saved, versioned, tried, exported and imported."""

from typing import Annotated

from fastapi import APIRouter, Query, status
from starlette.responses import PlainTextResponse

from rules import version_operations as operations
from rules.catalogue import RuleInvalid
from rules.catalogue.text import override_of, read_tables
from rules.rule_import import export_rules, import_rules
from service_api.auth import User
from service_api.errors import PROBLEM_RESPONSES, Invalid
from service_api.request import STAFF_ROLES, Dispatcher, Now, Transaction, require
from service_api.rules import store
from service_api.rules.drafting import drafted, the_rule
from service_api.rules.schemas import (
    Change,
    Draft,
    Drafted,
    FieldChange,
    Imported,
    Importing,
    KnownWord,
    Override,
    OverrideEnding,
    OverrideSaving,
    RuleLine,
    RuleSaving,
    RuleVersion,
    Switching,
)
from service_api.rules.words import words

api = APIRouter(prefix="/api/v1/rules", tags=["rules"], responses=PROBLEM_RESPONSES)

Insider = Annotated[User, require(*STAFF_ROLES, "integrator")]


def _invalid(error: RuleInvalid) -> Invalid:
    return Invalid(str(error))


@api.post("", status_code=status.HTTP_201_CREATED)
def make_rule(user: Dispatcher, connection: Transaction, now: Now, body: RuleSaving) -> RuleLine:
    """Make a rule of your own, in TOML; it is in force within seconds."""
    try:
        rule = the_rule(body.text)
        operations.make_rule(connection, rule, actor=user.name, reason=body.reason, now=now)
    except RuleInvalid as error:
        raise _invalid(error) from error
    return store.rule(connection, rule.key, now)


@api.get("/words")
def find_words(_user: Insider, q: Annotated[str, Query(max_length=100)] = "") -> list[KnownWord]:
    """Find words of rule text by name or meaning."""
    return words(q)


@api.post("/draft")
def check_draft(_user: Insider, connection: Transaction, now: Now, body: Draft) -> Drafted:
    """Say what a rule or override would be without saving it: faults, cautions, units now."""
    scope = None if body.scope is None else body.scope.scope
    return drafted(connection, body.text, scope, now)


@api.get("/export", response_class=PlainTextResponse)
def export_own_rules(_user: Insider, connection: Transaction) -> PlainTextResponse:
    """Hand out own rules and overrides as TOML, to be kept, edited and imported again."""
    return PlainTextResponse(
        export_rules(connection),
        media_type="application/toml",
        headers={"Content-Disposition": 'attachment; filename="rules.toml"'},
    )


@api.post("/import")
def import_own_rules(
    user: Dispatcher, connection: Transaction, now: Now, body: Importing
) -> Imported:
    """Save what a text in TOML changes, all of it or nothing; a dry run only says what."""
    try:
        plan = import_rules(
            connection,
            body.text,
            replace=body.replace,
            dry_run=body.dry_run,
            actor=user.name,
            reason=body.reason.strip(),
            now=now,
        )
    except RuleInvalid as error:
        raise _invalid(error) from error
    return Imported(
        [
            Change(
                one.rule_key,
                one.scope.kind,
                one.scope.about,
                one.scope.maker,
                one.deed,
                [FieldChange(*each) for each in one.differences],
            )
            for one in plan
        ],
        saved=bool(plan) and not body.dry_run,
    )


@api.put("/{key}")
def change_rule(
    user: Dispatcher, connection: Transaction, now: Now, key: str, body: RuleSaving
) -> RuleLine:
    """Save the next version of a rule of your own."""
    try:
        rule = the_rule(body.text)
        same_key(key, rule.key)
        operations.change_rule(
            connection,
            rule,
            based_on=body.based_on,
            actor=user.name,
            reason=body.reason,
            now=now,
        )
    except RuleInvalid as error:
        raise _invalid(error) from error
    return store.rule(connection, key, now)


def same_key(key: str, written: str) -> None:
    """Refuse a text that is of another rule; raise `RuleInvalid`."""
    if key != written:
        raise RuleInvalid(
            f"the text is of rule {written[:80]}, the address of {key[:80]}",
            reason_zh=f"文本为规则 {written[:80]}，地址为 {key[:80]}",
            rule=key[:80],
            field="key",
        )


@api.post("/{key}/retire")
def retire_rule(
    user: Dispatcher, connection: Transaction, now: Now, key: str, body: Switching
) -> RuleLine:
    """Take a rule of your own out of force; its versions stay."""
    operations.retire_rule(connection, key, actor=user.name, reason=body.reason, now=now)
    return store.rule(connection, key, now)


@api.get("/{key}/versions")
def list_rule_versions(_user: Insider, connection: Transaction, key: str) -> list[RuleVersion]:
    """List the versions of a rule and of its overrides, the newest first."""
    return store.versions(connection, key)


@api.get("/{key}/versions/{version_id}")
def get_rule_version(
    _user: Insider, connection: Transaction, key: str, version_id: int
) -> RuleVersion:
    """Tell one version."""
    return store.version(connection, key, version_id)


@api.get("/{key}/versions/{version_id}/changes")
def compare_rule_versions(
    _user: Insider,
    connection: Transaction,
    key: str,
    version_id: int,
    against: Annotated[int | None, Query(ge=1)] = None,
) -> list[FieldChange]:
    """Tell field by field what a version changed against another, or the one before it."""
    return store.changes(connection, key, version_id, against)[1]


@api.post("/{key}/versions/{version_id}/restore")
def restore_rule_version(
    user: Dispatcher,
    connection: Transaction,
    now: Now,
    key: str,
    version_id: int,
    body: Switching,
) -> RuleLine:
    """Go back to a version; that is a version too."""
    try:
        operations.go_back(
            connection, version_id, key=key, actor=user.name, reason=body.reason, now=now
        )
    except RuleInvalid as error:
        raise _invalid(error) from error
    return store.rule(connection, key, now)


@api.get("/{key}/overrides")
def list_rule_overrides(
    _user: Insider, connection: Transaction, now: Now, key: str
) -> list[Override]:
    """List the overrides of a rule in force, from all units to single ones."""
    store.rule(connection, key, now)
    return store.overrides(connection, key)


@api.put("/{key}/overrides")
def override_rule(
    user: Dispatcher, connection: Transaction, now: Now, key: str, body: OverrideSaving
) -> list[Override]:
    """Save an override for a scope: what differs there, in TOML under the rule's key."""
    try:
        tables = read_tables(body.text)
        same_key(key, next(iter(tables)) if len(tables) == 1 else "")
        operations.override_rule(
            connection,
            key,
            body.scope.scope,
            override_of(key, tables[key]),
            based_on=body.based_on,
            actor=user.name,
            reason=body.reason,
            now=now,
        )
    except RuleInvalid as error:
        raise _invalid(error) from error
    return store.overrides(connection, key)


@api.post("/{key}/overrides/end")
def end_rule_override(
    user: Dispatcher, connection: Transaction, now: Now, key: str, body: OverrideEnding
) -> list[Override]:
    """End an override: its units are judged by the next less specific one, or the rule."""
    operations.end_override(
        connection, key, body.scope.scope, actor=user.name, reason=body.reason, now=now
    )
    return store.overrides(connection, key)
