"""Rules that are off: which, how one goes off by itself, and what becomes of its alarms.

A rule that is off tells nothing, so what it remembers is neither normal nor over: its alarms turn
stale at once, visible and closable by hand, and are taken up where they stood when it is on again.
"""

from collections.abc import Iterable
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

Connection = psycopg.Connection[TupleRow]

_AT_ONCE = 500


def switched_off(connection: Connection) -> set[str]:
    """Return the rules that are off."""
    return {
        str(key)
        for (key,) in connection.execute("SELECT rule_key FROM rule_override WHERE NOT enabled")
    }


def set_rule(
    connection: Connection,
    rule_key: str,
    *,
    enabled: bool,
    reason: str,
    actor: str,
    now: datetime,
) -> bool:
    """Switch a rule on or off, with a reason; every worker follows within seconds.

    Returns whether that changed anything; a rule that is as wanted is left as it is.
    """
    changed = connection.execute(
        """
        INSERT INTO rule_override (rule_key, enabled, reason, changed_at, changed_by)
        SELECT %(key)s, %(enabled)s, %(reason)s, %(now)s, %(actor)s
        WHERE NOT %(enabled)s OR EXISTS (SELECT FROM rule_override WHERE rule_key = %(key)s)
        ON CONFLICT (rule_key) DO UPDATE SET enabled = excluded.enabled,
            reason = excluded.reason, changed_at = excluded.changed_at,
            changed_by = excluded.changed_by
            WHERE rule_override.enabled <> excluded.enabled
        RETURNING rule_key
        """,
        {"key": rule_key, "enabled": enabled, "reason": reason, "now": now, "actor": actor},
    ).fetchone()
    if changed is None:
        return False
    connection.execute(
        """
        INSERT INTO rule_event (rule_key, at, kind, actor, reason) VALUES (%s, %s, %s, %s, %s)
        """,
        (rule_key, now, "switched_on" if enabled else "switched_off", actor, reason),
    )
    connection.execute("NOTIFY ridethrough, 'change'")
    return True


def switch_off(connection: Connection, rule_key: str, *, reason: str, now: datetime) -> None:
    """Switch a rule off that failed live, and leave a finding; the others go on."""
    set_rule(connection, rule_key, enabled=False, reason=reason, actor="engine", now=now)
    connection.execute(
        """
        INSERT INTO finding (at, kind, subject, detail) VALUES (%s, 'rule_failed', %s, %s)
        ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO NOTHING
        """,
        (now, rule_key, reason),
    )


def remembers_others(connection: Connection, in_force: Iterable[str]) -> bool:
    """Tell whether something is remembered, and not at rest, of rules that are not in force."""
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM rule_state WHERE NOT rule_key = ANY(%s)
            AND (state = 'pending' OR unknown_since_at IS NULL OR next_at IS NOT NULL))
        """,
        (sorted(in_force),),
    ).fetchone()
    return row is not None and bool(row[0])


def put_aside(connection: Connection, in_force: Iterable[str], *, now: datetime) -> int:
    """Let what rules that are not in force remember rest; returns of how many devices.

    Locks the devices' state rows first, as whoever judges does; a device that is being judged is
    left for the next time.
    """
    in_force = sorted(in_force)
    devices = [
        device_id
        for (device_id,) in connection.execute(
            """
            SELECT device_id FROM device_state WHERE device_id IN (
                SELECT device_id FROM rule_state WHERE NOT rule_key = ANY(%s)
                AND (state = 'pending' OR unknown_since_at IS NULL OR next_at IS NOT NULL))
            ORDER BY device_id LIMIT %s FOR UPDATE SKIP LOCKED
            """,
            (in_force, _AT_ONCE),
        )
    ]
    if not devices:
        return 0
    connection.execute(
        """
        DELETE FROM rule_state
        WHERE device_id = ANY(%s) AND NOT rule_key = ANY(%s) AND state = 'pending'
        """,
        (devices, in_force),
    )
    alarm_ids = [
        alarm_id
        for (alarm_id,) in connection.execute(
            """
            UPDATE rule_state SET unknown_since_at = coalesce(unknown_since_at, %s), next_at = NULL
            WHERE device_id = ANY(%s) AND NOT rule_key = ANY(%s) RETURNING alarm_id
            """,
            (now, devices, in_force),
        )
    ]
    connection.execute(
        """
        WITH stale AS (
            UPDATE alarm SET state = 'stale', changed_at = %(now)s
            WHERE id = ANY(%(ids)s) AND cleared_at IS NULL AND state <> 'stale'
            RETURNING id, rule_key)
        INSERT INTO alarm_event (alarm_id, at, kind, actor, detail)
        SELECT id, %(now)s, 'stale', 'rule:' || rule_key, '{"why": "the rule is not in force"}'
        FROM stale ORDER BY id
        """,
        {"now": now, "ids": alarm_ids},
    )
    connection.execute("NOTIFY ridethrough, 'change'")
    return len(devices)
