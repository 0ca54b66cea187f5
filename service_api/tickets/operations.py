"""What people do with tickets: the checks of this door, then `rules.operations`."""

from datetime import datetime

from rules import operations
from service_api.auth import User
from service_api.request import Connection
from service_api.tickets import store
from service_api.tickets.schemas import NewTicket


def open_ticket(connection: Connection, new: NewTicket, *, user: User, now: datetime) -> int:
    """Open what a person asks for, at a site or unit that they may see."""
    where = store.place(connection, site_id=new.site_id, device_id=new.device_id)
    return operations.open_ticket_by_hand(
        connection,
        customer_id=where.customer_id,
        site_id=where.site_id,
        device_id=where.device_id,
        title=new.title,
        detail=new.detail,
        severity=new.severity,
        actor=user.name,
        now=now,
    )
