"""What readers hand to ingest: one message or poll, with what was good and what was refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rules.facts import Identity, Reading, Rejection


@dataclass(frozen=True, slots=True)
class CardNews:
    """A card as it stands now, told when something of it changed; replaces what was known.

    `patience` is what was learned about asking it. `failure` is a word of `collector.raw.Failure`,
    None while the card can be read.
    """

    patience: Mapping[str, float | bool] = field(default_factory=dict)
    engine_id: bytes | None = None
    restarted_at: datetime | None = None
    failing_since_at: datetime | None = None
    failure: str | None = None
    failure_detail: str | None = None


@dataclass(frozen=True, slots=True)
class TrapNews:
    """Traps of one kind from one sender; `name` is None when no profile knows them."""

    source: str
    oid: str
    name: str | None
    variables: Mapping[str, str] = field(default_factory=dict)
    count: int = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """The outcome of one poll or one message.

    `reading` is None when nothing usable came (its reasons are in `rejections`). `device_id` is
    None for a device that nobody registered. `identity` is given when it was read this time, `card`
    and `trap` when there is news of them.
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
    card: CardNews | None = None
    trap: TrapNews | None = None
    acknowledge: Callable[[], None] | None = None


Offer = Callable[[Arrival], bool]
"""Takes an arrival for ingest; returns False, taking nothing, while the queue is full."""
