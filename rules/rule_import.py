"""Export what is in force, and import a text: what it would change, or all of it at once."""

from collections.abc import Mapping
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from rules.catalogue import Rule, RuleInvalid, catalogue
from rules.rule_exchange import Item, Planned, exported, planned, read_exchange
from rules.version_operations import check_override, must_be_there
from rules.version_store import hold_writers, newest_versions, save_version
from rules.versions import RULE, check_own, read_override, read_own

Connection = psycopg.Connection[TupleRow]


def export_rules(connection: Connection) -> str:
    """Write own rules and overrides in force as one TOML text."""
    return exported(newest_versions(connection))


def import_rules(
    connection: Connection,
    text: str,
    *,
    replace: bool = False,
    dry_run: bool = False,
    actor: str,
    reason: str,
    now: datetime,
) -> list[Planned]:
    """Save what a text changes, all of it or nothing; returns that.

    `replace`: what the text does not name is taken away. `dry_run`: nothing is saved. Raises
    `RuleInvalid` for the first thing that cannot be.
    """
    hold_writers(connection)
    wanted = read_exchange(text)
    in_force = {
        (one.rule_key, one.scope): one.text
        for one in newest_versions(connection)
        if one.text is not None
    }
    plan = planned(wanted, in_force, replace=replace)
    after = dict(wanted) if replace else {**in_force, **wanted}
    _check(connection, after, {(one.rule_key, one.scope) for one in plan})
    if not dry_run:
        for one in plan:
            save_version(
                connection, one.rule_key, one.scope, one.text, actor=actor, reason=reason, now=now
            )
    return plan


def _check(connection: Connection, after: Mapping[Item, str], changed: set[Item]) -> None:
    """Refuse a state of things that cannot be; what is as it was is not looked at again."""
    rules: dict[str, Rule] = dict(catalogue())
    own = {key: text for (key, scope), text in after.items() if scope == RULE}
    for key, text in own.items():
        try:
            rules.setdefault(key, read_own(key, text))
        except RuleInvalid:
            if (key, RULE) in changed:
                raise
    for (key, scope), text in after.items():
        if scope == RULE:
            # A rule that stays may name one that goes.
            if key in rules and ((key, RULE) in changed or rules[key].inhibited_by):
                check_own(read_own(key, text), catalogue(), rules)
            continue
        if (key, scope) not in changed:
            continue
        if key not in rules:
            raise RuleInvalid(
                f"there is no rule {key[:80]}",
                reason_zh=f"没有规则 {key[:80]}",
                rule=key,
                field="override",
            )
        check_override(rules, key, scope, read_override(key, text))
        must_be_there(connection, key, scope)
