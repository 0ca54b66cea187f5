"""Planned work through HTTP: plans with versions, visits, months ahead, promises; who may what."""

from datetime import timedelta

import pytest
from psycopg_pool import ConnectionPool

from service_api.maintenance.planning import plan_all

API = "/api/v1/maintenance"


@pytest.fixture(scope="module")
def planned(doors):
    client = doors.api("desk")
    assert len(client.post(f"{API}/plans/shipped").json()) == 16
    doors.write("UPDATE device SET installed_on = %s", (doors.now - timedelta(days=340)).date())
    doors.write("INSERT INTO service_center (key, name, name_zh) VALUES ('c9', 'Center', '中心')")
    doors.write(
        "UPDATE site SET service_center_id = (SELECT id FROM service_center WHERE key = 'c9')"
    )
    doors.write(
        """
        INSERT INTO engineer (key, name, name_zh, service_center_id, skills)
        SELECT 'e9', 'E', '戊', id, '{ups,battery}' FROM service_center WHERE key = 'c9'
        """
    )
    doors.write(
        "INSERT INTO part (sku, kind, name, name_zh, price) VALUES ('F9', 'filter', 'F', '网', 40)"
    )
    with ConnectionPool(doors.database.ingest_dsn, min_size=1, max_size=2, open=True) as pool:
        plan_all(pool, doors.now)
    return client


def plan_of(client, key: str) -> dict:
    return next(one for one in client.get(f"{API}/plans").json() if one["key"] == key)


def test_what_is_due_says_why(planned):
    line = planned.get(f"{API}?show=soon").json()["items"][0]
    assert line["reasons"][0]["cause"] == "calendar"
    assert line["reasons"][0]["en"].endswith(f"→ due {line['due_on']}")
    assert line["visit_id"] is not None


def test_a_plan_is_changed_with_a_reason_and_brought_back(planned):
    plan = plan_of(planned, "fans")
    path = f"{API}/plans/{plan['id']}"
    change = {"version": 1, "why": "dusty", "interval_months": 36, "selector": {"models": ["M*"]}}
    changed = planned.patch(path, json=change).json()
    assert (changed["interval_months"], changed["version"], changed["changed_by"]) == (
        36,
        2,
        "desk",
    )
    assert changed["selector"] == {"models": ["M*"]}
    assert planned.patch(path, json=change).status_code == 409  # somebody was faster
    (before,) = planned.get(f"{path}/versions").json()
    assert (before["version"], before["why"], before["body"]["interval_months"]) == (1, "dusty", 60)
    restored = planned.post(f"{path}/versions/1/restore").json()
    assert (restored["interval_months"], restored["selector"], restored["version"]) == (60, {}, 3)
    assert restored["meters"] == plan["meters"]
    assert planned.post(f"{path}/versions/9/restore").status_code == 404


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"version": 1, "interval_months": 6}, "why"),
        ({"version": 1, "why": "x", "interval_months": 0}, "interval_months"),
        ({"version": 1, "why": "x", "color": "red"}, "color"),
        ({"version": 3, "why": "x", "meters": [{"meter": "run_hours"}]}, "every"),
        (
            {
                "version": 3,
                "why": "x",
                "conditions": [{"text": "batery > 3", "within_days": 3, "en": "x", "zh": "x"}],
            },
            "unknown column",
        ),
        ({"version": 3, "why": "x", "includes": ["nothing"]}, "includes"),
        ({"version": 3, "why": "x"}, "say what to change"),
    ],
)
def test_a_wrong_change_is_refused_with_its_place(planned, body, what):
    answer = planned.patch(f"{API}/plans/{plan_of(planned, 'fans')['id']}", json=body)
    assert answer.status_code == 422
    assert what in answer.text


def test_the_form_of_a_plan_changes_only_what_it_says(doors, planned):
    plan = plan_of(planned, "semi_annual")
    page = doors.page("desk")
    shown = page.get(f"/maintenance/plans/{plan['id']}").text
    token = shown.split('name="csrf_token" value="')[1].split('"')[0]
    form = {
        "csrf_token": token,
        "version": plan["version"],
        "why": "shorter",
        "enabled": "true",
        "interval_months": 5,
        "basis": "schedule",
        "duration_minutes": 60,
        "duration_minutes_three_phase": "150",
        "skills": "ups",
        "part_kinds": "filter",
        "limits": 'meters = [{ meter = "transfers", per_year = 100, within_months = 3 },'
        ' { meter = "deep_discharges", per_year = 20, within_months = 3 }]',
    }
    assert page.post(f"/maintenance/plans/{plan['id']}", data=form).status_code == 303
    changed = plan_of(planned, "semi_annual")
    kept = {key: value for key, value in changed.items() if key not in ("version", "changed_at")}
    expected = plan | {"interval_months": 5, "changed_by": "desk"}
    assert kept == {key: value for key, value in expected.items() if key in kept}
    for limits, why in (("meters = [", "not valid TOML"), ("color = 1", "unknown color")):
        wrong = form | {"version": changed["version"], "limits": limits}
        answer = page.post(f"/maintenance/plans/{plan['id']}", data=wrong)
        assert answer.status_code == 422
        assert why in answer.text


