"""Incidents in the database: alarms join the one open incident of their cause, and leave it.

Runs inside the transaction of ingest or of the tick, after `rules.store.record` and before tickets.
Which alarms share a cause is decided in `rules.incidents`; what only time and further evidence show
is in `rules.regroup`; what people decide is in `rules.incident_operations`. An alarm's row says
where it is now, table `incident_member` since when, until when and by which evidence.

Locks: alarms by id, then incidents by (subject, cause). Joining takes a share lock, so any number
of workers join one incident at once, and nobody closes it meanwhile.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules.catalogue import Rule
from rules.incidents import (
    COMMUNICATION_LOST,
    MAINS_FAILURE,
    REOPENS_WITHIN,
    Failure,
    Home,
    Place,
    home,
)
from rules.store import OpenAlarm, tell

Connection = psycopg.Connection[TupleRow]

ENGINE = "rules"
"""The actor of what the machine does by itself."""

EXPLAINED_FOR = timedelta(hours=24)
"""Silence that mains explains is looked into after a day all the same."""

FAILURES_BACK = timedelta(hours=24)
"""A unit may be told silent long after it fell silent; older failures take nothing in any more."""


def join_incidents(
    connection: Connection, ready: Sequence[OpenAlarm], rules: Mapping[str, Rule], now: datetime
) -> list[OpenAlarm]:
    """Give each alarm that shares a cause the one open incident of it."""
    wanting = [
        alarm
        for alarm in ready
        if alarm.incident_id is None
        and (rules[alarm.rule_key].cause is not None or rules[alarm.rule_key].follows)
    ]
    if not wanting:
        return list(ready)
    joined = take_home(connection, homes_of(connection, wanting, rules, now), now)
    return [replace(alarm, incident_id=joined.get(alarm.id, alarm.incident_id)) for alarm in ready]


@dataclass(frozen=True, slots=True)
class Placed:
    """An alarm with the incident that it belongs to; `decision_id` where people said so."""

    alarm: OpenAlarm
    home: Home
    site_id: int
    customer_id: int
    decision_id: int | None = None


def homes_of(
    connection: Connection, alarms: Sequence[OpenAlarm], rules: Mapping[str, Rule], now: datetime
) -> list[Placed]:
    """Say where each of these alarms belongs; those that belong nowhere are left out."""
    placed = _places(connection, {alarm.device_id for alarm in alarms})
    needs_failures = any(MAINS_FAILURE in rules[alarm.rule_key].follows for alarm in alarms)
    failures = (
        mains_failures(
            connection, {place.site_id for place, _ in placed.values()}, now - FAILURES_BACK
        )
        if needs_failures
        else []
    )
    pinned = _pinned(connection, placed)
    found = []
    for alarm in alarms:
        place, customer_id = placed[alarm.device_id]
        rule = rules[alarm.rule_key]
        decided = home(
            place,
            cause=rule.cause,
            follows=rule.follows,
            began_at=began_at(alarm),
            failures=failures,
        )
        if decided is None:
            continue
        decision_id = None
        if pin := pinned.get((alarm.device_id, decided.cause)):
            decided, decision_id = pin
        found.append(Placed(alarm, decided, place.site_id, customer_id, decision_id))
    return found


def began_at(alarm: OpenAlarm) -> datetime:
    """Return when that began which an alarm tells of: silence begins when a unit was last heard."""
    silent = alarm.reason.get("values", {}).get("seconds_since_seen")
    return alarm.raised_at - timedelta(seconds=silent or 0)


def explained_by_mains(
    connection: Connection, alarms: Sequence[OpenAlarm], rules: Mapping[str, Rule], now: datetime
) -> frozenset[int]:
    """Return which of these alarms tell of silence that failing mains at the site explains.

    Nobody is sent for it while mains is away; after a day the explanation is worn out.
    """
    silent = [
        alarm
        for alarm in alarms
        if alarm.incident_id is not None
        and rules[alarm.rule_key].cause == COMMUNICATION_LOST
        and now - began_at(alarm) < EXPLAINED_FOR
    ]
    if not silent:
        return frozenset()
    failing = {
        incident_id
        for (incident_id,) in connection.execute(
            "SELECT id FROM incident WHERE id = ANY(%s) AND cause = %s",
            (sorted({alarm.incident_id or 0 for alarm in silent}), MAINS_FAILURE),
        )
    }
    return frozenset(alarm.id for alarm in silent if alarm.incident_id in failing)


def _places(connection: Connection, device_ids: Iterable[int]) -> dict[int, tuple[Place, int]]:
    return {
        device_id: (Place(site_id, room_id, path_id), customer_id)
        for device_id, site_id, room_id, path_id, customer_id in connection.execute(
            """
            SELECT d.id, d.site_id, u.room_id, u.path_id, d.customer_id
            FROM device d
            LEFT JOIN topology_unit u ON u.device_id = d.id AND u.site_id = d.site_id
            WHERE d.id = ANY(%s)
            """,
            (sorted(device_ids),),
        )
    }


def mains_failures(
    connection: Connection, site_ids: Iterable[int], since: datetime
) -> list[Failure]:
    """Return the mains failures of these sites that last or ended after `since`."""
    with connection.cursor(row_factory=class_row(Failure)) as cursor:
        cursor.execute(
            """
            SELECT id AS incident_id, site_id, opened_at, closed_at FROM incident
            WHERE cause = %s AND site_id = ANY(%s) AND merged_into_id IS NULL
            AND subject = 'site:' || site_id
            AND (closed_at IS NULL OR closed_at > %s)
            """,
            (MAINS_FAILURE, sorted(site_ids), since),
        )
        return cursor.fetchall()


def _pinned(
    connection: Connection, device_ids: Iterable[int]
) -> dict[tuple[int, str], tuple[Home, int]]:
    """Return where people have put a unit's alarms of a cause, while that incident lasts."""
    return {
        (device_id, cause): (Home(subject, cause, "hand", incident_id), decision_id)
        for device_id, cause, subject, incident_id, decision_id in connection.execute(
            """
            SELECT DISTINCT ON (m.device_id, i.cause)
                m.device_id, i.cause, i.subject, i.id, m.decision_id
            FROM incident_member m JOIN incident i ON i.id = m.incident_id
            JOIN incident_decision d ON d.id = m.decision_id AND d.undone_at IS NULL
            WHERE m.device_id = ANY(%s) AND m.until_at IS NULL
            AND i.closed_at IS NULL
            ORDER BY m.device_id, i.cause, m.id DESC
            """,
            (sorted(device_ids),),
        )
    }


