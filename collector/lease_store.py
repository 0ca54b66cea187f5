"""The rows of leases: who takes part in a work, and who holds which of its shards.

Times are the database's own: the machines' clocks need not agree. Whoever decides about a work
holds its lock, so that two never decide at once.
"""

from dataclasses import dataclass

import psycopg
from psycopg.rows import TupleRow

from collector.leases import LEASE_SECONDS, Decision, decide, shards_of
from collector.shards import SHARDS

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True, slots=True)
class Work:
    """What is shared: its name, and how many shards move together."""

    name: str
    block: int = 1

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-SHARDS // self.block)


def renew(
    connection: Connection, work: Work, *, collector_id: int, given_up: tuple[int, ...] = ()
) -> Decision:
    """Take part in a work for another while; return which of its blocks to use and to give up.

    1. Lock the work, so that others decide after us.
    2. Let go of the blocks in `given_up`, whose use has ended.
    3. Forget whose time is over, and stay among the living.
    4. Decide, renew what is ours and take what falls to us.
    """
    name, lease = work.name, LEASE_SECONDS
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('shard_lease ' || %s))", (name,))
    connection.execute(
        "DELETE FROM shard_lease WHERE work = %s AND collector_id = %s AND shard = ANY(%s)",
        (name, collector_id, _shards(work, given_up)),
    )
    connection.execute(
        "DELETE FROM shard_lease WHERE work = %s AND until_at <= clock_timestamp()", (name,)
    )
    connection.execute(
        "DELETE FROM shard_holder WHERE work = %s AND until_at <= clock_timestamp()", (name,)
    )
    connection.execute(
        """
        INSERT INTO shard_holder (work, collector_id, until_at)
        VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))
        ON CONFLICT (work, collector_id) DO UPDATE SET until_at = excluded.until_at
        """,
        (name, collector_id, lease),
    )
    members = [
        member
        for (member,) in connection.execute(
            "SELECT collector_id FROM shard_holder WHERE work = %s", (name,)
        )
    ]
    held = {
        shard // work.block: holder
        for shard, holder in connection.execute(
            "SELECT shard, collector_id FROM shard_lease WHERE work = %s", (name,)
        )
    }
    decision = decide(collector_id, members, held, blocks=work.blocks)
    connection.execute(
        """
        INSERT INTO shard_lease (work, shard, collector_id, until_at)
        SELECT %s, shard, %s, clock_timestamp() + make_interval(secs => %s)
        FROM unnest(%s::smallint[]) AS shard
        ON CONFLICT (work, shard) DO UPDATE SET until_at = excluded.until_at
        WHERE shard_lease.collector_id = excluded.collector_id
        """,
        (
            name,
            collector_id,
            lease,
            _shards(work, decision.keep + decision.give_up + decision.take),
        ),
    )
    return decision


def leave(connection: Connection, work: Work, *, collector_id: int) -> None:
    """Take part no more; others have the shards at their next look."""
    mine = (work.name, collector_id)
    connection.execute("DELETE FROM shard_lease WHERE work = %s AND collector_id = %s", mine)
    connection.execute("DELETE FROM shard_holder WHERE work = %s AND collector_id = %s", mine)


def forget_holders(connection: Connection) -> None:
    """Free everything at once, where it is certain that nobody else is at work."""
    connection.execute("DELETE FROM shard_lease")
    connection.execute("DELETE FROM shard_holder")


def _shards(work: Work, blocks: tuple[int, ...]) -> list[int]:
    return [shard for block in blocks for shard in shards_of(block, size=work.block)]
