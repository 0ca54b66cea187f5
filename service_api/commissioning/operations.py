"""Guide a test of alarms: begin, provoke, see, skip, finish, sign.

Runs inside the caller's transaction. Everything is kept here, so a phone that lost its network goes
on where it was; doing a step again does it once.
"""

from datetime import datetime
from typing import Literal

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg.types.json import Jsonb

from rules.commissioning import StepState, applicable, is_complete, sealed, waits_until
from rules.in_force import rule_for
from rules.operations import NotThere, OperationRefused
from rules.points import BY_COLUMN
from rules.version_store import known_rules
from service_api.commissioning import store
from service_api.work_sessions.operations import check_in

Connection = psycopg.Connection[TupleRow]

_HOURS = 8.0


def begin(connection: Connection, device_id: int, *, actor: str, now: datetime) -> int:
    """Begin a test, or go on with the one that runs; returns its id."""
    running = connection.execute(
        "SELECT id FROM commissioning WHERE device_id = %s AND finished_at IS NULL", (device_id,)
    ).fetchone()
    if running is not None:
        return int(running[0])
    session_id = check_in(
        connection,
        device_id=device_id,
        work_order_id=None,
        reason="commissioning",
        hours=_HOURS,
        actor=actor,
        now=now,
    )
    row = connection.execute(
        """
        INSERT INTO commissioning (customer_id, site_id, device_id, work_session_id, started_at,
            started_by)
        SELECT customer_id, site_id, id, %s, %s, %s FROM device WHERE id = %s RETURNING id
        """,
        (session_id, now, actor, device_id),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no device {device_id}")
    steps = applicable(known_rules(connection).rules, _told(connection, device_id))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO commissioning_step (commissioning_id, rule_key, turn) VALUES (%s, %s, %s)",
            [(row[0], one.rule_key, turn) for turn, one in enumerate(steps)],
        )
    return int(row[0])


def _told(connection: Connection, device_id: int) -> set[str]:
    with connection.cursor(row_factory=dict_row) as cursor:
        state = cursor.execute(
            "SELECT * FROM visible_device_state WHERE device_id = %s", (device_id,)
        ).fetchone()
    return set() if state is None else {key for key in BY_COLUMN if state.get(key) is not None}


def provoke(connection: Connection, commissioning_id: int, rule_key: str, *, now: datetime) -> None:
    """Wait for an alarm from now on; one that is waited for already goes on being waited for."""
    test, step = _open_step(connection, commissioning_id, rule_key)
    if step["state"] == StepState.RUNNING:
        return
    known = known_rules(connection)
    rule = rule_for(known.rules, test["device_id"], rule_key)
    connection.execute(
        """
        UPDATE commissioning_step SET state = 'running', started_at = %s, waits_until_at = %s,
            attempts = attempts + 1, alarm_id = NULL, observed_at = NULL, received_at = NULL,
            raised_at = NULL, announced_at = NULL, reason = NULL
        WHERE commissioning_id = %s AND rule_key = %s
        """,
        (now, waits_until(rule, now, test["poll_seconds"]), commissioning_id, rule_key),
    )


def skip(connection: Connection, commissioning_id: int, rule_key: str, *, reason: str) -> None:
    """Leave an alarm out, with a reason."""
    _open_step(connection, commissioning_id, rule_key)
    if not reason.strip():
        raise OperationRefused("leaving a test out needs a reason")
    connection.execute(
        """
        UPDATE commissioning_step SET state = 'skipped', reason = %s
        WHERE commissioning_id = %s AND rule_key = %s
        """,
        (reason.strip(), commissioning_id, rule_key),
    )


def look(connection: Connection, commissioning_id: int, *, now: datetime) -> None:
    """See which alarms have arrived, and which are late."""
    connection.execute(
        """
        UPDATE commissioning_step t SET state = 'passed', alarm_id = a.id, raised_at = a.raised_at,
            observed_at = (a.reason ->> 'observed_at')::timestamptz,
            received_at = (SELECT v.received_at FROM visible_telemetry v
                WHERE v.device_id = a.device_id
                AND v.observed_at = (a.reason ->> 'observed_at')::timestamptz),
            announced_at = (SELECT o.at FROM outbox o
                WHERE o.topic = 'alarm.raised' AND o.ref = a.id)
        FROM commissioning c JOIN alarm a ON a.device_id = c.device_id
        WHERE c.id = %(id)s AND t.commissioning_id = c.id AND t.state = 'running'
        AND a.rule_key = t.rule_key AND a.raised_at >= t.started_at
        """,
        {"id": commissioning_id},
    )
    connection.execute(
        """
        UPDATE commissioning_step SET state = 'failed'
        WHERE commissioning_id = %s AND state = 'running' AND waits_until_at < %s
        """,
        (commissioning_id, now),
    )


