"""Read the rules in force with what they did."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from rules.catalogue import Rule, catalogue
from rules.occasions import FACTS
from rules.points import BY_COLUMN, FACT_COLUMNS
from service_api.errors import NotFound
from service_api.request import Connection
from service_api.rules.schemas import Counts, RuleEvent, RuleLine, Word

_LATELY = timedelta(days=30)
_LONG = timedelta(days=365)


class _Override(NamedTuple):
    enabled: bool
    reason: str
    changed_by: str
    changed_at: datetime


def rules(connection: Connection, now: datetime) -> list[RuleLine]:
    """Return every rule, those that stand most first."""
    counts, overrides = _counts(connection, now), _overrides(connection)
    lines = [_line(rule, counts, overrides) for rule in catalogue().values()]
    return sorted(lines, key=lambda line: (-line.counts.standing, -line.counts.alarms, line.key))


def rule(connection: Connection, key: str, now: datetime) -> RuleLine:
    """Return one rule; raise `NotFound`."""
    found = catalogue().get(key)
    if found is None:
        raise NotFound(f"There is no rule {key}.")
    return _line(found, _counts(connection, now), _overrides(connection))


def events(connection: Connection, key: str) -> list[RuleEvent]:
    """Return when a rule was switched off and on, newest first."""
    with connection.cursor(row_factory=class_row(RuleEvent)) as cursor:
        return cursor.execute(
            """
            SELECT at, kind, actor, reason FROM rule_event WHERE rule_key = %s
            ORDER BY id DESC LIMIT 200
            """,
            (key,),
        ).fetchall()


def _line(rule: Rule, counts: Mapping[str, Counts], overrides: Mapping[str, _Override]) -> RuleLine:
    override = overrides.get(rule.key)
    off = override if override is not None and not override.enabled else None
    ticket = rule.ticket
    return RuleLine(
        key=rule.key,
        title_en=rule.title_en,
        title_zh=rule.title_zh,
        severity=rule.severity,
        condition=rule.condition.text.strip(),
        clear=None if rule.clear is None else rule.clear.text.strip(),
        raise_after_seconds=rule.raise_after.total_seconds(),
        clear_after_seconds=rule.clear_after.total_seconds(),
        source=rule.source,
        cause=rule.cause,
        inhibited_by=list(rule.inhibited_by),
        failure_mode=None if ticket is None else ticket.failure_mode,
        action_en=None if ticket is None else ticket.action_en,
        action_zh=None if ticket is None else ticket.action_zh,
        words=[_word(column) for column in sorted(rule.columns)],
        enabled=off is None,
        off_reason=None if off is None else off.reason,
        off_by=None if off is None else off.changed_by,
        off_at=None if off is None else off.changed_at,
        counts=counts.get(rule.key, Counts()),
    )


def _word(column: str) -> Word:
    point = BY_COLUMN.get(column)
    if point is not None:
        return Word(column, point.en, point.zh, point.unit)
    fact = FACTS.get(column)
    if fact is not None:
        return Word(column, fact.en, fact.zh, fact.unit)
    _kind, unit, en, zh = FACT_COLUMNS[column]
    return Word(column, en, zh, unit)


def _overrides(connection: Connection) -> dict[str, _Override]:
    return {
        key: _Override(*values)
        for key, *values in connection.execute(
            "SELECT rule_key, enabled, reason, changed_by, changed_at FROM rule_override"
        )
    }


def _counts(connection: Connection, now: datetime) -> dict[str, Counts]:
    found = {
        key: Counts(standing, alarms)
        for key, standing, alarms in connection.execute(
            """
            SELECT rule_key, count(*) FILTER (WHERE cleared_at IS NULL),
                count(*) FILTER (WHERE raised_at > %(since)s)
            FROM alarm WHERE cleared_at IS NULL OR raised_at > %(since)s GROUP BY rule_key
            """,
            {"since": now - _LATELY},
        )
    }
    for key, tickets, closed, false in connection.execute(
        """
        SELECT rule_key, count(*) FILTER (WHERE opened_at > %(lately)s),
            count(closing_code), count(*) FILTER (WHERE closing_code = 'false_alarm')
        FROM ticket WHERE rule_key IS NOT NULL AND opened_at > %(since)s GROUP BY rule_key
        """,
        {"lately": now - _LATELY, "since": now - _LONG},
    ):
        before = found.get(key, Counts())
        found[key] = Counts(before.standing, before.alarms, tickets, closed, false)
    return found
