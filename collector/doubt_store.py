"""Doubts as rows: raised once, seen again, ended; and what judging them needs of a device."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from math import nan

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from rules.facts import Value
from rules.plausibility import DOUBTFUL, NOMINALS, Suspicion
from rules.points import BY_COLUMN, BY_NAME

Connection = psycopg.Connection[TupleRow]


@dataclass(slots=True)
class Ground:
    """What is known of a device: its family, its nominal values, its open doubts.

    `open` maps (column, kind) to all columns that the doubt concerns. `nominals` holds what is
    believed, in the order of NOMINALS, NaN where nothing is; `waiting` what the unit said of those
    and is not believed.
    """

    profile: str | None
    model: str | None
    nominals: list[float]
    waiting: dict[str, Value] = field(default_factory=dict)
    open: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def grounds(connection: Connection, device_ids: Iterable[int]) -> dict[int, Ground]:
    """Read what is known of these devices."""
    wanted = sorted(device_ids)
    query = sql.SQL(
        """
        SELECT d.id, d.profile, d.model, s.extra, {nominals}
        FROM device d JOIN device_state s ON s.device_id = d.id WHERE d.id = ANY(%s)
        """
    ).format(nominals=sql.SQL(", ").join(sql.Identifier("s", column) for column in NOMINALS))
    found = {}
    for device_id, profile, model, extra, *nominals in connection.execute(query, (wanted,)):
        waiting = {
            column: extra[DOUBTFUL + column]
            for column in NOMINALS
            if extra and DOUBTFUL + column in extra
        }
        known = [nan if nominal is None else nominal for nominal in nominals]
        found[device_id] = Ground(profile, model, known, waiting)
    for device_id, point, kind, also in connection.execute(
        """
        SELECT device_id, point, kind, evidence->'also' FROM doubt
        WHERE state = 'open' AND kind <> 'frozen' AND device_id = ANY(%s)
        """,
        (wanted,),
    ):
        if device_id in found and point in BY_NAME:
            column = BY_NAME[point].column
            found[device_id].open[column, kind] = (column, *(also or ()))
    return found


def raise_doubts(connection: Connection, raised: Sequence[tuple[int, datetime, Suspicion]]) -> None:
    """Open a doubt each, or note that an open one was seen again."""
    rows = sorted(
        (
            (
                device_id,
                BY_COLUMN[suspicion.column].name,
                suspicion.kind,
                suspicion.value,
                Jsonb(suspicion.evidence()),
                Jsonb(
                    {
                        "action": suspicion.proposal.action,
                        "factor": suspicion.proposal.factor,
                        "addend": suspicion.proposal.addend,
                    }
                ),
                at,
                at,
            )
            for device_id, at, suspicion in raised
        ),
        key=lambda row: row[:3],
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO doubt
                (device_id, point, kind, value, evidence, proposal, raised_at, seen_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (device_id, point, kind) WHERE state = 'open' DO UPDATE
                SET value = excluded.value, evidence = excluded.evidence,
                    proposal = excluded.proposal,
                    seen_at = greatest(doubt.seen_at, excluded.seen_at)
            """,
            rows,
        )


def end_doubts(connection: Connection, ended: Iterable[tuple[int, str, str, datetime]]) -> None:
    """End open doubts, each (device, column, kind, when): the value is right again."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE doubt SET state = 'ended', ended_at = greatest(%s, raised_at)
            WHERE device_id = %s AND point = %s AND kind = %s AND state = 'open'
            """,
            [
                (at, device_id, BY_COLUMN[column].name, kind)
                for device_id, column, kind, at in sorted(ended)
            ],
        )


def forget_values(connection: Connection, withheld: Iterable[tuple[int, frozenset[str]]]) -> None:
    """Take values that are not believed any more out of the devices' states, locked before."""
    in_order = sorted(((sorted(columns), device_id) for device_id, columns in withheld))
    for columns, of_columns in groupby(in_order, key=lambda pair: pair[0]):
        names = [sql.Identifier(column) for column in columns if column in BY_COLUMN]
        if not names:
            continue
        connection.execute(
            sql.SQL(
                "UPDATE device_state SET {nothing} WHERE device_id = ANY(%s) AND ({known})"
            ).format(
                nothing=sql.SQL(", ").join(sql.SQL("{} = NULL").format(name) for name in names),
                known=sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(n) for n in names),
            ),
            ([device_id for _, device_id in of_columns],),
        )
