"""Decide what happens to a value of a device or of a family; ingest applies it within seconds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from rules.operations import NotThere, OperationRefused
from service_api.request import Connection

Action: TypeAlias = Literal["convert", "ignore", "trust"]


@dataclass(frozen=True, slots=True)
class Whose:
    """What a correction holds for: one device, or a family by profile and, if told, model."""

    device_id: int | None = None
    profile: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Cure:
    """What is done with a value."""

    action: Action
    factor: float = 1.0
    addend: float = 0.0


def put_in_force(
    connection: Connection,
    whose: Whose,
    *,
    point: str,
    cure: Cure,
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    """Write a correction down in place of the one in force, if there is one; returns its id."""
    connection.execute(
        """
        UPDATE correction SET ended_at = %(now)s, ended_by = %(actor)s
        WHERE ended_at IS NULL AND point = %(point)s AND CASE
            WHEN %(device_id)s::bigint IS NOT NULL THEN device_id = %(device_id)s
            ELSE profile = %(profile)s AND model IS NOT DISTINCT FROM %(model)s END
        """,
        {
            "now": now,
            "actor": actor,
            "point": point,
            "device_id": whose.device_id,
            "profile": whose.profile,
            "model": whose.model,
        },
    )
    row = connection.execute(
        """
        INSERT INTO correction
            (device_id, profile, model, point, action, factor, addend, reason, made_by, made_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (
            whose.device_id,
            whose.profile,
            whose.model,
            point,
            cure.action,
            cure.factor,
            cure.addend,
            reason,
            actor,
            now,
        ),
    ).fetchone()
    if row is None:
        raise NotThere("the correction was not written")
    connection.execute("NOTIFY ridethrough, 'change'")
    return int(row[0])


def end(connection: Connection, correction_id: int, *, actor: str, now: datetime) -> None:
    """End a correction: from the next reading on the value is taken as it comes."""
    row = connection.execute(
        "SELECT ended_at FROM correction WHERE id = %s FOR UPDATE", (correction_id,)
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no correction {correction_id}")
    if row[0] is not None:
        raise OperationRefused("this correction has ended already")
    connection.execute(
        "UPDATE correction SET ended_at = %s, ended_by = %s WHERE id = %s",
        (now, actor, correction_id),
    )
    connection.execute("NOTIFY ridethrough, 'change'")
