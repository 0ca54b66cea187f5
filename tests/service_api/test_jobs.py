"""Recurring jobs: once however many schedulers there are, again when they failed."""

import threading
from datetime import timedelta

import pytest
from psycopg_pool import ConnectionPool

from service_api.schedule import ABANDONED_AFTER, AGAIN_AFTER, Job, Scheduler, run_due
from tests.collector.brokers import until
from tests.conftest import NOW

DAY = timedelta(days=1)


@pytest.fixture
def pool(embedded_database):
    with ConnectionPool(embedded_database.ingest_dsn, min_size=1, max_size=6, open=True) as opened:
        yield opened


def runs(pool, columns="job, due_at, finished_at, error"):
    with pool.connection() as connection:
        return connection.execute(f"SELECT {columns} FROM job_run ORDER BY due_at").fetchall()


def test_schedulers_at_once_run_a_slot_once(pool):
    ran = []
    job = Job("a", DAY, lambda _pool, _now: ran.append(1) or "done")
    threads = [
        threading.Thread(target=run_due, args=(pool, job), kwargs={"clock": lambda: NOW})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == 1
    assert runs(pool) == [("a", NOW.replace(hour=0), NOW, None)]
    assert run_due(pool, job, clock=lambda: NOW + DAY) == "done"
    assert len(runs(pool)) == 2


def test_a_run_that_failed_is_recorded_and_tried_again_after_a_while(pool):
    faults = ["the disk is full"]

    def work(_pool, _now):
        if faults:
            raise OSError(faults.pop())
        return "done"

    job = Job("a", DAY, work)
    with pytest.raises(OSError, match="the disk is full"):
        run_due(pool, job, clock=lambda: NOW)
    ((error,),) = runs(pool, "error")
    assert error.startswith("the disk is full\nTraceback")
    soon = NOW + AGAIN_AFTER - timedelta(seconds=1)
    assert run_due(pool, job, clock=lambda: soon) is None
    assert run_due(pool, job, clock=lambda: NOW + AGAIN_AFTER) == "done"
    assert runs(pool, "finished_at, error") == [(NOW + AGAIN_AFTER, None)]
    assert run_due(pool, job, clock=lambda: NOW + 2 * AGAIN_AFTER) is None


def test_a_run_whose_scheduler_died_is_taken_over(pool):
    job = Job("a", DAY, lambda _pool, _now: "done")
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO job_run (job, due_at, started_at) VALUES ('a', %s, %s)",
            (job.slot(NOW), NOW),
        )
    assert run_due(pool, job, clock=lambda: NOW + ABANDONED_AFTER) is None
    later = NOW + ABANDONED_AFTER + timedelta(seconds=1)
    assert run_due(pool, job, clock=lambda: later) == "done"


def test_a_slot_begins_so_long_after_midnight(pool):
    job = Job("a", DAY, lambda _pool, _now: "", after=timedelta(hours=19))
    assert job.slot(NOW) == NOW.replace(hour=19) - DAY
    assert job.slot(NOW.replace(hour=19)) == NOW.replace(hour=19)


def test_the_scheduler_makes_up_at_its_start_what_was_missed_and_survives_a_failure(pool):
    def fail(_pool, _now):
        raise ValueError("a bug")

    jobs = {
        "bad": Job("bad", DAY, fail),
        "good": Job("good", DAY, lambda _pool, _now: "done"),
    }
    scheduler = Scheduler(pool, jobs, now=lambda: NOW)
    scheduler.start()
    try:
        until(lambda: sum(at is not None for (at,) in runs(pool, "finished_at")) == 2)
    finally:
        scheduler.stop()
    assert sorted(job for job, error in runs(pool, "job, error") if error is None) == ["good"]
