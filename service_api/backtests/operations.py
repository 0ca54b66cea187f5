"""Ask for a back-test, let an estimated one run, cancel one."""

from datetime import datetime

from psycopg.types.json import Jsonb

from rules.backtest import refusal
from rules.catalogue import Rule, catalogue
from rules.operations import NotThere, OperationRefused
from service_api.backtests.asking import AskedWrongly, check_span, chosen, told_apart
from service_api.backtests.schemas import NewBacktest, RuleChoice
from service_api.request import Connection

MOST_WAITING = 20
"""So many may wait; who asks for more has to cancel one."""


def rules_asked(choices: list[RuleChoice]) -> tuple[Rule, ...]:
    """Return the rules that were chosen; raises AskedWrongly."""
    rules = [chosen(catalogue(), key=choice.key, text=choice.text) for choice in choices]
    for rule in rules:
        if (reason := refusal(rule)) is not None:
            raise AskedWrongly(reason)
    return told_apart(rules)


def ask(connection: Connection, asked: NewBacktest, *, actor: str, now: datetime) -> int:
    """Queue a back-test, or only its estimate; returns its id. Raises AskedWrongly."""
    choices = [asked.rule, *([asked.against] if asked.against is not None else [])]
    rules_asked(choices)
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
            Jsonb([choice.model_dump() for choice in choices]),
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
