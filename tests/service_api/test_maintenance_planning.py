from datetime import date, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from rules import operations as tickets
from service_api.maintenance.planning import plan_all
from tests.conftest import NOW
from tests.service_world import lay_world

TODAY = NOW.date()


@pytest.fixture
def world(database):
    laid = lay_world(database.owner_dsn)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        for key, basis, skills, selector in (
            ("annual", "schedule", ["ups"], {}),
            ("cells", "completion", ["battery"], {"chemistry": "vrla"}),
        ):
            connection.execute(
                "INSERT INTO maintenance_plan (key, title, title_zh, interval_months, basis,"
                " duration_minutes, skills, selector) VALUES (%s, %s, %s, 12, %s, 240, %s, %s)",
                (key, f"{key} check", f"{key}检查", basis, skills, Jsonb(selector)),
            )
        connection.execute("UPDATE device SET enabled = (id = %s)", (laid.device,))
    return laid


@pytest.fixture
def pool(database, world):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=2, open=True) as opened:
        yield opened


@pytest.fixture
def change(database):
    def execute(query: str, *values: object) -> None:
        with psycopg.connect(database.owner_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            connection.execute(query, values)

    return execute


def due(pool) -> dict[str, tuple]:
    with pool.connection() as connection:
        return {
            key: rest
            for key, *rest in connection.execute(
                "SELECT p.key, m.due_on, m.last_done_on, m.last_scheduled_on, m.ticket_id"
                " FROM maintenance_due m JOIN maintenance_plan p ON p.id = m.plan_id"
            )
        }


def open_modes(pool) -> dict[str, int]:
    with pool.connection() as connection:
        return dict(
            connection.execute(
                "SELECT failure_mode, priority FROM ticket WHERE closed_at IS NULL ORDER BY id"
            ).fetchall()
        )


def test_a_unit_without_a_date_has_no_due_date_and_no_ticket(pool, world):
    assert plan_all(pool, NOW) == ""
    assert due(pool) == {"annual": [None] * 4, "cells": [None] * 4}


@pytest.mark.parametrize(
    ("days_ago", "opens", "priority"),
    [
        pytest.param(300, False, None, id="far ahead"),
        pytest.param(340, True, 4, id="within the window"),
        pytest.param(365, True, 4, id="due today"),
        pytest.param(390, True, 3, id="late"),
    ],
)
def test_a_ticket_opens_in_the_window_and_is_worth_more_when_late(
    pool, world, change, days_ago, opens, priority
):
    change("UPDATE device SET installed_on = %s", TODAY - timedelta(days=days_ago))
    plan_all(pool, NOW)
    expected = {"maintenance_visit": priority} if opens else {}
    assert open_modes(pool) == expected
    before = due(pool)
    assert plan_all(pool, NOW) == ""
    assert due(pool) == before


def test_planned_work_has_no_response_clock(pool, world, change):
    change("UPDATE device SET installed_on = %s", TODAY - timedelta(days=365))
    plan_all(pool, NOW)
    with pool.connection() as connection:
        rows = connection.execute("SELECT respond_by_at, restore_by_at FROM ticket").fetchall()
    assert rows == [(None, None)]


def test_an_open_ticket_rises_once_its_work_is_late(pool, world, change):
    change("UPDATE device SET installed_on = %s", TODAY - timedelta(days=365))
    plan_all(pool, NOW)
    plan_all(pool, NOW + timedelta(days=20))
    assert set(open_modes(pool).values()) == {3}
    with pool.connection() as connection:
        rows = connection.execute("SELECT count(*) FROM ticket_event WHERE kind = 'escalated'")
        assert rows.fetchone() == (1,)
    assert plan_all(pool, NOW + timedelta(days=21)) == ""


def close(pool, code: str, at) -> None:
    with pool.connection() as connection:
        for (ticket,) in connection.execute("SELECT id FROM ticket WHERE closed_at IS NULL"):
            tickets.close_ticket(
                connection, ticket, closing_code=code, text="", actor="test", now=at
            )


def test_done_work_moves_the_due_date_from_schedule_or_completion(pool, world, change):
    change("UPDATE device SET installed_on = %s", date(2025, 2, 20))
    plan_all(pool, NOW)
    close(pool, "maintenance_done", NOW)
    plan_all(pool, NOW + timedelta(days=1))
    done_on = TODAY
    assert due(pool) == {
        "annual": [date(2027, 2, 20), done_on, date(2026, 2, 20), None],
        "cells": [date(2027, 3, 2), done_on, date(2026, 2, 20), None],
    }
    assert open_modes(pool) == {}


def test_withdrawn_work_stays_due_and_is_asked_for_again_later(pool, world, change):
    change("UPDATE device SET installed_on = %s", date(2025, 2, 20))
    plan_all(pool, NOW)
    close(pool, "withdrawn", NOW)
    plan_all(pool, NOW + timedelta(days=1))
    assert open_modes(pool) == {}
    assert due(pool)["annual"][:2] == [date(2026, 2, 20), None]
    plan_all(pool, NOW + timedelta(days=15))
    assert set(open_modes(pool)) == {"maintenance_visit"}


def test_lithium_gets_no_lead_acid_battery_work(pool, world, change):
    change("UPDATE device SET battery_chemistry = 'li-ion'")
    plan_all(pool, NOW)
    assert set(due(pool)) == {"annual"}
