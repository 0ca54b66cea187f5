"""Back-tests asked for through the API and on pages, run by the service, cancelled, read."""

import threading
from datetime import timedelta

import pytest

from service_api.backtests.running import estimate_one, run_one
from service_api.database import open_pool
from tests.service_api.conftest import Doors

TOML = """
[mine]
title = {en = "Loaded <b>now</b>", zh = "负载"}
severity = "minor"
condition = "ups_load > 10"
raise_after_seconds = 0
clear_after_seconds = 0
source = "test"
"""


@pytest.fixture
def worker(doors: Doors):
    """What the service does with what is asked for, one after the other."""
    pool = open_pool(doors.database.ingest_dsn, most=4, name="worker")
    doors.write("DELETE FROM backtest")

    def work(stop=None) -> bool:
        is_estimated = estimate_one(pool)
        return run_one(pool, now=lambda: doors.now, stop=stop or threading.Event()) or is_estimated

    yield work
    pool.close()


def body(doors: Doors, **more) -> dict:
    return {
        "rule": {"key": "high_load"},
        "since": (doors.now - timedelta(days=3)).isoformat(),
        **more,
    }


@pytest.fixture
def units(doors: Doors) -> list[int]:
    """Two units that told a load of 90 for an hour, a minute apart, an hour ago."""
    ids = [row[0] for row in doors.write("SELECT id FROM device ORDER BY id LIMIT 2")]
    begin = doors.now - timedelta(hours=2)
    doors.write("DELETE FROM telemetry WHERE device_id = ANY(%s)", ids)
    doors.write("SELECT ensure_partition('telemetry', %s)", begin)
    doors.write(
        """
        INSERT INTO telemetry
            (device_id, observed_at, received_at, believed_seconds, told, ups_load)
        SELECT id, at, at, 180, 1, CASE WHEN at < %s THEN 90 ELSE 40 END
        FROM unnest(%s::bigint[]) AS id
        CROSS JOIN generate_series(%s::timestamptz, %s, interval '1 minute') AS at
        """,
        begin + timedelta(hours=1),
        ids,
        begin,
        doors.now - timedelta(minutes=1),
    )
    return ids


def test_a_back_test_is_asked_for_run_and_read(doors: Doors, worker, units):
    desk = doors.api("desk")
    asked = desk.post("/api/v1/backtests", json=body(doors, against={"text": TOML}))
    assert asked.status_code == 201, asked.text
    assert (asked.json()["state"], asked.json()["asked_by"]) == ("queued", "desk")
    assert worker()
    assert not worker()
    test = desk.get(f"/api/v1/backtests/{asked.json()['id']}").json()
    assert test["state"] == "done"
    assert test["parts_done"] == test["parts"] > 0
    shipped, mine = test["result"]["rules"]
    begin = doors.now - timedelta(hours=2)
    found = {
        one["device_id"]: (one["raised_at"], one["cleared_at"])
        for one in shipped["listed"]
        if one["device_id"] in units
    }
    # Above 80 for 15 min; at or below 70 for 10 min from an hour on.
    expected = (
        (begin + timedelta(minutes=15)).isoformat(),
        (begin + timedelta(minutes=70)).isoformat(),
    )
    assert found == dict.fromkeys(units, expected)
    assert {unit["device_id"] for unit in mine["by_unit"]} >= set(units)
    listed = desk.get("/api/v1/backtests?state=done").json()
    assert (listed["total"], "result" in listed["items"][0]) == (1, False)


def test_an_estimate_comes_first_and_the_run_when_it_is_wanted(doors: Doors, worker, units):
    desk = doors.api("desk")
    asked = desk.post("/api/v1/backtests", json=body(doors, run=False)).json()
    assert asked["state"] == "asked"
    assert worker()
    estimated = desk.get(f"/api/v1/backtests/{asked['id']}").json()
    assert (estimated["state"], estimated["result"]) == ("estimated", None)
    assert estimated["estimate"]["units"] > 2
    assert estimated["estimate"]["readings"] > 0
    assert desk.post(f"/api/v1/backtests/{asked['id']}/run").json()["state"] == "queued"
    assert worker()
    assert desk.post(f"/api/v1/backtests/{asked['id']}/run").status_code == 409
    assert desk.delete(f"/api/v1/backtests/{asked['id']}").status_code == 409


def test_one_that_waits_is_cancelled_and_never_run(doors: Doors, worker):
    desk = doors.api("desk")
    asked = desk.post("/api/v1/backtests", json=body(doors)).json()
    cancelled = desk.delete(f"/api/v1/backtests/{asked['id']}").json()
    assert (cancelled["state"], cancelled["cancelled_by"]) == ("cancelled", "desk")
    assert not worker()


