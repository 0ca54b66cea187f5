"""Take a step of a work order back, with the stock moves and what it did to ticket and unit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from rules import operations as tickets
from service_api.spares import operations as stock
from service_api.work_orders.operations import EngineerBusy, StepRefused, locked_order, log_order
from service_api.work_orders.states import Past, step_to_undo

Connection = psycopg.Connection[TupleRow]


def undo(connection: Connection, order_id: int, *, actor: str, now: datetime) -> str:
    """Take back the newest step that still stands; returns which it was.

    Stock moves of the step are undone and a ticket that it closed is opened again. Raises
    `StepRefused` when there is nothing to take back or the way back is barred by now.
    """
    order = locked_order(connection, order_id)
    history = {
        event_id: (kind, detail)
        for event_id, kind, detail in connection.execute(
            "SELECT id, kind, detail FROM work_order_event WHERE work_order_id = %s ORDER BY id",
            (order_id,),
        )
    }
    target = step_to_undo(
        [Past(key, kind, detail.get("undoes")) for key, (kind, detail) in history.items()]
    )
    if target is None:
        raise StepRefused("nothing has been done that could be undone")
    kind, detail = history[target]
    try:
        with connection.transaction():
            _restore(connection, order_id, detail["before"])
            for move_id in reversed(detail.get("moves", [])):
                stock.undo(connection, move_id=move_id, actor=actor, now=now)
            if "battery_of" in detail:
                connection.execute(
                    "UPDATE device SET battery_installed_on = %s WHERE id = %s",
                    (detail["battery_before"], detail["battery_of"]),
                )
            if detail.get("ticket") in {"closed", "resolved"}:
                tickets.reopen_ticket(
                    connection,
                    order.ticket_id,
                    reason="work order reopened",
                    actor=actor,
                    now=now,
                )
    except psycopg.errors.ExclusionViolation as overlap:
        raise EngineerBusy("the engineer has another job at that time by now") from overlap
    except psycopg.errors.UniqueViolation as newer:
        raise StepRefused("the ticket has a newer open work order") from newer
    log_order(
        connection,
        order_id,
        "undone",
        customer_id=order.customer_id,
        actor=actor,
        now=now,
        detail={"undoes": target, "step": kind},
    )
    return str(kind)


def _restore(connection: Connection, order_id: int, before: Mapping[str, Any]) -> None:
    connection.execute(
        """
        UPDATE work_order SET state = %(state)s, engineer_id = %(engineer_id)s,
            planned = CASE WHEN %(starts_at)s::timestamptz IS NULL THEN NULL
                ELSE tstzrange(%(starts_at)s::timestamptz, %(ends_at)s::timestamptz) END,
            arrived_at = %(arrived_at)s, done_at = %(done_at)s, report = %(report)s,
            signed_by = %(signed_by)s
        WHERE id = %(id)s
        """,
        {**before, "id": order_id},
    )
