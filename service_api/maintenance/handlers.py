"""A closed ticket completes the work of its visit, a reopened one takes that back: at once."""

from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from service_api.maintenance.occurrences import settle_tickets
from service_api.outbox import Message

Connection = psycopg.Connection[TupleRow]


def settle_planned_work(connection: Connection, _message: Message, now: datetime) -> None:
    """Take over what closed and reopened tickets say of planned work."""
    settle_tickets(connection, now=now)
