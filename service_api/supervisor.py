"""Roles as supervised threads: started together, stopped in order, missed when one ends.

What the roles do is not here.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from pydantic import SecretStr

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
STOP_SECONDS = 30.0

Clock = Callable[[], datetime]


class DaemonFailed(Exception):
    """The daemon cannot start or a role died; the message says which and why."""


class SettingMissing(DaemonFailed):
    """A setting that a role needs is not given."""


@dataclass(frozen=True, slots=True)
class Role:
    """One thing that runs until told to stop."""

    name: str
    run: Callable[[threading.Event], None]


class Supervisor:
    """Runs roles in threads; `wait` returns when told to stop or when one of them died."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._failure: str | None = None
        self._threads = [
            # Of the kind that cannot hold the process when one does not stop in its time.
            threading.Thread(target=self._run, args=(role,), name=role.name, daemon=True)
            for role in roles
        ]

    def start(self) -> None:
        """Start every role."""
        for thread in self._threads:
            thread.start()

    def _run(self, role: Role) -> None:
        try:
            role.run(self._stop)
            if not self._stop.is_set():
                self._failure = f"role {role.name} ended by itself"
        except Exception as error:
            log.exception("role %s died", role.name)
            self._failure = f"role {role.name} died: {error}"
        finally:
            self._ended.set()

    def wait(self, asked: threading.Event, *, also: Callable[[], bool] = lambda: True) -> None:
        """Wait until `asked` is set; raise `DaemonFailed` when a role ended or `also` is false."""
        while not asked.wait(0.2):
            if self._ended.is_set():
                raise DaemonFailed(self._failure or "a role ended")
            if not also():
                raise DaemonFailed("a process that belongs to this one ended")

    def stop(self) -> None:
        """Tell every role to stop and wait for them, in the order they were started."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
            if thread.is_alive():
                log.error("role %s did not stop in %.0f s", thread.name, STOP_SECONDS)


def needed(value: "SecretStr | None", name: str, why: str) -> str:
    """Return a secret setting; raise SettingMissing when it is not given."""
    if value is None:
        raise SettingMissing(f"RIDETHROUGH_{name} is not set: it is needed for {why}")
    return value.get_secret_value()


def every(seconds: float, work: Callable[[], object]) -> Callable[[threading.Event], None]:
    """Do `work` every so often; a failing database is waited for, anything else is fatal."""

    def run(stop: threading.Event) -> None:
        failing = False
        while not stop.wait(seconds):
            try:
                work()
            except psycopg.OperationalError as error:
                if not failing:
                    log.warning(
                        "%s: the database fails: %s", threading.current_thread().name, error
                    )
                failing = True
            else:
                failing = False

    return run


def drain(take: Callable[[], bool]) -> Callable[[threading.Event], None]:
    """Take one after the other while there is something, then look again twice a second."""

    def run(stop: threading.Event) -> None:
        def all_there_is() -> None:
            while not stop.is_set() and take():
                pass

        every(IDLE_SECONDS, all_there_is)(stop)

    return run


async def asked_or_done(stop: threading.Event, task: "asyncio.Future[Any]") -> None:
    """Wait until a thread asks to stop or the task ended by itself."""
    while not stop.is_set() and not task.done():  # noqa: ASYNC110 - a thread sets the event
        await asyncio.sleep(0.2)
