"""Check in at a unit and out again: alarms are quiet meanwhile, and looked at before leaving.

Runs inside the caller's transaction; `NotThere` and `OperationRefused` as in `rules.operations`.
"""

from dataclasses import asdict
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg.types.json import Jsonb

from rules.identity import is_serial
from rules.operations import NotThere, OperationRefused
from rules.points import BY_COLUMN
from rules.rearming import Check, verify
from rules.suppression import SuppressionKind
from rules.suppression_operations import end_suppression, move_end, suppress
from rules.version_store import known_rules
from service_api.identity.store import doubts_of
from service_api.work_orders.operations import log_order
from service_api.work_sessions.schemas import LONGEST_HOURS

Connection = psycopg.Connection[TupleRow]


class NotFit(OperationRefused):
    """Something at the unit is not as it should be left; `checks` say what."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        wrong = [one for one in checks if one.verdict == "failed"]
        super().__init__(
            "not as it should be left: " + "; ".join(one.en for one in wrong) + "; say why"
        )
        self.checks = checks


def check_in(
    connection: Connection,
    *,
    device_id: int,
    work_order_id: int | None,
    reason: str,
    hours: float,
    actor: str,
    now: datetime,
) -> int:
    """Begin work on a unit; returns the session's id.

    Doing it again while the session lasts gives the same one, so that a phone that lost its network
    may repeat it. Alarms are heard again after `hours` even if nobody checks out.
    """
    device = _device(connection, device_id)
    open_one = connection.execute(
        """
        SELECT w.id, w.checked_in_by, q.ended_at IS NULL FROM work_session w
        JOIN suppression q ON q.id = w.suppression_id
        WHERE w.device_id = %s AND w.checked_out_at IS NULL
        """,
        (device_id,),
    ).fetchone()
    if open_one is not None:
        if open_one[1] == actor and open_one[2]:
            return int(open_one[0])
        raise OperationRefused(
            f"{open_one[1]} has checked in at this unit and not out again: check out first"
        )
    if work_order_id is None and not reason.strip():
        raise OperationRefused("say what is done, or for which work order")
    about = reason.strip()
    if work_order_id is not None:
        order = _order(connection, work_order_id, device_id, device["site_id"])
        about = about or f"work order {order['id']}"
    suppression_id = suppress(
        connection,
        kind=SuppressionKind.WORK_MODE,
        site_id=device["site_id"],
        device_id=device_id,
        rule_keys=None,
        lets_critical_through=False,
        begins_at=now,
        ends_at=now + timedelta(hours=hours),
        reason=about,
        actor=actor,
        now=now,
    )
    row = connection.execute(
        """
        INSERT INTO work_session (customer_id, device_id, work_order_id, suppression_id, reason,
            checked_in_at, checked_in_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (device["customer_id"], device_id, work_order_id, suppression_id, about, now, actor),
    ).fetchone()
    if row is None:
        raise AssertionError("an insert returns its row")
    _log(connection, work_order_id, "checked_in", device, actor, now)
    return int(row[0])


def check_out(
    connection: Connection, session_id: int, *, exception: str, actor: str, now: datetime
) -> tuple[Check, ...]:
    """Look at the unit and end the work; returns what was found.

    Raises `NotFit` where something is wrong and no reason is given to leave it so. From then on its
    alarms are heard, whatever was found.
    """
    row = _open_session(connection, session_id)
    checks = look_at(connection, row["device_id"], now)
    is_fit = all(one.verdict != "failed" for one in checks)
    if not is_fit and not exception.strip():
        raise NotFit(checks)
    connection.execute(
        """
        UPDATE work_session SET checked_out_at = %s, checked_out_by = %s, checks = %s,
            exception = %s
        WHERE id = %s
        """,
        (
            now,
            actor,
            Jsonb([asdict(one) for one in checks]),
            None if is_fit else exception.strip(),
            session_id,
        ),
    )
    if row["suppression_ended_at"] is None:
        end_suppression(connection, row["suppression_id"], reason="", actor=actor, now=now)
    device = _device(connection, row["device_id"])
    detail = {} if is_fit else {"reason": exception.strip()}
    _log(connection, row["work_order_id"], "checked_out", device, actor, now, detail)
    return checks


def stay(
    connection: Connection, session_id: int, *, until_at: datetime, actor: str, now: datetime
) -> None:
    """Let the alarms stay quiet until an instant, at most a day ahead."""
    row = _open_session(connection, session_id)
    if until_at > now + timedelta(hours=LONGEST_HOURS):
        raise OperationRefused("a day ahead at most: check in again tomorrow")
    if row["suppression_ended_at"] is not None:
        raise OperationRefused("the time has run out: check out, and in again")
    move_end(connection, row["suppression_id"], ends_at=until_at, actor=actor, now=now)


def look_at(connection: Connection, device_id: int, now: datetime) -> tuple[Check, ...]:
    """Return how a unit stands now: what a check-out would find."""
    with connection.cursor(row_factory=dict_row) as cursor:
        state = cursor.execute(
            "SELECT * FROM visible_device_state WHERE device_id = %s", (device_id,)
        ).fetchone()
    known = known_rules(connection)
    standing = [
        known.title(rule_key)
        for (rule_key,) in connection.execute(
            """
            SELECT rule_key FROM alarm WHERE device_id = %s AND over_at IS NULL
            AND inhibited_by IS NULL ORDER BY raised_at
            """,
            (device_id,),
        )
    ]
    facts = {} if state is None else {key: state[key] for key in BY_COLUMN if key in state}
    return verify(
        facts,
        None if state is None else state["observed_at"],
        standing,
        now,
        is_known=_is_known(connection, device_id),
    )


def _is_known(connection: Connection, device_id: int) -> bool | None:
    row = connection.execute("SELECT serial FROM device WHERE id = %s", (device_id,)).fetchone()
    if row is None or not is_serial(row[0]):
        return None
    return device_id not in doubts_of(connection, [device_id])


def _device(connection: Connection, device_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT id, name, site_id, customer_id FROM device WHERE id = %s", (device_id,)
        ).fetchone()
    if row is None:
        raise NotThere(f"there is no device {device_id}")
    return row


def _order(connection: Connection, order_id: int, device_id: int, site_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT id, device_id, site_id, state FROM work_order WHERE id = %s", (order_id,)
        ).fetchone()
    if row is None:
        raise NotThere(f"there is no work order {order_id}")
    if row["site_id"] != site_id or row["device_id"] not in {None, device_id}:
        raise OperationRefused("that work order is about another unit")
    if row["state"] in {"done", "cancelled"}:
        raise OperationRefused("that work order is over")
    return row


def _open_session(connection: Connection, session_id: int) -> DictRow:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            SELECT w.*, q.ended_at AS suppression_ended_at
            FROM work_session w JOIN suppression q ON q.id = w.suppression_id
            WHERE w.id = %s FOR UPDATE OF w
            """,
            (session_id,),
        ).fetchone()
    if row is None:
        raise NotThere(f"there is no work session {session_id}")
    if row["checked_out_at"] is not None:
        raise OperationRefused("checked out already")
    return row


def _log(
    connection: Connection,
    order_id: int | None,
    kind: str,
    device: DictRow,
    actor: str,
    now: datetime,
    detail: dict[str, str] | None = None,
) -> None:
    if order_id is not None:
        log_order(
            connection,
            order_id,
            kind,
            customer_id=device["customer_id"],
            actor=actor,
            now=now,
            detail={"device": device["name"], **(detail or {})},
        )
