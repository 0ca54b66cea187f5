"""An event loop whose time jumps to the next timer: hours of polling pass in a moment."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never waits; threads' work is done at once. No sockets that answer by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self._real_select = self._selector.select
        self._selector.select = self._select

    def _select(self, timeout=None):
        events = self._real_select(0)
        if not events:
            if timeout is None and not self._ready:
                raise RuntimeError("nothing will ever happen again")
            self._virtual += timeout or 0.0
        return events

    def time(self) -> float:
        return self._virtual

    def now(self) -> datetime:
        return START + timedelta(seconds=self._virtual)

    def run_in_executor(self, executor, func: Callable[..., Any], *args: Any):
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine function in virtual time; it is given the loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(runner.get_loop()))
