"""Read what somebody is writing, before it is saved: where it is wrong, what it would do."""

from datetime import datetime

from rules.catalogue import Rule, RuleInvalid, catalogue
from rules.catalogue.text import override_of, read_rules, read_tables
from rules.rule_warnings import warnings_of
from rules.version_operations import check_override, must_be_there
from rules.version_store import known_rules
from rules.versions import Scope, check_own, override_text, rule_text
from service_api.request import Connection
from service_api.rules.preview import preview
from service_api.rules.schemas import Caution, Drafted, Place


def place_of(error: RuleInvalid) -> Place:
    """Return a refusal as it is told."""
    return Place(error.rule, error.field, error.position, error.reason, error.reason_zh)


def the_rule(text: str) -> Rule:
    """Return the one rule that a text holds; raise `RuleInvalid`."""
    rules = read_rules(text)
    if len(rules) != 1:
        raise RuleInvalid(
            f"one rule is expected, there are {len(rules)}: import takes several",
            reason_zh=f"应只有一条规则，实有 {len(rules)} 条；多条请用导入",
        )
    return next(iter(rules.values()))


def drafted(
    connection: Connection, text: str, scope: Scope | None, now: datetime, *, is_new: bool = False
) -> Drafted:
    """Return what a rule's or an override's text would be; `scope` None: the rule itself."""
    try:
        if scope is None:
            kept, rule = _own(connection, text, is_new=is_new)
        else:
            kept, rule = _override(connection, text, scope)
    except RuleInvalid as error:
        return Drafted(place_of(error), None, None, [], None)
    others = known_rules(connection).rules
    cautions = [Caution(one.kind, one.field, one.en, one.zh) for one in warnings_of(rule, others)]
    return Drafted(None, kept, rule_text(rule), cautions, preview(connection, rule, scope, now))


def _own(connection: Connection, text: str, *, is_new: bool) -> tuple[str, Rule]:
    rule = the_rule(text)
    known = known_rules(connection)
    check_own(rule, catalogue(), known.rules)
    if is_new and known.rule(rule.key) is not None:
        raise RuleInvalid(
            "this key is taken by a rule of yours",
            reason_zh="此键已被自建规则占用",
            rule=rule.key,
            field="key",
        )
    return rule_text(rule), rule


def _override(connection: Connection, text: str, scope: Scope) -> tuple[str, Rule]:
    tables = read_tables(text)
    rules = known_rules(connection).rules
    key = next(iter(tables), "")
    if len(tables) != 1 or key not in rules:
        raise RuleInvalid(
            "an override is one table by the key of a rule",
            reason_zh="覆盖应为以规则键命名的一个表",
            rule=key[:80] or None,
            field="key",
        )
    change = override_of(key, tables[key])
    rule = check_override(rules, key, scope, change)
    must_be_there(connection, key, scope)
    return override_text(key, change), rule
