"""The recurring jobs by name: what `ridethrough job run NAME` knows and the scheduler wakes."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from psycopg_pool import ConnectionPool

from collector.card_store import note_cloned_engines
from collector.frozen import find_frozen
from collector.partitions import make_ahead
from collector.power_store import find_power_events
from collector.rollup import roll_up
from rules.campaign_store import find_campaigns
from rules.problem_store import find_problems
from rules.version_store import known_rules
from service_api.battery import nightly as battery_nightly
from service_api.calendar_facts import CalendarFacts
from service_api.maintenance import planning
from service_api.planned_work import operations as planned_work
from service_api.retention import let_go
from service_api.schedule import Job
from service_api.settings import Settings


def jobs(settings: Settings) -> Mapping[str, Job]:
    """Return every job; how long readings are kept comes from the settings."""

    def drop(pool: ConnectionPool, now: datetime) -> str:
        return let_go(pool, now, raw_days=settings.raw_days)

    calendar = CalendarFacts()
    every = (
        Job("rollup", timedelta(minutes=1), _roll_up),
        Job("partitions", timedelta(hours=1), _make_ahead),
        Job("frozen", timedelta(hours=1), _find_frozen, after=timedelta(minutes=20)),
        Job("cards", timedelta(hours=1), _note_cloned_engines),
        Job("campaigns", timedelta(hours=1), _find_campaigns, after=timedelta(minutes=40)),
        Job("power-events", timedelta(minutes=1), _find_power_events),
        Job("planned-work", timedelta(minutes=5), _see_to_planned_work),
        Job("retention", timedelta(days=1), drop, after=timedelta(hours=19)),
        Job("maintenance", timedelta(days=1), planning.plan_all, after=timedelta(hours=18)),
        Job("battery-health", timedelta(days=1), battery_nightly.compute_all, timedelta(hours=18)),
        Job("problems", timedelta(days=1), _find_problems, timedelta(hours=18, minutes=10)),
        Job("calendar", timedelta(days=1), calendar.look_at_dates, timedelta(hours=18, minutes=5)),
        Job("deadlines", timedelta(minutes=1), calendar.look_at_deadlines),
    )
    return {job.name: job for job in every}


def _find_campaigns(pool: ConnectionPool, now: datetime) -> str:
    with pool.connection() as connection:
        found = find_campaigns(connection, known_rules(connection).rules, now=now)
    return f"{found} campaigns are new candidates"


def _roll_up(pool: ConnectionPool, now: datetime) -> str:
    total = 0
    while True:
        with pool.connection() as connection:
            done = roll_up(connection, now=now)
        total += done
        if not done:
            return f"{total} buckets" if total else ""


def _find_problems(pool: ConnectionPool, now: datetime) -> str:
    with pool.connection() as connection:
        return f"{find_problems(connection, now=now)} faults come back"


def _find_power_events(pool: ConnectionPool, now: datetime) -> str:
    with pool.connection() as connection:
        done = find_power_events(connection, now=now)
    return f"{done} spans on battery" if done else ""


def _see_to_planned_work(pool: ConnectionPool, now: datetime) -> str:
    with pool.connection() as connection:
        made = planned_work.make_times(connection, now=now)
    with pool.connection() as connection:
        kept = planned_work.keep_results(connection, now=now)
    return f"{made} times made, {kept} looked back on" if made or kept else ""


def _find_frozen(pool: ConnectionPool, now: datetime) -> str:
    with pool.connection() as connection:
        found = find_frozen(connection, now)
    return f"{found.raised} units frozen, {found.ended} move again" if any(found) else ""


def _make_ahead(pool: ConnectionPool, now: datetime) -> str:
    with pool.connection() as connection:
        made = make_ahead(connection, now)
    return f"{made} partitions made" if made else ""


def _note_cloned_engines(pool: ConnectionPool, now: datetime) -> str:
    with pool.connection() as connection:
        open_findings = note_cloned_engines(connection, now)
    return f"{open_findings} engine ids of several devices" if open_findings else ""
