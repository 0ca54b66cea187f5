"""The doors with a fleet behind them: a real server on a loopback port, a seeded database."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
import psycopg
import pytest
import uvicorn

from service_api.app import create_app, end_streams
from service_api.database import open_pool
from service_api.request import AppConfig
from tests.conftest import NOW, Database, Server
from tests.service_api.fleet_seed import PASSWORD, Fleet, seed_fleet

DEADLINE_SECONDS = 20.0


@dataclass(slots=True)
class Doors:
    """A running application and who may ask it."""

    url: str
    database: Database
    fleet: Fleet
    now: datetime = NOW
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def anyone(self, *, page: bool = False) -> httpx.Client:
        """Return a client that nobody has logged in."""
        return httpx.Client(
            base_url=self.url,
            headers={"accept": "text/html" if page else "application/json"},
            timeout=DEADLINE_SECONDS,
        )

    def api(self, name: str) -> httpx.Client:
        """Return a client with a bearer token."""
        if name not in self._clients:
            client = self.anyone()
            answer = client.post(
                "/api/v1/auth/token", data={"username": name, "password": PASSWORD}
            )
            client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
            self._clients[name] = client
        return self._clients[name]

    def page(self, name: str) -> httpx.Client:
        """Return a client with a session's cookie, as a browser has it."""
        key = f"page:{name}"
        if key not in self._clients:
            client = self.anyone(page=True)
            answer = client.post("/login", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
            self._clients[key] = client
        return self._clients[key]

    def write(self, query: str, *values: object) -> list[tuple]:
        """Change the database as its owner."""
        with psycopg.connect(self.database.owner_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def later(self, **span: float) -> None:
        """Let time pass for the application."""
        self.now += timedelta(**span)


class Stoppable(uvicorn.Server):
    """Ends the event streams when it stops, as the daemon does."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end_streams(self.config.app)
        await super().shutdown(sockets)


@contextmanager
def open_doors(database: Database, *, past: bool = False) -> Iterator[Doors]:
    """Seed a database and serve it until the end of the block."""
    fleet = seed_fleet(database.owner_dsn, NOW, past=past)
    doors = Doors("", database, fleet)
    pool = open_pool(database.api_dsn, most=6, name="doors")
    app = create_app(
        pool=pool, config=AppConfig(listen_dsn=database.api_dsn), now=lambda: doors.now
    )
    server = Stoppable(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, name="doors")
    thread.start()
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not server.started:
            assert thread.is_alive(), "the server ended before it began"
            assert time.monotonic() < deadline, "the server did not start"
            threading.Event().wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        doors.url = f"http://127.0.0.1:{port}"
        yield doors
    finally:
        for client in doors._clients.values():
            client.close()
        server.should_exit = True
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive(), "the server did not stop"
        pool.close()


@pytest.fixture(scope="module")
def doors(embedded_server: Server) -> Iterator[Doors]:
    """The doors of one test module; its tests share the fleet."""
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)