def test_a_service_that_stops_gives_its_run_back_and_a_lost_one_is_taken_up(
    doors: Doors, worker, units
):
    desk = doors.api("desk")
    number = desk.post("/api/v1/backtests", json=body(doors)).json()["id"]
    stopping = threading.Event()
    stopping.set()
    worker(stopping)
    assert desk.get(f"/api/v1/backtests/{number}").json()["state"] == "queued"
    doors.write("UPDATE backtest SET state = 'running', beat_at = %s", doors.now)
    assert not worker()
    doors.write("UPDATE backtest SET beat_at = %s", doors.now - timedelta(minutes=6))
    assert worker()
    assert desk.get(f"/api/v1/backtests/{number}").json()["state"] == "done"


def test_only_one_runs_at_a_time(doors: Doors, worker):
    desk = doors.api("desk")
    for _ in range(2):
        desk.post("/api/v1/backtests", json=body(doors))
    doors.write(
        "UPDATE backtest SET state = 'running', beat_at = %s"
        " WHERE id = (SELECT min(id) FROM backtest)",
        doors.now,
    )
    assert not worker()


REFUSED = [
    ({"rule": {"key": "nothing"}}, "there is no rule nothing"),
    ({"rule": {}}, "say which rule"),
    ({"rule": {"text": "[x"}}, "not valid TOML"),
    ({"rule": {"text": TOML.replace("ups_load", "ups_lod")}}, "did you mean `ups_load`"),
    ({"rule": {"key": "communication_lost"}}, "silence is not kept"),
    ({"since": "2026-03-09T00:00:00Z", "until": "2026-03-08T00:00:00Z"}, "before it begins"),
    ({"since": "1999-01-01T00:00:00Z"}, "5 years at most"),
    ({"since": "2026-03-01T00:00:00"}, "timezone"),
    ({"surprise": 1}, "Extra inputs"),
    ({"rule": {"text": "x" * 20_001}}, "20000"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED)
def test_what_cannot_be_tried_is_refused_with_the_reason(doors: Doors, change, says):
    answer = doors.api("desk").post("/api/v1/backtests", json=body(doors) | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert says in answer.text


def test_too_many_that_wait_are_refused(doors: Doors, worker):
    desk = doors.api("desk")
    answers = [desk.post("/api/v1/backtests", json=body(doors)).status_code for _ in range(21)]
    assert answers == [201] * 20 + [409]


def test_a_scope_without_units_says_so_and_harms_nobody(doors: Doors, worker):
    desk = doors.api("desk")
    number = desk.post("/api/v1/backtests", json=body(doors, site="nowhere")).json()["id"]
    assert worker()
    test = desk.get(f"/api/v1/backtests/{number}").json()
    assert (test["state"], test["error_en"]) == ("failed", "no unit is in this scope")
    assert test["error_zh"] == "范围内没有设备"


def test_customers_have_no_part_in_it(doors: Doors, worker):
    number = doors.api("desk").post("/api/v1/backtests", json=body(doors)).json()["id"]
    bank = doors.api("bank")
    assert bank.post("/api/v1/backtests", json=body(doors)).status_code == 403
    assert bank.get("/api/v1/backtests").status_code == 403
    assert bank.get(f"/api/v1/backtests/{number}").status_code == 403
    assert bank.delete(f"/api/v1/backtests/{number}").status_code == 403
    assert doors.page("bank").get("/backtests").status_code == 403


def form_token(page, path: str) -> str:
    text = page.get(path).text
    return text.partition('name="csrf_token" value="')[2].partition('"')[0]


def test_the_page_asks_shows_the_way_and_the_result(doors: Doors, worker, units):
    page = doors.page("desk")
    sent = {
        "csrf_token": form_token(page, "/backtests"),
        "rule": "high_load",
        "against_text": TOML,
        "since": (doors.now - timedelta(days=1)).date().isoformat(),
        "until": doors.now.date().isoformat(),
        "deed": "estimate",
    }
    answer = page.post("/backtests", data=sent)
    assert answer.status_code == 303, answer.text
    here = answer.headers["location"]
    assert "being estimated" in page.get(here).text
    worker()
    estimated = page.get(here).text
    assert "about" in estimated.lower()
    run = page.post(f"{here}/run", data={"csrf_token": sent["csrf_token"]})
    assert run.status_code == 303
    assert 'hx-get="' + here in page.get(here).text
    worker()
    shown = page.get(here, headers={"accept-language": "en"}).text
    assert "hx-trigger" not in shown.partition('id="live"')[2].partition("</main>")[0]
    assert "Load above 80 %" in shown
    assert "ups_load &lt;= 70" in shown
    assert "Loaded &lt;b&gt;now&lt;/b&gt;" in shown
    chinese = page.get(here, headers={"accept-language": "zh-CN"}).text
    assert "每周告警" in chinese
    fragment = page.get(here, headers={"hx-request": "true"}).text
    assert "<html" not in fragment
    assert "a proposed rule" in page.get("/backtests").text


def test_a_form_that_cannot_be_used_says_why(doors: Doors, worker):
    page = doors.page("desk")
    sent = {
        "csrf_token": form_token(page, "/backtests"),
        "rule": "high_load",
        "since": "soon",
        "until": "2026-03-01",
    }
    answer = page.post("/backtests", data=sent)
    assert answer.status_code == 422
    assert "2026-03-02" in answer.text
