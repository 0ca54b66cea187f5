"""The thin shell of judgement: remembered states in, alarms and outbox rows out.

Runs inside the transaction of ingest or of the tick, after the devices' state rows are locked.
Lock order: device_state by id (the caller's), incident by (subject, cause), ticket, outbox.
Incidents are in `rules.incident_store`, tickets in `rules.ticket_store`; what people change is in
`rules.operations`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules.alarms import Change, Phase, RuleState, Step, inhibitor
from rules.catalogue import Rule
from rules.engine import Judged, Judgement, Key, standing
from rules.tickets import alarm_reason

Connection = psycopg.Connection[TupleRow]

_STATE_AFTER = {
    Change.CLEARING: "clearing",
    Change.RECURRED: "active",
    Change.STALE: "stale",
    Change.FRESH: "active",
    Change.CLEARED: "cleared",
}
_EVENT = {change: change.value for change in Change} | {Change.FRESH: "recurred"}


@dataclass(frozen=True, slots=True)
class DevicePlace:
    """Whose device it is, where, and how much hangs on it."""

    id: int
    name: str
    customer_id: int
    site_id: int
    criticality: str


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """An alarm that stands and may need a ticket."""

    id: int
    device_id: int
    rule_key: str
    raised_at: datetime
    reason: Mapping[str, Any]
    incident_id: int | None

    @property
    def key(self) -> Key:
        """The pair of device and rule that it belongs to."""
        return self.device_id, self.rule_key


@dataclass(slots=True)
class Remembered:
    """The rule states of some devices, with the alarm that belongs to each."""

    states: dict[Key, RuleState] = field(default_factory=dict)
    alarm_ids: dict[Key, int] = field(default_factory=dict)


def remembered_states(connection: Connection, device_ids: Sequence[int]) -> Remembered:
    """Return what the rules remember of these devices; none of it is normal.

    Locked until the transaction ends: a person may be closing one of the alarms.
    """
    found = Remembered()
    for device_id, key, phase, since_at, next_at, unknown_at, alarm_id in connection.execute(
        """
        SELECT device_id, rule_key, state, since_at, next_at, unknown_since_at, alarm_id
        FROM rule_state WHERE device_id = ANY(%s) FOR UPDATE
        """,
        (list(device_ids),),
    ):
        is_stale = unknown_at is not None and next_at is None and phase != "pending"
        found.states[device_id, key] = RuleState(
            Phase(phase), since_at, next_at, unknown_at, is_stale
        )
        if alarm_id is not None:
            found.alarm_ids[device_id, key] = alarm_id
    return found


def record(
    connection: Connection,
    judged: Judged,
    remembered: Remembered,
    rules: Mapping[str, Rule],
    now: datetime,
) -> list[OpenAlarm]:
    """Write what a judgement changed; returns the alarms that now call for a ticket.

    1. Steps in waves, the n-th step of every pair together: new alarms, then changes of known ones.
    2. Alarms that another one explains are inhibited, or released when that one is gone.
    3. The rule states, now knowing their alarms.

    Which incident they join is `rules.incident_store`'s to say, next.
    """
    if not judged.changes:
        return []
    places = device_places(connection, {change.device_id for change in judged.changes})
    alarm_ids = dict(remembered.alarm_ids)
    raised: list[OpenAlarm] = []
    for wave in _waves(judged.changes):
        raised += _raise_alarms(connection, wave, places, alarm_ids, now)
        _step_alarms(connection, wave, places, alarm_ids, now)
    standing_ids = {
        key: alarm_ids[key]
        for key, state in judged.states.items()
        if state.phase is not Phase.PENDING and key in alarm_ids
    }
    new = [alarm for alarm in raised if standing_ids.get(alarm.key) == alarm.id]
    ready = _inhibit(connection, judged, standing_ids, new, rules, now)
    _keep_states(connection, judged, alarm_ids)
    return ready


def device_places(connection: Connection, device_ids: Iterable[int]) -> dict[int, DevicePlace]:
    """Return where these devices are and whose they are."""
    with connection.cursor(row_factory=class_row(DevicePlace)) as cursor:
        cursor.execute(
            "SELECT id, name, customer_id, site_id, criticality FROM device WHERE id = ANY(%s)",
            (sorted(device_ids),),
        )
        return {place.id: place for place in cursor}


@dataclass(frozen=True, slots=True)
class _Move:
    """One step of one pair, with the values that decided."""

    judgement: Judgement
    step: Step

    @property
    def key(self) -> Key:
        return self.judgement.device_id, self.judgement.rule.key

    @property
    def latches(self) -> bool:
        """The condition is over, and the alarm stands on until a person resets it."""
        return self.step.change is Change.CLEARED and self.judgement.rule.latches

    @property
    def clears(self) -> bool:
        return self.step.change is Change.CLEARED and not self.latches


def _waves(changes: Iterable[Judgement]) -> list[list[_Move]]:
    """Group steps so that each group holds at most one of a pair, in order."""
    waves: list[list[_Move]] = []
    count: dict[Key, int] = {}
    for change in changes:
        for step in change.steps:
            move = _Move(change, step)
            turn = count.get(move.key, 0)
            count[move.key] = turn + 1
            if turn == len(waves):
                waves.append([])
            waves[turn].append(move)
    return [sorted(wave, key=lambda move: move.key) for wave in waves]


def _raise_alarms(
    connection: Connection,
    wave: Iterable[_Move],
    places: Mapping[int, DevicePlace],
    alarm_ids: dict[Key, int],
    now: datetime,
) -> list[OpenAlarm]:
    """Open an alarm for each; one that stands already, its memory lost, is taken up again."""
    moves = {move.key: move for move in wave if move.step.change is Change.RAISED}
    if not moves:
        return []
    rows = [
        (
            move.judgement.device_id,
            places[move.judgement.device_id].customer_id,
            places[move.judgement.device_id].site_id,
            move.judgement.rule.key,
            move.judgement.rule.severity,
            move.step.at,
            Jsonb(
                alarm_reason(move.judgement.rule, move.judgement.values, move.judgement.observed_at)
            ),
        )
        for move in moves.values()
    ]
    raised: list[OpenAlarm] = []
    standing: list[OpenAlarm] = []
    for alarm_id, device_id, rule_key, raised_at, reason, incident_id, is_new in connection.execute(
        """
        INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, state,
            raised_at, changed_at, reason)
        SELECT device_id, customer_id, site_id, rule_key, severity, 'active', at, at, reason
        FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
            %s::timestamptz[], %s::jsonb[])
            AS x (device_id, customer_id, site_id, rule_key, severity, at, reason)
        ON CONFLICT (device_id, rule_key) WHERE cleared_at IS NULL
            DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at
        RETURNING id, device_id, rule_key, raised_at, reason, incident_id, xmax = 0
        """,
        [list(column) for column in zip(*rows, strict=True)],
    ):
        alarm_ids[device_id, rule_key] = alarm_id
        alarm = OpenAlarm(alarm_id, device_id, rule_key, raised_at, reason, incident_id)
        (raised if is_new else standing).append(alarm)
    _log(
        connection,
        [(alarm.id, alarm.raised_at, "raised", alarm.rule_key) for alarm in raised]
        + [(one.id, moves[one.key].step.at, "recurred", one.rule_key) for one in standing],
    )
    tell(
        connection,
        [("alarm.raised", places[alarm.device_id].customer_id, alarm.id, now) for alarm in raised],
    )
    return raised + standing


def _step_alarms(
    connection: Connection,
    wave: Iterable[_Move],
    places: Mapping[int, DevicePlace],
    alarm_ids: Mapping[Key, int],
    now: datetime,
) -> None:
    moves = [m for m in wave if m.step.change is not Change.RAISED and m.key in alarm_ids]
    if not moves:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE alarm SET state = %s, changed_at = %s, cleared_at = %s
            WHERE id = %s AND cleared_at IS NULL
            """,
            [
                (
                    "latched" if move.latches else _STATE_AFTER[move.step.change],
                    move.step.at,
                    move.step.at if move.clears else None,
                    alarm_ids[move.key],
                )
                for move in moves
            ],
        )
    _log(
        connection,
        [
            (
                alarm_ids[move.key],
                move.step.at,
                "latched" if move.latches else _EVENT[move.step.change],
                move.judgement.rule.key,
            )
            for move in moves
        ],
    )
    tell(
        connection,
        [
            (
                "alarm.cleared",
                places[m.judgement.device_id].customer_id,
                alarm_ids[m.key],
                now,
            )
            for m in moves
            if m.clears
        ],
    )


