"""Read what reliability is worked out from."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import LiteralString

from rules.reliability import (
    NOT_COUNTED,
    NOT_FAILURES,
    availability,
    between_failures,
    times_of,
)
from service_api.reliability.schemas import By, Reliability, ReliabilityReport
from service_api.request import Connection

_KEYS: dict[By, tuple[LiteralString, LiteralString, LiteralString]] = {
    "device": ("d.id::text", "d.name", "d.name"),
    "model": ("coalesce(d.model, '')", "coalesce(d.model, '')", "coalesce(d.model, '')"),
    "site": ("t.id::text", "t.name", "t.name_zh"),
    "customer": ("c.id::text", "c.name", "c.name_zh"),
}


@dataclass(slots=True)
class _Group:
    """What is known of one group, summed up."""

    name: str = ""
    name_zh: str = ""
    units: int = 0
    hours: float = 0.0
    failures: int = 0
    off_seconds: float = 0.0
    seen_days: int = 0
    acknowledge: list[float] = field(default_factory=list)
    restore: list[float] = field(default_factory=list)
    repair: list[float] = field(default_factory=list)


def report(
    connection: Connection, *, by: By, days: int, limit: int, now: datetime
) -> ReliabilityReport:
    """Work the report of the last days out."""
    since = now - timedelta(days=days)
    groups: dict[str, _Group] = defaultdict(_Group)
    group_of = _units(connection, groups, by, since, now)
    _failures(connection, groups, group_of, since, now)
    _acknowledgements(connection, groups, group_of, since, now)
    _output(connection, groups, group_of, since, now)
    items = sorted(
        (_told(key, group) for key, group in groups.items()),
        key=lambda one: (-one.failures / one.hours if one.hours else 0.0, one.name, one.key),
    )
    return ReliabilityReport(since, now, by, len(items), items[:limit])


def _told(key: str, group: _Group) -> Reliability:
    between = between_failures(group.hours, group.failures)
    restore = times_of(group.restore)
    seen = group.seen_days * 86_400
    return Reliability(
        key=key,
        name=group.name,
        name_zh=group.name_zh,
        units=group.units,
        hours=group.hours,
        failures=group.failures,
        between_failures=between,
        acknowledge=times_of(group.acknowledge),
        restore=restore,
        repair=times_of(group.repair),
        availability=availability(between.mean, restore.mean),
        output_share=1 - group.off_seconds / seen if seen else None,
    )


def _units(
    connection: Connection, groups: dict[str, _Group], by: By, since: datetime, now: datetime
) -> dict[int, str]:
    """Fill in units and hours; returns the group of each unit."""
    key, name, name_zh = _KEYS[by]
    found: dict[int, str] = {}
    query: LiteralString = (
        "SELECT d.id, " + key + ", " + name + ", " + name_zh + ","
        " extract(epoch FROM %(now)s - greatest(%(since)s, d.created_at))::float8 / 3600"
        " FROM device d JOIN site t ON t.id = d.site_id JOIN customer c ON c.id = d.customer_id"
        " WHERE d.created_at < %(now)s AND d.enabled"
    )
    for device_id, group_key, called, called_zh, hours in connection.execute(
        query, {"now": now, "since": since}
    ):
        group = groups[group_key]
        group.name, group.name_zh = called, called_zh
        group.units += 1
        group.hours += hours
        found[device_id] = group_key
    return found


def _failures(
    connection: Connection,
    groups: dict[str, _Group],
    group_of: Mapping[int, str],
    since: datetime,
    now: datetime,
) -> None:
    for device_id, restore, repair in connection.execute(
        """
        SELECT k.device_id,
            extract(epoch FROM k.condition_cleared_at - coalesce((
                SELECT min(a.raised_at) FROM ticket_alarm x JOIN alarm a ON a.id = x.alarm_id
                WHERE x.ticket_id = k.id), k.opened_at))::float8,
            (SELECT sum(extract(epoch FROM w.done_at - w.arrived_at))::float8 FROM work_order w
                WHERE w.ticket_id = k.id AND w.state = 'done')
        FROM ticket k
        WHERE k.device_id IS NOT NULL AND k.opened_at > %(since)s AND k.opened_at <= %(now)s
        AND k.source <> 'schedule' AND NOT k.failure_mode = ANY(%(not_failures)s)
        AND NOT coalesce(k.closing_code, '') = ANY(%(not_counted)s)
        """,
        {
            "since": since,
            "now": now,
            "not_failures": list(NOT_FAILURES),
            "not_counted": list(NOT_COUNTED),
        },
    ):
        if device_id not in group_of:
            continue
        group = groups[group_of[device_id]]
        group.failures += 1
        if restore is not None and restore >= 0:
            group.restore.append(restore)
        if repair is not None:
            group.repair.append(repair)


def _acknowledgements(
    connection: Connection,
    groups: dict[str, _Group],
    group_of: Mapping[int, str],
    since: datetime,
    now: datetime,
) -> None:
    for device_id, seconds in connection.execute(
        """
        SELECT device_id, extract(epoch FROM acknowledged_at - raised_at)::float8 FROM alarm
        WHERE raised_at > %s AND raised_at <= %s AND acknowledged_at IS NOT NULL
        AND NOT is_quiet
        """,
        (since, now),
    ):
        if device_id in group_of:
            groups[group_of[device_id]].acknowledge.append(seconds)


def _output(
    connection: Connection,
    groups: dict[str, _Group],
    group_of: Mapping[int, str],
    since: datetime,
    now: datetime,
) -> None:
    for device_id, off, days in connection.execute(
        """
        SELECT device_id, coalesce(sum(status_off_seconds), 0), count(status_off_seconds)::int
        FROM visible_telemetry_1d WHERE bucket > %s AND bucket <= %s GROUP BY device_id
        """,
        (since, now),
    ):
        if device_id in group_of:
            group = groups[group_of[device_id]]
            group.off_seconds += off
            group.seen_days += days
