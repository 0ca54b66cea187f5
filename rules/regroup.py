"""Incidents as more evidence comes: alarms move to their cause, sites to the failure of a region.

Run by the tick in a transaction of its own. Evidence comes in any order: a site's mains failure may
become known after its units fell silent, a topology be entered while alarms stand. What people
decided is left alone. Decisions are in `rules.incidents`; alarms are locked before incidents, as in
ingest, and rows that another worker holds are left for the next tick.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules.catalogue import Rule
from rules.incident_store import ENGINE, homes_of, log_incident, take_home
from rules.incidents import (
    COMMUNICATION_LOST,
    MAINS_FAILURE,
    OVER_TEMPERATURE,
    SUPPLY_FAILURE,
    Failure,
    Region,
    Struck,
    regions,
    substation_key,
    substation_subject,
)
from rules.store import OpenAlarm, tell

Connection = psycopg.Connection[TupleRow]

RECONSIDERED = timedelta(hours=2)
"""Alarms raised longer ago stay where they are; a topology that is entered looks at all."""
ENDED_BACK = timedelta(hours=1)
"""A site's failure that ended so long ago may still prove to be part of the region's."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From how many sites and units on what is done; a row that people may change."""

    regional_sites: int
    regional_minutes: int
    storm_units: int
    back_minutes: int
    low_seconds: int


def bounds(connection: Connection) -> Bounds:
    """Return the bounds in force."""
    with connection.cursor(row_factory=class_row(Bounds)) as cursor:
        found = cursor.execute(
            """
            SELECT regional_sites, regional_minutes, storm_units, back_minutes, low_seconds
            FROM incident_bounds
            """
        ).fetchone()
    if found is None:
        raise AssertionError("the migration wrote the one row of bounds")
    return found


def regroup(
    connection: Connection,
    rules: Mapping[str, Rule],
    *,
    now: datetime,
    site_id: int | None = None,
) -> int:
    """Look again where standing alarms and failing sites belong; returns how many moved.

    `site_id`: all alarms of that site, however old, since its topology has changed.
    """
    return move_alarms(connection, rules, now=now, site_id=site_id) + gather_sites(
        connection, now=now
    )


def move_alarms(
    connection: Connection,
    rules: Mapping[str, Rule],
    *,
    now: datetime,
    site_id: int | None = None,
) -> int:
    """Move standing alarms whose cause turns out to be another; returns how many."""
    movable = [
        rule.key
        for rule in rules.values()
        if rule.follows or rule.cause in {COMMUNICATION_LOST, OVER_TEMPERATURE}
    ]
    with connection.cursor(row_factory=class_row(OpenAlarm)) as cursor:
        alarms = cursor.execute(
            """
            SELECT a.id, a.device_id, a.rule_key, a.raised_at, a.reason, a.incident_id
            FROM alarm a
            WHERE a.over_at IS NULL AND NOT a.is_quiet AND a.rule_key = ANY(%(movable)s)
            AND CASE WHEN %(site)s::bigint IS NULL THEN a.raised_at > %(since)s
                ELSE a.site_id = %(site)s END
            AND NOT EXISTS (SELECT FROM incident_member m WHERE m.alarm_id = a.id
                AND m.until_at IS NULL AND m.decision_id IS NOT NULL)
            ORDER BY a.id FOR UPDATE OF a SKIP LOCKED
            """,
            {"movable": movable, "site": site_id, "since": now - RECONSIDERED},
        ).fetchall()
    if not alarms:
        return 0
    here = {
        incident_id: (subject, cause)
        for incident_id, subject, cause in connection.execute(
            "SELECT id, subject, cause FROM incident WHERE id = ANY(%s)",
            ([alarm.incident_id for alarm in alarms if alarm.incident_id is not None],),
        )
    }
    moving = []
    for one in homes_of(connection, alarms, rules, now):
        at = here.get(one.alarm.incident_id or 0)
        is_there = at == (one.home.subject, one.home.cause) and one.home.incident_id in {
            None,
            one.alarm.incident_id,
        }
        # What was taken in by failing mains stays with it, whatever else could explain it.
        if not is_there and not (at is not None and at[1] == MAINS_FAILURE):
            moving.append(one)
    before = {one.alarm.id: one.alarm.incident_id for one in moving}
    joined = take_home(connection, moving, now)
    return sum(joined[alarm_id] != incident_id for alarm_id, incident_id in before.items())


