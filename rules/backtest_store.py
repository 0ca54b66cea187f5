"""Run back-tests: which units, how much there is to read, piece by piece through history.

Pieces are a day of a group of units, so memory is bounded however long the span. Each is a query of
its own with a time limit, read ahead on every connection that is given while the one before is
judged; nothing is written, no lock is held in between.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow, class_row

from rules.backtest import (
    ROLLUP,
    PastTicket,
    Progress,
    Raised,
    Refusal,
    Scores,
    Walk,
    Week,
    points_of,
    refusal,
    refusal_of_rollups,
    scored,
    spans_of,
    weeks,
)
from rules.catalogue import Rule
from rules.history import Carried, Rows, merge
from rules.history_store import read_rollups, read_rows
from rules.windows import microseconds

Connection = psycopg.Connection[TupleRow]

READINGS_AT_ONCE = 1_500_000
"""Readings that a piece and the past behind it may hold: some 150 MB while they are judged."""
QUERY_SECONDS = 120
"""A query that takes longer is given up: the server has more important work."""
HELPERS = 2
"""Processes of the server that may help with a query; none does where a run stands back."""
READINGS_A_SECOND = 450_000
"""What a query delivers of one machine's plain PostgreSQL (measured by `bench/backtest.py`)."""
LONGEST = timedelta(days=5 * 366)

_DAY = timedelta(days=1)
_LEAD = timedelta(hours=1)
_LOOKED_AT = 200


