"""Time passes: hold times end, facts expire, devices fall silent, incidents close.

A scheduler claims due devices and judges their last known facts at `now`; rows that another worker
holds are left for the next tick. Silence counts only while a live collector owned the device.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from collector.store import ALIVE_FOR, WORKERS
from collector.telemetry_store import facts_of
from rules.engine import Engine
from rules.incident_store import join_incidents, open_incident
from rules.incidents import COLLECTOR_DOWN, NO_DATA, WHOLE_FLEET, collector_group_subject
from rules.live import LiveRules
from rules.operations import end_shelving
from rules.regroup import regroup
from rules.store import record, remembered_states, tell
from rules.storm_store import storm_tickets
from rules.suppression_store import keep_quiet, reconsider
from rules.switched_off import put_aside, remembers_others, switch_off
from rules.ticket_store import settle, ticket_alarms
from rules.window_store import Newest

Connection = psycopg.Connection[TupleRow]

log = logging.getLogger(__name__)

AT_ONCE = 500
SET_ASIDE_FOR = timedelta(minutes=5)
"""How long a device that cannot be judged is left alone."""
NO_DATA_AFTER = timedelta(minutes=5)
"""When nothing has been stored for so long, staff are told."""


def tick(connections: ConnectionPool, rules: LiveRules, *, now: datetime) -> int:
    """Judge every device that is due at `now`, then settle what is over; returns how many."""
    engine = rules.engine(connections, now)
    with connections.connection() as connection:
        if remembers_others(connection, engine.rules):
            rules.forget()  # another process may know a rule that is new
            engine = rules.engine(connections, now)
        while put_aside(connection, engine.rules, now=now):
            connection.commit()
    judged, last_id = 0, 0
    while True:
        with connections.connection() as connection:
            due = _due(connection, engine, now, after_id=last_id)
        if not due:
            break
        last_id = due[-1]  # each device once a tick, whatever becomes of it
        judged += _judge(connections, engine, rules, due, now)
    with connections.connection() as connection:
        speaking = reconsider(connection, now=now)
        speaking = [alarm for alarm in speaking if alarm.rule_key in engine.rules]
        speaking = join_incidents(connection, speaking, engine.rules, now)
        ticket_alarms(connection, speaking, engine.rules, now)
    with connections.connection() as connection:
        regroup(connection, engine.rules, now=now)
    with connections.connection() as connection:
        storm_tickets(connection, engine.rules, now=now)
    with connections.connection() as connection:
        settle(connection, now=now)
    with connections.connection() as connection:
        end_shelving(connection, now=now)
    with connections.connection() as connection:
        watch_collectors(connection, now=now)
        watch_ingest(connection, now=now)
    return judged


def _due(connection: Connection, engine: Engine, now: datetime, *, after_id: int) -> list[int]:
    """Return devices to look at, in id order: their silence, or a hold time in their own time."""
    return [
        device_id
        for (device_id,) in connection.execute(
            """
            SELECT device_id FROM device_state
            WHERE silence_check_at <= %(now)s AND device_id > %(after)s
            UNION SELECT r.device_id FROM rule_state r JOIN device_state s USING (device_id)
            WHERE r.next_at <= %(now)s AND r.device_id > %(after)s
            AND NOT r.rule_key = ANY(%(of_other_occasions)s) AND (
                r.next_at + greatest(s.received_at - s.observed_at, interval '0') <= %(now)s
                OR r.rule_key = ANY(%(of_our_time)s))
            ORDER BY device_id LIMIT %(most)s
            """,
            {
                "now": now,
                "after": after_id,
                "of_our_time": engine.of_our_time,
                # Their hold times end on their own occasion: a tick has no row for them.
                "of_other_occasions": sorted(engine.rules.keys() - engine.judges),
                "most": AT_ONCE,
            },
        )
    ]


def _judge(
    connections: ConnectionPool,
    engine: Engine,
    rules: LiveRules,
    device_ids: Sequence[int],
    now: datetime,
) -> int:
    """Judge devices in one transaction; one that cannot be judged is set aside, with a finding."""
    try:
        with connections.connection() as connection:
            return _judge_now(connection, engine, rules, device_ids, now)
    except psycopg.OperationalError:
        raise
    except Exception as error:
        if len(device_ids) > 1:
            middle = len(device_ids) // 2
            return _judge(connections, engine, rules, device_ids[:middle], now) + _judge(
                connections, engine, rules, device_ids[middle:], now
            )
        log.exception("device %d cannot be judged", device_ids[0])
        with connections.connection() as connection:
            _set_aside(connection, device_ids[0], f"{type(error).__name__}: {error}", now)
        return 0


def _judge_now(
    connection: Connection,
    engine: Engine,
    rules: LiveRules,
    device_ids: Sequence[int],
    now: datetime,
) -> int:
    rows = connection.execute(
        sql.SQL(
            """
            SELECT greatest(received_at - observed_at, interval '0'), observed_at,
                device_id, fast_at, slow_at, stays_valid_seconds, {columns}
            FROM device_state WHERE device_id = ANY(%s)
            ORDER BY device_id FOR UPDATE SKIP LOCKED
            """
        ).format(columns=sql.SQL(", ").join(map(sql.Identifier, engine.columns))),
        (list(device_ids),),
        binary=True,
    ).fetchall()
    if not rows:
        return 0
    lags = {row[2]: row[0] for row in rows}
    locked = list(lags)
    silence = seconds_since_seen(connection, locked, now)
    facts = [facts_of(row[2:], engine.columns) for row in rows]
    pasts = rules.memory.pasts(
        connection,
        engine.windows,
        {
            fact.device_id: Newest(row[1], fact.values)
            for row, fact in zip(rows, facts, strict=True)
        },
    )
    remembered = remembered_states(connection, locked)
    judged = engine.judge_time(facts, silence, remembered.states, now, lags, pasts)
    ready = record(connection, judged, remembered, engine.rules, now)
    ready = keep_quiet(connection, ready, engine.rules, now)
    ready = join_incidents(connection, ready, engine.rules, now)
    ticket_alarms(connection, ready, engine.rules, now)
    for rule_key, reason in judged.failed.items():
        switch_off(connection, rule_key, reason=reason, now=now)
        rules.forget()
    _look_again(connection, locked, silence, now)
    return len(rows)


def _set_aside(connection: Connection, device_id: int, why: str, now: datetime) -> None:
    """Leave a device alone for a while, so that it keeps nobody busy."""
    later = now + SET_ASIDE_FOR
    connection.execute(
        "UPDATE device_state SET silence_check_at = %s WHERE device_id = %s", (later, device_id)
    )
    connection.execute(
        "UPDATE rule_state SET next_at = %s WHERE device_id = %s AND next_at <= %s",
        (later, device_id, now),
    )
    connection.execute(
        """
        INSERT INTO finding (at, kind, subject, detail) VALUES (%s, 'tick_failed', %s, %s)
        ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO NOTHING
        """,
        (now, f"device:{device_id}", why),
    )


def seconds_since_seen(
    connection: Connection, device_ids: Sequence[int], now: datetime
) -> dict[int, float | None]:
    """Return how long each device has been silent while a collector of its group was alive.

    None while no collector of the group is alive: then nobody can tell. A device that was never
    seen counts from its registration, one that was switched on again from then. Where three polls
    take longer than 15 min, or its family may be quiet for longer, the silence that is theirs does
    not count. A device that reports by exception is not silent while its session lives: its values
    stay valid until replaced, and the end of its session is a reading of its own.
    """
    found: dict[int, float | None] = {}
    for device_id, seconds in connection.execute(
        """
        WITH lives AS (
            SELECT collector_group,
                range_agg(tstzrange(started_at,
                    least(%(now)s, CASE WHEN stopped_at IS NULL
                        THEN beat_at + %(alive)s ELSE beat_at END), '[]')) AS lived,
                bool_or(stopped_at IS NULL AND beat_at >= %(now)s - %(alive)s) AS is_alive
            FROM collector WHERE started_at <= %(now)s GROUP BY collector_group)
        SELECT d.id, CASE WHEN NOT l.is_alive THEN NULL
            WHEN l.is_alive AND s.observed_at IS NOT NULL AND s.stays_valid_seconds IS NULL THEN 0
            WHEN l.is_alive THEN greatest(0, (
            SELECT coalesce(sum(extract(epoch FROM upper(r) - lower(r))), 0)
            FROM unnest(l.lived * tstzmultirange(tstzrange(least(
                greatest(coalesce(s.received_at, d.created_at), d.watched_since_at),
                %(now)s), %(now)s))) AS r
            ) - greatest(0, 3 * d.poll_seconds - 900, s.stays_valid_seconds - 900)) END
        FROM device d JOIN device_state s ON s.device_id = d.id
        LEFT JOIN lives l ON l.collector_group = d.collector_group
        WHERE d.id = ANY(%(ids)s) AND d.enabled
        """,
        {"now": now, "alive": ALIVE_FOR, "ids": list(device_ids)},
    ):
        found[device_id] = None if seconds is None else float(seconds)
    return found


def _look_again(
    connection: Connection,
    device_ids: Sequence[int],
    silence: dict[int, float | None],
    now: datetime,
) -> None:
    """Say when each device is looked at next: closely at first, rarely once it is long gone.

    One whose session lives is looked at rarely too: the end of its session comes as a reading.
    """
    soon, later = timedelta(seconds=15), timedelta(minutes=5)
    at = []
    for device_id in device_ids:
        seconds = silence.get(device_id)
        is_rare = seconds is not None and (seconds == 0.0 or seconds > 1_800)
        at.append(now + (later if is_rare else soon))
    connection.execute(
        """
        UPDATE device_state s SET silence_check_at = x.at
        FROM unnest(%s::bigint[], %s::timestamptz[]) AS x (device_id, at)
        WHERE s.device_id = x.device_id
        """,
        (list(device_ids), at),
    )


def watch_collectors(connection: Connection, *, now: datetime) -> None:
    """Keep one incident for each group with devices but no live collector.

    One that stopped as asked may be on its way back: it is missed only as late as one that died.
    """
    for group, is_alive in connection.execute(
        """
        SELECT d.collector_group, EXISTS (
            SELECT FROM collector c WHERE c.collector_group = d.collector_group
            AND c.beat_at >= %s)
        FROM (SELECT DISTINCT collector_group FROM device WHERE enabled) d
        ORDER BY d.collector_group
        """,
        (now - ALIVE_FOR,),
    ).fetchall():
        _stands(connection, collector_group_subject(group), COLLECTOR_DOWN, now, holds=not is_alive)


def watch_ingest(connection: Connection, *, now: datetime) -> None:
    """Keep one incident while nothing is stored though collectors live: our own silence.

    A fleet that only reports by exception may say nothing for long.
    """
    row = connection.execute(
        """
        SELECT coalesce(max(s.received_at), min(d.created_at)) < %(since)s
            AND bool_or(s.observed_at IS NULL OR s.stays_valid_seconds IS NOT NULL) AND EXISTS (
            SELECT FROM collector WHERE stopped_at IS NULL AND beat_at >= %(alive)s
            AND started_at < %(since)s AND collector_group <> %(workers)s)
        FROM device d JOIN device_state s ON s.device_id = d.id WHERE d.enabled
        """,
        {"since": now - NO_DATA_AFTER, "alive": now - ALIVE_FOR, "workers": WORKERS},
    ).fetchone()
    _stands(connection, WHOLE_FLEET, NO_DATA, now, holds=row is not None and bool(row[0]))


def _stands(
    connection: Connection, subject: str, cause: str, now: datetime, *, holds: bool
) -> None:
    """Open or close an incident of the service's own."""
    if holds:
        open_incident(
            connection,
            subject=subject,
            cause=cause,
            site_id=None,
            customer_id=None,
            at=now,
            now=now,
        )
        return
    for (incident_id,) in connection.execute(
        """
        UPDATE incident SET closed_at = %s
        WHERE subject = %s AND cause = %s AND closed_at IS NULL RETURNING id
        """,
        (now, subject, cause),
    ).fetchall():
        tell(connection, [("incident.closed", None, incident_id, now)])
