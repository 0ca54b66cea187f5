"""Read the figures of the alarm system."""

from collections import defaultdict
from datetime import datetime, timedelta

from psycopg.rows import dict_row

from rules.alarm_figures import (
    FEWEST_DAYS,
    PRIORITIES,
    STANDS_FROM,
    busy_share,
    chatters,
    flooded_share,
    floods,
    peak_count,
)
from rules.version_store import known_rules
from service_api.alarm_figures.schemas import AlarmFigures, Frequent
from service_api.request import Connection

_LEVELS = {"critical": "high", "major": "medium", "minor": "low", "warning": "low"}
_TOP = 10


def figures(connection: Connection, *, days: int, now: datetime) -> AlarmFigures:
    """Work the figures of the last days out."""
    until = now
    asked_since = until - timedelta(days=days)
    first = connection.execute(
        "SELECT least((SELECT min(raised_at) FROM alarm), (SELECT min(created_at) FROM device))"
    ).fetchone()
    begun = first[0] if first is not None and first[0] is not None else until
    since = min(max(asked_since, begun), until)
    raised, by_pair, levels = _raised(connection, since, until)
    found = floods(raised, until)
    known_days = (until - since) / timedelta(days=1)
    standing = _standing(connection, now)
    count, median, ninety = _acknowledged(connection, since, until)
    frequent = _frequent(connection, by_pair, len(raised))
    return AlarmFigures(
        since=since,
        until=until,
        known_days=known_days,
        enough=known_days >= FEWEST_DAYS - 1,
        alarms=len(raised),
        a_day=len(raised) / known_days if known_days else 0.0,
        peak_ten_minutes=peak_count(raised),
        busy_share=busy_share(raised, since, until),
        floods=found[-_TOP:],
        flood_share=flooded_share(found, since, until),
        standing_over_a_day=standing["over_a_day"],
        stale=standing["stale"],
        latched=standing["latched"],
        shelved=standing["shelved"],
        quiet=standing["quiet"],
        priorities={level: levels[level] / len(raised) if raised else 0.0 for level in PRIORITIES},
        acknowledged=count,
        acknowledge_median=median,
        acknowledge_ninety=ninety,
        frequent=frequent,
        frequent_share=sum(one.share for one in frequent),
    )


_Pairs = dict[tuple[int, str], list[datetime]]


def _raised(
    connection: Connection, since: datetime, until: datetime
) -> tuple[list[datetime], _Pairs, dict[str, int]]:
    """Return when alarms were raised, by unit and rule too, and how many of each priority."""
    raised: list[datetime] = []
    by_pair: _Pairs = defaultdict(list)
    levels: dict[str, int] = defaultdict(int)
    for at, device_id, rule_key, severity in connection.execute(
        """
        SELECT raised_at, device_id, rule_key, severity FROM alarm
        WHERE raised_at > %s AND raised_at <= %s AND NOT is_quiet ORDER BY raised_at
        """,
        (since, until),
    ):
        raised.append(at)
        by_pair[device_id, rule_key].append(at)
        levels[_LEVELS[severity]] += 1
    return raised, by_pair, levels


def _standing(connection: Connection, now: datetime) -> dict[str, int]:
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            """
            SELECT count(*) FILTER (WHERE NOT is_quiet AND raised_at < %(since)s
                    AND shelved_until_at IS NULL) AS over_a_day,
                count(*) FILTER (WHERE NOT is_quiet AND state = 'stale') AS stale,
                count(*) FILTER (WHERE NOT is_quiet AND state = 'latched') AS latched,
                count(*) FILTER (WHERE NOT is_quiet AND shelved_until_at IS NOT NULL) AS shelved,
                count(*) FILTER (WHERE is_quiet) AS quiet
            FROM alarm WHERE cleared_at IS NULL
            """,
            {"since": now - STANDS_FROM},
        ).fetchone()
    if found is None:
        raise AssertionError("an aggregate always has a row")
    return found


def _acknowledged(
    connection: Connection, since: datetime, until: datetime
) -> tuple[int, float | None, float | None]:
    """Return how many were acknowledged, and the median and ninetieth percentile of how fast."""
    row = connection.execute(
        """
        SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds),
            percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds)
        FROM (SELECT extract(epoch FROM acknowledged_at - raised_at)::float8 AS seconds FROM alarm
            WHERE raised_at > %s AND raised_at <= %s AND acknowledged_at IS NOT NULL
            AND NOT is_quiet) x
        """,
        (since, until),
    ).fetchone()
    return (0, None, None) if row is None else (int(row[0]), row[1], row[2])


def _frequent(connection: Connection, by_pair: _Pairs, total: int) -> list[Frequent]:
    known = known_rules(connection)
    most = sorted(by_pair.items(), key=lambda item: (-len(item[1]), item[0]))[:_TOP]
    names: dict[int, str] = dict(
        connection.execute(
            "SELECT id, name FROM device WHERE id = ANY(%s)",
            ([device_id for (device_id, _), _ in most],),
        ).fetchall()
    )
    return [
        Frequent(
            device_id=device_id,
            device=names.get(device_id, str(device_id)),
            rule_key=rule_key,
            title_en=known.title(rule_key)[0],
            title_zh=known.title(rule_key)[1],
            alarms=len(raised),
            share=len(raised) / total,
            chatters=chatters(raised),
        )
        for (device_id, rule_key), raised in most
    ]
