"""Which handlers follow from which announcement: the one list of them, in order."""

from service_api.maintenance.handlers import settle_planned_work
from service_api.notifications.handlers import (
    tell_of_closed_incident,
    tell_of_closed_ticket,
    tell_of_condition_cleared,
    tell_of_incident,
    tell_of_ticket,
)
from service_api.outbox import Handlers
from service_api.reminders.handlers import tell_of_reminder
from service_api.work_orders.handlers import call_off_for_closed_ticket, draft_for_ticket

HANDLERS: Handlers = {
    # The order comes first, so that the notice can say what has been done.
    "ticket.opened": (draft_for_ticket, tell_of_ticket),
    "ticket.reopened": (settle_planned_work, draft_for_ticket, tell_of_ticket),
    "ticket.condition_cleared": (tell_of_condition_cleared,),
    "ticket.closed": (settle_planned_work, call_off_for_closed_ticket, tell_of_closed_ticket),
    "incident.opened": (tell_of_incident,),
    "incident.closed": (tell_of_closed_incident,),
    "incident.regional": (tell_of_incident,),
    "incident.over": (tell_of_closed_incident,),
    "reminder.due": (tell_of_reminder,),
}
"""Topic → handlers, for `outbox.take_one`."""
