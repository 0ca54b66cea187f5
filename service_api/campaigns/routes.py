"""Campaigns: candidates, the verdict, and the way back; for staff alone."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.campaigns import operations, store
from service_api.campaigns.schemas import Campaign, CampaignQuery, Verdict, VerdictForm
from service_api.errors import PROBLEM_RESPONSES
from service_api.language import msg
from service_api.pages import done, render
from service_api.paging import Page
from service_api.request import Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/campaigns", tags=["incidents"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/campaigns", include_in_schema=False)


@api.get("")
def list_campaigns(
    _user: Staff, connection: Transaction, query: Annotated[CampaignQuery, Query()]
) -> Page[Campaign]:
    """List what looks like a failure of a model and firmware, the latest first."""
    return store.campaigns(connection, query)


@api.get("/{campaign_id}")
def get_campaign(_user: Staff, connection: Transaction, campaign_id: int) -> Campaign:
    """Tell one campaign."""
    return store.campaign(connection, campaign_id)


@api.post("/{campaign_id}/confirm")
def confirm_campaign(
    user: Staff, connection: Transaction, now: Now, campaign_id: int, body: Verdict
) -> Campaign:
    """Say that it is a failure of the model and firmware."""
    operations.decide(
        connection, campaign_id, "confirmed", reason=body.reason, actor=user.name, now=now
    )
    return store.campaign(connection, campaign_id)


@api.post("/{campaign_id}/dismiss")
def dismiss_campaign(
    user: Staff, connection: Transaction, now: Now, campaign_id: int, body: Verdict
) -> Campaign:
    """Say that it is chance: it is not proposed again for 30 days."""
    operations.decide(
        connection, campaign_id, "dismissed", reason=body.reason, actor=user.name, now=now
    )
    return store.campaign(connection, campaign_id)


@api.post("/{campaign_id}/undo")
def undo_verdict(_user: Staff, connection: Transaction, campaign_id: int) -> Campaign:
    """Take the verdict back."""
    operations.undo(connection, campaign_id)
    return store.campaign(connection, campaign_id)


@pages.get("")
def show_campaigns(
    request: Request,
    _user: Staff,
    connection: Transaction,
    query: Annotated[CampaignQuery, Query()],
) -> Response:
    """Show campaigns."""
    return render(
        request, "campaigns/list.html", page=store.campaigns(connection, query), query=query
    )


@pages.post("/{campaign_id}/{verdict}")
def decide_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    campaign_id: int,
    verdict: Literal["confirmed", "dismissed", "undo"],
    form: Annotated[VerdictForm, FormBody()],
) -> Response:
    """Keep the verdict, or take it back, and go back."""
    if verdict == "undo":
        operations.undo(connection, campaign_id)
        return done(request, "/campaigns", msg("Decision taken back"))
    operations.decide(
        connection, campaign_id, verdict, reason=form.reason, actor=user.name, now=now
    )
    return done(request, "/campaigns?state=all", msg("Kept"))