def take_home(connection: Connection, placed: Sequence[Placed], now: datetime) -> dict[int, int]:
    """Put alarms into their incidents, opening those that are missing; alarm → incident.

    An alarm that is in another incident leaves it.
    """
    groups: dict[tuple[str, str, int], list[Placed]] = defaultdict(list)
    for one in placed:
        groups[one.home.subject, one.home.cause, one.home.incident_id or 0].append(one)
    joined: dict[int, int] = {}
    moves: list[tuple[Placed, int]] = []
    for _, members in sorted(groups.items(), key=lambda item: item[0]):
        first = min(members, key=lambda one: (one.alarm.raised_at, one.alarm.id))
        incident_id = _hold(connection, first, now)
        for one in members:
            joined[one.alarm.id] = incident_id
            if one.alarm.incident_id != incident_id:
                moves.append((one, incident_id))
    _write_members(connection, moves, now)
    return joined


def _hold(connection: Connection, first: Placed, now: datetime) -> int:
    """Return the incident of a group, held open until the transaction ends."""
    if first.home.incident_id is not None:
        held = connection.execute(
            "SELECT FROM incident WHERE id = %s AND closed_at IS NULL FOR SHARE",
            (first.home.incident_id,),
        ).fetchone()
        if held is not None or _reopened(connection, first.home.incident_id, now, is_told=False):
            return first.home.incident_id
    return open_incident(
        connection,
        subject=first.home.subject,
        cause=first.home.cause,
        site_id=first.site_id,
        customer_id=first.customer_id,
        at=first.alarm.raised_at,
        now=now,
    )


