"""Planned work from due dates to visits and back: merging, splitting, holding, completing."""

from datetime import date, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from rules import operations as tickets
from rules.operations import NotThere, OperationRefused
from service_api.maintenance import occurrences, operations, store, visits
from service_api.maintenance.catalog import seed_plans
from service_api.maintenance.planning import plan_all
from service_api.maintenance.schemas import NewFreeze, UnitException
from service_api.work_orders.drafting import draft_order
from service_api.work_orders.operations import StepRefused, assign
from tests.conftest import NOW
from tests.service_world import lay_crew, lay_world

TODAY = NOW.date()
PLANS = (
    # key, months, basis, minutes, three-phase minutes, includes
    ("semi", 6, "schedule", 60, 150, []),
    ("annual", 12, "schedule", 90, 300, ["semi"]),
    ("fans", 60, "completion", 30, 150, []),
)


@pytest.fixture
def world(database):
    laid = lay_world(database.owner_dsn)
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        for key, months, basis, minutes, three, includes in PLANS:
            connection.execute(
                """
                INSERT INTO maintenance_plan (key, title, title_zh, interval_months, basis,
                    duration_minutes, duration_minutes_three_phase, skills, includes, steps_en,
                    steps_zh)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, '{Look.}', '{看。}')
                """,
                (key, key.title(), f"{key}检", months, basis, minutes, three, ["ups"], includes),
            )
        connection.execute("UPDATE device SET enabled = (site_id = %s)", (laid.site,))
        connection.execute("UPDATE device SET installed_on = '2025-03-10'")
    return laid


@pytest.fixture
def pool(database, world):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=2, open=True) as opened:
        yield opened


@pytest.fixture
def staff(database, world):
    """A connection as the pages have it."""
    with psycopg.connect(database.api_dsn, autocommit=True) as opened:
        opened.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        yield opened


