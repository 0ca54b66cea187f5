"""What those who run the product ask: is it alive, is it ready, how much does it do.

These answer without a login and tell nothing of any customer.
"""

import time
from datetime import datetime
from typing import Literal

import psycopg
from fastapi import APIRouter, Request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Histogram,
    generate_latest,
)
from prometheus_client import Counter as PromCounter
from psycopg_pool import PoolTimeout
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_api.database import STAFF, newest_version, request_transaction, schema_version
from service_api.pages import freshness_of
from service_api.request import Now, wiring

api = APIRouter(tags=["operating"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether this process can serve, and what it stands on."""

    ready: bool
    database: bool
    schema_current: bool
    last_ingest_at: datetime | None
    last_ingest_age_seconds: float | None


class HttpMetrics:
    """Counts the requests of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = PromCounter(
            "ridethrough_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ridethrough_http_request_seconds",
            "Time until the answer began",
            ("route",),
            registry=self.registry,
        )


class Measured:
    """Measures each request by its route's pattern, never by the address that was asked."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self.metrics.requests.labels(scope["method"], route, message["status"]).inc()
                self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, measured)


@api.get("/healthz")
def get_health_of_process() -> Alive:
    """Tell that the process answers."""
    return Alive()


@api.get("/readyz", responses={503: {"model": Readiness, "description": "Cannot serve"}})
def get_readiness(request: Request, now: Now) -> Readiness:
    """Tell whether the database answers with the schema that this program is written for.

    The age of the last ingest is told and does not make a process unready: another one may be
    the one that collects.
    """
    database = current = False
    last_at: datetime | None = None
    try:
        with request_transaction(wiring(request).pool, STAFF) as connection:
            database = True
            current = schema_version(connection) == newest_version()
            if current:
                last_at = freshness_of(connection, now).last_at
    except (psycopg.Error, PoolTimeout):
        current = False
    answer = Readiness(
        ready=database and current,
        database=database,
        schema_current=current,
        last_ingest_at=last_at,
        last_ingest_age_seconds=(now - last_at).total_seconds() if last_at else None,
    )
    if not answer.ready:
        return JSONResponse(answer.model_dump(mode="json"), status_code=503)  # type: ignore[return-value]
    return answer


@api.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(request: Request) -> Response:
    """Return the counters of this process in Prometheus' text form."""
    metrics: HttpMetrics = request.app.state.metrics
    return Response(
        generate_latest(REGISTRY) + generate_latest(metrics.registry),
        media_type=CONTENT_TYPE_LATEST,
    )
