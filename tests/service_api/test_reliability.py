"""The reliability report at the doors: what counts as a failure, by what, and who may look."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.conftest import NOW
from tests.service_api.conftest import Doors, open_doors

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def report_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture
def doors(report_doors) -> Doors:
    """Units of 100 days, all of one model, nothing wrong with any."""
    for table in ("work_order_event", "stock_move", "work_order", "ticket_alarm", "ticket_event"):
        report_doors.write(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        report_doors.write(f"DELETE FROM {table}")
    for table in ("maintenance_occurrence", "maintenance_due", "ticket", "rule_state", "alarm"):
        report_doors.write(f"DELETE FROM {table}")
    report_doors.write(
        "UPDATE device SET created_at = %s, model = 'Model A', enabled = true", NOW - 100 * DAY
    )
    return report_doors


def first_unit(doors: Doors) -> int:
    units = doors.api("desk").get("/api/v1/fleet", params={"limit": 500}).json()["items"]
    return min(unit["id"] for unit in units)


def failed(
    doors: Doors,
    device_id: int,
    *,
    days_ago: float,
    hours: float | None = 2,
    mode: str = "charger_fault",
    source: str = "rule",
    code: str | None = "repaired",
) -> None:
    at = NOW - days_ago * DAY
    cleared = None if hours is None else at + timedelta(hours=hours)
    doors.write(
        "INSERT INTO ticket (customer_id, site_id, device_id, failure_mode, source, title_en,"
        " title_zh, severity, priority, priority_terms, state, reason, entitlement, opened_at,"
        " condition_cleared_at, closed_at, closing_code, opened_by)"
        " SELECT customer_id, site_id, id, %s, %s, 't', 't', 'major', 2, '[]',"
        " CASE WHEN %s::text IS NULL THEN 'open' ELSE 'closed' END, '{}', '{}', %s, %s,"
        " CASE WHEN %s::text IS NULL THEN NULL ELSE %s::timestamptz END, %s, 'rule'"
        " FROM device WHERE id = %s",
        mode,
        source,
        code,
        at,
        cleared,
        code,
        cleared or at,
        code,
        device_id,
    )


def report(doors: Doors, **query: str | int) -> dict:
    answer = doors.api("desk").get("/api/v1/reports/reliability", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_failures_of_a_unit_make_its_mean_time_and_its_times_to_restore(doors):
    unit = first_unit(doors)
    failed(doors, unit, days_ago=10, hours=1)
    failed(doors, unit, days_ago=20, hours=3)

    worst = report(doors, by="device")["items"][0]

    assert (worst["key"], worst["failures"], worst["units"]) == (str(unit), 2, 1)
    assert worst["hours"] == pytest.approx(2_400)
    assert worst["between_failures"]["mean"] == pytest.approx(1_200)
    assert worst["restore"]["count"] == 2
    assert worst["restore"]["median"] == pytest.approx(2 * 3_600)
    assert worst["availability"] == pytest.approx(1_200 / 1_202)


@pytest.mark.parametrize(
    "what",
    [
        {"mode": "communication_lost"},
        {"mode": "battery_end_of_life"},
        {"mode": "self_test_overdue"},
        {"source": "schedule"},
        {"code": "false_alarm"},
        {"code": "duplicate"},
        {"code": "withdrawn"},
        {"days_ago": 400},
    ],
)
def test_what_is_no_failure_does_not_count(doors, what):
    failed(doors, first_unit(doors), **{"days_ago": 5, **what})
    (model,) = report(doors, by="model")["items"]
    assert model["failures"] == 0
    assert model["between_failures"]["mean"] is None
    assert model["between_failures"]["low"] > 0


def test_a_failure_that_is_not_over_counts_without_a_time_to_restore(doors):
    failed(doors, first_unit(doors), days_ago=1, hours=None, code=None)
    worst = report(doors, by="device")["items"][0]
    assert (worst["failures"], worst["restore"]["count"], worst["availability"]) == (1, 0, None)


@pytest.mark.parametrize("by", ["device", "model", "site", "customer"])
def test_hours_of_all_units_are_the_same_however_they_are_grouped(doors, by):
    told = report(doors, by=by)
    units = doors.api("desk").get("/api/v1/fleet", params={"limit": 1}).json()["total"]
    assert sum(one["units"] for one in told["items"]) == units
    assert sum(one["hours"] for one in told["items"]) == pytest.approx(2_400 * units)


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [("mill", {}, 403), ("robot", {}, 403), ("desk", {"by": "moon"}, 422), ("desk", {"y": 1}, 422)],
)
def test_only_staff_look_and_only_at_what_there_is(doors, name, query, status):
    answer = doors.api(name).get("/api/v1/reports/reliability", params=query)
    assert answer.status_code == status


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_the_figures_and_their_definitions(doors, language):
    failed(doors, first_unit(doors), days_ago=10)
    page = doors.page("desk")
    page.cookies.set("language", language)
    text = page.get("/reliability?by=device").text
    page.cookies.delete("language")
    assert {"en": "Definitions", "zh": "定义"}[language] in text
    assert {"en": "Between failures (MTBF)", "zh": "平均无故障时间（MTBF）"}[language] in text