def _inhibit(
    connection: Connection,
    judged: Judged,
    standing_ids: Mapping[Key, int],
    new: Sequence[OpenAlarm],
    rules: Mapping[str, Rule],
    now: datetime,
) -> list[OpenAlarm]:
    """Mark alarms that another alarm of the device explains; return those that are not."""
    fresh = {alarm.id: alarm for alarm in new}
    changed = {change.device_id for change in judged.changes if change.steps}
    candidates = [
        alarm_id
        for (device_id, key), alarm_id in standing_ids.items()
        if device_id in changed and key in rules and rules[key].inhibited_by
    ]
    if not candidates:
        return list(new)
    marks: list[tuple[str | None, int]] = []
    events: list[tuple[int, datetime, str, str]] = []
    released: list[OpenAlarm] = []
    for alarm_id, device_id, key, raised_at, reason, incident_id, before in connection.execute(
        """
        SELECT id, device_id, rule_key, raised_at, reason, incident_id, inhibited_by
        FROM alarm WHERE id = ANY(%s) ORDER BY id
        """,
        (candidates,),
    ).fetchall():
        found = inhibitor(
            rules[key].inhibited_by,
            standing(judged.states, device_id, rules[key].inhibited_by),
        )
        if found == before:
            continue
        marks.append((found, alarm_id))
        events.append((alarm_id, now, "released" if found is None else "inhibited", key))
        if found is not None:
            fresh.pop(alarm_id, None)
        elif alarm_id not in fresh:
            released.append(OpenAlarm(alarm_id, device_id, key, raised_at, reason, incident_id))
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE alarm SET inhibited_by = %s WHERE id = %s", marks)
    _log(connection, events)
    return [*fresh.values(), *released]


