"""The one transaction: a batch of arrivals becomes rows, judgements, tickets, all or nothing.

Arrivals queue up from poll loop and listener; a batch is full at 500 or after 200 ms, and larger
only where more has piled up. What was acknowledged to its source is committed. A batch that fails
because of its data is halved until the poison reading stands alone in quarantine; a failure of the
database is tried again whole.
"""

import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from math import inf

import psycopg
from psycopg_pool import ConnectionPool

from collector import telemetry_store as telemetry
from collector.arrival import Arrival
from collector.card_store import keep_cards
from collector.doubts import Watch
from collector.inbox import Inbox
from collector.quarantine_bound import QuarantineBound
from collector.rollup import FINEST, bucket_of, mark_dirty, touched_by
from collector.trap_store import keep_traps
from rules.engine import Engine
from rules.facts import Reading
from rules.incident_store import join_incidents
from rules.live import LiveRules
from rules.store import record, remembered_states
from rules.suppression_store import keep_quiet
from rules.switched_off import switch_off
from rules.ticket_store import ticket_alarms
from rules.window_store import Newest

log = logging.getLogger(__name__)

BATCH = 500
MOST = 2_000
"""A batch takes in what has piled up, as far as this."""

LINGER_SECONDS = 0.2
CAPACITY = 10_000
FURTHEST_AHEAD = timedelta(minutes=5)
"""A device's clock may run ahead by this much; further is quarantined."""

PATIENCE_AT_STOP_SECONDS = 10.0
"""How long a failing database is still waited for once ingest is asked to stop."""

_LONGEST_RETRY_SECONDS = 10.0
_REST_AT_STOP_SECONDS = 0.5
_MARKED_PARTITIONS = 400


@dataclass(slots=True)
class IngestCounters:
    """What ingest did since it started, for metrics."""

    readings: int = 0
    late: int = 0
    duplicates: int = 0
    batches: int = 0
    rounds_retried: int = 0
    deadlocks: int = 0
    tickets: int = 0
    left_at_stop: int = 0
    quarantined: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    last_commit_at: datetime | None = None


@dataclass(slots=True)
class _Sorted:
    """A batch, told apart: what is judged, what is only kept, what is refused."""

    newer: dict[int, list[Reading]] = field(default_factory=dict)
    late: list[Reading] = field(default_factory=list)
    refused: list[tuple[Arrival, str, str | None, str, str]] = field(default_factory=list)


class _NotStored(Exception):
    """Asked to stop, and the database still takes nothing: the source will send it again."""

    def __init__(self, batch: Sequence[Arrival]) -> None:
        super().__init__(f"{len(batch)} arrivals")
        self.batch = batch


_REFUSES_EVERYBODY = (
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)


def _is_of_the_database(error: psycopg.Error) -> bool:
    """Tell a failure of the database, to be tried again, from one that the data bring about."""
    if isinstance(error, psycopg.OperationalError):
        return not (error.sqlstate or "").startswith("54")  # a limit that these data exceed
    return isinstance(error, _REFUSES_EVERYBODY)


