"""How far units' promises of runtime could be trusted so far, by what became of them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow

from rules.power_events import Proof, Trust, trust

Connection = psycopg.Connection[TupleRow]

LOOKS_BACK = timedelta(days=3 * 365)
"""Older proofs are of another battery, or of this one when it was young."""


def trust_of(connection: Connection, device_ids: Sequence[int], now: datetime) -> dict[int, Trust]:
    """Return how far the promises of some units held; those that proved nothing are left out.

    What a battery that has been replaced since then proved does not count.
    """
    found: dict[int, list[Proof]] = defaultdict(list)
    for device_id, *proof in connection.execute(
        """
        SELECT e.device_id, e.proved_promise, e.proved_seconds, e.proved_low, e.proved_high
        FROM power_event e JOIN device d ON d.id = e.device_id
        WHERE e.device_id = ANY(%s) AND e.proved_seconds IS NOT NULL AND e.began_at > %s
        AND (d.battery_installed_on IS NULL OR e.began_at::date >= d.battery_installed_on)
        ORDER BY e.device_id, e.began_at
        """,
        (sorted(set(device_ids)), now - LOOKS_BACK),
    ):
        found[device_id].append(Proof(*proof))
    return {
        device_id: told
        for device_id, proofs in found.items()
        if (told := trust(proofs)) is not None
    }
