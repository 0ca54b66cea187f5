"""Incidents in the database: alarms join the one open incident of their cause.

Runs inside the transaction of ingest or of the tick, after `rules.store.record` and before tickets.
Which alarms share a cause is decided in `rules.incidents`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from rules.catalogue import Rule
from rules.incidents import site_subject
from rules.store import OpenAlarm, device_places, tell

Connection = psycopg.Connection[TupleRow]


def join_incidents(
    connection: Connection, ready: Sequence[OpenAlarm], rules: Mapping[str, Rule], now: datetime
) -> list[OpenAlarm]:
    """Give each alarm with a cause the one open incident of its site and cause."""
    places = device_places(connection, {alarm.device_id for alarm in ready}) if ready else {}
    wanted: dict[tuple[str, str], list[OpenAlarm]] = defaultdict(list)
    for alarm in ready:
        cause = rules[alarm.rule_key].cause
        if cause is not None and alarm.incident_id is None:
            wanted[site_subject(places[alarm.device_id].site_id), cause].append(alarm)
    joined: dict[int, int] = {}
    for (subject, cause), alarms in sorted(wanted.items(), key=lambda item: item[0]):
        first = min(alarms, key=lambda alarm: (alarm.raised_at, alarm.id))
        place = places[first.device_id]
        incident_id = open_incident(
            connection,
            subject=subject,
            cause=cause,
            site_id=place.site_id,
            customer_id=place.customer_id,
            at=first.raised_at,
            now=now,
        )
        joined.update((alarm.id, incident_id) for alarm in alarms)
    if joined:
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE alarm SET incident_id = %s WHERE id = %s",
                [(incident_id, alarm_id) for alarm_id, incident_id in joined.items()],
            )
    return [replace(alarm, incident_id=joined.get(alarm.id, alarm.incident_id)) for alarm in ready]


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

    Holds a share lock on it until the transaction ends, so that `settle` cannot close it meanwhile.
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
            tell(connection, [("incident.opened", customer_id, int(row[0]), now)])
            return int(row[0])