def gather_sites(connection: Connection, *, now: datetime) -> int:
    """Put failures of sites that one substation feeds into one incident of the region.

    1. A regional incident that ended while one of its sites failed again lasts again.
    2. Sites that failed together get one, or join the one that stands.
    """
    changed = _reopen_regions(connection, now)
    limits = bounds(connection)
    row = connection.execute(
        """
        SELECT count(DISTINCT site_id) FROM incident
        WHERE cause = %s AND site_id IS NOT NULL AND parent_id IS NULL AND merged_into_id IS NULL
        AND (closed_at IS NULL OR closed_at > %s)
        """,
        (MAINS_FAILURE, now - ENDED_BACK),
    ).fetchone()
    standing = {
        subject.partition(":")[2]: opened_at
        for subject, opened_at in connection.execute(
            "SELECT subject, opened_at FROM incident WHERE cause = %s AND closed_at IS NULL",
            (SUPPLY_FAILURE,),
        )
    }
    if row is None or not row[0] or (row[0] < limits.regional_sites and not standing):
        return changed
    found = regions(
        _struck(connection, now),
        standing=standing,
        released=_released(connection),
        sites=limits.regional_sites,
        within=timedelta(minutes=limits.regional_minutes),
    )
    for region in found:
        changed += _gather(connection, region, now)
    return changed


def _struck(connection: Connection, now: datetime) -> list[Struck]:
    """Return failures of sites that belong to no region yet, with the substations of their units.

    A unit hangs on its feeder; on the preferred one of its transfer switch; else on the only feeder
    of its site.
    """
    failures: dict[int, Failure] = {}
    substations: dict[int, dict[str, int]] = defaultdict(dict)
    for incident_id, site, opened_at, closed_at, substation, units in connection.execute(
        """
        WITH failing AS (
            SELECT id, site_id, opened_at, closed_at FROM incident
            WHERE cause = %s AND site_id IS NOT NULL AND parent_id IS NULL
            AND merged_into_id IS NULL AND (closed_at IS NULL OR closed_at > %s)),
        only_feeder AS (
            SELECT site_id, min(id) AS id FROM topology_node
            WHERE kind = 'feeder' AND site_id IN (SELECT site_id FROM failing)
            GROUP BY site_id HAVING count(*) = 1)
        SELECT f.id, f.site_id, f.opened_at, f.closed_at,
            n.substation, count(DISTINCT a.device_id)
        FROM failing f JOIN alarm a ON a.incident_id = f.id
        LEFT JOIN topology_unit u ON u.device_id = a.device_id AND u.site_id = f.site_id
        LEFT JOIN topology_node s ON s.id = u.switch_id
        LEFT JOIN topology_node p ON p.id = s.preferred_id AND p.kind = 'feeder'
        LEFT JOIN only_feeder o ON o.site_id = f.site_id
        JOIN topology_node n ON n.id = coalesce(u.feeder_id, p.id, o.id)
        WHERE n.substation IS NOT NULL
        GROUP BY f.id, f.site_id, f.opened_at, f.closed_at, n.substation
        """,
        (MAINS_FAILURE, now - ENDED_BACK),
    ):
        failures[incident_id] = Failure(incident_id, site, opened_at, closed_at)
        name = substation_key(substation)
        substations[incident_id][name] = substations[incident_id].get(name, 0) + units
    return [Struck(failures[one], substations[one]) for one in sorted(failures)]


def _released(connection: Connection) -> frozenset[tuple[int, str]]:
    """Return which incidents of sites people took out of which region's."""
    return frozenset(
        connection.execute(
            """
            SELECT m.child_id, split_part(i.subject, ':', 2)
            FROM incident_member m JOIN incident i ON i.id = m.incident_id
            JOIN incident_decision d ON d.id = m.ended_decision_id AND d.undone_at IS NULL
            WHERE m.child_id IS NOT NULL
            """
        ).fetchall()
    )


