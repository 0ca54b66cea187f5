"""Problem records: opened by themselves where a fault comes back, and moved on by people.

What counts as coming back is decided in `rules.problems`. One record is open for a fault at a
subject, held by a unique index.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import DictRow, TupleRow, class_row, dict_row
from psycopg.types.json import Jsonb

from rules.operations import NotThere, OperationRefused
from rules.problems import (
    MODEL_WITHIN,
    NEXT,
    Finding,
    Occurrence,
    ProblemKind,
    ProblemState,
    Settled,
    of_models,
    recurring,
)
from rules.reliability import NOT_COUNTED

Connection = psycopg.Connection[TupleRow]
About = Literal["ticket", "incident", "suppression"]

ENGINE = "rules"
LOOKS_BACK = MODEL_WITHIN
"""The longest span that anything counts over."""
NOT_FAULTS = ("request", "self_test_overdue", "battery_end_of_life")
"""Failure modes that are no fault: what people ask for, and wear as foreseen."""


def find_problems(connection: Connection, *, now: datetime) -> int:
    """Open a record for each fault that comes back, or add to the open one; returns the new."""
    settled = _settled(connection)
    tickets = _tickets(connection, now)
    units: dict[str, int] = dict(
        connection.execute(
            """
            SELECT concat_ws(' ', manufacturer, model), count(*) FROM device
            WHERE enabled AND model IS NOT NULL GROUP BY 1
            """
        ).fetchall()
    )
    opened = 0
    found: list[tuple[About, list[Finding]]] = [
        ("ticket", recurring(ProblemKind.UNIT, tickets, settled, now)),
        ("ticket", of_models(tickets, units, settled, now)),
        ("incident", recurring(ProblemKind.SITE, _incidents(connection, now), settled, now)),
        ("suppression", recurring(ProblemKind.ALARM, _chatter(connection, now), settled, now)),
    ]
    for about, findings in found:
        opened += sum(_keep(connection, about, finding, now) for finding in findings)
    return opened


def _settled(connection: Connection) -> Settled:
    return {
        (ProblemKind(kind), subject, failure): at
        for kind, subject, failure, at in connection.execute(
            """
            SELECT kind, subject, failure, max(settled_at) FROM problem
            WHERE settled_at IS NOT NULL GROUP BY 1, 2, 3
            """
        )
    }


def _tickets(connection: Connection, now: datetime) -> list[Occurrence]:
    """Return failures of units that opened a ticket, or opened it again."""
    with connection.cursor(row_factory=class_row(Occurrence)) as cursor:
        return cursor.execute(
            """
            SELECT k.id AS ref, e.at, k.failure_mode AS failure, k.device_id, k.site_id,
                CASE WHEN d.model IS NOT NULL THEN concat_ws(' ', d.manufacturer, d.model) END
                    AS model
            FROM ticket k JOIN device d ON d.id = k.device_id
            JOIN ticket_event e ON e.ticket_id = k.id AND e.kind IN ('opened', 'reopened')
            WHERE k.source = 'rule' AND k.incident_id IS NULL AND e.at > %(since)s
            AND NOT k.failure_mode = ANY(%(not_faults)s)
            AND NOT coalesce(k.closing_code, '') = ANY(%(not_counted)s)
            """,
            {
                "since": now - LOOKS_BACK,
                "not_faults": list(NOT_FAULTS),
                "not_counted": list(NOT_COUNTED),
            },
        ).fetchall()


def _incidents(connection: Connection, now: datetime) -> list[Occurrence]:
    with connection.cursor(row_factory=class_row(Occurrence)) as cursor:
        return cursor.execute(
            """
            SELECT id AS ref, opened_at AS at, cause AS failure, NULL::bigint AS device_id,
                site_id
            FROM incident WHERE site_id IS NOT NULL AND opened_at > %s
            AND merged_into_id IS NULL
            """,
            (now - LOOKS_BACK,),
        ).fetchall()


def _chatter(connection: Connection, now: datetime) -> list[Occurrence]:
    with connection.cursor(row_factory=class_row(Occurrence)) as cursor:
        return cursor.execute(
            """
            SELECT id AS ref, begins_at AS at, rule_keys[1] AS failure, device_id, site_id
            FROM suppression WHERE kind = 'chattering' AND begins_at > %s
            """,
            (now - LOOKS_BACK,),
        ).fetchall()


def _keep(connection: Connection, about: About, finding: Finding, now: datetime) -> bool:
    """Open a record or add to it; returns whether it is new."""
    is_site = finding.kind is ProblemKind.SITE
    is_model = finding.kind is ProblemKind.MODEL
    row = connection.execute(
        """
        INSERT INTO problem (kind, subject, failure, device_id, site_id, found_at, last_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (kind, subject, failure) WHERE state NOT IN ('closed', 'dismissed')
            DO UPDATE SET last_at = greatest(problem.last_at, excluded.last_at)
        RETURNING id, xmax = 0
        """,
        (
            finding.kind,
            finding.subject,
            finding.failure,
            None if is_site or is_model else int(finding.subject),
            None if is_model else finding.occurrences[-1].site_id,
            now,
            finding.last_at,
        ),
    ).fetchone()
    if row is None:
        raise AssertionError("an upsert returns its row")
    problem_id, is_new = row
    added = _add(connection, problem_id, about, finding.occurrences)
    if is_new:
        log_problem(connection, problem_id, "detected", ENGINE, now, {"times": added})
    elif added:
        log_problem(connection, problem_id, "evidence", ENGINE, now, {"times": added})
    return bool(is_new)


def _add(
    connection: Connection, problem_id: int, about: About, occurrences: Iterable[Occurrence]
) -> int:
    rows = {one.ref: one.at for one in occurrences}
    return connection.execute(
        """
        INSERT INTO problem_evidence (problem_id, about, ref, at)
        SELECT %s, %s, ref, at FROM unnest(%s::bigint[], %s::timestamptz[]) AS x (ref, at)
        ON CONFLICT DO NOTHING
        """,
        (problem_id, about, list(rows), list(rows.values())),
    ).rowcount


def log_problem(
    connection: Connection,
    problem_id: int,
    kind: str,
    actor: str,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append one line to a problem's log."""
    connection.execute(
        """
        INSERT INTO problem_event (problem_id, at, kind, actor, detail)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (problem_id, at, kind, actor, Jsonb(detail or {})),
    )
    connection.execute("NOTIFY ridethrough, 'change'")


def _locked(connection: Connection, problem_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM problem WHERE id = %s FOR UPDATE", (problem_id,)
        ).fetchone()
    if row is None:
        raise NotThere(f"there is no problem {problem_id}")
    return row


def move(
    connection: Connection,
    problem_id: int,
    to: ProblemState,
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Take a problem on to its next state; dismissing needs a reason, a known error a cause."""
    row = _locked(connection, problem_id)
    state = ProblemState(row["state"])
    if to not in NEXT[state]:
        raise OperationRefused(
            f"from {state.value.replace('_', ' ')} it does not go to {to.value.replace('_', ' ')}"
        )
    if to is ProblemState.DISMISSED and not reason.strip():
        raise OperationRefused("dismissing needs a reason")
    if to is ProblemState.KNOWN_ERROR and not (row["root_cause"] or row["workaround"]):
        raise OperationRefused("a known error has a root cause or a workaround: enter it first")
    _set_state(connection, problem_id, to, now)
    detail = {"reason": reason.strip(), "before": state.value}
    log_problem(connection, problem_id, to.value, actor, now, detail)


def _set_state(connection: Connection, problem_id: int, to: ProblemState, now: datetime) -> None:
    is_settled = to in {ProblemState.CLOSED, ProblemState.DISMISSED}
    try:
        with connection.transaction():
            connection.execute(
                "UPDATE problem SET state = %s, settled_at = %s WHERE id = %s",
                (to, now if is_settled else None, problem_id),
            )
    except psycopg.errors.UniqueViolation as error:
        raise OperationRefused("it was found again since then; look at that record") from error


def undo(connection: Connection, problem_id: int, *, actor: str, now: datetime) -> None:
    """Take the last change of state back."""
    row = _locked(connection, problem_id)
    last = connection.execute(
        """
        SELECT id, detail ->> 'before' FROM problem_event e
        WHERE problem_id = %(id)s AND kind = %(state)s AND detail ? 'before'
        AND NOT EXISTS (SELECT FROM problem_event u WHERE u.problem_id = %(id)s
            AND u.kind = 'undone' AND (u.detail ->> 'undoes')::bigint = e.id)
        ORDER BY id DESC LIMIT 1
        """,
        {"id": problem_id, "state": row["state"]},
    ).fetchone()
    if last is None:
        raise OperationRefused("nothing was decided yet that could be taken back")
    _set_state(connection, problem_id, ProblemState(last[1]), now)
    log_problem(connection, problem_id, "undone", actor, now, {"undoes": last[0]})


def describe(
    connection: Connection,
    problem_id: int,
    *,
    owner: str,
    root_cause: str,
    workaround: str,
    measures: str,
    actor: str,
    now: datetime,
) -> None:
    """Keep what is known of a problem; the log keeps what was known before."""
    row = _locked(connection, problem_id)
    if ProblemState(row["state"]) in {ProblemState.CLOSED, ProblemState.DISMISSED}:
        raise OperationRefused("it is settled: take that back first")
    told = {
        "owner": owner.strip(),
        "root_cause": root_cause.strip(),
        "workaround": workaround.strip(),
        "measures": measures.strip(),
    }
    before = {key: row[key] for key, value in told.items() if row[key] != value}
    if not before:
        return
    connection.execute(
        """
        UPDATE problem SET owner = %(owner)s, root_cause = %(root_cause)s,
            workaround = %(workaround)s, measures = %(measures)s WHERE id = %(id)s
        """,
        {**told, "id": problem_id},
    )
    log_problem(connection, problem_id, "described", actor, now, {"earlier": before})
