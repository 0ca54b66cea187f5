"""Ask for a back-test, let an estimated one run, cancel one."""

from collections.abc import Mapping
from datetime import datetime

from psycopg.types.json import Jsonb

from rules.backtest import Refusal, refusal
from rules.catalogue import Rule, RuleInvalid
from rules.catalogue.text import overridden
from rules.operations import NotThere, OperationRefused
from rules.version_store import known_rules, version_of
from rules.versions import RULE, read_override, read_own, rule_text
from service_api.backtests.asking import AskedWrongly, check_span, chosen, told_apart
from service_api.backtests.schemas import NewBacktest, RuleChoice
from service_api.request import Connection

MOST_WAITING = 20
"""So many may wait; who asks for more has to cancel one."""


def rules_asked(connection: Connection, choices: list[RuleChoice]) -> tuple[Rule, ...]:
    """Return the rules that were chosen; raises AskedWrongly."""
    known = known_rules(connection).rules
    rules = [_chosen(connection, known, choice) for choice in choices]
    for rule in rules:
        if (reason := refusal(rule)) is not None:
            raise AskedWrongly(reason)
    return told_apart(rules)


def _chosen(connection: Connection, known: Mapping[str, Rule], choice: RuleChoice) -> Rule:
    if choice.version is None:
        return chosen(known, key=choice.key, text=choice.text)
    version = version_of(connection, choice.version)
    if version is None or version.text is None or choice.key not in {None, version.rule_key}:
        raise AskedWrongly(
            Refusal(f"there is no version {choice.version}", f"没有版本 {choice.version}")
        )
    try:
        if version.scope == RULE:
            return read_own(version.rule_key, version.text)
        rule = chosen(known, key=version.rule_key)
        return overridden(rule, read_override(version.rule_key, version.text))
    except RuleInvalid as error:
        raise AskedWrongly(Refusal(str(error), f"规则文本有误：{error.reason_zh}")) from error


def _kept(choice: RuleChoice, rule: Rule) -> dict[str, str | None]:
    """Return a choice as it is kept: by its text, whatever becomes of the rule meanwhile."""
    if choice.text is not None:
        return {"key": choice.key, "text": choice.text}
    return {"key": rule.key, "text": rule_text(rule)}


def ask(connection: Connection, asked: NewBacktest, *, actor: str, now: datetime) -> int:
    """Queue a back-test, or only its estimate; returns its id. Raises AskedWrongly."""
    choices = [asked.rule, *([asked.against] if asked.against is not None else [])]
    kept = [_kept(choice, rules_asked(connection, [choice])[0]) for choice in choices]
    until = now if asked.until is None else asked.until
    check_span(asked.since, until)
    row = connection.execute(
        "SELECT count(*) FROM backtest WHERE state IN ('asked', 'queued')"
    ).fetchone()
    if row is not None and row[0] >= MOST_WAITING:
        raise OperationRefused(f"{MOST_WAITING} back-tests are waiting: cancel one first")
    scope = asked.model_dump(include={"device", "site", "customer", "model"}, exclude_none=True)
    row = connection.execute(
        """
        INSERT INTO backtest (state, rules, since_at, until_at, scope, asked_by, asked_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            "queued" if asked.run else "asked",
            Jsonb(kept),
            asked.since,
            until,
            Jsonb(scope),
            actor,
            now,
        ),
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING
    return int(row[0])


def let_run(connection: Connection, backtest_id: int) -> None:
    """Queue a back-test that was only estimated."""
    _change(
        connection,
        backtest_id,
        "UPDATE backtest SET state = 'queued' WHERE id = %(id)s AND state IN ('asked', 'estimated')"
        " RETURNING id",
        {},
        "only a back-test that was estimated can be run",
    )


def cancel(connection: Connection, backtest_id: int, *, actor: str, now: datetime) -> None:
    """Cancel a back-test that is not finished; a running one ends within its next part."""
    _change(
        connection,
        backtest_id,
        """
        UPDATE backtest SET state = 'cancelled', cancelled_by = %(actor)s, finished_at = %(now)s
        WHERE id = %(id)s AND state IN ('asked', 'estimated', 'queued', 'running') RETURNING id
        """,
        {"actor": actor, "now": now},
        "this back-test is finished",
    )


def _change(
    connection: Connection,
    backtest_id: int,
    statement: str,
    values: dict[str, object],
    otherwise: str,
) -> None:
    if connection.execute(statement.encode(), {"id": backtest_id, **values}).fetchone():
        return
    found = connection.execute("SELECT FROM backtest WHERE id = %s", (backtest_id,)).fetchone()
    if found is None:
        raise NotThere(f"there is no back-test {backtest_id}")
    raise OperationRefused(otherwise)