def _gather(connection: Connection, region: Region, now: datetime) -> int:
    """Put incidents of sites under the one of their region; returns how many were new there."""
    children = [
        child_id
        for (child_id,) in connection.execute(
            """
            SELECT id FROM incident WHERE id = ANY(%s) AND parent_id IS NULL
            ORDER BY subject COLLATE "C", cause COLLATE "C" FOR NO KEY UPDATE SKIP LOCKED
            """,
            (list(region.incident_ids),),
        ).fetchall()
    ]
    if not children:
        return 0
    parent_id = _region_incident(connection, region, now)
    place_under(connection, parent_id, children, now=now, evidence="substation")
    return len(children)


def _region_incident(connection: Connection, region: Region, now: datetime) -> int:
    subject = substation_subject(region.substation)
    while True:
        row = connection.execute(
            """
            SELECT id FROM incident WHERE subject = %s AND cause = %s AND closed_at IS NULL
            FOR SHARE
            """,
            (subject, SUPPLY_FAILURE),
        ).fetchone()
        if row is not None:
            return int(row[0])
        row = connection.execute(
            """
            INSERT INTO incident (subject, cause, opened_at) VALUES (%s, %s, %s)
            ON CONFLICT (subject, cause) WHERE closed_at IS NULL DO NOTHING RETURNING id
            """,
            (subject, SUPPLY_FAILURE, region.opened_at),
        ).fetchone()
        if row is not None:
            log_incident(connection, int(row[0]), "opened", ENGINE, region.opened_at)
            tell(connection, [("incident.regional", None, int(row[0]), now)])
            return int(row[0])


def place_under(
    connection: Connection,
    parent_id: int,
    child_ids: list[int],
    *,
    now: datetime,
    evidence: str,
    actor: str = ENGINE,
    decision_id: int | None = None,
) -> None:
    """Put incidents of sites under a regional one; their rows are locked already."""
    connection.execute(
        "UPDATE incident SET parent_id = %s WHERE id = ANY(%s)", (parent_id, child_ids)
    )
    connection.execute(
        """
        INSERT INTO incident_member (incident_id, child_id, since_at, evidence, decision_id)
        SELECT %s, child_id, %s, %s, %s FROM unnest(%s::bigint[]) AS x (child_id)
        ON CONFLICT (child_id) WHERE until_at IS NULL DO NOTHING
        """,
        (parent_id, now, Jsonb({"kind": evidence}), decision_id, child_ids),
    )
    for child_id in child_ids:
        log_incident(connection, child_id, "absorbed", actor, now)
        log_incident(connection, parent_id, "gathered", actor, now, {"incident": child_id})


def _reopen_regions(connection: Connection, now: datetime) -> int:
    """Let a regional incident last again when a site in it does; returns how many."""
    changed = 0
    for parent_id, child_ids in connection.execute(
        """
        SELECT p.id, array_agg(c.id) FROM incident p JOIN incident c ON c.parent_id = p.id
        WHERE p.closed_at IS NOT NULL AND c.closed_at IS NULL GROUP BY p.id ORDER BY p.id
        """
    ).fetchall():
        try:
            with connection.transaction():
                connection.execute(
                    "UPDATE incident SET closed_at = NULL WHERE id = %s", (parent_id,)
                )
                log_incident(connection, parent_id, "reopened", ENGINE, now)
        except psycopg.errors.UniqueViolation:
            # A newer one stands for the same substation: its sites find it by themselves.
            connection.execute(
                """
                UPDATE incident_member SET until_at = %s
                WHERE child_id = ANY(%s) AND until_at IS NULL
                """,
                (now, child_ids),
            )
            connection.execute(
                "UPDATE incident SET parent_id = NULL WHERE id = ANY(%s)", (child_ids,)
            )
        changed += 1
    return changed