def _write_members(
    connection: Connection, moves: Sequence[tuple[Placed, int]], now: datetime
) -> None:
    if not moves:
        return
    leaving = [one.alarm.id for one, _ in moves if one.alarm.incident_id is not None]
    if leaving:
        connection.execute(
            """
            UPDATE incident_member SET until_at = %s
            WHERE alarm_id = ANY(%s) AND until_at IS NULL
            """,
            (now, leaving),
        )
    rows = [
        (
            incident_id,
            one.alarm.id,
            one.alarm.device_id,
            one.customer_id,
            now if one.alarm.incident_id is not None else one.alarm.raised_at,
            Jsonb({"kind": one.home.evidence}),
            one.decision_id,
        )
        for one, incident_id in moves
    ]
    connection.execute(
        """
        WITH new AS (
            SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                %s::timestamptz[], %s::jsonb[], %s::bigint[])
                AS x (incident_id, alarm_id, device_id, customer_id, since_at, evidence, decision)),
        moved AS (
            UPDATE alarm SET incident_id = new.incident_id FROM new WHERE alarm.id = new.alarm_id)
        INSERT INTO incident_member (incident_id, alarm_id, device_id, customer_id, since_at,
            evidence, decision_id)
        SELECT * FROM new ORDER BY alarm_id
        ON CONFLICT (alarm_id) WHERE until_at IS NULL DO NOTHING
        """,
        [list(column) for column in zip(*rows, strict=True)],
    )


def open_incident(
    connection: Connection,
    *,
    subject: str,
    cause: str,
    site_id: int | None,
    customer_id: int | None,
    at: datetime,
    now: datetime,
) -> int:
    """Return the open incident of a subject and cause, opening it `at` if there is none.

    1. What people merged this subject's incident into, while that lasts.
    2. At a site, the last one again, if it ended less than `REOPENS_WITHIN` before `at`.
    3. A new one; of two workers at once the unique index lets one win, and the other finds it.

    Holds a share lock on it until the transaction ends, so that `close_finished` cannot close it.
    """
    while True:
        row = connection.execute(
            """
            SELECT id FROM incident WHERE subject = %s AND cause = %s AND closed_at IS NULL
            FOR SHARE
            """,
            (subject, cause),
        ).fetchone()
        if row is not None:
            return int(row[0])
        if site_id is not None:
            earlier = _earlier(connection, subject, cause, at, now)
            if earlier is not None:
                return earlier
        row = connection.execute(
            """
            INSERT INTO incident (subject, cause, site_id, customer_id, opened_at)
            VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (subject, cause) WHERE closed_at IS NULL DO NOTHING
            RETURNING id
            """,
            (subject, cause, site_id, customer_id, at),
        ).fetchone()
        if row is not None:
            log_incident(connection, int(row[0]), "opened", ENGINE, at)
            tell(connection, [("incident.opened", customer_id, int(row[0]), now)])
            return int(row[0])


def _earlier(
    connection: Connection, subject: str, cause: str, at: datetime, now: datetime
) -> int | None:
    """Return what goes on where an incident ended: the one it was merged into, or itself again."""
    row = connection.execute(
        """
        SELECT i.id, i.closed_at, t.id FROM incident i
        LEFT JOIN incident t ON t.id = i.merged_into_id AND t.closed_at IS NULL
        WHERE i.subject = %s AND i.cause = %s AND i.closed_at IS NOT NULL
        AND (i.merged_into_id IS NULL OR t.id IS NOT NULL)
        ORDER BY i.id DESC LIMIT 1
        """,
        (subject, cause),
    ).fetchone()
    if row is None:
        return None
    last_id, closed_at, target_id = row
    if target_id is not None:
        held = connection.execute(
            "SELECT FROM incident WHERE id = %s AND closed_at IS NULL FOR SHARE", (target_id,)
        ).fetchone()
        return None if held is None else int(target_id)
    if at - closed_at > REOPENS_WITHIN or not _reopened(connection, last_id, now, is_told=True):
        return None
    return int(last_id)