def test_work_is_entered_and_taken_back(doors, planned):
    line = planned.get(f"{API}?show=soon").json()["items"][-1]
    path = f"{API}/{line['device_id']}/{line['plan_id']}"
    made = planned.post(f"{path}/done", json={"done_on": doors.now.date().isoformat()}).json()
    history = planned.get(f"{API}/occurrences?device_id={line['device_id']}").json()["items"]
    assert [(one["id"], one["actor"]) for one in history] == [(made["occurrence_id"], "desk")]
    undo = f"{API}/occurrences/{made['occurrence_id']}/undo"
    assert planned.post(undo).status_code == 204
    assert planned.post(undo).status_code == 409
    assert planned.post(f"{path}/done", json={"done_on": "2999-01-01"}).status_code == 409


def test_the_months_ahead_add_up(planned):
    found = planned.get(f"{API}/forecast").json()
    assert len(found["months"]) == 12
    assert found["months"][0] == "2026-03-01"
    ups = [one for one in found["needs"] if one["skill"] == "ups"]
    assert all(one["engineers"] == 1 and one["center"] == "Center" for one in ups)
    assert sum(one["visits"] for one in ups) > 0
    filters = [one for one in found["parts"] if one["kind"] == "filter"]
    assert all(one["cost"] == 40 * one["quantity"] for one in filters)
    assert found["parts_cost"] == sum(one["cost"] or 0 for one in found["parts"])
    table = planned.get(f"{API}/forecast.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 1 + len(found["needs"]) + len(found["parts"])
    assert planned.get(f"{API}/forecast?months=99").status_code == 422


def test_freezes_are_made_and_lifted(doors, planned):
    site = next(iter(doors.fleet.sites.values()))
    body = {"site_id": site, "starts_on": "2026-05-01", "ends_on": "2026-05-05", "reason": "sale"}
    (freeze,) = planned.post(f"{API}/freezes", json=body).json()
    assert planned.delete(f"{API}/freezes/{freeze['id']}").status_code == 204
    assert planned.delete(f"{API}/freezes/{freeze['id']}").status_code == 404
    assert planned.get(f"{API}/freezes").json() == []
    backwards = body | {"ends_on": "2026-04-05"}
    assert planned.post(f"{API}/freezes", json=backwards).status_code == 422
    assert planned.post(f"{API}/freezes", json=body | {"site_id": 10**9}).status_code == 404


def test_compliance_is_told_for_a_span(planned):
    found = planned.get(f"{API}/compliance?since=2026-01-01&until=2026-03-01").json()
    assert (
        found["due"] == found["in_time"] + found["late"] + found["missed"] + found["standing_late"]
    )
    assert planned.get(f"{API}/compliance?since=2026-03-01&until=2026-01-01").status_code == 422


def test_a_customer_sees_their_own_and_changes_nothing(doors, planned):
    bank, mill = doors.api("bank"), doors.api("mill")
    seen = [
        {one["device_id"] for one in client.get(f"{API}?limit=500").json()["items"]}
        for client in (bank, mill)
    ]
    assert all(seen)
    assert seen[0].isdisjoint(seen[1])
    visits = [{one["id"] for one in client.get(f"{API}/visits").json()} for client in (bank, mill)]
    assert visits[0].isdisjoint(visits[1])
    line = bank.get(API).json()["items"][0]
    path = f"{API}/{line['device_id']}/{line['plan_id']}"
    for method, where, body in (
        ("post", f"{path}/done", {"done_on": "2026-03-01"}),
        ("put", f"{path}/exception", {"waived": True, "reason": "x"}),
        ("delete", f"{path}/exception", None),
        ("get", f"{API}/forecast", None),
        ("get", f"{API}/forecast.csv", None),
        ("get", f"{API}/compliance", None),
        ("post", f"{API}/plans/shipped", None),
        ("patch", f"{API}/plans/1", {"version": 1, "why": "x", "enabled": False}),
        ("get", f"{API}/plans/1/versions", None),
    ):
        assert bank.request(method, where, json=body).status_code == 403, where


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_shows(doors, planned, language):
    line = planned.get(API).json()["items"][0]
    for name, paths in (
        (
            "desk",
            (
                "/maintenance",
                "/maintenance?show=waived",
                "/maintenance/visits",
                "/maintenance/forecast",
                f"/maintenance/plans/{line['plan_id']}",
                f"/maintenance/{line['device_id']}/{line['plan_id']}",
            ),
        ),
        ("bank", ("/maintenance", "/maintenance/visits", "/maintenance/plans/1")),
    ):
        for path in paths:
            answer = doors.page(name).get(path, headers={"accept-language": language})
            assert answer.status_code == 200, path
    assert doors.page("bank").get("/maintenance/forecast").status_code == 403
