"""Leases: which shards of a work this process may do now, decided so that no two ever may.

Pure decisions and the watch over the time that is left; the rows are `collector.lease_store`'s, and
the thread that renews them `collector.lease_holder`'s. Shards move in blocks, since some works keep
a session for several of them. A holder counts its time from before it asked, on a clock that nobody
sets, and leaves a margin: it has stopped using a lease before the database lets anybody else have
it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from collector.shards import SHARDS

LEASE_SECONDS = 15.0
"""How long a lease lasts once renewed; a dead holder's shards are free after that."""
RENEW_SECONDS = 3.0
"""How often leases are renewed, and how often one looks for shards that are free."""
UNSETTLED_SECONDS = 1.0
"""How often while shards are on their way from one holder to another."""
MARGIN_SECONDS = 3.0
"""So long before its end a lease is used no more: for clocks that differ in speed, and work that
is under way."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a holder does about blocks of shards: use, give up once their work has ended, take.

    `is_settled` is false while it has not what it should have.
    """

    keep: tuple[int, ...]
    give_up: tuple[int, ...]
    take: tuple[int, ...]
    is_settled: bool


def fair_share(me: int, members: Sequence[int], blocks: int) -> int:
    """Return how many of the blocks fall to `me`: equal parts, what is left over to the first."""
    ranked = sorted(members)
    least, left_over = divmod(blocks, len(ranked))
    return least + (ranked.index(me) < left_over)


def decide(me: int, members: Sequence[int], held: Mapping[int, int], *, blocks: int) -> Decision:
    """Decide about `blocks` blocks; `held` says whose lease on a block still runs.

    `members` are those who take part, `me` among them. Nothing is taken that is another's; what is
    too much is given up, the highest first, so that as little as possible moves.
    """
    share = fair_share(me, members, blocks)
    mine = sorted(block for block, holder in held.items() if holder == me)
    free = [block for block in range(blocks) if block not in held]
    take = tuple(free[: max(0, share - len(mine))])
    keep, give_up = tuple(mine[:share]), tuple(mine[share:])
    is_settled = not give_up and len(keep) + len(take) == share
    return Decision(keep, give_up, take, is_settled)


def shards_of(block: int, *, size: int) -> range:
    """Return the shards of a block."""
    return range(block * size, min((block + 1) * size, SHARDS))


class TimeLeft:
    """Until when the leases held may be used, on a monotonic clock of seconds."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = -inf

    def renewed(self, *, asked_at: float) -> None:
        """Note that the database granted leases after it was asked at `asked_at`."""
        self._until = asked_at + LEASE_SECONDS - MARGIN_SECONDS

    def is_over(self, at: float) -> bool:
        """Tell whether nothing may be used any more at `at`."""
        return at >= self._until

    def seconds(self, at: float) -> float:
        """Return how long the leases may still be used."""
        return max(0.0, self._until - at)
