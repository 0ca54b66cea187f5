"""Settings of the Python interpreter that a daemon of some threads and many objects wants."""

import gc
import sys

SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter from another that waits for it.

Ingest gives it up at every call to the database, and with the usual 5 ms waits as long, each time,
while messages pour in.
"""

COLLECT_AFTER = (20_000, 20, 20)
"""Allocations before young objects are looked through, and how often older ones are with them.

Polls allocate much that is freed without the collector's help; with the usual 700 a busy collector
of 4,000 devices spent a fifth of its time looking for cycles that were not there.
"""


def tune() -> None:
    """Set this process up for the daemon; what is loaded by now is never looked through again."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