@pytest.fixture
def change(database):
    def execute(query: str, *values: object) -> None:
        with psycopg.connect(database.owner_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            connection.execute(query, values)

    return execute


def lines(pool) -> set[tuple[str, str, date | None, int | None]]:
    with pool.connection() as connection:
        return set(
            connection.execute(
                """
                SELECT d.key, p.key, m.due_on, m.visit_id FROM maintenance_due m
                JOIN device d ON d.id = m.device_id JOIN maintenance_plan p ON p.id = m.plan_id
                """
            ).fetchall()
        )


def plan_id(pool, key: str) -> int:
    with pool.connection() as connection:
        return connection.execute(
            "SELECT id FROM maintenance_plan WHERE key = %s", (key,)
        ).fetchone()[0]


def test_what_is_due_at_a_site_is_one_visit_with_one_ticket(pool, staff, world):
    assert plan_all(pool, NOW) == "1 tickets"
    (visit,) = store.visits(staff)
    assert {(line.device, line.title) for line in visit.lines} == {
        (device, title) for device in ("UPS u1", "UPS u2") for title in ("Semi", "Annual")
    }
    # Two annual inspections of 90 minutes take the semi-annual ones along.
    assert (visit.minutes, visit.skills, visit.visit_on) == (180, ["ups"], TODAY)
    title, device, mode, reason = staff.execute(
        "SELECT title_en, device_id, failure_mode, reason FROM ticket"
    ).fetchone()
    assert title == "Site s1: maintenance visit, 4 tasks at 2 units"
    assert (device, mode) == (None, "maintenance_visit")
    assert [one["minutes"] for one in reason["lines"]].count(0) == 2
    assert "every year; installed 2025-03-10 → due 2026-03-10" in reason["why_en"]
    assert draft_order(staff, visit.ticket_id, actor="test", now=NOW) is not None
    assert staff.execute("SELECT estimated_minutes, skills FROM work_order").fetchone() == (
        180,
        ["ups"],
    )


def test_what_falls_due_later_joins_the_visit_that_is_open(pool, staff, world, change):
    change("UPDATE device SET installed_on = '2025-04-15' WHERE key = 'u2'")
    plan_all(pool, NOW)
    (visit,) = store.visits(staff)
    assert len(visit.lines) == 4
    change("UPDATE device SET installed_on = '2025-04-30' WHERE key = 'u2'")
    plan_all(pool, NOW)
    # 59 days ahead would be too far for one trip; what is on the visit stays on it.
    (visit,) = store.visits(staff)
    assert len(visit.lines) == 4


def test_looking_again_changes_nothing(pool, staff, world):
    plan_all(pool, NOW)
    before = (lines(pool), staff.execute("SELECT count(*) FROM ticket_event").fetchone())
    assert plan_all(pool, NOW + timedelta(hours=1)) == ""
    assert (lines(pool), staff.execute("SELECT count(*) FROM ticket_event").fetchone()) == before


def test_a_visit_is_split_by_hand_stays_split_and_is_merged_again(pool, staff, world):
    plan_all(pool, NOW)
    (visit,) = store.visits(staff)
    taken = [(one.device_id, one.plan_id) for one in visit.lines if one.device == "UPS u2"]
    made = visits.split(staff, visit.id, taken, actor="anna", now=NOW)
    plan_all(pool, NOW + timedelta(days=1))
    found = {one.id: {line.device for line in one.lines} for one in store.visits(staff)}
    assert found == {visit.id: {"UPS u1"}, made: {"UPS u2"}}
    assert store.visit(staff, visit.id).minutes == 90
    visits.merge_into(staff, made, visit.id, actor="anna", now=NOW + timedelta(days=1))
    plan_all(pool, NOW + timedelta(days=2))
    (again,) = store.visits(staff)
    assert (again.id, len(again.lines), again.minutes) == (visit.id, 4, 180)
    codes = staff.execute("SELECT closing_code FROM ticket ORDER BY id").fetchall()
    assert codes == [(None,), ("duplicate",)]


def test_what_cannot_be_split_or_merged_is_refused(pool, staff, world):
    plan_all(pool, NOW)
    (visit,) = store.visits(staff)
    everything = [(one.device_id, one.plan_id) for one in visit.lines]
    for taken, why in ((everything, "two parts"), ([(9, 9)], "of this visit"), ([], "two parts")):
        with pytest.raises(OperationRefused, match=why):
            visits.split(staff, visit.id, taken, actor="anna", now=NOW)
    with pytest.raises(OperationRefused, match="another one"):
        visits.merge_into(staff, visit.id, visit.id, actor="anna", now=NOW)
    with pytest.raises(NotThere):
        visits.split(staff, visit.id + 9, everything[:1], actor="anna", now=NOW)


def close(connection, code: str, at) -> None:
    for (ticket,) in connection.execute("SELECT id FROM ticket WHERE closed_at IS NULL").fetchall():
        tickets.close_ticket(connection, ticket, closing_code=code, text="", actor="x", now=at)


def test_a_closed_visit_completes_its_lines_and_a_reopened_one_takes_that_back(pool, staff, world):
    plan_all(pool, NOW)
    (visit,) = store.visits(staff)
    close(staff, "maintenance_done", NOW)
    occurrences.settle_tickets(staff, now=NOW)
    assert {one[3] for one in lines(pool)} == {None}
    rows = staff.execute(
        "SELECT outcome, done_on, due_on FROM maintenance_occurrence GROUP BY 1, 2, 3 ORDER BY 3"
    ).fetchall()
    assert rows == [
        ("late", TODAY, date(2025, 9, 10)),
        ("in_time", TODAY, date(2026, 3, 10)),
    ]
    plan_all(pool, NOW)
    assert {one[2] for one in lines(pool) if one[1] == "annual"} == {date(2027, 3, 10)}
    tickets.reopen_ticket(staff, visit.ticket_id, reason="forgot a unit", actor="x", now=NOW)
    occurrences.settle_tickets(staff, now=NOW)
    plan_all(pool, NOW)
    assert {one[2] for one in lines(pool) if one[1] == "annual"} == {date(2026, 3, 10)}
    assert [one.id for one in store.visits(staff)] == [visit.id]
    assert staff.execute(
        "SELECT count(*) FROM maintenance_occurrence WHERE undone_at IS NULL"
    ).fetchone() == (0,)


def test_work_entered_by_hand_leaves_its_visit_and_comes_back_when_undone(pool, staff, world):
    plan_all(pool, NOW)
    annual = plan_id(pool, "annual")
    made = occurrences.enter_done(
        staff, world.device, annual, done_on=TODAY, remark="by the customer", actor="anna", now=NOW
    )
    plan_all(pool, NOW)
    (visit,) = store.visits(staff)
    assert (world.device, annual) not in {(one.device_id, one.plan_id) for one in visit.lines}
    # The semi-annual inspection of that unit is on its own now, so it takes its time again.
    assert visit.minutes == 90 + 60
    occurrences.undo(staff, made, actor="anna", now=NOW)
    with pytest.raises(OperationRefused, match="already"):
        occurrences.undo(staff, made, actor="anna", now=NOW)
    plan_all(pool, NOW)
    assert len(store.visits(staff)[0].lines) == 4


@pytest.mark.parametrize(
    ("on", "why"), [(TODAY + timedelta(days=1), "ahead"), (date(2025, 3, 9), "installed")]
)
def test_impossible_days_are_refused(pool, staff, world, on, why):
    plan_all(pool, NOW)
    with pytest.raises(OperationRefused, match=why):
        occurrences.enter_done(
            staff,
            world.device,
            plan_id(pool, "annual"),
            done_on=on,
            remark="",
            actor="anna",
            now=NOW,
        )


def test_a_visit_of_which_nothing_is_left_is_withdrawn(pool, staff, world):
    plan_all(pool, NOW)
    for key in ("semi", "annual"):
        for device in (world.device, world.second_device):
            occurrences.enter_done(
                staff, device, plan_id(pool, key), done_on=TODAY, remark="", actor="a", now=NOW
            )
    plan_all(pool, NOW)
    assert store.visits(staff) == []
    assert staff.execute("SELECT closing_code FROM ticket").fetchall() == [("withdrawn",)]


def test_waived_work_is_not_due_until_the_waiver_ends(pool, staff, world):
    plan_all(pool, NOW)
    annual = plan_id(pool, "annual")
    waiver = UnitException(waived=True, reason="leaves in May")
    operations.set_exception(staff, world.device, annual, waiver, actor="anna", now=NOW)
    plan_all(pool, NOW)
    assert ("u1", "annual", None, None) in lines(pool)
    line = store.line(staff, world.device, annual, today=TODAY)
    assert (line.state, line.exception["reason"]) == ("waived", "leaves in May")
    operations.end_exception(staff, world.device, annual)
    plan_all(pool, NOW)
    assert ("u1", "annual", date(2026, 3, 10)) in {one[:3] for one in lines(pool)}


def test_another_interval_of_a_unit_counts_from_the_last_work(pool, staff, world):
    more = UnitException(interval_months=24, reason="clean room")
    operations.set_exception(
        staff, world.device, plan_id(pool, "annual"), more, actor="anna", now=NOW
    )
    plan_all(pool, NOW)
    assert {one[:3] for one in lines(pool) if one[1] == "annual"} == {
        ("u1", "annual", date(2027, 3, 10)),
        ("u2", "annual", date(2026, 3, 10)),
    }


def test_nothing_is_opened_while_redundancy_is_lost(pool, staff, world, change):
    change(
        "UPDATE device_state SET alarm_redundancy_lost = true, fast_at = %s, observed_at = %s"
        " WHERE device_id = %s",
        NOW,
        NOW,
        world.device,
    )
    plan_all(pool, NOW)
    (visit,) = store.visits(staff)
    assert {line.device for line in visit.lines} == {"UPS u2"}
    assert store.line(staff, world.device, plan_id(pool, "annual"), today=TODAY).held_by == (
        "redundancy_lost"
    )
    change("UPDATE device_state SET alarm_redundancy_lost = false")
    plan_all(pool, NOW)
    assert len(store.visits(staff)[0].lines) == 4


def test_a_visit_never_lies_in_a_change_freeze_and_nobody_is_sent_then(
    pool, staff, world, database
):
    crew = lay_crew(database.owner_dsn)
    freeze = NewFreeze(
        site_id=world.site, starts_on=TODAY, ends_on=date(2026, 3, 20), reason="year end"
    )
    frozen = operations.add_freeze(staff, freeze, actor="anna", now=NOW)
    plan_all(pool, NOW)
    (visit,) = store.visits(staff)
    assert visit.visit_on == date(2026, 3, 21)
    order = draft_order(staff, visit.ticket_id, actor="test", now=NOW)
    with pytest.raises(StepRefused, match="on 2026-03-11: year end"):
        assign(
            staff,
            order,
            engineer_id=crew["a"],
            starts_at=NOW + timedelta(days=9),
            actor="anna",
            now=NOW,
        )
    operations.end_freeze(staff, frozen, actor="anna", now=NOW)
    plan_all(pool, NOW)
    assert store.visits(staff)[0].visit_on == TODAY
    assign(
        staff,
        order,
        engineer_id=crew["a"],
        starts_at=NOW + timedelta(days=9),
        actor="anna",
        now=NOW,
    )


def test_a_promised_date_that_passed_is_missed_once(pool, staff, world, change):
    change("UPDATE device SET created_at = '2025-01-01'")
    plan_all(pool, NOW + timedelta(days=300))
    plan_all(pool, NOW + timedelta(days=301))
    missed = staff.execute(
        """
        SELECT d.key, p.key, o.due_on FROM maintenance_occurrence o
        JOIN device d ON d.id = o.device_id JOIN maintenance_plan p ON p.id = o.plan_id
        WHERE outcome = 'missed' AND d.key = 'u1' ORDER BY o.due_on
        """
    ).fetchall()
    assert missed == [("u1", "semi", date(2025, 9, 10)), ("u1", "semi", date(2026, 3, 10))]
    kept = store.compliance(staff, since=date(2025, 1, 1), until=date(2026, 4, 1), now=NOW)
    assert (kept.missed, kept.compliance_percent) == (4, 0.0)
    assert {one[2] for one in lines(pool) if one[1] == "semi"} == {date(2026, 9, 10)}


def test_three_phase_units_take_their_time(pool, staff, world, change):
    change(
        "UPDATE device_state SET output_l2_n_voltage = 230, observed_at = %s WHERE device_id = %s",
        NOW,
        world.device,
    )
    plan_all(pool, NOW)
    assert store.visits(staff)[0].minutes == 300 + 90


def test_a_unit_that_moves_to_another_site_goes_on_a_visit_there(pool, staff, world, change):
    plan_all(pool, NOW)
    change(
        "INSERT INTO site (customer_id, key, name, name_zh) VALUES (%s, 's9', 'Site s9', '九')",
        world.customer,
    )
    change(
        "UPDATE device SET site_id = (SELECT id FROM site WHERE key = 's9') WHERE id = %s",
        world.second_device,
    )
    plan_all(pool, NOW + timedelta(days=1))
    found = {one.site: {line.device for line in one.lines} for one in store.visits(staff)}
    assert found == {"Site s1": {"UPS u1"}, "Site s9": {"UPS u2"}}


def test_a_self_test_that_the_unit_tells_of_is_done(pool, staff, world, change):
    change(
        """
        INSERT INTO maintenance_plan (key, title, title_zh, interval_months, basis,
            duration_minutes, on_site)
        VALUES ('self_test', 'Test', '自检', 1, 'completion', 5, false)
        """
    )
    change(
        "UPDATE device_state SET ups_test_result = 'passed', extra = %s, observed_at = %s"
        " WHERE device_id = %s",
        Jsonb({"ups.test.date": "2026-02-20T09:00:00+08:00"}),
        NOW,
        world.device,
    )
    plan_all(pool, NOW)
    plan_all(pool, NOW)
    assert ("u1", "self_test", date(2026, 3, 20), None) in lines(pool)
    rows = staff.execute(
        "SELECT done_on, actor FROM maintenance_occurrence WHERE actor = 'unit'"
    ).fetchall()
    assert rows == [(date(2026, 2, 20), "unit")]


def test_the_shipped_plans_can_be_written_and_planned(pool, staff, world, change):
    change("DELETE FROM maintenance_due")
    change("DELETE FROM maintenance_plan")
    seed_plans(staff)
    seed_plans(staff)
    plan_all(pool, NOW)
    assert {one[1] for one in lines(pool)} == {
        "health_review",
        "visual_inspection",
        "semi_annual",
        "annual",
        "battery_annual",
        "battery_replacement",
        "fans",
        "firmware",
    }
    (visit,) = store.visits(staff)
    assert {line.title for line in visit.lines} == {
        "Visual inspection",
        "Semi-annual inspection",
        "Annual maintenance",
        "Annual battery check",
    }


def test_a_unit_that_is_on_battery_often_is_visited_sooner(pool, staff, world, change):
    limits = Jsonb([{"meter": "transfers", "per_year": 100, "within_months": 3}])
    change("UPDATE maintenance_plan SET meters = %s WHERE key = 'annual'", limits)
    change("UPDATE device SET installed_on = '2025-11-01'")
    for days in range(90):
        change(
            "INSERT INTO telemetry_1d (device_id, bucket, n) VALUES (%s, %s, 1)",
            world.device,
            NOW.replace(hour=0) - timedelta(days=days),
        )
        if days % 2:
            change(
                """
                INSERT INTO battery_discharge (device_id, ended_at, seconds, load, reached_end)
                VALUES (%s, %s, 60, 40, false)
                """,
                world.device,
                NOW - timedelta(days=days),
            )
    plan_all(pool, NOW)
    line = store.line(staff, world.device, plan_id(pool, "annual"), today=TODAY)
    # 45 times in 122 days are 135 a year, so three months after the installation.
    assert line.due_on == date(2026, 2, 1)
    assert line.reasons[0]["en"] == "135 transfers to battery a year (limit 100) → due 2026-02-01"
