"""Announce work, make its times ahead, skip one, end a series, and keep what was seen of each.

Every function runs inside the caller's transaction. The times are rows, made ahead exactly once;
each has its suppressions, which the tick obeys.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg.types.json import Jsonb

from rules.operations import NotThere, OperationRefused
from rules.planned_work import Occurrence, Repeat, Series, Work, occurrences, quiet_rules
from rules.suppression import SuppressionKind
from rules.suppression_operations import EARLIEST_BACK, FURTHEST_AHEAD, end_suppression, suppress
from rules.version_store import known_rules
from service_api.maintenance.operations import frozen_on
from service_api.planned_work.schemas import Announced, Announcement

Connection = psycopg.Connection[TupleRow]

AHEAD = timedelta(days=35)
"""So far ahead times are made; further ones are made by the job."""
SETTLED_AFTER = timedelta(minutes=5)
"""What was seen of a time is kept so long after its end: readings may be late."""
_SHOWN = 6


def announce(
    connection: Connection, asked: Announcement, *, actor: str, now: datetime
) -> tuple[int, Announced]:
    """Announce work; returns its id, and what follows from it."""
    told = look_ahead(connection, asked, now=now)
    row = connection.execute(
        """
        INSERT INTO planned_work (customer_id, site_id, device_ids, work, first_on, at, minutes,
            repeat, every, until, lets_critical_through, reason, created_at, created_by)
        SELECT customer_id, id, %(devices)s, %(work)s, %(first_on)s, %(at)s, %(minutes)s,
            %(repeat)s, %(every)s, %(until)s, %(critical)s, %(reason)s, %(now)s, %(actor)s
        FROM site WHERE id = %(site)s RETURNING id
        """,
        {
            "site": asked.site_id,
            "devices": sorted(set(asked.device_ids)),
            "work": asked.work,
            "first_on": asked.first_on,
            "at": asked.at,
            "minutes": asked.minutes,
            "repeat": asked.repeat,
            "every": asked.every,
            "until": asked.until,
            "critical": asked.lets_critical_through,
            "reason": asked.reason.strip(),
            "now": now,
            "actor": actor,
        },
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no site {asked.site_id}")
    make_times(connection, now=now, planned_work_id=row[0])
    return int(row[0]), told


def look_ahead(connection: Connection, asked: Announcement, *, now: datetime) -> Announced:
    """Tell what an announcement would do; raise `OperationRefused` or `NotThere`."""
    site = connection.execute(
        "SELECT time_zone FROM site WHERE id = %s", (asked.site_id,)
    ).fetchone()
    if site is None:
        raise NotThere(f"there is no site {asked.site_id}")
    if not asked.reason.strip():
        raise OperationRefused("planned work needs a reason")
    if asked.at.tzinfo is not None:
        raise OperationRefused("the time is the site's own: without an offset")
    units = _units(connection, asked)
    series = Series(asked.first_on, asked.at, asked.repeat, asked.every, asked.until)
    times = [
        one
        for one in occurrences(series, site[0], now + FURTHEST_AHEAD)
        if one.begins_at + timedelta(minutes=asked.minutes) > now
    ]
    if not times:
        raise OperationRefused("no time of it lies ahead, within 400 days")
    if times[0].begins_at < now - EARLIEST_BACK:
        raise OperationRefused("it may have begun a day ago at the earliest")
    gap = min((b.begins_at - a.begins_at for a, b in pairwise(times)), default=None)
    if gap is not None and timedelta(minutes=asked.minutes) > gap:
        raise OperationRefused("it lasts longer than until its next time")
    return Announced(
        times=[one.begins_at for one in times[:_SHOWN]],
        rules=quiet_rules(asked.work, known_rules(connection).rules),
        units=units,
        warnings=_warnings(connection, asked, times),
    )


def _units(connection: Connection, asked: Announcement) -> int:
    wanted = sorted(set(asked.device_ids))
    row = connection.execute(
        """
        SELECT count(*) FROM device WHERE site_id = %s AND enabled
        AND (cardinality(%s::bigint[]) = 0 OR id = ANY(%s))
        """,
        (asked.site_id, wanted, wanted),
    ).fetchone()
    count = 0 if row is None else int(row[0])
    if wanted and count != len(wanted):
        raise NotThere("not all of these units are at this site")
    if not count:
        raise OperationRefused("there is no unit at this site")
    return count


def _warnings(
    connection: Connection, asked: Announcement, times: list[Occurrence]
) -> list[tuple[str, str]]:
    found = []
    for one in times[:_SHOWN]:
        why = frozen_on(connection, asked.site_id, one.occurs_on)
        if why is not None:
            found.append(
                (
                    f"{one.occurs_on}: nothing may be changed at the site: {why}",
                    f"{one.occurs_on}：该站点禁止变更：{why}",
                )
            )
    ends = [one.begins_at + timedelta(minutes=asked.minutes) for one in times[:_SHOWN]]
    for begins_at, reason in connection.execute(
        """
        SELECT o.begins_at, p.reason
        FROM planned_work_occurrence o JOIN planned_work p ON p.id = o.planned_work_id
        JOIN unnest(%s::timestamptz[], %s::timestamptz[]) AS x (begins_at, ends_at)
            ON o.begins_at < x.ends_at AND x.begins_at < o.ends_at
        WHERE p.site_id = %s AND p.ended_at IS NULL AND o.skipped_at IS NULL
        ORDER BY 1 LIMIT 5
        """,
        ([one.begins_at for one in times[:_SHOWN]], ends, asked.site_id),
    ):
        found.append(
            (
                f"Other work at the site at that time ({begins_at:%Y-%m-%d %H:%M} UTC): {reason}",
                f"同一时间该站点已有其他作业（{begins_at:%Y-%m-%d %H:%M} UTC）：{reason}",
            )
        )
    return found


def make_times(connection: Connection, *, now: datetime, planned_work_id: int | None = None) -> int:
    """Make the times that begin soon, each once, with its suppressions; returns how many."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            SELECT p.*, s.time_zone FROM planned_work p JOIN site s ON s.id = p.site_id
            WHERE p.ended_at IS NULL AND (%(id)s::bigint IS NULL OR p.id = %(id)s)
            AND (p.until IS NULL OR p.until >= %(day)s)
            AND (p.repeat <> 'once' OR NOT EXISTS (
                SELECT FROM planned_work_occurrence o WHERE o.planned_work_id = p.id))
            ORDER BY p.id
            """,
            {"id": planned_work_id, "day": (now - timedelta(days=2)).date()},
        ).fetchall()
    known = known_rules(connection).rules
    return sum(
        _make_times_of(connection, row, quiet_rules(Work(row["work"]), known), now) for row in rows
    )


def _make_times_of(
    connection: Connection, row: DictRow, rules: Sequence[str] | None, now: datetime
) -> int:
    series = Series(row["first_on"], row["at"], Repeat(row["repeat"]), row["every"], row["until"])
    until = now + (FURTHEST_AHEAD if series.repeat is Repeat.ONCE else AHEAD)
    length = timedelta(minutes=row["minutes"])
    made = 0
    for one in occurrences(series, row["time_zone"], until):
        ends_at = one.begins_at + length
        if ends_at <= now:
            continue
        new = connection.execute(
            """
            INSERT INTO planned_work_occurrence (planned_work_id, occurs_on, begins_at, ends_at)
            VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
            """,
            (row["id"], one.occurs_on, one.begins_at, ends_at),
        ).fetchone()
        if new is not None:
            _suppress(connection, row, rules, new[0], one.begins_at, ends_at, now)
            made += 1
    return made


def _suppress(
    connection: Connection,
    row: DictRow,
    rules: Sequence[str] | None,
    occurrence_id: int,
    begins_at: datetime,
    ends_at: datetime,
    now: datetime,
) -> None:
    for device_id in row["device_ids"] or [None]:
        suppress(
            connection,
            kind=SuppressionKind.PLANNED_WORK,
            site_id=row["site_id"],
            device_id=device_id,
            rule_keys=rules,
            lets_critical_through=row["lets_critical_through"],
            begins_at=begins_at,
            ends_at=ends_at,
            reason=row["reason"],
            actor=row["created_by"],
            now=now,
            occurrence_id=occurrence_id,
        )


def _open_work(connection: Connection, planned_work_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            SELECT p.*, s.time_zone FROM planned_work p JOIN site s ON s.id = p.site_id
            WHERE p.id = %s FOR UPDATE OF p
            """,
            (planned_work_id,),
        ).fetchone()
    if row is None:
        raise NotThere(f"there is no planned work {planned_work_id}")
    if row["ended_at"] is not None:
        raise OperationRefused("it has been ended already")
    return row


