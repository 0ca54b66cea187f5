"""Make, change and retire rules of the service's own; override rules for units, and end that.

Each change is a version with who, when and why; to go back is a version too. Runs inside the
caller's transaction. `RuleInvalid` means a text that cannot be used, `NotThere` no such rule or
version, `OperationRefused` that it cannot be done now.
"""

from collections.abc import Mapping
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from rules.catalogue import Rule, RuleInvalid, catalogue
from rules.catalogue.text import OverrideText, overridden
from rules.operations import NotThere, OperationRefused
from rules.version_store import hold_writers, known_rules, newest_of, save_version, version_of
from rules.versions import (
    RULE,
    Scope,
    Version,
    check_own,
    check_scope,
    override_text,
    read_override,
    read_own,
    rule_text,
)

Connection = psycopg.Connection[TupleRow]


def make_rule(
    connection: Connection, rule: Rule, *, actor: str, reason: str, now: datetime
) -> Version:
    """Save a rule under a key that none has yet."""
    hold_writers(connection)
    before = newest_of(connection, rule.key, RULE)
    if before is not None:
        raise OperationRefused(
            f"there is a rule {rule.key} already"
            if before.text is not None
            else f"there was a rule {rule.key}: go back to one of its versions, or take another key"
        )
    check_own(rule, catalogue(), known_rules(connection).rules)
    return _saved(connection, rule.key, RULE, rule_text(rule), actor, reason, now)


def change_rule(
    connection: Connection,
    rule: Rule,
    *,
    based_on: int | None = None,
    actor: str,
    reason: str,
    now: datetime,
) -> Version:
    """Save the next version of a rule of our own.

    `based_on` is the version that it was made from: refused where another was saved meanwhile.
    """
    _newest(connection, rule.key, RULE, based_on)
    check_own(rule, catalogue(), known_rules(connection).rules)
    return _saved(connection, rule.key, RULE, rule_text(rule), actor, reason, now)


def retire_rule(
    connection: Connection, key: str, *, actor: str, reason: str, now: datetime
) -> Version:
    """Take a rule of our own out of force for good; its standing alarms turn stale."""
    _newest(connection, key, RULE, None)
    for other in known_rules(connection).rules.values():
        if key in other.inhibited_by:
            raise OperationRefused(f"rule {other.key} names it as its explanation")
    return _saved(connection, key, RULE, None, actor, reason, now)


def override_rule(
    connection: Connection,
    key: str,
    scope: Scope,
    change: OverrideText,
    *,
    based_on: int | None = None,
    actor: str,
    reason: str,
    now: datetime,
) -> Version:
    """Save an override of a rule for a scope.

    `based_on` is the override's version that it was made from, None: whatever stands there.
    """
    hold_writers(connection)
    rules = known_rules(connection).rules
    if key not in rules:
        raise NotThere(f"there is no rule {key}")
    check_override(rules, key, scope, change)
    must_be_there(connection, key, scope)
    if based_on is not None:
        _newest(connection, key, scope, based_on)
    return _saved(connection, key, scope, override_text(key, change), actor, reason, now)


def check_override(rules: Mapping[str, Rule], key: str, scope: Scope, change: OverrideText) -> Rule:
    """Return what a rule would be with an override; raise `RuleInvalid` where that cannot be."""
    shipped = catalogue()
    check_scope(rules[key], scope, shipped)
    # For all units it replaces an earlier override, so the shipped rule is what it changes.
    base = shipped[key] if scope.kind == "all" else rules[key]
    return overridden(base, change)


def end_override(
    connection: Connection, key: str, scope: Scope, *, actor: str, reason: str, now: datetime
) -> Version:
    """Take an override away: its units are judged by the next less specific one, or the rule."""
    _newest(connection, key, scope, None)
    return _saved(connection, key, scope, None, actor, reason, now)


def go_back(
    connection: Connection, version_id: int, *, key: str, actor: str, reason: str, now: datetime
) -> Version:
    """Put an earlier version in force again, as the next one."""
    hold_writers(connection)
    version = version_of(connection, version_id)
    if version is None or version.rule_key != key:
        raise NotThere(f"rule {key} has no version {version_id}")
    if version.text is None:
        raise OperationRefused("this version took the rule or the override away: end it instead")
    if version.scope == RULE:
        rule = read_own(key, version.text)
        check_own(rule, catalogue(), known_rules(connection).rules)
        return _saved(connection, key, RULE, rule_text(rule), actor, reason, now)
    change = read_override(key, version.text)
    return override_rule(
        connection, key, version.scope, change, actor=actor, reason=reason, now=now
    )


def _newest(connection: Connection, key: str, scope: Scope, based_on: int | None) -> Version:
    """Return what is in force for a scope, with other writers kept waiting."""
    hold_writers(connection)
    before = newest_of(connection, key, scope)
    if before is None or before.text is None:
        if scope == RULE and key in catalogue():
            raise OperationRefused("a shipped rule is changed by an override")
        raise NotThere(
            f"there is no rule {key} of your own"
            if scope == RULE
            else f"rule {key} has no such override"
        )
    if based_on is not None and before.version != based_on:
        raise OperationRefused(
            f"{before.actor} saved version {before.version} meanwhile: load it and change that"
        )
    return before


def must_be_there(connection: Connection, key: str, scope: Scope) -> None:
    """Refuse a scope whose site or unit is not there; raise `RuleInvalid`."""
    row = connection.execute(
        """
        SELECT CASE %(kind)s
            WHEN 'device' THEN EXISTS (SELECT FROM device WHERE key = %(about)s)
            WHEN 'site' THEN EXISTS (SELECT FROM site WHERE key = %(about)s) ELSE true END
        """,
        {"kind": scope.kind, "about": scope.about},
    ).fetchone()
    if row is None or not row[0]:
        what, what_zh = ("unit", "设备") if scope.kind == "device" else ("site", "站点")
        raise RuleInvalid(
            f"there is no {what} {scope.about[:100]}",
            reason_zh=f"没有{what_zh} {scope.about[:100]}",
            rule=key,
            field="scope",
        )


def _saved(
    connection: Connection,
    key: str,
    scope: Scope,
    text: str | None,
    actor: str,
    reason: str,
    now: datetime,
) -> Version:
    saved = save_version(connection, key, scope, text, actor=actor, reason=reason.strip(), now=now)
    if saved is None:
        raise OperationRefused("this is what is in force already")
    return saved
