"""Two months of the demo's past, lived through the real ingest under a simulated clock."""

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from psycopg_pool import ConnectionPool

from collector.arrival import Arrival
from collector.ingest import BATCH, Ingest
from collector.partitions import make_ahead
from collector.rollup import roll_up
from collector.tick import tick
from device_sims.fleet import SimUnit
from device_sims.history import history
from rules.catalogue import catalogue
from rules.facts import Reading, Source
from rules.live import LiveRules
from rules.operations import close_ticket, reset_alarm, start_ticket
from rules.ticket_store import settle
from service_api.battery.nightly import compute_all

PAST = timedelta(days=60)
STEP = timedelta(minutes=15)
FIRST_STEPS = timedelta(hours=4)
"""Past readings are an hour apart, so each is believed until well after the next."""


FIGURES_DAYS_AGO = (28, 21, 14, 7, 1)
TAKEN_IN_HAND_AFTER = timedelta(hours=2)


class _Clock:
    def __init__(self, start: datetime) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now


def feed(pool: ConnectionPool, fleet: Sequence[SimUnit], *, until: datetime) -> int:
    """Store and judge the fleet's past up to `until`; returns how many readings that were.

    1. Every unit's readings in the order of time, in batches, the clock standing at the newest.
    2. Incidents and tickets of the past are settled; tickets are worked on.
    3. The collector is said to have lived all that time, so that silence counts.
    4. Everything is rolled up, since raw readings older than a week will be dropped.
    """
    clock = _Clock(until - PAST)
    rules = LiveRules(catalogue())
    ingest = Ingest(pool, rules=rules, now=clock, oldest=lambda now: now - PAST)
    count = 0
    settled_at = clock.now
    batch: list[Arrival] = []
    for arrival in _in_time_order(pool, fleet, until):
        batch.append(arrival)
        if len(batch) == BATCH:
            count += _store(ingest, clock, batch)
            batch = []
            if clock.now - settled_at > timedelta(days=1):
                _settle(pool, clock.now)
                settled_at = clock.now
    if batch:
        count += _store(ingest, clock, batch)
    _settle(pool, until)
    _work_on_the_past(pool, until)
    _live_since(pool, until - PAST, until)
    for silent_since in {unit.silent_since for unit in fleet if unit.silent_since is not None}:
        for later in (timedelta(minutes=16), timedelta(hours=24, minutes=1)):
            tick(pool, rules, now=min(silent_since + later, until))
    with pool.connection() as connection:
        make_ahead(connection, until)
    while True:
        with pool.connection() as connection:
            if not roll_up(connection, now=until):
                return count


def judge_batteries(pool: ConnectionPool, *, until: datetime) -> None:
    """Make some of the battery figures that the nights of the past would have made."""
    for days_ago in FIGURES_DAYS_AGO:
        compute_all(pool, until - timedelta(days=days_ago))


def _in_time_order(
    pool: ConnectionPool, fleet: Sequence[SimUnit], until: datetime
) -> Iterator[Arrival]:
    with pool.connection() as connection:
        ids: dict[str, int] = dict(connection.execute("SELECT key, id FROM device").fetchall())
    streams = [_past_of(unit, ids[unit.key], until) for unit in fleet if unit.key in ids]
    return heapq.merge(*streams, key=lambda arrival: arrival.received_at)


def _past_of(unit: SimUnit, device_id: int, until: datetime) -> Iterator[Arrival]:
    end = until if unit.silent_since is None else min(until, unit.silent_since)
    for at, points in history(unit.spec, unit.seed, until - PAST, end, STEP):
        reading = Reading(
            device_id,
            at,
            at,
            points,
            source=Source.REPLAY,
            stays_valid_seconds=FIRST_STEPS.total_seconds(),
        )
        yield Arrival(unit.key, at, "history", device_id, reading)


def _store(ingest: Ingest, clock: _Clock, batch: list[Arrival]) -> int:
    clock.now = batch[-1].received_at
    ingest.store(batch)
    return len(batch)


def _settle(pool: ConnectionPool, now: datetime) -> None:
    with pool.connection() as connection:
        settle(connection, now=now)


def _work_on_the_past(pool: ConnectionPool, now: datetime) -> None:
    """Do what a dispatcher would have done, and let nobody be told of what is long over."""
    with pool.connection() as connection:
        for alarm_id, over_at in connection.execute(
            "SELECT id, over_at FROM alarm WHERE state = 'latched' ORDER BY id"
        ).fetchall():
            reset_alarm(connection, alarm_id, actor="dispatcher", now=over_at + TAKEN_IN_HAND_AFTER)
    with pool.connection() as connection:
        for ticket_id, opened_at in connection.execute(
            """
            SELECT id, opened_at FROM ticket
            WHERE closed_at IS NULL AND condition_cleared_at IS NULL AND opened_at < %s ORDER BY id
            """,
            (now - TAKEN_IN_HAND_AFTER,),
        ).fetchall():
            start_ticket(
                connection, ticket_id, actor="dispatcher", now=opened_at + TAKEN_IN_HAND_AFTER
            )
        for ticket_id, cleared_at in connection.execute(
            """
            SELECT id, condition_cleared_at FROM ticket
            WHERE closed_at IS NULL AND condition_cleared_at IS NOT NULL ORDER BY id
            """
        ).fetchall():
            close_ticket(
                connection,
                ticket_id,
                closing_code="cleared_by_itself",
                text="",
                actor="dispatcher",
                now=min(now, cleared_at + timedelta(hours=5)),
            )
        connection.execute(
            """
            UPDATE outbox o SET done_at = o.at WHERE done_at IS NULL AND NOT (
                topic = 'ticket.opened' AND EXISTS (
                    SELECT FROM ticket t WHERE t.id = o.ref AND t.closed_at IS NULL))
            """
        )


def _live_since(pool: ConnectionPool, since: datetime, until: datetime) -> None:
    with pool.connection() as connection:
        for group in ("default", "mqtt"):
            connection.execute(
                """
                INSERT INTO collector (key, collector_group, started_at, beat_at)
                VALUES ('history', %s, %s, %s)
                """,
                (group, since, until),
            )