def end(connection: Connection, planned_work_id: int, *, actor: str, now: datetime) -> None:
    """End a series: what is under way and what was to come is heard again."""
    _open_work(connection, planned_work_id)
    connection.execute(
        "UPDATE planned_work SET ended_at = %s, ended_by = %s WHERE id = %s",
        (now, actor, planned_work_id),
    )
    _end_suppressions(connection, planned_work_id, None, actor, now)


def skip(
    connection: Connection,
    planned_work_id: int,
    day: Occurrence | None,
    *,
    actor: str,
    now: datetime,
) -> None:
    """Leave one time of a series out, if it is not over."""
    _open_work(connection, planned_work_id)
    if day is None:
        raise OperationRefused("there is no such time that is not over")
    connection.execute(
        """
        UPDATE planned_work_occurrence SET skipped_at = %s, skipped_by = %s
        WHERE planned_work_id = %s AND occurs_on = %s
        """,
        (now, actor, planned_work_id, day.occurs_on),
    )
    _end_suppressions(connection, planned_work_id, day, actor, now)


def unskip(
    connection: Connection, planned_work_id: int, day: Occurrence | None, *, now: datetime
) -> None:
    """Let a time that was left out take place after all."""
    row = _open_work(connection, planned_work_id)
    taken = connection.execute(
        """
        UPDATE planned_work_occurrence SET skipped_at = NULL, skipped_by = NULL
        WHERE planned_work_id = %s AND occurs_on = %s AND skipped_at IS NOT NULL AND ends_at > %s
        RETURNING id, begins_at, ends_at
        """,
        (planned_work_id, None if day is None else day.occurs_on, now),
    ).fetchone()
    if taken is None:
        raise OperationRefused("no such time was left out")
    occurrence_id, begins_at, ends_at = taken
    rules = quiet_rules(Work(row["work"]), known_rules(connection).rules)
    _suppress(connection, row, rules, occurrence_id, begins_at, ends_at, now)


