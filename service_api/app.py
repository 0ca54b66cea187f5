"""The web application: every noun's routes, the errors' form, the headers of every answer.

`create_app` wires; it reads no settings, no environment and no clock.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from importlib.resources import files

from fastapi import FastAPI
from fastapi.routing import APIRoute
from psycopg_pool import ConnectionPool
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from service_api import door, operating
from service_api.alarm_figures import routes as alarm_figures
from service_api.alarms import routes as alarms
from service_api.backtests import routes as backtests
from service_api.battery import routes as battery
from service_api.campaigns import routes as campaigns
from service_api.cards import routes as cards
from service_api.commissioning import routes as commissioning
from service_api.contracts import routes as contracts
from service_api.corrections import routes as corrections
from service_api.coverage import routes as coverage
from service_api.customers import routes as customers
from service_api.devices import routes as devices
from service_api.dispatch import routes as dispatch
from service_api.doubts import routes as doubts
from service_api.entitlements import routes as entitlements
from service_api.errors import add_error_handlers
from service_api.events import Hub, listen
from service_api.fleet import routes as fleet
from service_api.headers import SafeHeaders
from service_api.identity import routes as identity
from service_api.incidents import routes as incidents
from service_api.limiter import Limiter
from service_api.maintenance import routes as maintenance
from service_api.notifications import routes as notifications
from service_api.operating import HttpMetrics, Measured
from service_api.planned_work import routes as planned_work
from service_api.power_events import routes as power_events
from service_api.problems import routes as problems
from service_api.reliability import routes as reliability
from service_api.reminders import routes as reminders
from service_api.request import AppConfig, Wiring
from service_api.rules import own_routes as own_rules
from service_api.rules import page_routes as rule_pages
from service_api.rules import routes as rules
from service_api.spares import routes as spares
from service_api.suppressions import routes as suppressions
from service_api.tickets import routes as tickets
from service_api.topology import routes as topology
from service_api.traps import routes as traps
from service_api.users import routes as users
from service_api.work_orders import routes as work_orders
from service_api.work_sessions import routes as work_sessions

NOUNS = (
    door,
    operating,
    fleet,
    devices,
    identity,
    cards,
    alarm_figures,
    alarms,
    suppressions,
    planned_work,
    incidents,
    campaigns,
    tickets,
    problems,
    work_orders,
    work_sessions,
    commissioning,
    dispatch,
    maintenance,
    battery,
    power_events,
    reminders,
    reliability,
    own_rules,
    rule_pages,
    rules,
    spares,
    notifications,
    coverage,
    doubts,
    corrections,
    customers,
    contracts,
    entitlements,
    topology,
    backtests,
    traps,
    users,
)
"""Modules with an `api` router, a `pages` router, or both: one line a noun."""


def _operation_id(route: APIRoute) -> str:
    return route.name


def create_app(*, pool: ConnectionPool, config: AppConfig, now: Callable[[], datetime]) -> FastAPI:
    """Build the application over an open pool whose role is `ridethrough_api`."""
    hub = Hub()

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        listening = (
            asyncio.create_task(listen(hub, config.listen_dsn)) if config.listen_dsn else None
        )
        try:
            yield
        finally:
            hub.close()
            if listening is not None:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening

    metrics = HttpMetrics()
    app = FastAPI(
        title="ridethrough",
        version="1",
        summary="A UPS fleet: what the units say, what stands, what is done about it.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        lifespan=lifespan,
    )
    app.state.wiring = Wiring(pool, config, now, hub, Limiter())
    app.state.metrics = metrics
    add_error_handlers(app)
    for noun in NOUNS:
        for router in (getattr(noun, "api", None), getattr(noun, "pages", None)):
            if router is not None:
                app.include_router(router)
    static = files("service_api").joinpath("web/static")
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    app.add_middleware(GZipMiddleware, minimum_size=1_000)
    app.add_middleware(SafeHeaders)
    app.add_middleware(Measured, metrics=metrics)
    return app


def end_streams(app: FastAPI) -> None:
    """End the event streams, so that a server that waits for its answers can leave.

    To be called in the application's event loop, before the server is told to stop.
    """
    wiring: Wiring = app.state.wiring
    wiring.hub.close()
