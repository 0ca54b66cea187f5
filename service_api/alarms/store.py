"""Read alarms as the asker may see them; `rules.operations` writes them."""

from datetime import datetime
from functools import partial
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.alarms import isa_state
from rules.suppression import SuppressionKind
from rules.version_store import known_rules
from rules.versions import Known
from service_api.alarms.schemas import Alarm, AlarmEvent, AlarmQuery
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

LEVEL: LiteralString = (
    "CASE a.severity WHEN 'critical' THEN 4 WHEN 'major' THEN 3 WHEN 'minor' THEN 2 ELSE 1 END"
)

_SELECT: LiteralString = """
    a.id, a.device_id, d.key, d.name, a.site_id, t.name, t.name_zh, t.time_zone,
    a.customer_id, c.name, c.name_zh, a.rule_key, a.severity, a.state, a.raised_at, a.cleared_at,
    a.changed_at, a.reason, a.incident_id,
    (SELECT max(x.ticket_id) FROM ticket_alarm x WHERE x.alarm_id = a.id),
    a.inhibited_by, a.acknowledged_at, a.acknowledged_by, a.shelved_until_at, a.shelved_by,
    a.shelve_reason, a.over_at, a.suppressed_by, q.kind, a.is_quiet
"""

_FROM: LiteralString = """
    FROM alarm a JOIN device d ON d.id = a.device_id JOIN site t ON t.id = a.site_id
    JOIN customer c ON c.id = a.customer_id
    LEFT JOIN suppression q ON q.id = a.suppressed_by
"""

_WHERE: LiteralString = """
    WHERE CASE %(state)s
        WHEN 'all' THEN true
        WHEN 'standing' THEN a.cleared_at IS NULL
        WHEN 'shelved' THEN a.cleared_at IS NULL AND a.shelved_until_at > %(now)s
        ELSE a.state = %(state)s END
    AND (%(quiet)s::boolean IS NULL OR a.is_quiet = %(quiet)s)
    AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
    AND (%(acknowledged)s::boolean IS NULL
        OR (a.acknowledged_at IS NOT NULL) = %(acknowledged)s)
    AND (%(device_id)s::bigint IS NULL OR a.device_id = %(device_id)s)
    AND (%(site_id)s::bigint IS NULL OR a.site_id = %(site_id)s)
    AND (%(customer_id)s::bigint IS NULL OR a.customer_id = %(customer_id)s)
    AND (%(incident_id)s::bigint IS NULL OR a.incident_id = ANY(ARRAY(SELECT o.id FROM incident o
        WHERE o.id = %(incident_id)s OR o.parent_id = %(incident_id)s)))
    AND (%(rule)s::text IS NULL OR a.rule_key = %(rule)s)
    AND (%(pattern)s::text IS NULL OR concat_ws(' ', d.key, d.name, t.name, t.name_zh,
        c.name, c.name_zh, a.rule_key) ILIKE %(pattern)s)
"""

_STANDING = Order.of(
    (LEVEL, "integer", True),
    ("a.raised_at", "timestamptz", True),
    ("a.id", "bigint", True),
)
_NEWEST = Order.of(("a.raised_at", "timestamptz", True), ("a.id", "bigint", True))


def _alarm(known: Known, row: tuple[Any, ...]) -> Alarm:
    title_en, title_zh = known.title(row[11])
    *columns, suppressed_for, is_quiet = row
    acknowledged_at, _by, shelved_until_at = row[21:24]
    kind = None if suppressed_for is None else SuppressionKind(suppressed_for)
    told = isa_state(
        state=row[13],
        is_acknowledged=acknowledged_at is not None,
        is_shelved=shelved_until_at is not None,
        is_quiet=is_quiet,
        is_out_of_service=kind is SuppressionKind.OUT_OF_SERVICE,
    )
    return Alarm(*(*columns[:12], title_en, title_zh, *columns[12:], kind, is_quiet, told))


def like(text: str | None) -> str | None:
    """Return the ILIKE pattern of what somebody typed; its own signs mean themselves."""
    if not text or not text.strip():
        return None
    escaped = text.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def alarms(connection: Connection, query: AlarmQuery, now: datetime) -> Page[Alarm]:
    """Read one part of the list: standing alarms worst first, others newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters={
            **query.model_dump(exclude={"limit", "cursor", "q", "group"}),
            "pattern": like(query.q),
            "now": now,
        },
        order=_STANDING if query.state == "standing" else _NEWEST,
        query=query,
        build=partial(_alarm, known_rules(connection)),
    )


def alarm(connection: Connection, alarm_id: int) -> Alarm:
    """Read one alarm; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE a.id = %s", (alarm_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no alarm {alarm_id}.")
    return _alarm(known_rules(connection), row)


def alarm_log(connection: Connection, alarm_id: int) -> list[AlarmEvent]:
    """Read an alarm's log, newest first."""
    with connection.cursor(row_factory=class_row(AlarmEvent)) as cursor:
        return cursor.execute(
            "SELECT at, kind, actor, detail FROM alarm_event WHERE alarm_id = %s ORDER BY id DESC",
            (alarm_id,),
        ).fetchall()


def counts(connection: Connection, now: datetime) -> dict[str, int]:
    """Count standing alarms by what the page's chips ask."""
    row = connection.execute(
        """
        SELECT count(*) FILTER (WHERE NOT is_quiet),
            count(*) FILTER (WHERE NOT is_quiet AND severity = 'critical'),
            count(*) FILTER (WHERE NOT is_quiet AND severity = 'major'),
            count(*) FILTER (WHERE NOT is_quiet AND severity = 'minor'),
            count(*) FILTER (WHERE NOT is_quiet AND severity = 'warning'),
            count(*) FILTER (WHERE NOT is_quiet AND acknowledged_at IS NULL),
            count(*) FILTER (WHERE shelved_until_at > %(now)s),
            count(*) FILTER (WHERE state = 'latched'),
            count(*) FILTER (WHERE is_quiet)
        FROM alarm WHERE cleared_at IS NULL
        """,
        {"now": now},
    ).fetchone()
    names = (
        *("standing", "critical", "major", "minor", "warning", "unacknowledged"),
        *("shelved", "latched", "quiet"),
    )
    return dict(zip(names, row or (0,) * len(names), strict=True))
