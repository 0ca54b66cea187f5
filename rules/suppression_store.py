"""Suppressions in the database: alarms fall quiet, and speak when it is over.

Runs inside the transaction of whoever judges, before incidents and tickets, and once a tick. Which
suppression covers an alarm is decided in `rules.suppression`; what people suppress is in
`rules.suppression_operations`. Locks: suppressions by id, then alarms by id.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow, TupleRow, class_row, dict_row
from psycopg.types.json import Jsonb

from rules.catalogue import Rule
from rules.in_force import rule_for
from rules.store import OpenAlarm
from rules.suppression import (
    FLAPS_WITHIN,
    QUIET_FOR,
    STANDS_ANYWAY,
    Subject,
    Suppression,
    SuppressionKind,
    covering,
    flaps,
    may_be_quietened,
)

Connection = psycopg.Connection[TupleRow]

ENGINE = "rules"
"""The actor of what the machine does by itself."""

_AT_ONCE = 1_000


def keep_quiet(
    connection: Connection, ready: Sequence[OpenAlarm], rules: Mapping[str, Rule], now: datetime
) -> list[OpenAlarm]:
    """Mark the alarms that are suppressed by design; return the others, which speak.

    An alarm that comes and goes too fast is made quiet here. Costs nothing while none is raised.
    """
    if not ready:
        return []
    _quieten(connection, ready, rules, now)
    rows = _rows(connection, [alarm.id for alarm in ready])
    found = _suppressions(connection, {row["site_id"] for row in rows}, now)
    quiet: dict[int, Suppression] = {}
    for row in rows if found else ():
        # What is told late is judged by when it was, so work that is over by now covers it too.
        at = min(now, row["raised_at"])
        one = covering(found, _subject(row), now) or covering(found, _subject(row), at)
        if one is not None:
            quiet[row["id"]] = one
    _mark(connection, quiet, now)
    return [alarm for alarm in ready if alarm.id not in quiet]


def reconsider(connection: Connection, *, now: datetime) -> list[OpenAlarm]:
    """Let standing alarms fall quiet or speak as suppressions begin and end, once a tick.

    Returns those that speak from now on. Suppressions whose time is over are ended.
    """
    _end_what_is_over(connection, now)
    speaking: list[OpenAlarm] = []
    after = 0
    while rows := _concerned(connection, now, after):
        after = rows[-1]["id"]
        speaking += _reconsidered(connection, rows, now)
    return speaking


def _concerned(connection: Connection, now: datetime, after: int) -> list[DictRow]:
    """Return some standing alarms that are suppressed, or where something is in force."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT a.id, a.device_id, a.site_id, a.rule_key, a.severity, a.raised_at, a.state,
                a.reason, a.incident_id, a.inhibited_by, a.suppressed_by
            FROM alarm a WHERE a.cleared_at IS NULL AND a.id > %(after)s AND (
                a.suppressed_by IS NOT NULL OR EXISTS (
                    SELECT FROM suppression s WHERE s.ended_at IS NULL AND s.begins_at <= %(now)s
                    AND s.site_id = a.site_id
                    AND (s.device_id IS NULL OR s.device_id = a.device_id)))
            ORDER BY a.id LIMIT %(most)s FOR UPDATE OF a SKIP LOCKED
            """,
            {"now": now, "after": after, "most": _AT_ONCE},
        ).fetchall()


def _reconsidered(
    connection: Connection, rows: Sequence[DictRow], now: datetime
) -> list[OpenAlarm]:
    found = _suppressions(connection, {row["site_id"] for row in rows}, now)
    quiet: dict[int, Suppression] = {}
    speaking: list[DictRow] = []
    for row in rows:
        one = covering(found, _subject(row), now)
        if one is not None and one.id != row["suppressed_by"]:
            quiet[row["id"]] = one
        elif one is None and row["suppressed_by"] is not None and row["state"] != "clearing":
            speaking.append(row)  # one that is just ending is given the time to
    _mark(connection, quiet, now)
    _unmark(connection, [row["id"] for row in speaking], now)
    return [
        OpenAlarm(
            row["id"],
            row["device_id"],
            row["rule_key"],
            row["raised_at"],
            row["reason"],
            row["incident_id"],
        )
        for row in speaking
        if row["inhibited_by"] is None and row["state"] == "active"
    ]


@dataclass(frozen=True, slots=True)
class _Standing:
    id: int
    kind: SuppressionKind
    site_id: int
    device_id: int | None
    rule_keys: list[str] | None
    lets_critical_through: bool
    begins_at: datetime
    ends_at: datetime | None


def _suppressions(
    connection: Connection, site_ids: Iterable[int], now: datetime
) -> list[Suppression]:
    """Return what is in force at these sites, or was lately."""
    with connection.cursor(row_factory=class_row(_Standing)) as cursor:
        rows = cursor.execute(
            """
            SELECT id, kind, site_id, device_id, rule_keys, lets_critical_through, begins_at,
                coalesce(ended_at, ends_at) AS ends_at
            FROM suppression WHERE site_id = ANY(%(sites)s) AND begins_at <= %(now)s
            AND (ended_at IS NULL OR (ended_at > %(lately)s AND ended_at > begins_at))
            ORDER BY id
            """,
            {"sites": sorted(site_ids), "now": now, "lately": now - QUIET_FOR},
        ).fetchall()
    return [
        Suppression(
            row.id,
            SuppressionKind(row.kind),
            row.site_id,
            row.device_id,
            None if row.rule_keys is None else tuple(row.rule_keys),
            row.lets_critical_through,
            row.begins_at,
            row.ends_at,
        )
        for row in rows
    ]


def _rows(connection: Connection, alarm_ids: Sequence[int]) -> list[DictRow]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT id, device_id, site_id, rule_key, severity, raised_at, state
            FROM alarm WHERE id = ANY(%s) ORDER BY id
            """,
            (list(alarm_ids),),
        ).fetchall()


