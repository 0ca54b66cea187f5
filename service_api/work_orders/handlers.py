"""Draft a work order when a ticket needs a visit, and call it off when the ticket is closed."""

from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from service_api.outbox import Message
from service_api.work_orders.drafting import draft_order, open_order_of
from service_api.work_orders.operations import cancel

Connection = psycopg.Connection[TupleRow]

ACTOR = "dispatch"
"""The actor of what the drafting does by itself."""


def draft_for_ticket(connection: Connection, message: Message, now: datetime) -> None:
    """Draft the order of a ticket whose work needs an engineer's skill on site."""
    row = connection.execute(
        "SELECT skills, state FROM ticket WHERE id = %s", (message.ref,)
    ).fetchone()
    if row is None or not row[0] or row[1] == "closed":
        return
    draft_order(connection, message.ref, actor=ACTOR, now=now)


def call_off_for_closed_ticket(connection: Connection, message: Message, now: datetime) -> None:
    """Cancel a draft once its ticket is closed: nobody was sent, its part is free again."""
    order_id = open_order_of(connection, message.ref)
    if order_id is None:
        return
    row = connection.execute(
        """
        SELECT w.state, t.state FROM work_order w JOIN ticket t ON t.id = w.ticket_id
        WHERE w.id = %s
        """,
        (order_id,),
    ).fetchone()
    if row is not None and tuple(row) == ("draft", "closed"):
        cancel(connection, order_id, reason="the ticket was closed", actor=ACTOR, now=now)
