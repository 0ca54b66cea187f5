"""Rules at the doors: what they say, what they did, switching them off and on."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from psycopg_pool import ConnectionPool

from rules.catalogue import catalogue
from rules.live import LiveRules
from tests.conftest import NOW
from tests.service_api.conftest import Doors, open_doors

WHY = {"reason": "known sensor, replaced on Monday"}


@pytest.fixture(scope="module")
def rule_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture
def doors(rule_doors) -> Doors:
    rule_doors.write("DELETE FROM rule_override")
    rule_doors.write("ALTER TABLE rule_event DISABLE TRIGGER append_only")
    rule_doors.write("DELETE FROM rule_event")
    rule_doors.write("ALTER TABLE rule_event ENABLE TRIGGER append_only")
    return rule_doors


def test_every_shipped_rule_is_listed_with_its_words_explained(doors):
    told = doors.api("desk").get("/api/v1/rules").json()

    assert {one["key"] for one in told["items"]} == set(catalogue())
    assert told["total"] == len(catalogue())
    by_key = {one["key"]: one for one in told["items"]}
    hot = by_key["battery_hot"]
    assert hot["condition"] == "battery_temperature > 40"
    assert hot["words"] == [
        {
            "column": "battery_temperature",
            "en": "Battery temperature",
            "zh": "电池温度",
            "unit": "°C",
        }
    ]
    assert hot["raise_after_seconds"] == 900
    assert hot["enabled"] is True


def test_what_a_rule_did_is_counted(doors):
    standing = doors.api("desk").get("/api/v1/alarms", params={"rule": "high_load"}).json()
    told = doors.api("desk").get("/api/v1/rules/high_load").json()
    assert told["counts"]["standing"] == standing["total"] > 0


def test_a_rule_goes_off_with_a_reason_and_comes_back_and_the_log_keeps_both(doors):
    desk = doors.api("desk")

    off = desk.post("/api/v1/rules/high_load/off", json=WHY)
    assert off.status_code == 200
    told = off.json()
    assert (told["enabled"], told["off_by"], told["off_reason"]) == (False, "desk", WHY["reason"])
    assert desk.post("/api/v1/rules/high_load/off", json=WHY).status_code == 409
    on = desk.post("/api/v1/rules/high_load/on", json={"reason": "sensor replaced"})
    assert on.json()["enabled"] is True
    assert desk.post("/api/v1/rules/high_load/on", json=WHY).status_code == 409

    log = desk.get("/api/v1/rules/high_load/log").json()
    assert [(one["kind"], one["actor"], one["reason"]) for one in log] == [
        ("switched_on", "desk", "sensor replaced"),
        ("switched_off", "desk", WHY["reason"]),
    ]


def test_a_rule_that_is_off_is_judged_no_more(doors):
    doors.api("desk").post("/api/v1/rules/high_load/off", json=WHY)
    with ConnectionPool(doors.database.ingest_dsn, min_size=1, max_size=1, open=True) as pool:
        live = LiveRules(catalogue())
        assert "high_load" not in live.engine(pool, NOW).rules
        doors.api("desk").post("/api/v1/rules/high_load/on", json=WHY)
        assert "high_load" in live.engine(pool, NOW + timedelta(seconds=5)).rules


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/rules/no_such_rule/off", WHY, 404),
        ("/api/v1/rules/high_load/off", {"reason": ""}, 422),
        ("/api/v1/rules/high_load/off", {"reason": "   "}, 422),
        ("/api/v1/rules/high_load/off", {}, 422),
        ("/api/v1/rules/high_load/off", {**WHY, "x": 1}, 422),
        ("/api/v1/rules/high_load/off", {"reason": "x" * 501}, 422),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(doors, path, body, status):
    desk = doors.api("desk")
    assert desk.post(path, json=body).status_code == status
    assert desk.get("/api/v1/rules/high_load").json()["enabled"] is True


@pytest.mark.parametrize(("name", "status"), [("field", 403), ("robot", 403), ("mill", 403)])
def test_only_dispatchers_switch(doors, name, status):
    assert doors.api(name).post("/api/v1/rules/high_load/off", json=WHY).status_code == status


def test_customers_do_not_see_rules_and_integrators_do(doors):
    assert doors.api("mill").get("/api/v1/rules").status_code == 403
    assert doors.api("robot").get("/api/v1/rules").status_code == 200


def test_rule_text_is_checked_without_being_kept(doors):
    api = doors.api("robot")
    good = """
[my_rule]
title = {en = "Mine", zh = "我的"}
severity = "minor"
condition = "ups_load > 90"
raise_after_seconds = 60
clear_after_seconds = 60
source = "ours"
"""
    told = api.post("/api/v1/rules/check", json={"text": good}).json()
    assert told == {"rules": ["my_rule"], "problem": None, "place": None}
    wrong = api.post("/api/v1/rules/check", json={"text": good.replace("ups_load", "ups_lod")})
    assert "my_rule" in wrong.json()["problem"]
    assert "ups_lod" in wrong.json()["problem"]
    assert wrong.json()["place"]["field"] == "condition"
    assert wrong.json()["place"]["position"] == 1
    assert api.get("/api/v1/rules/my_rule").status_code == 404


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pages_explain_a_rule_and_switch_it(doors, language):
    page = doors.page("desk")
    page.cookies.set("language", language)
    listed, one = page.get("/rules"), page.get("/rules/battery_hot")
    page.cookies.delete("language")

    assert {"en": "Battery above 40 °C", "zh": "电池温度高于 40 °C"}[language] in listed.text
    assert {"en": "What the words mean", "zh": "字段含义"}[language] in one.text
    assert "battery_temperature &gt; 40" in one.text
    assert page.get("/rules/no_such_rule").status_code == 404


def test_an_engineer_reads_and_has_no_switch(doors):
    text = doors.page("field").get("/rules/battery_hot").text
    assert "/rules/battery_hot/off" not in text
    assert "/rules/battery_hot/off" in doors.page("desk").get("/rules/battery_hot").text