def _subject(row: Mapping[str, Any]) -> Subject:
    return Subject(
        device_id=row["device_id"],
        site_id=row["site_id"],
        rule_key=row["rule_key"],
        severity=row["severity"],
        raised_at=row["raised_at"],
        is_active=row["state"] == "active",
    )


def _mark(connection: Connection, quiet: Mapping[int, Suppression], now: datetime) -> None:
    if not quiet:
        return
    columns = [list(quiet), [one.id for one in quiet.values()], [o.kind for o in quiet.values()]]
    connection.execute(
        """
        WITH new AS (SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[])
                AS x (alarm_id, suppression_id, kind)),
        marked AS (
            UPDATE alarm SET suppressed_by = new.suppression_id FROM new WHERE id = new.alarm_id)
        INSERT INTO alarm_event (alarm_id, at, kind, actor, detail)
        SELECT alarm_id, %s, 'suppressed', %s,
            jsonb_build_object('suppression_id', suppression_id, 'kind', kind)
        FROM new ORDER BY alarm_id
        """,
        (*columns, now, ENGINE),
    )
    connection.execute("NOTIFY ridethrough, 'change'")


def _unmark(connection: Connection, alarm_ids: Sequence[int], now: datetime) -> None:
    if not alarm_ids:
        return
    connection.execute(
        """
        WITH freed AS (
            UPDATE alarm SET suppressed_by = NULL WHERE id = ANY(%s) RETURNING id)
        INSERT INTO alarm_event (alarm_id, at, kind, actor)
        SELECT id, %s, 'unsuppressed', %s FROM freed ORDER BY id
        """,
        (list(alarm_ids), now, ENGINE),
    )
    connection.execute("NOTIFY ridethrough, 'change'")


def _end_what_is_over(connection: Connection, now: datetime) -> None:
    connection.execute(
        """
        WITH over AS (
            UPDATE suppression SET ended_at = ends_at, ended_by = %(engine)s
            WHERE id = ANY(ARRAY(SELECT id FROM suppression
                WHERE ended_at IS NULL AND ends_at <= %(now)s ORDER BY id FOR UPDATE SKIP LOCKED))
            RETURNING id, ends_at)
        INSERT INTO suppression_event (suppression_id, at, kind, actor)
        SELECT id, ends_at, 'over', %(engine)s FROM over ORDER BY id
        """,
        {"now": now, "engine": ENGINE},
    )


def _quieten(
    connection: Connection, ready: Sequence[OpenAlarm], rules: Mapping[str, Rule], now: datetime
) -> None:
    """Suppress the alarms among these that chatter or flap, until they have been calm."""
    asked = [
        alarm
        for alarm in ready
        if may_be_quietened(rule_for(rules, alarm.device_id, alarm.rule_key))
        and now < alarm.raised_at + STANDS_ANYWAY
    ]
    if not asked:
        return
    times: dict[tuple[int, str], list[datetime]] = defaultdict(list)
    for device_id, rule_key, raised_at in connection.execute(
        """
        SELECT a.device_id, a.rule_key, a.raised_at
        FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS x (device_id, rule_key, at)
        JOIN alarm a ON a.device_id = x.device_id AND a.rule_key = x.rule_key
            AND a.raised_at BETWEEN x.at - %s::interval AND x.at
        ORDER BY a.raised_at
        """,
        (
            [alarm.device_id for alarm in asked],
            [alarm.rule_key for alarm in asked],
            [alarm.raised_at for alarm in asked],
            FLAPS_WITHIN,
        ),
    ):
        times[device_id, rule_key].append(raised_at)
    for alarm in asked:
        raised = times[alarm.key]
        if flaps(raised):
            _quieten_one(connection, alarm, len(raised), now)


def _quieten_one(connection: Connection, alarm: OpenAlarm, times: int, now: datetime) -> None:
    row = connection.execute(
        """
        INSERT INTO suppression (customer_id, site_id, device_id, kind, rule_keys,
            lets_critical_through, begins_at, ends_at, reason, created_at, created_by)
        SELECT customer_id, site_id, id, 'chattering', %(rules)s, true, %(begins)s, %(until)s, '',
            %(now)s, %(engine)s
        FROM device WHERE id = %(device)s
        ON CONFLICT (device_id, rule_keys) WHERE kind = 'chattering' AND ended_at IS NULL
            DO UPDATE SET ends_at = greatest(suppression.ends_at, excluded.ends_at)
        RETURNING id, xmax = 0
        """,
        {
            "rules": [alarm.rule_key],
            "begins": min(now, alarm.raised_at),
            "until": now + QUIET_FOR,
            "now": now,
            "engine": ENGINE,
            "device": alarm.device_id,
        },
    ).fetchone()
    if row is not None and row[1]:
        log_suppression(connection, row[0], "created", ENGINE, now, {"times": times})


def log_suppression(
    connection: Connection,
    suppression_id: int,
    kind: str,
    actor: str,
    at: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Append one line to a suppression's log."""
    connection.execute(
        """
        INSERT INTO suppression_event (suppression_id, at, kind, actor, detail)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (suppression_id, at, kind, actor, Jsonb(detail or {})),
    )
