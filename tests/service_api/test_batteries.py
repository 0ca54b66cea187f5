"""Batteries at the doors: the list, replacements by quarter, swaps and their way back, CSV."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from tests.conftest import NOW
from tests.service_api.conftest import Doors, open_doors

TODAY = NOW.date()


@pytest.fixture(scope="module")
def battery_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture
def doors(battery_doors) -> Doors:
    """No figures and no swaps; each test writes its own."""
    for table in ("device_health", "battery_swap", "part"):
        battery_doors.write(f"DELETE FROM {table}")
    battery_doors.write("UPDATE device SET model = 'Model A', battery_installed_on = '2022-01-01'")
    return battery_doors


def ids(doors: Doors) -> list[int]:
    found = doors.api("desk").get("/api/v1/fleet", params={"limit": 500}).json()
    return sorted(unit["id"] for unit in found["items"])


def judged(doors: Doors, device_id: int, advice: str, middle: date | None) -> None:
    doors.write(
        "INSERT INTO device_health (device_id, day, index_percent, low_percent, high_percent,"
        " confidence, statement_en, statement_zh, replace_from, replace_median, replace_until,"
        " advice, advice_since) VALUES (%s, %s, 84, 76, 91, 'medium', 'Index 84.', '指数 84。',"
        " %s, %s, %s, %s, %s)",
        device_id,
        TODAY,
        middle and middle - timedelta(days=60),
        middle,
        middle and middle + timedelta(days=60),
        advice,
        TODAY,
    )


def test_what_has_to_be_done_soonest_stands_first_and_filters_hold(doors):
    first, second, third, *_ = ids(doors)
    judged(doors, first, "none", date(2028, 1, 1))
    judged(doors, second, "plan", date(2026, 9, 1))
    judged(doors, third, "plan", date(2026, 6, 1))
    api = doors.api("desk")

    whole = api.get("/api/v1/batteries").json()
    due = api.get("/api/v1/batteries", params={"advice": "due"}).json()

    assert [line["device_id"] for line in whole["items"]] == [third, second, first]
    assert (whole["total"], due["total"]) == (3, 2)
    assert due["items"][0]["replace_median"] == "2026-06-01"


def test_a_list_goes_on_where_its_first_part_ended(doors):
    all_ids = ids(doors)
    for device_id in all_ids[:5]:
        judged(doors, device_id, "watch", None if device_id % 2 else date(2027, 1, 1))
    api = doors.api("desk")
    seen, cursor = [], None
    while True:
        part = api.get(
            "/api/v1/batteries", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        )
        seen += [line["device_id"] for line in part.json()["items"]]
        cursor = part.json()["next"]
        if cursor is None:
            break
    assert sorted(seen) == all_ids[:5]


def test_replacements_are_added_up_by_quarter_with_the_price_that_fits(doors):
    first, second, third, *_ = ids(doors)
    judged(doors, first, "plan", date(2025, 1, 1))  # past: counts in this quarter
    judged(doors, second, "plan", date(2026, 8, 31))
    judged(doors, third, "watch", date(2026, 7, 1))
    doors.write("UPDATE device SET model = 'Model B' WHERE id = %s", third)
    doors.write(
        "INSERT INTO part (sku, kind, name, name_zh, fits_models, price) VALUES"
        " ('A', 'battery_set', 'A', 'A', '{Model A}', 900), ('F', 'fan_kit', 'F', 'F', '{}', 1)"
    )

    quarters = doors.api("desk").get("/api/v1/batteries/replacements").json()

    assert [one["quarter"] for one in quarters][:3] == ["2026-Q1", "2026-Q2", "2026-Q3"]
    assert len(quarters) == 8
    assert [one["units"] for one in quarters][:3] == [1, 0, 2]
    assert (quarters[0]["cost"], quarters[0]["unpriced"]) == (900, 0)
    assert (quarters[2]["cost"], quarters[2]["unpriced"]) == (900, 1)


def installed(doors: Doors, device_id: int) -> str:
    told = doors.api("desk").get(f"/api/v1/devices/{device_id}").json()
    return told["battery_installed_on"]


def test_a_swap_counts_from_its_day_and_can_be_taken_back(doors):
    device_id = ids(doors)[0]
    api, path = doors.api("field"), f"/api/v1/devices/{device_id}/battery-swaps"

    made = api.post(path, json={"swapped_on": "2026-02-20", "remark": "whole string"})
    again = api.post(path, json={"swapped_on": "2026-02-25"})
    assert (made.status_code, again.status_code) == (201, 201)
    assert installed(doors, device_id) == "2026-02-25"

    newest, older = again.json()
    assert api.post(f"{path}/{older['id']}/undo").status_code == 409
    undone = api.post(f"{path}/{newest['id']}/undo")
    assert undone.status_code == 200
    assert installed(doors, device_id) == "2026-02-20"
    assert api.post(f"{path}/{newest['id']}/undo").status_code == 409
    assert api.post(f"{path}/{older['id']}/undo").status_code == 200
    assert installed(doors, device_id) == "2022-01-01"
    assert [one["undone_by"] for one in api.get(path).json()] == ["field", "field"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"swapped_on": "2027-01-01"}, 409),
        ({"swapped_on": "1999-01-01"}, 409),
        ({"swapped_on": "2026-02-01", "part_id": 10**9}, 409),
        ({"swapped_on": "soon"}, 422),
        ({"swapped_on": "2026-02-01", "unknown": 1}, 422),
        ({}, 422),
    ],
)
def test_a_swap_that_cannot_be_is_refused_and_changes_nothing(doors, body, status):
    device_id = ids(doors)[0]
    answer = doors.api("field").post(f"/api/v1/devices/{device_id}/battery-swaps", json=body)
    assert answer.status_code == status
    assert installed(doors, device_id) == "2022-01-01"


def test_customers_see_their_own_batteries_and_change_nothing(doors):
    for device_id in ids(doors):
        judged(doors, device_id, "none", date(2028, 1, 1))
    customer = doors.api("mill")
    mine = {line["customer_id"] for line in customer.get("/api/v1/batteries").json()["items"]}
    own = customer.get("/api/v1/batteries").json()["items"][0]["device_id"]

    assert len(mine) == 1
    assert customer.get("/api/v1/batteries/replacements").status_code == 403
    swap = customer.post(f"/api/v1/devices/{own}/battery-swaps", json={"swapped_on": "2026-02-01"})
    assert swap.status_code == 403


def test_the_csv_holds_every_battery_and_no_formula(doors):
    first, *_ = ids(doors)
    doors.write("UPDATE device SET model = '=1+1' WHERE id = %s", first)
    for device_id in ids(doors):
        judged(doors, device_id, "none", None)

    text = doors.page("desk").get("/batteries.csv").text
    lines = text.removeprefix("\ufeff").splitlines()

    assert lines[0].startswith("device_id,device,model")
    assert len(lines) == 1 + len(ids(doors))
    assert "'=1+1" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pages_show_figures_and_the_way_to_record_a_swap(doors, language):
    device_id = ids(doors)[0]
    judged(doors, device_id, "plan", date(2026, 9, 1))
    page = doors.page("desk")
    page.cookies.set("language", language)

    fleet = page.get("/batteries")
    unit = page.get(f"/devices/{device_id}")
    page.cookies.delete("language")

    assert fleet.status_code == unit.status_code == 200
    assert {"en": "plan replacement", "zh": "安排更换"}[language] in fleet.text
    assert {"en": "Replacement window", "zh": "预计更换时间"}[language] in unit.text
    assert "battery-swaps" in unit.text


def test_the_page_says_what_to_expect_while_there_is_no_figure(doors):
    assert "No figure yet" in doors.page("desk").get("/batteries").text
