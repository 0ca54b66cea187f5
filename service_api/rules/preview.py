"""For which units a rule would hold now, by the newest that is believed of each.

What only the past decides (functions over time) is left open and counted apart; silence is taken
from when a unit was last heard.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg import sql

from rules.believed import Facts
from rules.catalogue import Rule
from rules.facts import Value
from rules.occasions import BELIEVED_FOR, FACTS, Subject, subject_of
from rules.points import BY_COLUMN
from rules.version_store import units_in
from rules.versions import Scope
from service_api.request import Connection
from service_api.rules.schemas import Preview, PreviewUnit

SHOWN = 20


def preview(
    connection: Connection, rule: Rule, scope: Scope | None, now: datetime
) -> Preview | None:
    """Return for which units a rule would hold; None where it is about no unit."""
    if subject_of(rule.columns) is not Subject.DEVICE:
        return None
    columns = sorted(rule.columns & BY_COLUMN.keys())
    worked_out = _worked_out(connection, now) if rule.columns & FACTS.keys() else {}
    within = None if scope is None or scope.kind == "all" else units_in(connection, [scope])
    told = 0
    holds: list[PreviewUnit] = []
    unsure = unknown = 0
    for device_id, key, name, site, site_zh, received_at, *state in _units(
        connection, columns, None if within is None else within.get(0, [])
    ):
        fast_at, slow_at, valid, *values = state
        facts = Facts(
            device_id,
            dict(zip(columns, values, strict=True)),
            fast_at,
            slow_at,
            None if valid is None else timedelta(seconds=valid),
        )
        silent = None if received_at is None else max(0.0, (now - received_at).total_seconds())
        row = {**facts.row(now, silent), **worked_out.get(device_id, {})}
        told += 1
        seen = _seen(rule, row)
        if seen:
            shown = {column: row.get(column) for column in sorted(rule.condition.columns)}
            holds.append(PreviewUnit(device_id, key, name, site, site_zh, shown))
        elif seen is None and rule.condition.windows and _any_known(rule, row):
            unsure += 1
        elif seen is None:
            unknown += 1
    return Preview(told, len(holds), unsure, unknown, holds[:SHOWN])


def _seen(rule: Rule, row: Mapping[str, Value | None]) -> bool | None:
    """Return what the condition says, as the engine takes it: unknown where nothing is known."""
    return rule.condition.evaluate(row) if _any_known(rule, row) else None


def _any_known(rule: Rule, row: Mapping[str, Value | None]) -> bool:
    return any(row.get(column) is not None for column in rule.condition.columns)


def _units(
    connection: Connection, columns: list[str], device_ids: list[int] | None
) -> list[tuple[Any, ...]]:
    return connection.execute(
        sql.SQL(
            """
            SELECT d.id, d.key, d.name, t.name, t.name_zh, s.received_at, s.fast_at, s.slow_at,
                s.stays_valid_seconds{columns}
            FROM device d JOIN site t ON t.id = d.site_id
            JOIN visible_device_state s ON s.device_id = d.id
            WHERE d.enabled AND (%(ids)s::bigint[] IS NULL OR d.id = ANY(%(ids)s))
            ORDER BY d.name, d.id
            """
        ).format(
            columns=sql.SQL("").join(sql.SQL(", s.{}").format(sql.Identifier(c)) for c in columns)
        ),
        {"ids": device_ids},
    ).fetchall()


def _worked_out(connection: Connection, now: datetime) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for device_id, values in connection.execute(
        "SELECT device_id, values FROM device_fact WHERE at > %s", (now - BELIEVED_FOR,)
    ):
        found.setdefault(device_id, {}).update(values)
    return found
