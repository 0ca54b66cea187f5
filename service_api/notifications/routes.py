"""Notices: what customers were told, how it reached them, and trying again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, LiteralString

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from rules.operations import OperationRefused
from service_api.errors import PROBLEM_RESPONSES, NotFound
from service_api.language import msg
from service_api.pages import done, is_fragment, render
from service_api.paging import ListQuery, Order, Page, read_page
from service_api.request import Connection, CurrentUser, Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/notifications", tags=["notifications"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/notifications", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody was told; `way` is "page" for a contact without a channel."""

    id: int
    customer_id: int | None
    customer: str | None
    customer_zh: str | None
    contact: str | None
    topic: str
    ref: int
    language: Literal["en", "zh"]
    title: str
    body: str
    created_at: datetime
    sent_at: datetime | None
    next_at: datetime | None
    attempts: int
    error: str | None
    way: Literal["page", "channel"]

    @property
    def state(self) -> Literal["sent", "waiting", "failed"]:
        """How it stands: failed is given up."""
        if self.sent_at is not None:
            return "sent"
        return "waiting" if self.next_at is not None else "failed"


class NoticeQuery(ListQuery):
    """Which notices."""

    state: Literal["all", "waiting", "failed"] = "all"
    customer_id: int | None = None


_SELECT: LiteralString = """
    n.id, n.customer_id, c.name, c.name_zh, k.name, n.topic, n.ref, n.language, n.title, n.body,
    n.created_at, n.sent_at, n.next_at, n.attempts, n.error,
    CASE WHEN n.attempts = 0 AND n.sent_at IS NOT NULL THEN 'page' ELSE 'channel' END
"""
_FROM: LiteralString = """
    FROM notice n LEFT JOIN customer c ON c.id = n.customer_id
    LEFT JOIN contact k ON k.id = n.contact_id
"""
_NEWEST = Order.of(("n.id", "bigint", True))


def notices(connection: Connection, query: NoticeQuery) -> Page[Notice]:
    """Read one part of the list, the newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM
        + """
        WHERE CASE %(state)s
            WHEN 'waiting' THEN n.sent_at IS NULL AND n.next_at IS NOT NULL
            WHEN 'failed' THEN n.sent_at IS NULL AND n.next_at IS NULL
            ELSE true END
        AND (%(customer_id)s::bigint IS NULL OR n.customer_id = %(customer_id)s)
        """,
        parameters={"state": query.state, "customer_id": query.customer_id},
        order=_NEWEST,
        query=query,
        build=lambda row: Notice(*row),
    )


def _notice(connection: Connection, notice_id: int) -> Notice:
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + "WHERE n.id = %s", (notice_id,)
    ).fetchone()
    if row is None:
        raise NotFound
    return Notice(*row)


def retry(connection: Connection, notice_id: int, *, now: datetime) -> None:
    """Make an unsent notice due now, with all its attempts before it again."""
    _notice(connection, notice_id)
    changed = connection.execute(
        "UPDATE notice SET next_at = %s, attempts = 0 WHERE id = %s AND sent_at IS NULL",
        (now, notice_id),
    )
    if changed.rowcount != 1:
        raise OperationRefused("the notice was sent already")


@api.get("")
def list_notices(
    _user: CurrentUser, connection: Transaction, query: Annotated[NoticeQuery, Query()]
) -> Page[Notice]:
    """List what customers were told, the newest first."""
    return notices(connection, query)


@api.get("/{notice_id}")
def get_notice(_user: CurrentUser, connection: Transaction, notice_id: int) -> Notice:
    """Tell one notice."""
    return _notice(connection, notice_id)


@api.post("/{notice_id}/retry")
def retry_notice(_user: Staff, connection: Transaction, now: Now, notice_id: int) -> Notice:
    """Send a notice that has not been taken again, now."""
    retry(connection, notice_id, now=now)
    return _notice(connection, notice_id)


@pages.get("")
def show_notices(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    query: Annotated[NoticeQuery, Query()],
) -> Response:
    """Show the notices; asked by the page itself, only its live part."""
    return render(
        request,
        "notifications/live.html" if is_fragment(request) else "notifications/list.html",
        page=notices(connection, query),
        query=query,
    )


@pages.post("/{notice_id}/retry")
def retry_on_page(
    request: Request, _user: Staff, connection: Transaction, now: Now, notice_id: int
) -> Response:
    """Send it again."""
    retry(connection, notice_id, now=now)
    return done(request, "/notifications", msg("It will be sent again now"))