class Ingest:
    """Takes arrivals from any thread and stores them in batches from one.

    `connections` hands out connections of the ingest role; `now` is the clock; readings older than
    `oldest(now)` have no partition any more.
    """

    def __init__(
        self,
        connections: ConnectionPool,
        *,
        rules: LiveRules,
        now: Callable[[], datetime],
        oldest: Callable[[datetime], datetime],
        capacity: int = CAPACITY,
    ) -> None:
        self.counters = IngestCounters()
        self._connections = connections
        self._rules = rules
        self._now = now
        self._oldest = oldest
        self._inbox = Inbox(
            capacity=capacity, batch=BATCH, linger_seconds=LINGER_SECONDS, most=MOST
        )
        self._watch = Watch()
        self._bound = QuarantineBound()
        self._partitions: set[date] = set()
        self._stop = threading.Event()
        self._give_up_at = inf

    def offer(self, arrival: Arrival) -> bool:
        """Queue an arrival; False, taking nothing, while the queue is full."""
        return self._inbox.put(arrival)

    @property
    def waiting(self) -> int:
        """How many arrivals are queued."""
        return len(self._inbox)

    def run(self) -> None:
        """Store batches until `stop`, and then what is still queued, if the database takes it."""
        try:
            while not self._stop.is_set():
                self.run_once(wait_seconds=0.5)
            while self.run_once(wait_seconds=0.0):
                pass
        except _NotStored as left:
            self.counters.left_at_stop = len(left.batch) + self.waiting
            log.warning(
                "%d arrivals are left unstored and unacknowledged: the database is away",
                self.counters.left_at_stop,
            )

    def stop(self) -> None:
        """Let `run` store what is queued and return; it insists for a while, not for ever."""
        self._give_up_at = time.monotonic() + PATIENCE_AT_STOP_SECONDS
        self._stop.set()
        self._inbox.close()

    def run_once(self, *, wait_seconds: float) -> int:
        """Store one batch, waiting so long for its first arrival; returns its size."""
        batch = self._inbox.take(wait_seconds=wait_seconds)
        if batch:
            self.store(batch)
        return len(batch)

    def store(self, batch: Sequence[Arrival]) -> None:
        """Store a batch whatever happens: whole, halved around poison, or again after a failure."""
        try:
            self._insist(lambda: self._store_once(batch), batch)
        except _NotStored:
            raise
        except Exception as error:  # noqa: BLE001 - the loop's edge: kept in quarantine
            if len(batch) == 1:
                self._quarantine_poison(batch[0], error)
            else:
                log.warning("a batch of %d failed by its data, halving: %s", len(batch), error)
                middle = len(batch) // 2
                self.store(batch[:middle])
                self.store(batch[middle:])
            return
        self._acknowledge(batch)

    def _insist(self, work: Callable[[], None], batch: Sequence[Arrival]) -> None:
        """Do it again while the database fails; raises what is the fault of the data."""
        wait = 0.1
        while True:
            try:
                work()
            except psycopg.Error as error:
                if not _is_of_the_database(error):
                    raise
                if isinstance(error, psycopg.errors.DeadlockDetected):
                    self.counters.deadlocks += 1
                self.counters.rounds_retried += 1
                log.warning(
                    "the database failed a batch of %d, trying again: %s", len(batch), error
                )
                self._rest(wait * random.uniform(0.5, 1.5), batch)  # noqa: S311 - jitter
                wait = min(wait * 2, _LONGEST_RETRY_SECONDS)
            else:
                return

    def _rest(self, seconds: float, batch: Sequence[Arrival]) -> None:
        """Wait before the next try, shorter once asked to stop; raise when it is time to leave."""
        if not self._stop.wait(seconds):
            return
        if time.monotonic() >= self._give_up_at:
            raise _NotStored(batch)
        time.sleep(min(seconds, _REST_AT_STOP_SECONDS))

    def _acknowledge(self, batch: Iterable[Arrival]) -> None:
        for arrival in batch:
            if arrival.acknowledge is None:
                continue
            try:
                arrival.acknowledge()
            except Exception:  # the source's edge: it will send again what is stored already
                log.exception("the source of %s takes no acknowledgement", arrival.device_key)

    def _quarantine_poison(self, arrival: Arrival, error: Exception) -> None:
        log.error("a reading of %s cannot be stored", arrival.device_key, exc_info=error)
        row = (arrival, "poison", None, f"{type(error).__name__}: {error}", repr(arrival.reading))

        def keep() -> None:
            with self._connections.connection() as connection:
                telemetry.quarantine(connection, [row])

        self._insist(keep, [arrival])
        self.counters.quarantined["poison"] += 1
        self._acknowledge([arrival])

    def _store_once(self, batch: Sequence[Arrival]) -> None:
        now = self._now()
        engine = self._rules.engine(self._connections, now)
        self._make_partitions(batch, now)
        with self._connections.connection() as connection:
            examined = self._watch.examine(connection, batch, now)
            batch = examined.batch
            known = {a.reading.device_id for a in batch if a.reading is not None}
            locked = telemetry.lock_states(connection, known, engine.columns)
            parts = self._sort(batch, locked, now)
            expired, dirty = _expired_and_dirty(parts, locked)
            self._judge(connection, engine, parts, locked, now)
            telemetry.copy_newer(
                connection, [reading for list_ in parts.newer.values() for reading in list_]
            )
            kept_late = telemetry.insert_late(connection, parts.late)
            examined.forget(connection, parts.newer)
            telemetry.update_states(connection, parts.newer, expired)
            mark_dirty(connection, dirty)
            telemetry.keep_identities(connection, batch, now)
            telemetry.quarantine(connection, self._bound.within(parts.refused, now))
            keep_cards(connection, batch)
            keep_traps(connection, batch)
            examined.record(connection)
            connection.execute("NOTIFY ridethrough, 'readings'")
        self._watch.keep(examined)
        self._count(parts, kept_late, now)

    def _judge(
        self,
        connection: psycopg.Connection,
        engine: Engine,
        parts: _Sorted,
        locked: dict[int, telemetry.LockedState],
        now: datetime,
    ) -> None:
        if not parts.newer:
            return
        remembered = remembered_states(connection, sorted(parts.newer))
        facts = {device_id: locked[device_id].facts for device_id in parts.newer}
        pasts = self._rules.memory.pasts(
            connection,
            engine.windows,
            {key: Newest(locked[key].observed_at, fact.values) for key, fact in facts.items()},
        )
        judged = engine.judge_readings(facts, parts.newer, remembered.states, pasts)
        ready = record(connection, judged, remembered, engine.rules, now)
        ready = keep_quiet(connection, ready, engine.rules, now)
        ready = join_incidents(connection, ready, engine.rules, now)
        ticket_alarms(connection, ready, engine.rules, now)
        for rule_key, reason in judged.failed.items():
            switch_off(connection, rule_key, reason=reason, now=now)
        if judged.failed:
            self._rules.forget()

    def _sort(
        self, batch: Sequence[Arrival], locked: dict[int, telemetry.LockedState], now: datetime
    ) -> _Sorted:
        parts = _Sorted()
        arrivals: dict[int, list[Reading]] = defaultdict(list)
        oldest = self._oldest(now)
        for arrival in batch:
            parts.refused += [
                (arrival, one.reason, one.point, one.detail, one.raw) for one in arrival.rejections
            ]
            reading = arrival.reading
            if reading is None:
                continue
            refusal = _refusal(reading, now, oldest, is_known=reading.device_id in locked)
            if refusal is None:
                arrivals[reading.device_id].append(reading)
            else:
                parts.refused.append((arrival, refusal[0], None, refusal[1], repr(reading)))
        for device_id, readings in arrivals.items():
            newest = locked[device_id].observed_at
            newer: list[Reading] = []
            for reading in sorted(readings, key=lambda one: one.observed_at):
                if newest is not None and reading.observed_at <= newest:
                    parts.late.append(reading)
                else:
                    newer.append(reading)
                    newest = reading.observed_at
            if newer:
                parts.newer[device_id] = newer
        return parts

    def _make_partitions(self, batch: Iterable[Arrival], now: datetime) -> None:
        """Make missing partitions before the transaction: making one takes a lock on the parent."""
        oldest, furthest = self._oldest(now), now + FURTHEST_AHEAD
        days = {
            reading.observed_at.date()
            for arrival in batch
            if (reading := arrival.reading) is not None
            and oldest <= reading.observed_at <= furthest
        }
        for day in sorted(days - self._partitions):
            with self._connections.connection() as connection:
                telemetry.ensure_partition(connection, datetime.combine(day, time_of_day.min, UTC))
            if len(self._partitions) > _MARKED_PARTITIONS:
                self._partitions.clear()
            self._partitions.add(day)

    def _count(self, parts: _Sorted, kept_late: int, now: datetime) -> None:
        counters = self.counters
        counters.batches += 1
        counters.readings += sum(map(len, parts.newer.values()))
        counters.late += kept_late
        counters.duplicates += len(parts.late) - kept_late
        counters.last_commit_at = now
        for _, reason, *_ in parts.refused:
            counters.quarantined[reason] += 1


