"""The fleet: worst first, filtered, sorted, cut; counts; search; the live page."""

from datetime import datetime

import pytest

from service_api.fleet.schemas import FleetSort
from tests.service_api.conftest import Doors


def keys(answer) -> list[str]:
    return [unit["key"] for unit in answer.json()["items"]]


def test_the_worst_unit_comes_first_and_the_quiet_ones_last(doors: Doors):
    units = doors.api("desk").get("/api/v1/fleet?limit=500").json()["items"]
    assert [unit["key"] for unit in units[:4]] == [f"bank-1-u{n}" for n in (1, 2, 3, 4)]
    assert units[0]["state"] == "low_battery"
    assert units[0]["alarm_rule"] == "low_battery"
    assert units[0]["ticket_id"] == doors.fleet.tickets["low"]
    assert units[0]["runtime_left_seconds"] == pytest.approx(246)
    assert (doors.now.timestamp() - 424) == pytest.approx(
        datetime.fromisoformat(units[0]["on_battery_since_at"]).timestamp()
    )
    badness = [unit["badness"] for unit in units]
    assert badness == sorted(badness, reverse=True)
    assert units[-1]["state"] == "on_line"
    assert units[-1]["alarm_id"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=on_battery", {f"bank-1-u{n}" for n in range(1, 5)}),
        ("state=silent", {"mill-2-u3"}),
        ("state=bypass", {"clinic-1-u2"}),
        ("state=off", set()),
        ("severity=minor", {"mill-1-u2", "mill-2-u3", "metro-1-u3"}),
        ("q=metro-1-u", {f"metro-1-u{n}" for n in range(1, 5)}),
        ("q=%E5%9B%9B%E5%8F%B7%E7%BA%BF", {f"metro-1-u{n}" for n in range(1, 5)}),
        ("q=100%25", set()),
        ("incident_id=1", {f"bank-1-u{n}" for n in range(1, 5)}),
    ],
)
def test_a_filter_shows_what_it_says(doors: Doors, query: str, expected: set[str]):
    assert set(keys(doors.api("desk").get(f"/api/v1/fleet?limit=500&{query}"))) == expected


def test_shelved_and_explained_alarms_do_not_count(doors: Doors):
    units = {
        unit["key"]: unit
        for unit in doors.api("desk").get("/api/v1/fleet?limit=500").json()["items"]
    }
    assert units["clinic-1-u4"]["alarm_id"] is None
    assert units["bank-1-u1"]["alarms"] == 1


@pytest.mark.parametrize("sort", FleetSort.__args__)
def test_pages_of_the_fleet_hold_each_unit_once_in_any_order(doors: Doors, sort: str):
    desk = doors.api("desk")
    whole = keys(desk.get(f"/api/v1/fleet?limit=500&sort={sort}"))
    seen, cursor = [], None
    while True:
        part = desk.get(
            "/api/v1/fleet",
            params={"limit": 7, "sort": sort} | ({"cursor": cursor} if cursor else {}),
        )
        assert part.json()["total"] == 24
        seen += keys(part)
        cursor = part.json()["next"]
        if cursor is None:
            break
    assert seen == whole
    assert len(set(seen)) == 24


@pytest.mark.parametrize(
    "cursor", ["x", "W10", "WzEsMiwzLDQsNV0", "bnVsbA", "WyJhIiwiYiIsImMiLDFd"]
)
def test_a_cursor_that_no_list_gave_out_is_refused(doors: Doors, cursor: str):
    answer = doors.api("desk").get(f"/api/v1/fleet?cursor={cursor}")
    assert answer.status_code == 422
    assert "cursor" in answer.json()["detail"]


def test_the_summary_counts_what_the_filters_show(doors: Doors):
    desk = doors.api("desk")
    summary = desk.get("/api/v1/fleet/summary").json()
    for state in ("on_battery", "in_alarm", "silent", "bypass", "off"):
        assert summary[state] == desk.get(f"/api/v1/fleet?state={state}").json()["total"]
    assert summary["units"] == 24
    assert summary["open_incidents"] == 1
    assert summary["is_silent"] is False
    site = doors.fleet.sites["bank-2"]
    assert desk.get(f"/api/v1/fleet/summary?site_id={site}").json()["units"] == 4


def test_when_nothing_is_heard_any_more_every_page_says_so_and_the_fleet_is_not_called_silent(
    doors: Doors,
):
    before = doors.now
    page = doors.page("desk")
    assert "No data since" not in page.get("/alarms").text
    doors.later(seconds=90)
    try:
        for path in ("/", "/alarms", "/tickets", "/incidents", "/devices/1", "/freshness"):
            assert "No data since" in page.get(path).text, path
        assert "is-silent" in page.get("/wall").text
        summary = doors.api("desk").get("/api/v1/fleet/summary").json()
        assert summary["is_silent"] is True
        assert summary["silent"] == 1
    finally:
        doors.now = before


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("bank-1-u1", "/devices/1"),
        ("SN000003", "/devices/4"),
        ("Branch", "/?site_id="),
        ("示例地铁", "/?customer_id="),
        ("#1", "/tickets/1"),
        ("更换电池", "/tickets/2"),
    ],
)
def test_the_search_finds_units_sites_customers_and_tickets(doors: Doors, words: str, found: str):
    text = doors.page("desk").get("/search", params={"q": words}).text
    assert f'href="{found}' in text


def test_a_search_without_a_find_says_what_is_searched(doors: Doors):
    assert "Nothing found" in doors.page("desk").get("/search?q=zzzz").text


def test_the_live_part_is_the_page_without_its_frame(doors: Doors):
    page = doors.page("desk")
    part = page.get("/?state=on_battery", headers={"hx-request": "true"}).text
    assert "<html" not in part
    assert part.count("data-key=") == 5
    assert part.strip() in "".join(page.get("/?state=on_battery").text)


def test_a_sortable_head_keeps_the_filter(doors: Doors):
    text = doors.page("desk").get("/?state=on_battery").text
    assert 'href="/?state=on_battery&amp;sort=name"' in text
