"""The alarm system's figures at the doors: what counts, what is left out, who may look."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.conftest import NOW
from tests.service_api.conftest import Doors, open_doors

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def figure_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture
def doors(figure_doors) -> Doors:
    for table in ("ticket_alarm", "rule_state", "alarm"):
        figure_doors.write(f"DELETE FROM {table}")
    figure_doors.write("UPDATE device SET created_at = %s", NOW - timedelta(days=100))
    return figure_doors


def raised(
    doors: Doors,
    at: datetime,
    *,
    rule: str = "high_load",
    severity: str = "warning",
    cleared: bool = True,
    acknowledged: timedelta | None = None,
    explained_by: str | None = None,
) -> None:
    doors.write(
        "INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, state, raised_at,"
        " cleared_at, changed_at, reason, acknowledged_at, acknowledged_by, inhibited_by)"
        " SELECT id, customer_id, site_id, %s, %s, %s, %s, %s, %s, '{}', %s, %s, %s"
        " FROM device ORDER BY id LIMIT 1",
        rule,
        severity,
        "cleared" if cleared else "active",
        at,
        at + MINUTE if cleared else None,
        at,
        at + acknowledged if acknowledged else None,
        "desk" if acknowledged else None,
        explained_by,
    )


def figures(doors: Doors, **query: int) -> dict:
    answer = doors.api("desk").get("/api/v1/alarms/figures", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_alarms_are_counted_by_day_priority_and_how_fast_they_were_acknowledged(doors):
    for number in range(8):
        raised(doors, NOW - timedelta(days=number + 1), acknowledged=10 * MINUTE)
    raised(doors, NOW - timedelta(days=2, hours=1), severity="critical", acknowledged=40 * MINUTE)
    raised(doors, NOW - timedelta(days=3, hours=1), severity="major")
    raised(doors, NOW - timedelta(days=40))

    told = figures(doors)

    assert (told["alarms"], told["acknowledged"]) == (10, 9)
    assert told["a_day"] == pytest.approx(10 / 30)
    assert told["priorities"] == pytest.approx({"high": 0.1, "medium": 0.1, "low": 0.8})
    assert told["acknowledge_median"] == 600
    assert told["enough"] is True
    assert figures(doors, days=90)["alarms"] == 11


def test_what_another_alarm_explains_is_put_before_nobody_and_does_not_count(doors):
    raised(doors, NOW - timedelta(days=1), explained_by="overload")
    assert figures(doors)["alarms"] == 0


def test_a_flood_and_who_chatters_are_found(doors):
    for number in range(12):
        raised(doors, NOW - timedelta(hours=5) + timedelta(seconds=10 * number))

    told = figures(doors)

    (flood,) = told["floods"]
    assert (flood["alarms"], flood["peak"], told["peak_ten_minutes"]) == (12, 12, 12)
    assert told["frequent"][0] | {"device_id": 0, "device": ""} == {
        "device_id": 0,
        "device": "",
        "rule_key": "high_load",
        "title_en": "Load above 80 %",
        "title_zh": "负载率高于 80 %",
        "alarms": 12,
        "share": 1.0,
        "chatters": True,
    }


def test_what_stands_for_more_than_a_day_is_told(doors):
    raised(doors, NOW - timedelta(hours=25), cleared=False)
    raised(doors, NOW - timedelta(hours=23), rule="battery_warm", cleared=False)
    assert figures(doors)["standing_over_a_day"] == 1


def test_a_young_installation_says_that_it_knows_too_little(doors):
    doors.write("UPDATE device SET created_at = %s", NOW - timedelta(days=3))
    raised(doors, NOW - timedelta(days=1))

    told = figures(doors)

    assert told["enough"] is False
    assert told["known_days"] == pytest.approx(3)
    assert told["a_day"] == pytest.approx(1 / 3)
    assert "Only 3 days are known" in doors.page("desk").get("/alarms/figures").text


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [("mill", {}, 403), ("robot", {}, 403), ("desk", {"days": 0}, 422), ("desk", {"x": 1}, 422)],
)
def test_only_staff_look_and_only_at_spans_that_can_be(doors, name, query, status):
    assert doors.api(name).get("/api/v1/alarms/figures", params=query).status_code == status


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_holds_each_figure_against_its_bound(doors, language):
    for number in range(12):
        raised(doors, NOW - timedelta(hours=5) + timedelta(seconds=10 * number))
    page = doors.page("desk")
    page.cookies.set("language", language)
    text = page.get("/alarms/figures").text
    page.cookies.delete("language")

    assert {"en": "not met", "zh": "未达标"}[language] in text
    assert {"en": "Load above 80 %", "zh": "负载率高于 80 %"}[language] in text
    assert "EEMUA 191" in text


def test_without_alarms_the_page_says_so(doors):
    assert "No alarm in this span" in doors.page("desk").get("/alarms/figures").text
