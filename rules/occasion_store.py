"""Judge what an occasion worked out about devices, with the same life of alarms and tickets.

A job that works something out, such as `service_api.calendar_facts`, hands its rows over here, some
hundred devices at once, inside its own transaction:

    engine = Engine(live_rules.engine(pool, now).rules, Occasion.HEALTH)
    judge_devices(connection, engine, {device_id: {"some_column": 71.0}}, now=now)

Lock order as everywhere: device_state by id, incident, ticket, outbox. What the words mean is in
`rules.occasions`; subjects that are no devices are judged by `rules.reminder_store`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from rules.believed import Facts
from rules.engine import Engine
from rules.facts import Value
from rules.incident_store import join_incidents
from rules.occasions import BELIEVED_FOR, FACTS, Occasion, Subject
from rules.reminder_store import judge_subjects
from rules.store import record, remembered_states
from rules.suppression_store import keep_quiet
from rules.switched_off import switch_off
from rules.ticket_store import ticket_alarms

Connection = psycopg.Connection[TupleRow]
Row = Mapping[str, Value | None]


def judge_devices(
    connection: Connection, engine: Engine, rows: Mapping[int, Row], *, now: datetime
) -> None:
    """Keep and judge one row a device of the engine's occasion.

    1. Lock the devices' state rows, in id order; a device that is gone is left out.
    2. Keep the rows, so that rules of the other occasion may read them.
    3. Fill each row up with what else may be believed: points of the unit, the other occasion.
    4. Judge: alarms, incidents and tickets as for a reading, reminders for rules that have one.

    A rule that fails is switched off with a finding. Raises ValueError for a column that does not
    belong to the occasion.
    """
    _must_be_known(rows, engine.occasion)
    facts = _facts(connection, sorted(rows), engine.columns)
    if not facts:
        return
    _keep(connection, engine.occasion, {one: rows[one] for one in facts}, now)
    others = _worked_out(connection, sorted(facts), engine.occasion, now)
    full: dict[int, Row] = {
        device_id: {**others.get(device_id, {}), **fact.row(now, None), **rows[device_id]}
        for device_id, fact in facts.items()
    }
    remembered = remembered_states(connection, list(facts))
    alarms = engine.part(Subject.DEVICE, reminders=False)
    judged = alarms.judge_facts(full, remembered.states, now)
    ready = record(connection, judged, remembered, engine.rules, now)
    ready = keep_quiet(connection, ready, engine.rules, now)
    ready = join_incidents(connection, ready, engine.rules, now)
    ticket_alarms(connection, ready, engine.rules, now)
    for rule_key, reason in judged.failed.items():
        switch_off(connection, rule_key, reason=reason, now=now)
    judge_subjects(connection, engine, Subject.DEVICE, full, now=now)


def _must_be_known(rows: Mapping[int, Row], occasion: Occasion) -> None:
    for row in rows.values():
        strange = [
            column
            for column in row
            if column not in FACTS
            or FACTS[column].occasion is not occasion
            or FACTS[column].subject is not Subject.DEVICE
        ]
        if strange:
            raise ValueError(f"not a device's column of the occasion {occasion}: {strange[0]}")


def _facts(
    connection: Connection, device_ids: Sequence[int], columns: Sequence[str]
) -> dict[int, Facts]:
    """Lock the devices and return their newest points with their age."""
    found = {}
    for device_id, fast_at, slow_at, valid, *values in connection.execute(
        sql.SQL(
            """
            SELECT device_id, fast_at, slow_at, stays_valid_seconds{columns}
            FROM device_state WHERE device_id = ANY(%s) ORDER BY device_id FOR UPDATE
            """
        ).format(
            columns=sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(c)) for c in columns)
        ),
        (list(device_ids),),
    ):
        found[device_id] = Facts(
            device_id,
            dict(zip(columns, values, strict=True)),
            fast_at,
            slow_at,
            None if valid is None else timedelta(seconds=valid),
        )
    return found


def _keep(
    connection: Connection, occasion: Occasion, rows: Mapping[int, Row], now: datetime
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO device_fact (device_id, occasion, at, values) VALUES (%s, %s, %s, %s)
            ON CONFLICT (device_id, occasion)
            DO UPDATE SET at = excluded.at, values = excluded.values
            """,
            [(one, occasion.value, now, Jsonb(dict(row))) for one, row in sorted(rows.items())],
        )


def _worked_out(
    connection: Connection, device_ids: Sequence[int], occasion: Occasion, now: datetime
) -> dict[int, dict[str, Any]]:
    """Return what the other occasions worked out last, as far as it may be believed."""
    found: dict[int, dict[str, Any]] = {}
    for device_id, values in connection.execute(
        """
        SELECT device_id, values FROM device_fact
        WHERE device_id = ANY(%s) AND occasion <> %s AND at > %s
        """,
        (list(device_ids), occasion.value, now - BELIEVED_FOR),
    ):
        found.setdefault(device_id, {}).update(values)
    return found
