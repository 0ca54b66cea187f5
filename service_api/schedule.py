"""Recurring jobs: APScheduler wakes, the database decides who runs, and missed runs are made up.

A job's run is claimed by inserting its row in `job_run`, so several schedulers do it once. A slot
that passed while nobody was running is made up once at the next start. What a job does lives in
its noun; which jobs there are is said by the composition root.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

log = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(hours=1)
"""A run that did not finish within it is taken over: its scheduler died."""
AGAIN_AFTER = timedelta(minutes=10)
"""A run that failed is tried again after it, rather than at the next slot, a day later."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do once in every `every`, `after` into it; `run` gets a pool and the time."""

    name: str
    every: timedelta
    run: Callable[[ConnectionPool, datetime], str]
    after: timedelta = timedelta(0)

    def slot(self, now: datetime) -> datetime:
        """Return the instant at which the run that is due at `now` was due."""
        return now - (now - _EPOCH - self.after) % self.every


def run_due(
    pool: ConnectionPool, job: Job, *, clock: Callable[[], datetime], again: bool = False
) -> str | None:
    """Run a job if nobody has run its current slot; returns what it said, None if not its turn.

    `again` runs it whether or not the slot was done: `ridethrough job run`.
    """
    now = clock()
    due_at = now if again else job.slot(now)
    with pool.connection() as connection:
        if not _claim(connection, job.name, due_at, now):
            return None
    try:
        said = job.run(pool, now)
    except Exception as error:
        log.exception("job %s failed", job.name)
        with pool.connection() as connection:
            _finish(connection, job.name, due_at, clock(), f"{error}\n{traceback.format_exc()}")
        raise
    with pool.connection() as connection:
        _finish(connection, job.name, due_at, clock(), None)
    return said


def _claim(
    connection: psycopg.Connection[TupleRow], name: str, due_at: datetime, now: datetime
) -> bool:
    row = connection.execute(
        """
        INSERT INTO job_run (job, due_at, started_at) VALUES (%s, %s, %s)
        ON CONFLICT (job, due_at) DO UPDATE SET started_at = excluded.started_at, error = NULL,
            finished_at = NULL
            WHERE (job_run.finished_at IS NULL AND job_run.started_at < %s)
            OR (job_run.error IS NOT NULL AND job_run.started_at <= %s)
        RETURNING job
        """,
        (name, due_at, now, now - ABANDONED_AFTER, now - AGAIN_AFTER),
    ).fetchone()
    return row is not None


def _finish(
    connection: psycopg.Connection[TupleRow],
    name: str,
    due_at: datetime,
    now: datetime,
    error: str | None,
) -> None:
    connection.execute(
        "UPDATE job_run SET finished_at = %s, error = %s WHERE job = %s AND due_at = %s",
        (now, error, name, due_at),
    )


class Scheduler:
    """Wakes each job at its slots, in between for what failed, at the start for what was missed.

    Waking says nothing about running: the claim decides.
    """

    def __init__(
        self, pool: ConnectionPool, jobs: Mapping[str, Job], *, now: Callable[[], datetime]
    ) -> None:
        self._pool = pool
        self._jobs = jobs
        self._now = now
        self._scheduler = BackgroundScheduler(timezone=UTC)

    def start(self) -> None:
        """Begin; each job looks at once whether its slot was missed."""
        for job in self._jobs.values():
            look_every = min(job.every, AGAIN_AFTER)
            self._scheduler.add_job(
                self._wake,
                IntervalTrigger(
                    seconds=int(look_every.total_seconds()),
                    start_date=job.slot(self._now()) + look_every,
                    timezone=UTC,
                ),
                args=[job],
                id=job.name,
                next_run_time=self._now(),
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        self._scheduler.start()

    def stop(self) -> None:
        """Let running jobs finish and stop."""
        self._scheduler.shutdown(wait=True)

    def _wake(self, job: Job) -> None:
        try:
            said = run_due(self._pool, job, clock=self._now)
        except Exception:  # noqa: BLE001 - the loop's edge: run_due has recorded it
            return
        if said:
            log.info("job %s: %s", job.name, said)
