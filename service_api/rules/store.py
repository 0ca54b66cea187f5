"""Read the rules in force with what they did."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from rules.catalogue import Rule, RuleInvalid, catalogue
from rules.catalogue.writing import differences
from rules.occasions import FACTS
from rules.points import BY_COLUMN, FACT_COLUMNS
from rules.version_store import (
    known_rules,
    newest_versions,
    units_in,
    version_of,
    versions_of,
)
from rules.versions import RULE, Known, Version, fields_in
from service_api.errors import NotFound
from service_api.request import Connection
from service_api.rules.drafting import place_of
from service_api.rules.schemas import (
    Counts,
    FieldChange,
    Override,
    RuleEvent,
    RuleLine,
    RuleVersion,
    Word,
)

_LATELY = timedelta(days=30)
_LONG = timedelta(days=365)


class _Switch(NamedTuple):
    enabled: bool
    reason: str
    changed_by: str
    changed_at: datetime


def rules(connection: Connection, now: datetime) -> list[RuleLine]:
    """Return every rule, those that stand most first."""
    stand = _Stand.of(connection, now)
    lines = [_line(rule, stand) for rule in stand.known.rules.values()]
    return sorted(lines, key=lambda line: (-line.counts.standing, -line.counts.alarms, line.key))


def rule(connection: Connection, key: str, now: datetime) -> RuleLine:
    """Return one rule, also a retired one; raise `NotFound`."""
    stand = _Stand.of(connection, now)
    found = stand.known.rule(key)
    if found is None:
        raise NotFound(f"There is no rule {key}.")
    return _line(found, stand)


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


class _Stand(NamedTuple):
    """What is needed to tell of rules."""

    known: Known
    newest: list[Version]
    counts: Mapping[str, Counts]
    switches: Mapping[str, _Switch]

    @classmethod
    def of(cls, connection: Connection, now: datetime) -> "_Stand":
        """Read it."""
        return cls(
            known_rules(connection),
            newest_versions(connection),
            _counts(connection, now),
            _switches(connection),
        )


def _line(rule: Rule, stand: _Stand) -> RuleLine:
    switch = stand.switches.get(rule.key)
    off = switch if switch is not None and not switch.enabled else None
    of_rule = [one for one in stand.newest if one.rule_key == rule.key]
    is_own = rule.key not in catalogue()
    own = next((one for one in of_rule if is_own and one.scope == RULE), None)
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
        words=[word_of(column) for column in sorted(rule.columns)],
        origin="own" if is_own else "shipped",
        version=None if own is None else own.version,
        retired=own is not None and own.text is None,
        overrides=sum(one.scope != RULE and one.text is not None for one in of_rule),
        enabled=off is None,
        off_reason=None if off is None else off.reason,
        off_by=None if off is None else off.changed_by,
        off_at=None if off is None else off.changed_at,
        counts=stand.counts.get(rule.key, Counts()),
    )


def word_of(column: str) -> Word:
    """Return a word of rule text explained."""
    point = BY_COLUMN.get(column)
    if point is not None:
        return Word(column, point.en, point.zh, point.unit)
    fact = FACTS.get(column)
    if fact is not None:
        return Word(column, fact.en, fact.zh, fact.unit)
    _kind, unit, en, zh = FACT_COLUMNS[column]
    return Word(column, en, zh, unit)


def _switches(connection: Connection) -> dict[str, _Switch]:
    return {
        key: _Switch(*values)
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


def versions(connection: Connection, key: str) -> list[RuleVersion]:
    """Return the versions of a rule and of its overrides, the newest first."""
    found = versions_of(connection, key)
    newest = {one.scope: one.id for one in reversed(found)}
    return [_told(one, newest.get(one.scope)) for one in found]


def version(connection: Connection, key: str, version_id: int) -> RuleVersion:
    """Return one version; raise `NotFound`."""
    found = kept_version(connection, key, version_id)
    newest = {one.scope: one.id for one in reversed(versions_of(connection, key))}
    return _told(found, newest.get(found.scope))


def kept_version(connection: Connection, key: str, version_id: int) -> Version:
    """Return a version of a rule or of an override of it; raise `NotFound`."""
    found = version_of(connection, version_id)
    if found is None or found.rule_key != key:
        raise NotFound(f"Rule {key} has no version {version_id}.")
    return found


def _told(version: Version, newest: int | None) -> RuleVersion:
    return RuleVersion(
        id=version.id,
        rule_key=version.rule_key,
        scope=version.scope.kind,
        about=version.scope.about,
        maker=version.scope.maker,
        version=version.version,
        text=version.text,
        at=version.at,
        actor=version.actor,
        reason=version.reason,
        in_force=version.id == newest and version.text is not None,
    )


def changes(
    connection: Connection, key: str, version_id: int, against: int | None
) -> tuple[RuleVersion | None, list[FieldChange]]:
    """Return what a version changed: against another, or against the one before it."""
    found = kept_version(connection, key, version_id)
    if against is not None:
        before: Version | None = kept_version(connection, key, against)
    else:
        earlier = [
            one
            for one in versions_of(connection, key)
            if one.scope == found.scope and one.version < found.version
        ]
        before = earlier[0] if earlier else None
    was = {} if before is None else fields_in(key, before.scope, before.text)
    return (
        None if before is None else _told(before, None),
        [FieldChange(*one) for one in differences(was, fields_in(key, found.scope, found.text))],
    )


def overrides(connection: Connection, key: str) -> list[Override]:
    """Return the overrides of a rule that are in force, for all units first."""
    found = sorted(
        (
            one
            for one in newest_versions(connection)
            if one.rule_key == key and one.scope != RULE and one.text is not None
        ),
        key=lambda one: (one.scope.rank, one.scope),
    )
    if not found:
        return []
    unusable = {one.id: error for one, error in known_rules(connection).unusable}
    units = units_in(connection, [one.scope for one in found])
    everyone = connection.execute("SELECT count(*) FROM device").fetchone()
    return [
        Override(
            _told(one, one.id),
            dict(fields_in(key, one.scope, one.text)),
            (everyone[0] if everyone else 0)
            if one.scope.kind == "all"
            else len(units.get(number, ())),
            place_of(unusable[one.id]) if one.id in unusable else None,
        )
        for number, one in enumerate(found)
    ]


def retired(connection: Connection) -> list[tuple[str, str, str]]:
    """Return the rules of ours that were retired: key, title in both languages."""
    return [
        (key, rule.title_en, rule.title_zh)
        for key, rule in sorted(known_rules(connection).retired.items())
    ]


def unusable(connection: Connection) -> list[tuple[RuleVersion, RuleInvalid]]:
    """Return versions in force that cannot be used, with the reason."""
    return [(_told(one, one.id), error) for one, error in known_rules(connection).unusable]


def sites(connection: Connection) -> list[tuple[str, str, str]]:
    """Return the sites with units: key, name in both languages."""
    return connection.execute(
        """
        SELECT key, name, name_zh FROM site s
        WHERE EXISTS (SELECT FROM device d WHERE d.site_id = s.id) ORDER BY name, key LIMIT 2000
        """
    ).fetchall()


def models(connection: Connection) -> list[tuple[str, str, int]]:
    """Return the models of the fleet: maker, model, how many units."""
    return connection.execute(
        """
        SELECT coalesce(manufacturer, ''), model, count(*) FROM device
        WHERE model IS NOT NULL AND model <> '' GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 1000
        """
    ).fetchall()
