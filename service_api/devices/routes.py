"""One unit: API and page."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from rules.power_trust import trust_of
from service_api.auth import User
from service_api.battery.course import COURSE_DAYS, course_of
from service_api.battery.store import swaps
from service_api.commissioning.schemas import CommissioningQuery
from service_api.commissioning.store import commissionings
from service_api.corrections.schemas import CorrectionQuery
from service_api.corrections.store import corrections
from service_api.devices import store
from service_api.devices.picture import picture_of
from service_api.devices.schemas import (
    Device,
    HealthDay,
    HealthQuery,
    HistoryEntry,
    HistoryQuery,
    Telemetry,
    TelemetryQuery,
)
from service_api.devices.telemetry import telemetry
from service_api.doubts.schemas import DoubtQuery
from service_api.doubts.store import doubts
from service_api.errors import PROBLEM_RESPONSES
from service_api.identity.routes import doubt_of
from service_api.maintenance.schemas import DueQuery
from service_api.maintenance.store import due
from service_api.pages import is_fragment, render
from service_api.paging import Page
from service_api.power_events.schemas import PowerEventQuery
from service_api.power_events.store import power_events
from service_api.problems.schemas import ProblemQuery
from service_api.problems.store import problems
from service_api.reminders.schemas import ReminderQuery
from service_api.reminders.store import reminders
from service_api.request import Connection, CurrentUser, Now, Transaction, wiring
from service_api.suppressions.schemas import SuppressionQuery
from service_api.suppressions.store import suppressions
from service_api.tickets.store import deadlines
from service_api.traps.schemas import TrapQuery
from service_api.traps.store import traps
from service_api.work_sessions.schemas import WorkSessionQuery
from service_api.work_sessions.store import sessions

api = APIRouter(prefix="/api/v1/devices", tags=["devices"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/devices", include_in_schema=False)


@api.get("/{device_id}")
def get_device(_user: CurrentUser, connection: Transaction, now: Now, device_id: int) -> Device:
    """Tell what a unit is, how it is now, and what is open about it."""
    return store.device(connection, device_id, now)


@api.get("/{device_id}/telemetry")
def get_device_telemetry(
    request: Request,
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    device_id: int,
    query: Annotated[TelemetryQuery, Query()],
) -> Telemetry:
    """Tell a unit's readings of any span, at a resolution that keeps the answer small."""
    store.require_device(connection, device_id)
    raw_days = wiring(request).config.raw_days
    return telemetry(connection, device_id, query, now=now, raw_days=raw_days)


@api.get("/{device_id}/health")
def get_device_health(
    _user: CurrentUser,
    connection: Transaction,
    now: Now,
    device_id: int,
    query: Annotated[HealthQuery, Query()],
) -> list[HealthDay]:
    """Tell a unit's battery figure day by day, newest first."""
    store.require_device(connection, device_id)
    return store.health(connection, device_id, days=query.days, now=now)


@api.get("/{device_id}/history")
def get_device_history(
    _user: CurrentUser,
    connection: Transaction,
    device_id: int,
    query: Annotated[HistoryQuery, Query()],
) -> Page[HistoryEntry]:
    """Tell what happened to a unit, newest first."""
    store.require_device(connection, device_id)
    return store.history(connection, device_id, query)


@pages.get("/{device_id}")
def show_device(
    request: Request, user: CurrentUser, connection: Transaction, now: Now, device_id: int
) -> Response:
    """Show one unit; asked by the page itself, only its live part."""
    device = store.device(connection, device_id, now)
    live = _live(user, connection, device, now)
    if is_fragment(request):
        return render(request, "devices/live.html", **live)
    return render(
        request, "devices/device.html", **live, **_record(user, connection, device_id, now)
    )


def _live(user: User, connection: Connection, device: Device, now: datetime) -> dict[str, Any]:
    """Read what the live part shows; open pages ask for it every few seconds."""
    quiet = suppressions(connection, SuppressionQuery(device_id=device.id, limit=20), now)
    at_work = sessions(connection, WorkSessionQuery(device_id=device.id, limit=1)).items
    return {
        "device": device,
        "picture": picture_of(device),
        "deadlines": {one.id: deadlines(one, now) for one in device.tickets},
        "quiet": quiet,
        "at_work": next(iter(at_work), None),
        "identity_doubt": doubt_of(connection, device.id),
        "may_register": user.role in {"admin", "dispatcher", "integrator"},
    }


def _record(user: User, connection: Connection, device_id: int, now: datetime) -> dict[str, Any]:
    """Read what the rest of the page shows: what a unit went through and what comes."""
    health = store.health(connection, device_id, days=COURSE_DAYS, now=now)
    upcoming = ReminderQuery(device_id=device_id, limit=6)
    return {
        "history": store.history(connection, device_id, HistoryQuery(limit=40)),
        "traps": traps(connection, TrapQuery(device_id=device_id, limit=8)),
        "doubts": doubts(connection, DoubtQuery(device_id=device_id, limit=20)),
        "corrections": corrections(connection, CorrectionQuery(device_id=device_id, limit=20)),
        "may_decide": user.role in {"admin", "integrator"},
        "battery_course": course_of(health),
        "battery_swaps": swaps(connection, device_id),
        "alarm_tests": commissionings(
            connection, CommissioningQuery(device_id=device_id, limit=3)
        ).items,
        "due": due(connection, DueQuery(device_id=device_id, limit=4), today=now.date()).items,
        "reminders": []
        if user.role == "customer"
        else reminders(connection, upcoming, now=now).items,
        "problems": problems(connection, ProblemQuery(device_id=device_id, limit=5)).items,
        "power_events": power_events(
            connection, PowerEventQuery(device_id=device_id, limit=5)
        ).items,
        "runtime_proof": trust_of(connection, [device_id], now).get(device_id),
    }
