"""Decide a doubt: accept what is proposed, do something else, or say that the value is right."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rules.operations import NotThere, OperationRefused
from rules.points import BY_COLUMN
from service_api.corrections import operations as corrections
from service_api.corrections.operations import Cure, Whose
from service_api.doubts.schemas import Scope
from service_api.request import Connection


def accept(
    connection: Connection,
    doubt_id: int,
    *,
    scope: Scope,
    cure: Cure | None,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Correct what is doubted, for the device or its family, as proposed unless `cure` is given.

    Open doubts of the same kind about the same point are decided with it, as far as it reaches.
    """
    device_id, whose, kind, evidence, proposal, points = _open(connection, doubt_id, scope)
    if cure is None and proposal.get("action") == "end":
        correction_id = _applying(connection, device_id, points[0])
        corrections.end(connection, correction_id, actor=actor, now=now)
    else:
        correction_id = 0
        wanted = cure or _proposed(proposal)
        for point in reversed(points):
            correction_id = corrections.put_in_force(
                connection,
                whose,
                point=point,
                cure=wanted,
                reason=reason or str(evidence.get("rule", "")),
                actor=actor,
                now=now,
            )
    _decide(
        connection, whose, device_id, points[0], kind,
        state="accepted", correction_id=correction_id, actor=actor, now=now,
    )  # fmt: skip


def dismiss(
    connection: Connection, doubt_id: int, *, scope: Scope, reason: str, actor: str, now: datetime
) -> None:
    """Say that the value is right as it is: it is believed and not doubted again."""
    device_id, whose, kind, _, _, points = _open(connection, doubt_id, scope)
    if kind == "range":
        raise OperationRefused("a value beyond its range cannot be kept: convert or ignore it")
    correction_id = 0
    if kind != "frozen":
        for point in reversed(points):
            correction_id = corrections.put_in_force(
                connection, whose, point=point, cure=Cure("trust"), reason=reason,
                actor=actor, now=now,
            )  # fmt: skip
    _decide(
        connection, whose, device_id, points[0], kind,
        state="dismissed", correction_id=correction_id or None, actor=actor, now=now,
    )  # fmt: skip


def _open(
    connection: Connection, doubt_id: int, scope: Scope
) -> tuple[int, Whose, str, dict[str, Any], dict[str, Any], Sequence[str]]:
    """Lock an open doubt; returns what a decision about it needs."""
    row = connection.execute(
        """
        SELECT b.device_id, b.state, b.point, b.kind, b.evidence, b.proposal, d.profile, d.model
        FROM doubt b JOIN device d ON d.id = b.device_id WHERE b.id = %s FOR UPDATE OF b
        """,
        (doubt_id,),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no doubt {doubt_id}")
    device_id, state, point, kind, evidence, proposal, profile, model = row
    if state != "open":
        raise OperationRefused("this doubt is not open any more")
    also = [BY_COLUMN[column].name for column in evidence.get("also", ()) if column in BY_COLUMN]
    if scope == "device":
        whose = Whose(device_id)
    elif profile is None or (scope == "model" and model is None):
        raise OperationRefused("the family of this device is not known: decide for the device")
    else:
        whose = Whose(None, profile, model if scope == "model" else None)
    return device_id, whose, kind, evidence, proposal, [point, *also]


def _proposed(proposal: dict[str, Any]) -> Cure:
    action = proposal.get("action")
    if action not in ("convert", "ignore"):
        raise OperationRefused("nothing is proposed here: say what to do with the value")
    return Cure(action, proposal.get("factor", 1.0), proposal.get("addend", 0.0))


def _applying(connection: Connection, device_id: int, point: str) -> int:
    """Return the correction that applies to a point of a device, the closest one."""
    row = connection.execute(
        """
        SELECT r.id FROM correction r JOIN device d ON d.id = %s
        WHERE r.ended_at IS NULL AND r.point = %s AND (r.device_id = d.id
            OR (r.profile = d.profile AND (r.model IS NULL OR r.model = d.model)))
        ORDER BY r.device_id IS NULL, r.model IS NULL LIMIT 1
        """,
        (device_id, point),
    ).fetchone()
    if row is None:
        raise OperationRefused("the correction has ended already")
    return int(row[0])


def _decide(
    connection: Connection,
    whose: Whose,
    device_id: int,
    point: str,
    kind: str,
    *,
    state: str,
    correction_id: int | None,
    actor: str,
    now: datetime,
) -> None:
    connection.execute(
        """
        UPDATE doubt SET state = %(state)s, decided_by = %(actor)s, decided_at = %(now)s,
            correction_id = %(correction_id)s
        WHERE state = 'open' AND point = %(point)s AND kind = %(kind)s AND (
            device_id = %(device_id)s OR (%(profile)s::text IS NOT NULL AND device_id IN (
                SELECT id FROM device WHERE profile = %(profile)s
                AND (%(model)s::text IS NULL OR model = %(model)s))))
        """,
        {
            "state": state,
            "actor": actor,
            "now": now,
            "correction_id": correction_id,
            "point": point,
            "kind": kind,
            "device_id": device_id,
            "profile": whose.profile,
            "model": whose.model,
        },
    )
    connection.execute("NOTIFY ridethrough, 'change'")
