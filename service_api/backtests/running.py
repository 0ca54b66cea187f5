"""Run what was asked for: one back-test at a time, slowly enough that ingest does not feel it.

Whoever claims a run says now and then that it lives and how far it is; a run that was not heard of
for five minutes belongs to nobody and is taken up again. Cancelling is a change of the row, noticed
with the next part.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from rules.backtest import Progress, Refusal
from rules.backtest_store import Asked, NotPossible, Scope, estimated, run, units_in
from service_api.backtests.asking import AskedWrongly
from service_api.backtests.operations import rules_asked
from service_api.backtests.report import estimate_of, report
from service_api.backtests.schemas import RuleChoice

log = logging.getLogger(__name__)

LOST_AFTER = timedelta(minutes=5)
"""Longer than a part may take (`rules.backtest_store.QUERY_SECONDS`)."""
KEPT = timedelta(days=90)
REST = 0.5
"""For half of its working time a run stands back."""
TOLD_EVERY_SECONDS = 1.0
_IDLE_SECONDS = 1.0

Clock = Callable[[], datetime]


class _Cancelled(Exception):
    """The row says that nobody waits for this any more, or the daemon stops."""


class _Claimed(NamedTuple):
    id: int
    rules: list[dict[str, Any]]
    since: datetime
    until: datetime
    scope: dict[str, str]

    def asked(self, connection: psycopg.Connection[TupleRow]) -> Asked:
        choices = [RuleChoice.model_validate(one) for one in self.rules]
        return Asked(rules_asked(connection, choices), self.since, self.until, Scope(**self.scope))


def run_back_tests(pool: ConnectionPool, now: Clock) -> Callable[[threading.Event], None]:
    """Return a role that runs what is queued, one after the other, until it is told to stop."""

    def running(stop: threading.Event) -> None:
        failing = False
        while not stop.wait(_IDLE_SECONDS):
            try:
                while not stop.is_set() and run_one(pool, now=now, stop=stop):
                    pass
            except psycopg.OperationalError as error:
                if not failing:
                    log.warning("back-tests: the database fails: %s", error)
                failing = True
            else:
                failing = False

    return running


def estimate_one(pool: ConnectionPool) -> bool:
    """Estimate one back-test of which only that is wanted; returns whether there was one."""
    with pool.connection() as connection:
        claimed = _claimed(
            connection,
            """
            SELECT id, rules, since_at, until_at, scope FROM backtest
            WHERE state = 'asked' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
            """,
            {},
        )
        if claimed is None:
            return False
        found: dict[str, Any] | None = None
        reason: Refusal | None = None
        try:
            asked = claimed.asked(connection)
            found = estimate_of(estimated(connection, asked, units_in(connection, asked.scope)))
        except (NotPossible, AskedWrongly) as error:
            reason = error.reason
        connection.execute(
            """
            UPDATE backtest SET state = %s, estimate = %s, error_en = %s, error_zh = %s
            WHERE id = %s
            """,
            (
                "estimated" if reason is None else "failed",
                None if found is None else Jsonb(found),
                reason and reason.en,
                reason and reason.zh,
                claimed.id,
            ),
        )
    return True


def run_one(pool: ConnectionPool, *, now: Clock, stop: threading.Event) -> bool:
    """Run the next back-test if none is running elsewhere; returns whether there was one."""
    claimed = _claim(pool, now())
    if claimed is None:
        return False
    try:
        result = _result(pool, claimed, _Teller(pool, claimed.id, now, stop))
    except _Cancelled:
        _give_back(pool, claimed.id)
        return not stop.is_set()
    except (NotPossible, AskedWrongly) as error:
        _finish(pool, claimed.id, now(), reason=error.reason)
    except psycopg.errors.QueryCanceled:
        _finish(pool, claimed.id, now(), reason=_TOO_LONG)
    except psycopg.OperationalError:
        raise
    except Exception:  # the loop's edge: one bad back-test must not stop the others
        log.exception("back-test %d failed", claimed.id)
        _finish(pool, claimed.id, now(), reason=_FAILED)
    else:
        _finish(pool, claimed.id, now(), result=result)
    return True


def _result(pool: ConnectionPool, claimed: _Claimed, progress: Progress) -> dict[str, Any]:
    """Estimate for whoever waits, then run."""
    with pool.connection() as connection:
        asked = claimed.asked(connection)
        found = estimate_of(estimated(connection, asked, units_in(connection, asked.scope)))
        connection.execute(
            "UPDATE backtest SET estimate = %s WHERE id = %s", (Jsonb(found), claimed.id)
        )
    with pool.connection() as connection:
        result = run([connection], asked, progress=progress, rest=REST)
    return report(result, asked.since, asked.until)


_TOO_LONG = Refusal(
    "a query took too long: choose fewer units or a shorter span",
    "查询时间过长：请减少设备或缩短时间跨度",
)
_FAILED = Refusal("it failed for a reason that is in the service's log", "运行失败，原因见服务日志")


def _claimed(
    connection: psycopg.Connection[TupleRow], statement: str, values: dict[str, object]
) -> _Claimed | None:
    row = connection.execute(statement.encode(), values).fetchone()
    return None if row is None else _Claimed(*row)


def _claim(pool: ConnectionPool, now: datetime) -> _Claimed | None:
    with pool.connection() as connection:
        # Two that look at the same time would each see that nothing runs.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('backtest'))")
        return _claimed(
            connection,
            """
            UPDATE backtest SET state = 'running', started_at = %(now)s, beat_at = %(now)s,
                parts_done = 0
            WHERE id = (SELECT id FROM backtest WHERE state = 'queued'
                OR (state = 'running' AND beat_at < %(lost)s) ORDER BY id LIMIT 1)
            AND NOT EXISTS (SELECT FROM backtest WHERE state = 'running' AND beat_at >= %(lost)s)
            RETURNING id, rules, since_at, until_at, scope
            """,
            {"now": now, "lost": now - LOST_AFTER},
        )


class _Teller:
    """Says how far a run is, once a second, and ends it when nobody wants it any more."""

    def __init__(
        self, pool: ConnectionPool, backtest_id: int, now: Clock, stop: threading.Event
    ) -> None:
        self._pool = pool
        self._id = backtest_id
        self._now = now
        self._stop = stop
        self._next = 0.0

    def __call__(self, done: int, parts: int) -> None:
        if self._stop.is_set():
            raise _Cancelled
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + TOLD_EVERY_SECONDS
        with self._pool.connection() as connection:
            told = connection.execute(
                """
                UPDATE backtest SET parts_done = %s, parts = %s, beat_at = %s
                WHERE id = %s AND state = 'running'
                """,
                (done, parts, self._now(), self._id),
            ).rowcount
        if not told:
            raise _Cancelled


def _give_back(pool: ConnectionPool, backtest_id: int) -> None:
    """Let another take up what this one had to leave; a cancelled one stays so."""
    with pool.connection() as connection:
        connection.execute(
            "UPDATE backtest SET state = 'queued' WHERE id = %s AND state = 'running'",
            (backtest_id,),
        )


def _finish(
    pool: ConnectionPool,
    backtest_id: int,
    now: datetime,
    *,
    result: dict[str, Any] | None = None,
    reason: Refusal | None = None,
) -> None:
    with pool.connection() as connection:
        connection.execute(
            """
            UPDATE backtest SET state = %s, finished_at = %s, result = %s, parts_done = parts,
                error_en = %s, error_zh = %s
            WHERE id = %s AND state = 'running'
            """,
            (
                "done" if reason is None else "failed",
                now,
                None if result is None else Jsonb(result),
                reason and reason.en,
                reason and reason.zh,
                backtest_id,
            ),
        )
        connection.execute("DELETE FROM backtest WHERE asked_at < %s", (now - KEPT,))