def _reopened(connection: Connection, incident_id: int, now: datetime, *, is_told: bool) -> bool:
    """Open a closed incident again; False when somebody did, or a newer one stands for it.

    `is_told`: whoever was told that it is over is told that it is back.
    """
    try:
        with connection.transaction():
            row = connection.execute(
                """
                UPDATE incident SET closed_at = NULL
                WHERE id = %s AND closed_at IS NOT NULL AND merged_into_id IS NULL
                RETURNING customer_id
                """,
                (incident_id,),
            ).fetchone()
    except psycopg.errors.UniqueViolation:
        return False
    if row is None:
        return False
    log_incident(connection, incident_id, "reopened", ENGINE, now)
    topic = "incident.opened" if is_told else "incident.reopened"
    tell(connection, [(topic, row[0], incident_id, now)])
    return True


def close_finished(connection: Connection, *, now: datetime) -> int:
    """Close incidents whose alarms, or whose incidents of sites, are all over; returns how many.

    Each row is locked and looked at again under the lock, since a worker may just be adding an
    alarm to it. One whose alarms all went elsewhere was merged, and nobody is told that it is over.
    """
    closed = 0
    for incident_id, is_regional in connection.execute(
        """
        SELECT i.id, i.site_id IS NULL FROM incident i
        WHERE i.closed_at IS NULL AND CASE
            WHEN i.site_id IS NOT NULL THEN NOT EXISTS (
                SELECT FROM alarm a WHERE a.incident_id = i.id AND a.over_at IS NULL)
            ELSE EXISTS (SELECT FROM incident_member m WHERE m.incident_id = i.id)
                AND NOT EXISTS (
                    SELECT FROM incident c WHERE c.parent_id = i.id AND c.closed_at IS NULL) END
        ORDER BY i.subject COLLATE "C", i.cause COLLATE "C" FOR UPDATE SKIP LOCKED
        """
    ).fetchall():
        row = connection.execute(
            """
            UPDATE incident SET closed_at = (
                SELECT coalesce(max(over_at), %(now)s) FROM alarm WHERE incident_id = ANY(ARRAY(
                    SELECT c.id FROM incident c WHERE c.id = incident.id
                    OR c.parent_id = incident.id))),
                merged_into_id = (
                    SELECT there.incident_id FROM incident_member here
                    JOIN incident_member there ON there.alarm_id = here.alarm_id
                    WHERE here.incident_id = incident.id AND there.until_at IS NULL
                    AND NOT EXISTS (SELECT FROM alarm a WHERE a.incident_id = incident.id)
                    ORDER BY there.id DESC LIMIT 1)
            WHERE id = %(id)s AND NOT EXISTS (
                SELECT FROM alarm WHERE incident_id = incident.id AND over_at IS NULL)
            AND NOT EXISTS (
                SELECT FROM incident c WHERE c.parent_id = incident.id AND c.closed_at IS NULL)
            RETURNING customer_id, closed_at, merged_into_id
            """,
            {"now": now, "id": incident_id},
        ).fetchone()
        if row is None:
            continue
        customer_id, closed_at, merged_into_id = row
        closed += 1
        if merged_into_id is not None:
            log_incident(connection, incident_id, "merged", ENGINE, now, {"into": merged_into_id})
            tell(connection, [("incident.merged", customer_id, incident_id, now)])
            continue
        log_incident(connection, incident_id, "closed", ENGINE, closed_at)
        topic = "incident.over" if is_regional else "incident.closed"
        tell(connection, [(topic, customer_id, incident_id, now)])
    return closed


def log_incident(
    connection: Connection,
    incident_id: int,
    kind: str,
    actor: str,
    at: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Append one line to an incident's log."""
    connection.execute(
        """
        INSERT INTO incident_event (incident_id, at, kind, actor, detail)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (incident_id, at, kind, actor, Jsonb(detail or {})),
    )
