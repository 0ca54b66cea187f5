"""What people decide about incidents: join them, part them, say when the cause will be over.

Each decision is a row with its reason, can be undone, and is not overruled by the machine. Every
function runs inside the caller's transaction and sees only what that may see; raises `NotThere` and
`OperationRefused` as `rules.operations` does. Alarms are locked before incidents.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules.incident_store import log_incident
from rules.incidents import MAINS_FAILURE, SUPPLY_FAILURE
from rules.operations import NotThere, OperationRefused
from rules.regroup import place_under
from rules.store import tell

Connection = psycopg.Connection[TupleRow]

FARTHEST_RESTORATION = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Incident:
    id: int
    subject: str
    cause: str
    site_id: int | None
    customer_id: int | None
    opened_at: datetime
    closed_at: datetime | None
    parent_id: int | None
    merged_into_id: int | None

    @property
    def is_regional(self) -> bool:
        return self.site_id is None and self.cause == SUPPLY_FAILURE


def merge(
    connection: Connection, incident_ids: Sequence[int], *, reason: str, actor: str, now: datetime
) -> int:
    """Make one incident of several, the first of them; returns the one that is left.

    Of one site: their alarms go into the first. Of several sites without mains: they come under one
    of the region, the one that is among them or a new one. Others have nothing in common.
    """
    reason = _reason(reason, "merging")
    wanted = list(dict.fromkeys(incident_ids))
    if len(wanted) < 2:
        raise OperationRefused("merging takes two incidents")
    known = _locked(connection, wanted)
    first, *others = [known[one] for one in wanted]
    for one in known.values():
        _require_open(one)
    if (
        any(one.is_regional for one in known.values())
        or len({o.site_id for o in known.values()}) > 1
    ):
        return _merge_sites(connection, [first, *others], reason=reason, actor=actor, now=now)
    if first.site_id is None:
        raise OperationRefused("the service's own incidents are not merged")
    decision_id = _decide(connection, "merge", first.id, reason, actor, now)
    for one in others:
        alarm_ids = _alarm_ids(connection, one.id)
        _move_alarms(connection, alarm_ids, first.id, now=now, decision_id=decision_id)
        _close_into(connection, one, first.id, actor=actor, reason=reason, now=now)
    log_incident(
        connection, first.id, "gathered", actor, now,
        {"incidents": [one.id for one in others], "reason": reason},
    )  # fmt: skip
    return first.id


def _merge_sites(
    connection: Connection, given: list[_Incident], *, reason: str, actor: str, now: datetime
) -> int:
    regional = [one for one in given if one.is_regional]
    sites = [one for one in given if not one.is_regional]
    if any(one.site_id is None or one.cause != MAINS_FAILURE for one in sites):
        raise OperationRefused(
            "incidents of different sites are merged only where each is a mains failure"
        )
    if len(regional) > 1:
        raise OperationRefused("two regional incidents are not merged; merge their sites")
    if regional:
        parent_id = regional[0].id
        decision_id = _decide(connection, "merge", parent_id, reason, actor, now)
    else:
        parent_id, decision_id = _new_region(connection, sites, reason, actor, now)
    moving = [one.id for one in sites if one.parent_id != parent_id]
    if not moving:
        raise OperationRefused("they belong together already")
    _release(connection, moving, now=now, decision_id=decision_id)
    place_under(
        connection, parent_id, moving, now=now, evidence="hand", actor=actor,
        decision_id=decision_id,
    )  # fmt: skip
    return parent_id


def _new_region(
    connection: Connection, sites: list[_Incident], reason: str, actor: str, now: datetime
) -> tuple[int, int]:
    opened_at = min(one.opened_at for one in sites)
    subject = f"hand:{sites[0].id}"
    row = connection.execute(
        """
        INSERT INTO incident (subject, cause, opened_at) VALUES (%s, %s, %s)
        ON CONFLICT (subject, cause) WHERE closed_at IS NULL
            DO UPDATE SET subject = excluded.subject
        RETURNING id
        """,
        (subject, SUPPLY_FAILURE, opened_at),
    ).fetchone()
    if row is None:
        raise OperationRefused("the database took no incident")
    log_incident(connection, row[0], "opened", actor, opened_at, {"reason": reason})
    tell(connection, [("incident.regional", None, row[0], now)])
    return row[0], _decide(connection, "merge", row[0], reason, actor, now)


def split(
    connection: Connection,
    incident_id: int,
    *,
    device_ids: Sequence[int] = (),
    child_ids: Sequence[int] = (),
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    """Part units from a site's incident, or sites from a region's; returns what stands apart now.

    Units get an incident of their own with the same cause; it is where their later alarms go, as
    long as it lasts. Sites stand for themselves again and are not gathered back.
    """
    reason = _reason(reason, "splitting")
    if bool(device_ids) == bool(child_ids):
        raise OperationRefused("say either which units or which sites' incidents are parted")
    if child_ids:
        return _split_sites(connection, incident_id, child_ids, reason=reason, actor=actor, now=now)
    one = _locked(connection, [incident_id])[incident_id]
    _require_open(one)
    inside: dict[int, list[int]] = dict(
        connection.execute(
            "SELECT device_id, array_agg(id) FROM alarm WHERE incident_id = %s GROUP BY 1",
            (incident_id,),
        ).fetchall()
    )
    strangers = set(device_ids) - inside.keys()
    if strangers:
        raise OperationRefused(f"unit {min(strangers)} does not belong to this incident")
    if inside.keys() <= set(device_ids):
        raise OperationRefused("nothing would be left: an incident keeps at least one unit")
    row = connection.execute(
        """
        INSERT INTO incident (subject, cause, site_id, customer_id, opened_at)
        SELECT %(subject)s || '#' || (SELECT count(*) + 1 FROM incident o
            WHERE starts_with(o.subject, %(subject)s || '#') AND o.cause = %(cause)s),
            %(cause)s, %(site)s, %(customer)s,
            (SELECT min(raised_at) FROM alarm
                WHERE incident_id = %(id)s AND device_id = ANY(%(units)s))
        RETURNING id
        """,
        {
            "subject": one.subject,
            "cause": one.cause,
            "site": one.site_id,
            "customer": one.customer_id,
            "id": incident_id,
            "units": list(device_ids),
        },
    ).fetchone()
    if row is None:
        raise OperationRefused("the database took no incident")
    apart = int(row[0])
    decision_id = _decide(connection, "split", apart, reason, actor, now)
    moving = [alarm_id for device_id in device_ids for alarm_id in inside[device_id]]
    _move_alarms(connection, moving, apart, now=now, decision_id=decision_id)
    log_incident(connection, apart, "opened", actor, now, {"from": incident_id, "reason": reason})
    log_incident(
        connection, incident_id, "split", actor, now, {"incident": apart, "reason": reason}
    )
    tell(connection, [("incident.split", one.customer_id, apart, now)])
    return apart


def _split_sites(
    connection: Connection,
    incident_id: int,
    child_ids: Sequence[int],
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    known = _locked(connection, [incident_id, *child_ids])
    for child_id in child_ids:
        if known[child_id].parent_id != incident_id:
            raise OperationRefused(f"incident {child_id} does not belong to this one")
    decision_id = _decide(connection, "split", child_ids[0], reason, actor, now)
    _release(connection, child_ids, now=now, decision_id=decision_id)
    for child_id in child_ids:
        log_incident(connection, child_id, "released", actor, now, {"reason": reason})
    log_incident(
        connection, incident_id, "split", actor, now,
        {"incidents": list(child_ids), "reason": reason},
    )  # fmt: skip
    tell(connection, [("incident.split", None, incident_id, now)])
    return child_ids[0]


def undo(connection: Connection, decision_id: int, *, actor: str, now: datetime) -> int:
    """Take a decision back: what it moved goes where it was; returns an incident to look at.

    What joined since then stays. What was closed by it lasts again, if an alarm of it stands.
    """
    row = connection.execute(
        "SELECT kind, incident_id, undone_at FROM incident_decision WHERE id = %s FOR UPDATE",
        (decision_id,),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no decision {decision_id}")
    kind, incident_id, undone_at = row
    if undone_at is not None:
        raise OperationRefused("this decision was taken back already")
    back = _moved_from(connection, decision_id)
    involved = sorted({incident_id, *back.values()})
    known = _locked(connection, involved)
    connection.execute(
        "UPDATE incident_decision SET undone_at = %s, undone_by = %s WHERE id = %s",
        (now, actor, decision_id),
    )
    look_at = int(incident_id)
    for origin_id in sorted(set(back.values())):
        alarm_ids = [alarm_id for alarm_id, origin in back.items() if origin == origin_id]
        _reopen(connection, known[origin_id], alarm_ids)
        _move_alarms(connection, alarm_ids, origin_id, now=now, decision_id=None)
        look_at = origin_id
    if kind == "split" and back:
        # Its later alarms go along, since their case is one again.
        rest = _alarm_ids(connection, incident_id)
        _move_alarms(connection, rest, look_at, now=now, decision_id=None)
        _close_into(connection, known[incident_id], look_at, actor=actor, reason="", now=now)
    _undo_sites(connection, decision_id, actor=actor, now=now)
    for one in {incident_id, look_at}:
        log_incident(connection, one, "undone", actor, now, {"decision": decision_id})
    connection.execute("NOTIFY ridethrough, 'change'")
    return look_at


def _moved_from(connection: Connection, decision_id: int) -> dict[int, int]:
    """Return the alarms that a decision moved and that are still there: alarm → where it was."""
    return dict(
        connection.execute(
            """
            SELECT m.alarm_id, b.incident_id FROM incident_member m
            JOIN incident_member b ON b.alarm_id = m.alarm_id
                AND b.ended_decision_id = m.decision_id
            WHERE m.decision_id = %s AND m.until_at IS NULL AND m.alarm_id IS NOT NULL
            """,
            (decision_id,),
        ).fetchall()
    )


def _undo_sites(connection: Connection, decision_id: int, *, actor: str, now: datetime) -> None:
    """Take back what a decision did to incidents of sites."""
    placed = [
        child_id
        for (child_id,) in connection.execute(
            """
            UPDATE incident_member SET until_at = %s
            WHERE decision_id = %s AND until_at IS NULL AND child_id IS NOT NULL
            RETURNING child_id
            """,
            (now, decision_id),
        )
    ]
    connection.execute("UPDATE incident SET parent_id = NULL WHERE id = ANY(%s)", (placed,))
    for parent_id, child_ids in connection.execute(
        """
        SELECT m.incident_id, array_agg(m.child_id) FROM incident_member m
        JOIN incident p ON p.id = m.incident_id AND p.closed_at IS NULL
        JOIN incident c ON c.id = m.child_id AND c.parent_id IS NULL
        WHERE m.ended_decision_id = %s AND m.child_id IS NOT NULL GROUP BY 1
        """,
        (decision_id,),
    ).fetchall():
        place_under(connection, parent_id, child_ids, now=now, evidence="hand", actor=actor)


def expect_restoration(
    connection: Connection, incident_id: int, *, at: datetime | None, actor: str, now: datetime
) -> None:
    """Say when the cause will be over, None to take that back: units that end before need help."""
    one = _locked(connection, [incident_id])[incident_id]
    _require_open(one)
    if one.cause not in {MAINS_FAILURE, SUPPLY_FAILURE}:
        raise OperationRefused("only mains is expected back")
    if at is not None and not now < at <= now + FARTHEST_RESTORATION:
        raise OperationRefused("say a time that lies ahead, at most seven days")
    connection.execute(
        "UPDATE incident SET restore_expected_at = %s WHERE id = %s", (at, incident_id)
    )
    detail = {"at": None if at is None else at.isoformat()}
    log_incident(connection, incident_id, "restoration", actor, now, detail)
    connection.execute("NOTIFY ridethrough, 'change'")


def _reason(reason: str, what: str) -> str:
    if not reason.strip():
        raise OperationRefused(f"{what} needs a reason")
    return reason.strip()


def _require_open(one: _Incident) -> None:
    if one.merged_into_id is not None:
        raise OperationRefused(f"incident {one.id} was merged into {one.merged_into_id}")
    if one.closed_at is not None:
        raise OperationRefused(f"incident {one.id} is over")


def _locked(connection: Connection, incident_ids: Iterable[int]) -> dict[int, _Incident]:
    """Lock the alarms of incidents, then the incidents; raise `NotThere` where one is not."""
    wanted = sorted(set(incident_ids))
    connection.execute(
        "SELECT FROM alarm WHERE incident_id = ANY(%s) ORDER BY id FOR UPDATE", (wanted,)
    )
    with connection.cursor(row_factory=class_row(_Incident)) as cursor:
        found = {
            one.id: one
            for one in cursor.execute(
                """
                SELECT id, subject, cause, site_id, customer_id, opened_at, closed_at, parent_id,
                    merged_into_id
                FROM incident WHERE id = ANY(%s)
                ORDER BY subject COLLATE "C", cause COLLATE "C" FOR UPDATE
                """,
                (wanted,),
            )
        }
    for incident_id in wanted:
        if incident_id not in found:
            raise NotThere(f"there is no incident {incident_id}")
    return found


def _decide(
    connection: Connection,
    kind: Literal["merge", "split"],
    incident_id: int,
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    row = connection.execute(
        """
        INSERT INTO incident_decision (at, kind, actor, reason, incident_id)
        VALUES (%s, %s, %s, %s, %s) RETURNING id
        """,
        (now, kind, actor, reason, incident_id),
    ).fetchone()
    if row is None:
        raise OperationRefused("the database took no decision")
    return int(row[0])


def _alarm_ids(connection: Connection, incident_id: int) -> list[int]:
    return [
        alarm_id
        for (alarm_id,) in connection.execute(
            "SELECT id FROM alarm WHERE incident_id = %s ORDER BY id", (incident_id,)
        )
    ]


def _move_alarms(
    connection: Connection,
    alarm_ids: Sequence[int],
    incident_id: int,
    *,
    now: datetime,
    decision_id: int | None,
) -> None:
    connection.execute(
        """
        UPDATE incident_member SET until_at = %s, ended_decision_id = %s
        WHERE alarm_id = ANY(%s) AND until_at IS NULL
        """,
        (now, decision_id, list(alarm_ids)),
    )
    connection.execute(
        """
        INSERT INTO incident_member (incident_id, alarm_id, device_id, customer_id, since_at,
            evidence, decision_id)
        SELECT %s, id, device_id, customer_id, %s, %s, %s FROM alarm WHERE id = ANY(%s)
        """,
        (incident_id, now, Jsonb({"kind": "hand"}), decision_id, list(alarm_ids)),
    )
    connection.execute(
        "UPDATE alarm SET incident_id = %s WHERE id = ANY(%s)", (incident_id, list(alarm_ids))
    )


def _close_into(
    connection: Connection,
    one: _Incident,
    target_id: int,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    connection.execute(
        """
        UPDATE incident SET closed_at = coalesce(closed_at, %s), merged_into_id = %s WHERE id = %s
        """,
        (now, target_id, one.id),
    )
    log_incident(connection, one.id, "merged", actor, now, {"into": target_id, "reason": reason})
    tell(connection, [("incident.merged", one.customer_id, one.id, now)])


def _reopen(connection: Connection, one: _Incident, alarm_ids: Sequence[int]) -> None:
    """Let an incident last again if an alarm that comes back to it stands."""
    try:
        with connection.transaction():
            connection.execute(
                """
                UPDATE incident SET merged_into_id = NULL, closed_at = CASE WHEN EXISTS (
                    SELECT FROM alarm WHERE id = ANY(%s) AND over_at IS NULL)
                    THEN NULL ELSE closed_at END
                WHERE id = %s
                """,
                (list(alarm_ids), one.id),
            )
    except psycopg.errors.UniqueViolation as error:
        raise OperationRefused(
            "a newer incident of the same cause stands; merge into that one instead"
        ) from error


def _release(
    connection: Connection, child_ids: Sequence[int], *, now: datetime, decision_id: int
) -> None:
    connection.execute(
        """
        UPDATE incident_member SET until_at = %s, ended_decision_id = %s
        WHERE child_id = ANY(%s) AND until_at IS NULL
        """,
        (now, decision_id, list(child_ids)),
    )
    connection.execute(
        "UPDATE incident SET parent_id = NULL WHERE id = ANY(%s)", (list(child_ids),)
    )