def time_on(
    connection: Connection, planned_work_id: int, on: object, now: datetime
) -> Occurrence | None:
    """Return a time of a series that is not over."""
    row = connection.execute(
        """
        SELECT occurs_on, begins_at FROM planned_work_occurrence
        WHERE planned_work_id = %s AND occurs_on = %s AND ends_at > %s
        """,
        (planned_work_id, on, now),
    ).fetchone()
    return None if row is None else Occurrence(*row)


def _end_suppressions(
    connection: Connection,
    planned_work_id: int,
    day: Occurrence | None,
    actor: str,
    now: datetime,
) -> None:
    for (suppression_id,) in connection.execute(
        """
        SELECT q.id FROM suppression q JOIN planned_work_occurrence o ON o.id = q.occurrence_id
        WHERE o.planned_work_id = %(id)s AND q.ended_at IS NULL
        AND (%(day)s::date IS NULL OR o.occurs_on = %(day)s) ORDER BY q.id
        """,
        {"id": planned_work_id, "day": None if day is None else day.occurs_on},
    ).fetchall():
        end_suppression(connection, suppression_id, reason="", actor=actor, now=now)


def keep_results(connection: Connection, *, now: datetime) -> int:
    """Keep what was seen of the times that are over; returns how many."""
    kept = 0
    for occurrence_id, site_id, device_ids, begins_at, ends_at in connection.execute(
        """
        SELECT o.id, p.site_id, p.device_ids, o.begins_at, o.ends_at
        FROM planned_work_occurrence o JOIN planned_work p ON p.id = o.planned_work_id
        WHERE o.result IS NULL AND o.skipped_at IS NULL AND o.ends_at < %s
        ORDER BY o.id LIMIT 500 FOR UPDATE OF o SKIP LOCKED
        """,
        (now - SETTLED_AFTER,),
    ).fetchall():
        units = [
            device_id
            for (device_id,) in connection.execute(
                """
                SELECT id FROM device WHERE site_id = %s AND enabled
                AND (cardinality(%s::bigint[]) = 0 OR id = ANY(%s))
                """,
                (site_id, device_ids, device_ids),
            )
        ]
        quiet: Counter[str] = Counter()
        through: Counter[str] = Counter()
        for rule_key, is_quiet in connection.execute(
            """
            SELECT a.rule_key, a.suppressed_by IS NOT NULL FROM alarm a
            WHERE a.device_id = ANY(%s) AND a.raised_at >= %s AND a.raised_at < %s
            """,
            (units, begins_at, ends_at),
        ):
            (quiet if is_quiet else through)[rule_key] += 1
        seen = connection.execute(
            """
            SELECT count(DISTINCT device_id) FROM telemetry
            WHERE device_id = ANY(%s) AND observed_at >= %s AND observed_at < %s
            AND status_on_battery
            """,
            (units, begins_at, ends_at),
        ).fetchone()
        result = {
            "units": len(units),
            "on_battery": 0 if seen is None else seen[0],
            "quiet": dict(quiet),
            "through": dict(through),
        }
        connection.execute(
            "UPDATE planned_work_occurrence SET result = %s WHERE id = %s",
            (Jsonb(result), occurrence_id),
        )
        kept += 1
    return kept