def _refusal(
    reading: Reading, now: datetime, oldest: datetime, *, is_known: bool
) -> tuple[str, str] | None:
    """Return why a reading cannot be kept: (reason, sentence); None when it can."""
    if not is_known:
        return "unknown_device", f"device {reading.device_id} is not registered"
    if reading.observed_at > now + FURTHEST_AHEAD:
        return (
            "clock_ahead",
            f"observed at {reading.observed_at.isoformat()}, more than 5 min ahead",
        )
    if reading.observed_at < oldest:
        return "too_old", f"observed at {reading.observed_at.isoformat()}, older than what is kept"
    return None


def _expired_and_dirty(
    parts: _Sorted, locked: dict[int, telemetry.LockedState]
) -> tuple[list[int], list[tuple[int, datetime]]]:
    """Return devices whose fast values had expired, and the rollup buckets to compute again.

    A bucket is marked by its first reading, by a late one, and by one received after its end.
    """
    expired = []
    dirty = [
        (reading.device_id, bucket)
        for reading in parts.late
        for bucket in touched_by(reading.observed_at)
    ]
    for device_id, readings in parts.newer.items():
        state = locked[device_id]
        until = state.facts.fast_until
        if until is not None and readings[0].observed_at > until:
            expired.append(device_id)
        last = None if state.observed_at is None else bucket_of(state.observed_at)
        for reading in readings:
            at = reading.observed_at
            bucket = last if last is not None and last <= at < last + FINEST else bucket_of(at)
            if bucket != last or reading.received_at >= bucket + FINEST:
                dirty.append((device_id, bucket))
            last = bucket
    return expired, dirty