class NotPossible(Exception):
    """A back-test cannot be done; the reason in both languages."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.en)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Scope:
    """Which units: all, or those that match each that is given."""

    device: str | None = None
    site: str | None = None
    customer: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A back-test: one rule, or several to be compared on the same readings."""

    rules: tuple[Rule, ...]
    since: datetime
    until: datetime
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, slots=True)
class Unit:
    """A device in the scope."""

    id: int
    key: str
    name: str
    site: str
    poll_seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a back-test will take and what it can look at.

    `raw_since` is None where no reading is kept. `rolled_up` says whether averages are used before
    it, `left_out` why not where they are not.
    """

    units: int
    readings: int
    seconds: float
    raw_since: datetime | None
    raw_until: datetime | None
    rolled_up: bool
    left_out: Refusal | None


@dataclass(slots=True)
class Outcome:
    """What one rule would have made of the span."""

    rule: Rule
    raised: list[Raised]
    weeks: list[Week]
    scores: Scores | None

    @property
    def tickets(self) -> int:
        """How many tickets the alarms would have opened."""
        return sum(week.tickets for week in self.weeks)


@dataclass(slots=True)
class Result:
    """A finished back-test."""

    outcomes: list[Outcome]
    units: list[Unit]
    readings: int
    seconds: float
    estimate: Estimate


def units_in(connection: Connection, scope: Scope) -> list[Unit]:
    """Return the units of a scope, by their id."""
    with connection.cursor(row_factory=class_row(Unit)) as cursor:
        cursor.execute(
            """
            SELECT d.id, d.key, d.name, s.name AS site, d.poll_seconds::float8
            FROM device d JOIN site s ON s.id = d.site_id JOIN customer c ON c.id = d.customer_id
            WHERE (%(device)s::text IS NULL OR d.key = %(device)s)
            AND (%(site)s::text IS NULL OR s.key = %(site)s)
            AND (%(customer)s::text IS NULL OR c.key = %(customer)s)
            AND (%(model)s::text IS NULL OR d.model ILIKE %(model)s)
            ORDER BY d.id
            """,
            {
                "device": scope.device,
                "site": scope.site,
                "customer": scope.customer,
                "model": scope.model,
            },
        )
        return cursor.fetchall()


def estimated(connection: Connection, asked: Asked, units: Sequence[Unit]) -> Estimate:
    """Say beforehand how much there is to read and how long that takes.

    Raises NotPossible where there is nothing to look at.
    """
    for rule in asked.rules:
        if (reason := refusal(rule)) is not None:
            raise NotPossible(reason)
    if not units:
        raise NotPossible(Refusal("no unit is in this scope", "范围内没有设备"))
    step = max(1, len(units) // _LOOKED_AT)
    row = connection.execute(
        """
        SELECT min(f.observed_at), max(l.observed_at) FROM unnest(%s::bigint[]) AS d (id)
        CROSS JOIN LATERAL (SELECT observed_at FROM telemetry WHERE device_id = d.id
            ORDER BY observed_at LIMIT 1) AS f
        CROSS JOIN LATERAL (SELECT observed_at FROM telemetry WHERE device_id = d.id
            ORDER BY observed_at DESC LIMIT 1) AS l
        """,
        ([unit.id for unit in units[::step]],),
    ).fetchone()
    raw_since, raw_until = row if row is not None else (None, None)
    reasons = [refusal_of_rollups(rule) for rule in asked.rules]
    left_out = next((reason for reason in reasons if reason is not None), None)
    begins = asked.since
    if raw_since is None or raw_since > asked.since:
        begins = asked.until if raw_since is None else min(raw_since, asked.until)
    raw_seconds = max(0.0, (min(asked.until, raw_until or asked.until) - begins).total_seconds())
    rolled = max(0.0, (begins - asked.since).total_seconds()) if left_out is None else 0.0
    readings = _counted(connection, units, begins, asked.until) or sum(
        int(raw_seconds / unit.poll_seconds) for unit in units
    )
    readings += len(units) * int(rolled / ROLLUP.total_seconds())
    is_cut = begins > asked.since + _LEAD
    return Estimate(
        len(units),
        readings,
        readings / READINGS_A_SECOND + 0.5,
        raw_since,
        raw_until,
        rolled_up=is_cut and left_out is None,
        left_out=left_out if is_cut else None,
    )


def _counted(
    connection: Connection, units: Sequence[Unit], since: datetime, until: datetime
) -> int:
    """Return how many readings rollups have counted, 0 where they do not know."""
    row = connection.execute(
        """
        SELECT coalesce(sum(n), 0) FROM telemetry_1h
        WHERE device_id = ANY(%s) AND bucket >= %s AND bucket < %s
        """,
        ([unit.id for unit in units], since - timedelta(hours=1), until),
    ).fetchone()
    return 0 if row is None else int(row[0])


def run(
    connections: Sequence[Connection],
    asked: Asked,
    *,
    progress: Progress | None = None,
    rest: float = 0.0,
) -> Result:
    """Try rules on history; `rest` is for how much of its working time a run stands back.

    The connections are the run's own until it ends. Raises NotPossible, and whatever `progress`
    raises to end it.
    """
    began = time.monotonic()
    units = units_in(connections[0], asked.scope)
    estimate = estimated(connections[0], asked, units)
    for connection in connections:
        connection.commit()
    outcomes = [Outcome(rule, [], [], None) for rule in asked.rules]
    readings = 0
    groups = list(_groups(asked, units))
    days = len(_parts(asked, estimate))
    for number, group in enumerate(groups):

        def told(part: int, before: int = number * days) -> None:
            if progress is not None:
                progress(before + part, days * len(groups))

        walks = [Walk(rule, [unit.id for unit in group]) for rule in asked.rules]
        readings += _walk(connections, asked, estimate, group, walks, told=told, rest=rest)
        for outcome, walk in zip(outcomes, walks, strict=True):
            outcome.raised += walk.raised
    for outcome in outcomes:
        outcome.raised.sort(key=lambda one: (one.raised_at, one.device_id))
        outcome.weeks = weeks(
            outcome.raised,
            asked.since,
            asked.until,
            opens_ticket=outcome.rule.ticket is not None,
        )
        if outcome.rule.ticket is not None:
            tickets = _past_tickets(connections[0], outcome.rule, asked, units)
            outcome.scores = scored(outcome.raised, tickets)
    connections[0].commit()
    return Result(outcomes, units, readings, time.monotonic() - began, estimate)


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of history that one query reads, out of readings or of their rollups."""

    since: datetime
    until: datetime
    rolled_up: bool


