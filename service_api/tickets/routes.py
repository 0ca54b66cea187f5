"""Tickets: the list, one with its reason, promises and log, and what people do with it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from rules import operations as rule_operations
from service_api.alarms.schemas import Alarm
from service_api.alarms.store import alarm
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, is_fragment, render
from service_api.paging import Page
from service_api.problems.schemas import Problem, ProblemQuery
from service_api.problems.store import problems
from service_api.request import Connection, CurrentUser, Now, Staff, Transaction
from service_api.tickets import operations, store, work
from service_api.tickets.schemas import (
    Ending,
    EndingForm,
    NewTicket,
    NewTicketForm,
    Note,
    NoteForm,
    Reopening,
    ReopeningForm,
    Ticket,
    TicketEvent,
    TicketQuery,
    TicketSummary,
)

api = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/tickets", include_in_schema=False)


@api.get("")
def list_tickets(
    _user: CurrentUser, connection: Transaction, now: Now, query: Annotated[TicketQuery, Query()]
) -> Page[TicketSummary]:
    """List tickets: unfinished ones most pressing first, others newest first."""
    return store.tickets(connection, query, now)


@api.post("", status_code=HTTPStatus.CREATED)
def open_ticket(user: CurrentUser, connection: Transaction, now: Now, body: NewTicket) -> Ticket:
    """Ask for service at a site or for a unit; customers may too."""
    ticket_id = operations.open_ticket(connection, body, user=user, now=now)
    return store.ticket(connection, ticket_id, now)


@api.get("/{ticket_id}")
def get_ticket(_user: CurrentUser, connection: Transaction, now: Now, ticket_id: int) -> Ticket:
    """Tell one ticket: why, what was promised, what was done."""
    return store.ticket(connection, ticket_id, now)


@api.get("/{ticket_id}/log")
def get_ticket_log(
    _user: CurrentUser, connection: Transaction, now: Now, ticket_id: int
) -> list[TicketEvent]:
    """Tell what happened to a ticket, newest first."""
    return store.ticket(connection, ticket_id, now).log


@api.post("/{ticket_id}/note")
def add_ticket_note(
    user: CurrentUser, connection: Transaction, now: Now, ticket_id: int, body: Note
) -> Ticket:
    """Add a line to the log; customers may too."""
    rule_operations.add_ticket_note(connection, ticket_id, text=body.text, actor=user.name, now=now)
    return store.ticket(connection, ticket_id, now)


@api.post("/{ticket_id}/start")
def start_ticket(user: Staff, connection: Transaction, now: Now, ticket_id: int) -> Ticket:
    """Take a ticket in hand: the response clock stops."""
    rule_operations.start_ticket(connection, ticket_id, actor=user.name, now=now)
    return store.ticket(connection, ticket_id, now)


@api.post("/{ticket_id}/resolve")
def resolve_ticket(
    user: Staff, connection: Transaction, now: Now, ticket_id: int, body: Ending
) -> Ticket:
    """Say that the work is done."""
    rule_operations.resolve_ticket(
        connection,
        ticket_id,
        closing_code=body.closing_code,
        text=body.text,
        actor=user.name,
        now=now,
    )
    return store.ticket(connection, ticket_id, now)


@api.post("/{ticket_id}/close")
def close_ticket(
    user: Staff, connection: Transaction, now: Now, ticket_id: int, body: Ending
) -> Ticket:
    """Close a ticket; refused while an alarm behind it stands."""
    rule_operations.close_ticket(
        connection,
        ticket_id,
        closing_code=body.closing_code,
        text=body.text,
        actor=user.name,
        now=now,
    )
    return store.ticket(connection, ticket_id, now)


@api.post("/{ticket_id}/reopen")
def reopen_ticket(
    user: Staff, connection: Transaction, now: Now, ticket_id: int, body: Reopening
) -> Ticket:
    """Open a closed ticket again."""
    rule_operations.reopen_ticket(
        connection, ticket_id, reason=body.reason, actor=user.name, now=now
    )
    return store.ticket(connection, ticket_id, now)


@pages.get("")
def show_tickets(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    query: Annotated[TicketQuery, Query()],
) -> Response:
    """Show the tickets; asked by the page itself, only its live part."""
    page = store.tickets(connection, query, now)
    return render(
        request,
        "tickets/live.html" if is_fragment(request) else "tickets/list.html",
        page=page,
        deadlines={one.id: store.deadlines(one, now) for one in page.items},
        query=query,
        counts=store.counts(connection, now),
    )


@pages.get("/new")
def show_new_ticket(
    request: Request, _user: CurrentUser, connection: Transaction, about: str = ""
) -> Response:
    """Show the form for a request."""
    return render(request, "tickets/new.html", choices=store.choices(connection), about=about)


@pages.post("/new")
def open_on_page(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    now: Now,
    form: Annotated[NewTicketForm, FormBody()],
) -> Response:
    """Open the request."""
    kind, _, number = form.about.partition(":")
    where = store.place(
        connection,
        site_id=int(number) if kind == "site" else None,
        device_id=int(number) if kind == "device" else None,
    )
    new = NewTicket(
        site_id=where.site_id,
        device_id=where.device_id,
        title=form.title,
        detail=form.detail,
        severity=form.severity,
    )
    ticket_id = operations.open_ticket(connection, new, user=user, now=now)
    return done(request, f"/tickets/{ticket_id}", msg("Your request is ticket %(n)s"), n=ticket_id)


def _alarms(connection: Connection, ticket: Ticket) -> list[Alarm]:
    return [alarm(connection, alarm_id) for alarm_id in ticket.alarm_ids[:50]]


@pages.get("/{ticket_id}")
def show_ticket(
    request: Request, _user: CurrentUser, connection: Transaction, now: Now, ticket_id: int
) -> Response:
    """Show one ticket."""
    ticket = store.ticket(connection, ticket_id, now)
    return render(
        request,
        "tickets/ticket.html",
        ticket=ticket,
        k=ticket,
        alarms=_alarms(connection, ticket),
        order=work.order_of(connection, ticket_id),
        closing_codes=rule_operations.CLOSING_CODES,
        problems=_problems(connection, ticket),
    )


def _problems(connection: Connection, ticket: Ticket) -> list[Problem]:
    """Return the open problems that this ticket is one more time of."""
    if ticket.device_id is None:
        return []
    found = problems(connection, ProblemQuery(device_id=ticket.device_id, limit=20)).items
    return [one for one in found if one.failure == ticket.failure_mode]


@pages.post("/{ticket_id}/note")
def note_on_page(
    request: Request,
    user: CurrentUser,
    connection: Transaction,
    now: Now,
    ticket_id: int,
    form: Annotated[NoteForm, FormBody()],
) -> Response:
    """Add a line."""
    rule_operations.add_ticket_note(connection, ticket_id, text=form.text, actor=user.name, now=now)
    return done(request, f"/tickets/{ticket_id}", msg("Noted"))


@pages.post("/{ticket_id}/start")
def start_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, ticket_id: int
) -> Response:
    """Take the ticket in hand."""
    rule_operations.start_ticket(connection, ticket_id, actor=user.name, now=now)
    return done(request, f"/tickets/{ticket_id}", msg("In progress; the response clock stopped"))


@pages.post("/{ticket_id}/resolve")
def resolve_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    ticket_id: int,
    form: Annotated[EndingForm, FormBody()],
) -> Response:
    """Say that the work is done."""
    rule_operations.resolve_ticket(
        connection,
        ticket_id,
        closing_code=form.closing_code,
        text=form.text,
        actor=user.name,
        now=now,
    )
    return done(request, f"/tickets/{ticket_id}", msg("Resolved"))


@pages.post("/{ticket_id}/close")
def close_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    ticket_id: int,
    form: Annotated[EndingForm, FormBody()],
) -> Response:
    """Close the ticket."""
    rule_operations.close_ticket(
        connection,
        ticket_id,
        closing_code=form.closing_code,
        text=form.text,
        actor=user.name,
        now=now,
    )
    return done(request, f"/tickets/{ticket_id}", msg("Closed"))


@pages.post("/{ticket_id}/reopen")
def reopen_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    ticket_id: int,
    form: Annotated[ReopeningForm, FormBody()],
) -> Response:
    """Open the ticket again."""
    rule_operations.reopen_ticket(
        connection, ticket_id, reason=form.reason, actor=user.name, now=now
    )
    return done(request, f"/tickets/{ticket_id}", msg("Opened again"))
