"""Further processes that poll: each takes its share of the devices, all die with the first."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

STOP_SECONDS = 30.0


@contextmanager
def further_workers(
    count: int, work: Callable[[int, threading.Event], None]
) -> Iterator[Callable[[], bool]]:
    """Start `work(share, asked)` in `count` - 1 processes; yields whether all of them live.

    `asked` is set in a worker when it is to stop.
    """
    spawn = multiprocessing.get_context("spawn")
    made: list[BaseProcess] = [
        spawn.Process(target=_worker, args=(work, share), name=f"worker-{share}")
        for share in range(1, count)
    ]
    for process in made:
        process.start()
    try:
        yield lambda: all(process.is_alive() for process in made)
    finally:
        for process in made:
            process.terminate()
        for process in made:
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.kill()


def _worker(work: Callable[[int, threading.Event], None], share: int) -> None:
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    # Ctrl-C reaches the whole process group; the first process tells us when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(share, asked)