def _parts(asked: Asked, estimate: Estimate) -> list[_Part]:
    """Cut the span into days: averages where readings are gone, if they may be used."""
    spans = spans_of(asked.rules)
    begins = asked.since - timedelta(seconds=max(spans.values(), default=0)) - _LEAD
    raw_since = estimate.raw_since
    turns = asked.until if raw_since is None else min(max(raw_since, begins), asked.until)
    parts: list[_Part] = []
    if estimate.rolled_up:
        parts += [_Part(*one, rolled_up=True) for one in _days(begins, turns, 30 * _DAY)]
    elif raw_since is None:
        return []
    just_before = turns - timedelta(microseconds=1) if turns == raw_since else turns
    parts += [_Part(*one, rolled_up=False) for one in _days(just_before, asked.until, _DAY)]
    return parts


def _days(
    since: datetime, until: datetime, length: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Cut a span at midnights, where partitions begin."""
    at = since
    while at < until:
        next_day = at.replace(hour=0, minute=0, second=0, microsecond=0) + length
        end = min(next_day, until)
        yield at, end
        at = end


def _groups(asked: Asked, units: Sequence[Unit]) -> Iterator[Sequence[Unit]]:
    """Let as many units go together as memory allows."""
    look_back = max(spans_of(asked.rules).values(), default=0) / 86_400
    columns = max(1, len(points_of(asked.rules)))
    fastest = min(unit.poll_seconds for unit in units)
    a_unit = 86_400 / fastest * (1 + look_back) * max(1.0, columns / 4)
    size = max(1, int(READINGS_AT_ONCE / a_unit))
    for begin in range(0, len(units), size):
        yield units[begin : begin + size]


def _walk(
    connections: Sequence[Connection],
    asked: Asked,
    estimate: Estimate,
    group: Sequence[Unit],
    walks: Sequence[Walk],
    *,
    told: Callable[[int], object],
    rest: float,
) -> int:
    """Walk a group of units through the span; returns how many readings it took."""
    columns, spans = points_of(asked.rules), spans_of(asked.rules)
    ids = [unit.id for unit in group]
    carried = Carried.nothing(len(ids), columns)
    since = microseconds(asked.since)
    words: dict[str, int] = {}
    readings = 0
    parts = _parts(asked, estimate)
    helpers = 0 if rest else HELPERS
    ahead = _read_ahead(connections, parts, ids, columns, words, helpers=helpers)
    for number, rows in enumerate(ahead):
        began = time.monotonic()
        readings += len(rows.at)
        merged = merge(rows, carried, spans)
        known = list(words)
        for walk in walks:
            walk.take(rows, merged, known, since)
        told(number + 1)
        if rest:
            time.sleep(min(5.0, rest * (time.monotonic() - began)))
    for walk in walks:
        walk.finish(carried, asked.until)
    return readings


def _read_ahead(
    connections: Sequence[Connection],
    parts: Sequence[_Part],
    ids: Sequence[int],
    columns: Sequence[str],
    words: dict[str, int],
    *,
    helpers: int,
) -> Iterator[Rows]:
    """Yield the parts in order, while each connection reads one further on."""

    def read(connection: Connection, part: _Part) -> Rows:
        reader = read_rollups if part.rolled_up else read_rows
        with connection.transaction():
            connection.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true),"
                " set_config('work_mem', '64MB', true),"
                " set_config('max_parallel_workers_per_gather', %s, true)",
                (f"{QUERY_SECONDS}s", str(helpers)),
            )
            return reader(connection, ids, columns, since=part.since, until=part.until, words=words)

    with ExitStack() as stack:
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in connections]
        waiting: deque[Future[Rows]] = deque()
        for number, part in enumerate(parts):
            turn = number % len(connections)
            waiting.append(threads[turn].submit(read, connections[turn], part))
            if len(waiting) > len(connections):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _past_tickets(
    connection: Connection, rule: Rule, asked: Asked, units: Sequence[Unit]
) -> list[PastTicket]:
    """Return closed tickets of the rule's failure mode, whoever raised them."""
    if rule.ticket is None:
        return []
    with connection.cursor(row_factory=class_row(PastTicket)) as cursor:
        cursor.execute(
            """
            SELECT id, device_id, opened_at, closed_at, closing_code FROM ticket
            WHERE failure_mode = %s AND device_id = ANY(%s) AND closed_at IS NOT NULL
            AND closing_code IS NOT NULL AND opened_at BETWEEN %s AND %s ORDER BY id
            """,
            (rule.ticket.failure_mode, [unit.id for unit in units], asked.since, asked.until),
        )
        return cursor.fetchall()
