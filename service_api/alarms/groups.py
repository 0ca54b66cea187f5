"""Read standing alarms by their cause, and whether a flood is going on: what a page can follow."""

from datetime import datetime, timedelta

from psycopg.rows import dict_row

from rules.alarm_figures import floods
from rules.catalogue import SEVERITIES, Severity
from rules.incidents import CAUSES
from rules.version_store import known_rules
from service_api.alarms.schemas import AlarmFlood, AlarmGroup
from service_api.alarms.store import LEVEL
from service_api.request import Connection

MOST_GROUPS = 200
_SEVERITY: dict[int, Severity] = {4 - place: name for place, name in enumerate(SEVERITIES)}
_LOOKS_BACK = timedelta(hours=6)
"""A flood that began earlier is told as beginning then."""


def flood_now(connection: Connection, now: datetime) -> AlarmFlood | None:
    """Return the flood that is going on, None when there is none."""
    raised = [
        at
        for (at,) in connection.execute(
            """
            SELECT raised_at FROM alarm WHERE raised_at > %s AND raised_at <= %s AND NOT is_quiet
            ORDER BY raised_at
            """,
            (now - _LOOKS_BACK, now),
        )
    ]
    found = [one for one in floods(raised, now) if one.ended_at is None]
    return AlarmFlood(found[-1].began_at, found[-1].alarms, found[-1].peak) if found else None


def groups(connection: Connection) -> list[AlarmGroup]:
    """Return what stands and speaks, by incident, else by rule; worst and largest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            SELECT a.incident_id, i.cause, min(a.rule_key) AS rule, max("""
            + LEVEL
            + """) AS level, count(*) AS alarms, count(DISTINCT a.device_id) AS units,
                count(DISTINCT a.site_id) AS sites, min(t.name) AS site, min(t.name_zh) AS site_zh,
                count(*) FILTER (WHERE a.acknowledged_at IS NULL) AS unacknowledged,
                min(a.raised_at) AS first_at,
                (array_agg(a.id ORDER BY a.id) FILTER (WHERE a.acknowledged_at IS NULL))[1:500]
                    AS alarm_ids
            FROM alarm a JOIN site t ON t.id = a.site_id
            LEFT JOIN incident i ON i.id = a.incident_id
            WHERE a.cleared_at IS NULL AND NOT a.is_quiet
            GROUP BY a.incident_id, i.cause,
                CASE WHEN a.incident_id IS NULL THEN a.rule_key END
            ORDER BY 4 DESC, 5 DESC, 11 LIMIT %s
            """,
            (MOST_GROUPS,),
        ).fetchall()
    known = known_rules(connection)
    found = []
    for row in rows:
        title_en, title_zh = CAUSES.get(row["cause"] or "", known.title(row["rule"]))
        found.append(
            AlarmGroup(
                incident_id=row["incident_id"],
                rule=row["rule"],
                title_en=title_en,
                title_zh=title_zh,
                severity=_SEVERITY[row["level"]],
                alarms=row["alarms"],
                units=row["units"],
                sites=row["sites"],
                site=row["site"],
                site_zh=row["site_zh"],
                unacknowledged=row["unacknowledged"],
                first_at=row["first_at"],
                alarm_ids=row["alarm_ids"] or [],
            )
        )
    return found
