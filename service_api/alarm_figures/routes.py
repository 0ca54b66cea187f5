"""The figures of the alarm system, through the API and on a page; for staff."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from rules import alarm_figures as bounds
from service_api.alarm_figures import store
from service_api.alarm_figures.schemas import AlarmFigures, FiguresQuery
from service_api.errors import PROBLEM_RESPONSES
from service_api.pages import render
from service_api.request import Now, Staff, Transaction

api = APIRouter(prefix="/api/v1/alarms/figures", tags=["alarms"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/alarms/figures", include_in_schema=False)


@api.get("")
def get_alarm_figures(
    _user: Staff, connection: Transaction, now: Now, query: Annotated[FiguresQuery, Query()]
) -> AlarmFigures:
    """Tell how the alarm system does: rates, floods, standing alarms, the most frequent ones."""
    return store.figures(connection, days=query.days, now=now)


@pages.get("")
def show_alarm_figures(
    request: Request,
    _user: Staff,
    connection: Transaction,
    now: Now,
    query: Annotated[FiguresQuery, Query()],
) -> Response:
    """Show the figures, each beside its bound."""
    return render(
        request,
        "alarm_figures/figures.html",
        figures=store.figures(connection, days=query.days, now=now),
        bounds=bounds,
        query=query,
    )
