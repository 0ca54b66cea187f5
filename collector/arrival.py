"""What readers hand to ingest: one message or poll, with what was good and what was refused."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rules.facts import Identity, Reading, Rejection


@dataclass(frozen=True, slots=True)
class Arrival:
    """The outcome of one poll or one message.

    `reading` is None when nothing usable came (its reasons are in `rejections`). `device_id` is
    None for a device that nobody registered. `identity` is given when it was read this time.
    `acknowledge` is called after the commit that holds all of this, never before.
    """

    device_key: str
    received_at: datetime
    source: str
    device_id: int | None = None
    reading: Reading | None = None
    rejections: tuple[Rejection, ...] = ()
    identity: Identity | None = None
    profile: str | None = None
    acknowledge: Callable[[], None] | None = None


Offer = Callable[[Arrival], bool]
"""Takes an arrival for ingest; returns False, taking nothing, while the queue is full."""