def _keep_states(connection: Connection, judged: Judged, alarm_ids: Mapping[Key, int]) -> None:
    changed = sorted({(change.device_id, change.rule.key) for change in judged.changes})
    gone = [key for key in changed if key not in judged.states]
    kept = [(key, judged.states[key]) for key in changed if key in judged.states]
    if gone:
        connection.execute(
            """
            DELETE FROM rule_state
            USING unnest(%s::bigint[], %s::text[]) AS gone (device_id, rule_key)
            WHERE rule_state.device_id = gone.device_id AND rule_state.rule_key = gone.rule_key
            """,
            [list(column) for column in zip(*gone, strict=True)],
        )
    if kept:
        rows = [
            (
                device_id,
                rule_key,
                state.phase.value,
                state.since_at,
                state.next_at,
                state.unknown_since_at,
                None if state.phase is Phase.PENDING else alarm_ids.get((device_id, rule_key)),
            )
            for (device_id, rule_key), state in kept
        ]
        connection.execute(
            """
            INSERT INTO rule_state
                (device_id, rule_key, state, since_at, next_at, unknown_since_at, alarm_id)
            SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::timestamptz[],
                %s::timestamptz[], %s::timestamptz[], %s::bigint[])
            ON CONFLICT (device_id, rule_key) DO UPDATE SET
                state = excluded.state, since_at = excluded.since_at, next_at = excluded.next_at,
                unknown_since_at = excluded.unknown_since_at, alarm_id = excluded.alarm_id
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def _log(connection: Connection, events: Sequence[tuple[int, datetime, str, str]]) -> None:
    """Append alarm events: (alarm, instant, kind, rule that did it)."""
    if events:
        connection.execute(
            """
            INSERT INTO alarm_event (alarm_id, at, kind, actor)
            SELECT alarm_id, at, kind, 'rule:' || rule_key
            FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[])
                AS x (alarm_id, at, kind, rule_key)
            """,
            [list(column) for column in zip(*events, strict=True)],
        )


def tell(connection: Connection, changes: Sequence[tuple[str, int | None, int, datetime]]) -> None:
    """Append outbox rows (topic, customer, ref, now) and wake who listens after the commit.

    The instant is that of telling, by our clock: readers look for what came in meanwhile by it.
    """
    if not changes:
        return
    connection.execute(
        """
        INSERT INTO outbox (topic, customer_id, ref, at)
        SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[])
        """,
        [list(column) for column in zip(*changes, strict=True)],
    )
    connection.execute("NOTIFY ridethrough, 'change'")
