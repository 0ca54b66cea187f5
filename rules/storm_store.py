"""Tickets of a mains failure: only for units that will not survive it, or do not come back.

Run by the tick in a transaction of its own. Which unit that is, is decided in `rules.storm`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row

from rules.catalogue import Rule
from rules.entitlement_store import covers_for
from rules.in_force import rule_for
from rules.incidents import COMMUNICATION_LOST, MAINS_FAILURE
from rules.power_trust import trust_of
from rules.predicted_end import Discharge, predicted_end
from rules.regroup import bounds
from rules.store import DevicePlace, OpenAlarm, device_places
from rules.storm import Need, Standing, need
from rules.ticket_store import open_tickets, ticket_alarms
from rules.tickets import TicketDraft, priority, ticket_reason

Connection = psycopg.Connection[TupleRow]

SHORT_AUTONOMY = timedelta(minutes=7)
"""A battery that ends so soon after its alarm gave less than the ten minutes that units are sized
for at least (judgement): somebody brings a new one."""

_TEXTS: Mapping[Need, tuple[str, str, str, str, str]] = {
    "will_not_survive": (
        "load_at_risk",
        "Battery ends before mains is back",
        "电池撑不到市电恢复",
        "Call the site now: shed load or start the generator.",
        "立即联系现场：减载或启动发电机。",
    ),
    "not_back": (
        "not_back_on_mains",
        "Still on battery though mains is back",
        "市电已恢复，设备仍由电池供电",
        (
            "Ask the site about the unit's input breaker; mains is back for its neighbors. "
            "Rectifier or input fuse otherwise."
        ),
        "请现场检查该设备的输入断路器（相邻设备市电已恢复）；否则检查整流器或输入熔断器。",
    ),
}
"""Why → failure mode, title (en, zh), action (en, zh)."""


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    device_id: int
    rule_key: str
    incident_id: int
    restore_expected_at: datetime | None
    back_at: datetime | None
    observed_at: datetime | None
    on_battery: bool | None
    battery_runtime: float | None
    battery_charge: float | None
    battery_voltage: float | None
    anchor_at: datetime | None
    anchor_charge: float | None
    anchor_voltage: float | None


def storm_tickets(connection: Connection, rules: Mapping[str, Rule], *, now: datetime) -> int:
    """Open tickets for units of mains failures that need somebody; returns for how many."""
    note_anchors(connection)
    limits = bounds(connection)
    low, back = timedelta(seconds=limits.low_seconds), timedelta(minutes=limits.back_minutes)
    wanted: list[tuple[_Row, Need]] = []
    rows = _standing(connection, rules)
    trusted = trust_of(connection, [row.device_id for row in rows], now) if rows else {}
    for row in rows:
        is_silent = rules[row.rule_key].cause == COMMUNICATION_LOST
        standing = Standing(
            heard_at=row.observed_at,
            prediction=None
            if row.observed_at is None
            else predicted_end(
                Discharge(
                    row.observed_at,
                    row.battery_runtime,
                    row.battery_charge,
                    row.battery_voltage,
                    row.anchor_at,
                    row.anchor_charge,
                    row.anchor_voltage,
                ),
                proof=trusted[row.device_id].ratio if row.device_id in trusted else 1.0,
            ),
            on_battery=row.on_battery,
            is_silent=is_silent,
            back_at=row.back_at,
            restore_expected_at=row.restore_expected_at,
        )
        why = need(standing, now=now, low=low, back=back)
        if why is not None:
            wanted.append((row, why))
    if wanted:
        _open(connection, rules, {row.id: why for row, why in wanted}, now)
    return len(wanted)


def _open(
    connection: Connection, rules: Mapping[str, Rule], wanted: Mapping[int, Need], now: datetime
) -> None:
    """Open the tickets of these alarms; those of silent units are their rule's own."""
    with connection.cursor(row_factory=class_row(OpenAlarm)) as cursor:
        alarms = cursor.execute(
            """
            SELECT id, device_id, rule_key, raised_at, reason, incident_id FROM alarm
            WHERE id = ANY(%s) AND over_at IS NULL ORDER BY id FOR UPDATE SKIP LOCKED
            """,
            (list(wanted),),
        ).fetchall()
    silent = [one for one in alarms if rules[one.rule_key].cause == COMMUNICATION_LOST]
    ticket_alarms(connection, silent, rules, now, even_explained=True)
    powered = [one for one in alarms if rules[one.rule_key].cause != COMMUNICATION_LOST]
    device_ids = {one.device_id for one in powered}
    if not device_ids:
        return
    places = device_places(connection, device_ids)
    drafts = [
        (
            _draft(
                one,
                wanted[one.id],
                rule_for(rules, one.device_id, one.rule_key),
                places[one.device_id],
                now,
            ),
            one,
        )
        for one in powered
    ]
    open_tickets(connection, drafts, covers_for(connection, device_ids), now)