def finish(connection: Connection, commissioning_id: int, *, actor: str, now: datetime) -> None:
    """Seal the report: from then on it is signed and not changed."""
    look(connection, commissioning_id, now=now)
    test = _open_test(connection, commissioning_id)
    told = store.commissioning(connection, commissioning_id)
    if not told.steps or not is_complete([one.state for one in told.steps]):
        raise OperationRefused("there are alarms that were neither tried nor left out")
    content = {
        "unit": {key: test[key] for key in ("key", "name", "manufacturer", "model", "serial")},
        "firmware": test["firmware"],
        "site": told.site,
        "customer": told.customer,
        "started_at": told.started_at.isoformat(),
        "started_by": told.started_by,
        "finished_at": now.isoformat(),
        "finished_by": actor,
        "steps": [
            {
                "rule": one.rule,
                "title_en": one.title_en,
                "title_zh": one.title_zh,
                "state": one.state.value,
                "attempts": one.attempts,
                "raised_at": None if one.raised_at is None else one.raised_at.isoformat(),
                "latencies": one.latencies,
                "reason": one.reason,
            }
            for one in told.steps
        ],
    }
    connection.execute(
        "UPDATE commissioning SET finished_at = %s, content = %s, seal = %s WHERE id = %s",
        (now, Jsonb(content), sealed(content), commissioning_id),
    )


def sign(
    connection: Connection,
    commissioning_id: int,
    *,
    party: Literal["engineer", "customer"],
    name: str,
    strokes: str,
    now: datetime,
) -> None:
    """Sign the finished report for one of the two parties, once."""
    with connection.cursor(row_factory=dict_row) as cursor:
        test = cursor.execute(
            "SELECT * FROM commissioning WHERE id = %s FOR UPDATE", (commissioning_id,)
        ).fetchone()
    if test is None:
        raise NotThere(f"there is no commissioning {commissioning_id}")
    if test["finished_at"] is None:
        raise OperationRefused("the report is signed when it is finished")
    if test[f"{party}_signed_at"] is not None:
        raise OperationRefused(f"signed already, by {test[f'{party}_name']}")
    query = (
        """
        UPDATE commissioning SET engineer_name = %s, engineer_signature = %s,
            engineer_signed_at = %s WHERE id = %s
        """
        if party == "engineer"
        else """
        UPDATE commissioning SET customer_name = %s, customer_signature = %s,
            customer_signed_at = %s WHERE id = %s
        """
    )
    connection.execute(query, (name.strip(), strokes, now, commissioning_id))


def _open_test(connection: Connection, commissioning_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        test = cursor.execute(
            """
            SELECT c.*, d.key, d.name, d.manufacturer, d.model, d.serial, d.firmware,
                d.poll_seconds
            FROM commissioning c JOIN device d ON d.id = c.device_id
            WHERE c.id = %s FOR UPDATE OF c
            """,
            (commissioning_id,),
        ).fetchone()
    if test is None:
        raise NotThere(f"there is no commissioning {commissioning_id}")
    if test["finished_at"] is not None:
        raise OperationRefused("it is finished already")
    return test


def _open_step(
    connection: Connection, commissioning_id: int, rule_key: str
) -> tuple[DictRow, DictRow]:
    test = _open_test(connection, commissioning_id)
    with connection.cursor(row_factory=dict_row) as cursor:
        step = cursor.execute(
            "SELECT * FROM commissioning_step WHERE commissioning_id = %s AND rule_key = %s",
            (commissioning_id, rule_key),
        ).fetchone()
    if step is None:
        raise NotThere(f"there is no test of {rule_key} in commissioning {commissioning_id}")
    return test, step