def note_anchors(connection: Connection) -> None:
    """Keep from where the slope of a discharge is measured, once for each alarm."""
    connection.execute(
        """
        UPDATE incident_member m SET anchor_at = s.observed_at, anchor_charge = s.battery_charge,
            anchor_voltage = s.battery_voltage
        FROM incident i, device_state s
        WHERE i.id = m.incident_id AND i.cause = %s AND i.closed_at IS NULL
        AND m.until_at IS NULL AND m.anchor_at IS NULL
        AND s.device_id = m.device_id AND s.status_on_battery AND s.battery_charge IS NOT NULL
        """,
        (MAINS_FAILURE,),
    )


def _standing(connection: Connection, rules: Mapping[str, Rule]) -> list[_Row]:
    """Return the standing alarms of open mains failures that have no ticket.

    Mains is back at a site since the last of its units that came back, if none failed after it.
    """
    keys = [
        rule.key
        for rule in rules.values()
        if rule.cause == COMMUNICATION_LOST or (rule.cause == MAINS_FAILURE and not rule.ticket)
    ]
    with connection.cursor(row_factory=class_row(_Row)) as cursor:
        cursor.execute(
            """
            WITH failing AS MATERIALIZED (
                SELECT i.id, coalesce(i.restore_expected_at, p.restore_expected_at)
                    AS restore_expected_at,
                    (SELECT CASE WHEN max(b.over_at) > max(b.raised_at) THEN max(b.over_at)
                        END FROM alarm b WHERE b.incident_id = i.id AND b.rule_key = ANY(%(power)s))
                    AS back_at
                FROM incident i LEFT JOIN incident p ON p.id = i.parent_id
                WHERE i.cause = %(cause)s AND i.closed_at IS NULL AND i.site_id IS NOT NULL)
            SELECT a.id, a.device_id, a.rule_key, a.incident_id,
                f.restore_expected_at, f.back_at, s.observed_at, s.status_on_battery AS on_battery,
                s.battery_runtime, s.battery_charge, s.battery_voltage,
                m.anchor_at, m.anchor_charge, m.anchor_voltage
            FROM failing f
            JOIN alarm a ON a.incident_id = f.id AND a.over_at IS NULL
            JOIN incident_member m ON m.alarm_id = a.id AND m.until_at IS NULL
            LEFT JOIN device_state s ON s.device_id = a.device_id
            WHERE a.rule_key = ANY(%(keys)s)
            AND NOT EXISTS (SELECT FROM ticket_alarm x WHERE x.alarm_id = a.id)
            ORDER BY a.incident_id, a.raised_at, a.id
            """,
            {
                "cause": MAINS_FAILURE,
                "keys": keys,
                "power": [rule.key for rule in rules.values() if rule.cause == MAINS_FAILURE],
            },
        )
        return cursor.fetchall()


def _draft(
    alarm: OpenAlarm, why: Need, rule: Rule, place: DevicePlace, now: datetime
) -> TicketDraft:
    failure_mode, title_en, title_zh, action_en, action_zh = _TEXTS[why]
    is_early = now - alarm.raised_at < SHORT_AUTONOMY
    return TicketDraft(
        customer_id=place.customer_id,
        site_id=place.site_id,
        device_id=alarm.device_id,
        incident_id=alarm.incident_id,
        failure_mode=failure_mode,
        source="rule",
        rule_key=rule.key,
        title_en=f"{place.name}: {title_en}",
        title_zh=f"{place.name}：{title_zh}",
        severity="critical" if why == "will_not_survive" else "major",
        priority=priority(impact="high", urgency="high", criticality=place.criticality),
        opened_at=now,
        reason={
            **ticket_reason(rule, alarm.reason),
            "why_en": title_en,
            "why_zh": title_zh,
            "alarm_id": alarm.id,
        },
        skills=("ups",),
        part_kinds=("battery_set",) if why == "will_not_survive" and is_early else (),
        action_en=action_en,
        action_zh=action_zh,
    )
