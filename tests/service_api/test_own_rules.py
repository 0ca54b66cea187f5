"""Own rules and overrides at the doors: made, refused, versioned, tried, exported and imported."""

import html
from collections.abc import Iterator
from datetime import timedelta

import pytest
from psycopg_pool import ConnectionPool

from rules.catalogue import catalogue
from rules.in_force import rule_for
from rules.live import LiveRules
from tests.conftest import NOW
from tests.service_api.conftest import Doors, open_doors

WHY = "customer asked for more notice"
STEADY = """
[steady_load]
title = {en = "Load stays high", zh = "负载持续偏高"}
severity = "minor"
condition = "avg_15m(ups_load) > 70 OR since(status_on_battery) > 600"
raise_after_seconds = 60
clear_after_seconds = 60
source = "ours: the generator takes 10 min"

[steady_load.ticket]
failure_mode = "steady_load"
impact = "low"
urgency = "medium"
action = {en = "Move load.", zh = "转移负载。"}
"""


@pytest.fixture(scope="module")
def rule_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture
def doors(rule_doors) -> Doors:
    rule_doors.write("ALTER TABLE rule_version DISABLE TRIGGER append_only")
    rule_doors.write("DELETE FROM rule_version")
    rule_doors.write("ALTER TABLE rule_version ENABLE TRIGGER append_only")
    return rule_doors


@pytest.fixture
def desk(doors):
    return doors.api("desk")


def make(desk, text: str = STEADY, **more):
    return desk.post("/api/v1/rules", json={"text": text, "reason": WHY, **more})


def override(desk, key: str, text: str, **more):
    body = {"text": f"[{key}]\n{text}", "reason": WHY, **more}
    return desk.put(f"/api/v1/rules/{key}/overrides", json=body)


def device(doors) -> tuple[int, str]:
    return doors.write("SELECT id, key FROM device ORDER BY id LIMIT 1")[0]


def in_force(doors):
    with ConnectionPool(doors.database.ingest_dsn, min_size=1, max_size=1, open=True) as pool:
        return LiveRules(catalogue()).engine(pool, NOW).rules


def test_a_rule_is_made_changed_taken_back_and_retired_and_every_version_stays(doors, desk):
    made = make(desk)
    assert made.status_code == 201, made.text
    assert made.json()["origin"] == "own"
    assert made.json()["version"] == 1
    assert in_force(doors)["steady_load"].title_zh == "负载持续偏高"

    changed = desk.put(
        "/api/v1/rules/steady_load",
        json={"text": STEADY.replace("> 70", "> 75"), "reason": "too many", "based_on": 1},
    )
    assert "75" in changed.json()["condition"]
    versions = desk.get("/api/v1/rules/steady_load/versions").json()
    assert [(one["version"], one["reason"], one["actor"], one["in_force"]) for one in versions] == [
        (2, "too many", "desk", True),
        (1, WHY, "desk", False),
    ]
    newest, first = (one["id"] for one in versions)
    address = f"/api/v1/rules/steady_load/versions/{newest}/changes"
    assert desk.get(address).json() == [
        {
            "field": "condition",
            "before": "avg_15m(ups_load) > 70 OR since(status_on_battery) > 600",
            "after": "avg_15m(ups_load) > 75 OR since(status_on_battery) > 600",
        }
    ]
    assert desk.get(address, params={"against": newest}).json() == []

    back = desk.post(
        f"/api/v1/rules/steady_load/versions/{first}/restore", json={"reason": "was right"}
    )
    assert "> 70" in back.json()["condition"]
    assert back.json()["version"] == 3

    retired = desk.post("/api/v1/rules/steady_load/retire", json={"reason": "no more"})
    assert (retired.json()["retired"], retired.json()["version"]) == (True, 4)
    assert "steady_load" not in in_force(doors)
    assert "steady_load" not in {one["key"] for one in desk.get("/api/v1/rules").json()["items"]}
    assert desk.get("/api/v1/rules/steady_load").json()["title_en"] == "Load stays high"
    assert "Load stays high" in doors.page("desk").get("/rules").text


def test_who_changes_an_old_version_is_told_who_was_faster(desk):
    make(desk)
    for text in ("> 71", "> 72"):
        answer = desk.put(
            "/api/v1/rules/steady_load",
            json={"text": STEADY.replace("> 70", text), "reason": WHY, "based_on": 1},
        )
    assert answer.status_code == 409
    assert "saved version 2 meanwhile" in answer.json()["detail"]


DEEP = "(" * 60 + "ups_load > 1" + ")" * 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[steady_load]\nseverity = minor", "line 2, column 12"),
        (STEADY.replace("ups_load", "ups_lod"), "did you mean `ups_load`? (at character 9)"),
        (STEADY.replace("> 70 OR", "> 70 ; DROP TABLE device OR"), "(at character 24)"),
        (STEADY.replace("avg_15m(ups_load) > 70 OR", "(SELECT 1) > 0 OR"), "(at character 2)"),
        (STEADY.replace("avg_15m(ups_load) > 70 OR", f"{DEEP} OR"), "deep"),
        (STEADY.replace("steady_load", "high_load"), "shipped rules are changed by"),
        (STEADY.replace("[steady_load]", "[export]").split("[steady")[0], "this key is taken"),
        (STEADY.replace("[steady_load]", "[Steady]").split("[steady")[0], "lower-case"),
        (STEADY.replace('"minor"', '"huge"'), "severity"),
        (
            STEADY.replace("raise_after_seconds = 60", 'inhibited_by = ["nothing"]'),
            "Field required",
        ),
        (STEADY.replace('severity = "minor"', 'severity = "minor"\ncause = "x"'), "no cause x"),
        (STEADY + STEADY.replace("steady_load", "other"), "one rule is expected, there are 2"),
        ("a = " + "[" * 3_000, "nested too deeply"),
        ("a = " + "9" * 5_000, "not valid TOML"),
        (STEADY.replace("stays high", "stays\\u0000high"), "title.en"),
        ("x" * 30_000, "at most 20000"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_with_its_place_and_nothing_is_kept(
    doors, desk, text, said
):
    answer = make(desk, text)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert doors.write("SELECT count(*) FROM rule_version") == [(0,)]
    assert doors.write("SELECT count(*) > 0 FROM device") == [(True,)]


def test_rules_may_not_explain_each_other_in_a_ring(desk):
    make(desk, STEADY.replace("source", 'inhibited_by = ["overload"]\nsource', 1))
    second = STEADY.replace("steady_load", "second").replace(
        "source", 'inhibited_by = ["steady_load"]\nsource', 1
    )
    assert make(desk, second).status_code == 201
    ring = STEADY.replace("source", 'inhibited_by = ["second"]\nsource', 1)
    answer = desk.put("/api/v1/rules/steady_load", json={"text": ring, "reason": WHY})
    assert answer.status_code == 422
    assert "explained by this one" in answer.json()["detail"]
    kept = desk.post("/api/v1/rules/steady_load/retire", json={"reason": WHY})
    assert kept.status_code == 409


def test_an_override_is_for_its_units_and_ends(doors, desk):
    device_id, key = device(doors)
    scope = {"kind": "device", "about": key}
    told = override(
        desk, "high_load", 'condition = "ups_load > 95"\nseverity = "major"', scope=scope
    )
    assert told.status_code == 200, told.text
    assert [(one["version"]["about"], one["units"], one["fields"]) for one in told.json()] == [
        (key, 1, {"severity": "major", "condition": "ups_load > 95"})
    ]
    rules = in_force(doors)
    assert rule_for(rules, device_id, "high_load").condition.text == "ups_load > 95"
    assert rule_for(rules, device_id, "high_load").clear is None
    assert rule_for(rules, device_id + 1, "high_load") == catalogue()["high_load"]
    assert desk.get("/api/v1/rules/high_load").json()["overrides"] == 1

    ended = desk.post(
        "/api/v1/rules/high_load/overrides/end", json={"scope": scope, "reason": "new fans"}
    )
    assert ended.json() == []
    assert rule_for(in_force(doors), device_id, "high_load") == catalogue()["high_load"]
    again = desk.post(
        "/api/v1/rules/high_load/overrides/end", json={"scope": scope, "reason": "new fans"}
    )
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("key", "text", "scope", "status"),
    [
        ("high_load", "", {"kind": "all"}, 422),
        ("high_load", 'condition = "seconds_since_seen > 5"', {"kind": "all"}, 422),
        ("high_load", 'severity = "major"', {"kind": "device", "about": "no-such"}, 422),
        ("high_load", 'severity = "major"', {"kind": "site", "about": "no-such"}, 422),
        ("high_load", 'severity = "major"', {"kind": "all", "about": "x"}, 422),
        ("high_load", 'title = "x"', {"kind": "all"}, 422),
        ("high_load", 'severity = "major"', {"kind": "device", "about": "x\x00"}, 422),
        ("contract_ends", 'severity = "major"', {"kind": "model", "about": "X"}, 422),
        ("no_such_rule", 'severity = "major"', {"kind": "all"}, 404),
    ],
)
def test_an_override_that_cannot_be_is_refused(doors, desk, key, text, scope, status):
    assert override(desk, key, text, scope=scope).status_code == status
    assert doors.write("SELECT count(*) FROM rule_version") == [(0,)]


def test_an_override_that_is_not_used_says_why_in_both_languages(doors, desk):
    _, key = device(doors)
    scope = {"kind": "device", "about": key}
    assert override(desk, "high_load", 'severity = "minor"', scope=scope).is_success
    doors.write("ALTER TABLE rule_version DISABLE TRIGGER append_only")
    doors.write("UPDATE rule_version SET text = replace(text, 'minor', 'gone')")
    doors.write("ALTER TABLE rule_version ENABLE TRIGGER append_only")
    (told,) = desk.get("/api/v1/rules/high_load/overrides").json()
    page = doors.page("desk")
    assert told["problem"]["reason_en"] in html.unescape(page.get("/rules/high_load").text)
    chinese = page.get("/rules/high_load", headers={"accept-language": "zh"}).text
    assert told["problem"]["reason_zh"] in html.unescape(chinese)


def test_an_own_rule_is_edited_and_not_overridden_for_all(doors, desk):
    make(desk)
    for_all = override(desk, "steady_load", 'severity = "major"', scope={"kind": "all"})
    assert for_all.status_code == 422
    _, key = device(doors)
    for_one = override(
        desk, "steady_load", 'severity = "major"', scope={"kind": "device", "about": key}
    )
    assert for_one.status_code == 200


@pytest.mark.parametrize("name", ["field", "robot", "mill"])
def test_only_dispatchers_change_rules(doors, name):
    api = doors.api(name)
    assert make(api).status_code == 403
    assert (
        override(api, "high_load", 'severity = "major"', scope={"kind": "all"}).status_code == 403
    )
    body = {"text": STEADY, "reason": WHY}
    assert api.post("/api/v1/rules/import", json=body).status_code == 403


def test_customers_read_no_versions_and_no_overrides(doors, desk):
    make(desk)
    mill = doors.api("mill")
    for path in ("versions", "overrides"):
        assert mill.get(f"/api/v1/rules/steady_load/{path}").status_code == 403
    assert mill.get("/api/v1/rules/export").status_code == 403


def test_a_draft_says_what_it_would_do_and_keeps_nothing(doors, desk):
    standing = doors.write(
        "SELECT count(*) FROM device d JOIN device_state s ON s.device_id = d.id "
        "WHERE d.enabled AND s.ups_load > 60 AND s.fast_at + "
        "s.stays_valid_seconds * interval '1 second' >= %s",
        NOW,
    )[0][0]
    text = STEADY.replace(
        "avg_15m(ups_load) > 70 OR since(status_on_battery) > 600", "ups_load > 60"
    )
    told = desk.post("/api/v1/rules/draft", json={"text": text}).json()
    assert told["problem"] is None
    assert told["preview"]["holds"] == standing > 0
    assert len(told["preview"]["first"]) == min(standing, 20)
    assert doors.write("SELECT count(*) FROM rule_version") == [(0,)]

    never = desk.post("/api/v1/rules/draft", json={"text": text.replace("> 60", "> 600")}).json()
    assert [one["kind"] for one in never["cautions"]] == ["never_holds"]
    assert never["preview"]["holds"] == 0
    past = desk.post("/api/v1/rules/draft", json={"text": STEADY}).json()
    assert past["preview"]["unsure"] > 0
    wrong = desk.post("/api/v1/rules/draft", json={"text": text.replace("ups_load", "ups_lod")})
    assert wrong.json()["problem"] == {
        "rule": "steady_load",
        "field": "condition",
        "position": 1,
        "reason_en": "unknown column `ups_lod`; did you mean `ups_load`?",
        "reason_zh": "没有列 `ups_lod`；是否想写 `ups_load`？",
    }


def test_a_draft_of_an_override_counts_only_its_units(doors, desk):
    _, key = device(doors)
    told = desk.post(
        "/api/v1/rules/draft",
        json={
            "text": '[high_load]\ncondition = "ups_load >= 0"\n',
            "scope": {"kind": "device", "about": key},
        },
    ).json()
    assert told["preview"]["units"] == 1
    assert [one["kind"] for one in told["cautions"]] == ["always_holds"]
    assert 'condition = "ups_load >= 0"' in told["rule_text"]


def test_what_is_exported_and_imported_again_changes_only_what_differs(doors, desk):
    make(desk)
    _, key = device(doors)
    override(desk, "high_load", "raise_after_seconds = 60", scope={"kind": "device", "about": key})
    override(desk, "high_load", 'severity = "minor"', scope={"kind": "all"})
    override(
        desk, "overload", "no_ticket = true", scope={"kind": "model", "about": "M", "maker": "A"}
    )
    text = desk.get("/api/v1/rules/export").text

    def load(text: str, **more):
        body = {"text": text, "reason": "from file", **more}
        return desk.post("/api/v1/rules/import", json=body)

    assert load(text, replace=True).json() == {"changes": [], "saved": False}
    edited = text.replace("> 70", "> 65")
    edited = edited.replace("no_ticket = true", "raise_after_seconds = 120")
    before = doors.write("SELECT max(id) FROM rule_version")
    dry = load(edited, dry_run=True).json()
    assert doors.write("SELECT max(id) FROM rule_version") == before
    done = load(edited).json()
    assert done == {**dry, "saved": True}
    assert {(one["rule_key"], one["scope"], one["deed"]) for one in done["changes"]} == {
        ("steady_load", "rule", "change"),
        ("overload", "model", "change"),
    }
    assert "> 65" in desk.get("/api/v1/rules/steady_load").json()["condition"]

    gone = load("", replace=True).json()
    assert {one["deed"] for one in gone["changes"]} == {"take_away"}
    assert len(gone["changes"]) == 4
    assert desk.get("/api/v1/rules/export").text == ""
    assert load(text).json()["saved"]
    assert desk.get("/api/v1/rules/export").text == text


def test_an_import_with_one_fault_changes_nothing(doors, desk):
    bad = STEADY + '\n[[override]]\nrule = "high_load"\ndevice = "no-such"\nseverity = "major"\n'
    answer = desk.post("/api/v1/rules/import", json={"text": bad, "reason": WHY})
    assert answer.status_code == 422
    assert "no unit no-such" in answer.json()["detail"]
    assert doors.write("SELECT count(*) FROM rule_version") == [(0,)]


def test_back_tests_take_own_rules_and_old_versions(doors, desk):
    make(
        desk,
        STEADY.replace("avg_15m(ups_load) > 70 OR since(status_on_battery) > 600", "ups_load > 60"),
    )
    desk.put(
        "/api/v1/rules/steady_load",
        json={
            "text": STEADY.replace(
                "avg_15m(ups_load) > 70 OR since(status_on_battery) > 600", "ups_load > 50"
            ),
            "reason": WHY,
        },
    )
    first = desk.get("/api/v1/rules/steady_load/versions").json()[-1]["id"]
    asked = desk.post(
        "/api/v1/backtests",
        json={
            "rule": {"key": "steady_load"},
            "against": {"version": first},
            "since": (NOW - timedelta(days=1)).isoformat(),
            "run": False,
        },
    )
    assert asked.status_code == 201, asked.text
    texts = [one["text"] for one in asked.json()["rules"]]
    assert "> 50" in texts[0]
    assert "> 60" in texts[1]


def test_words_are_found_by_meaning_in_both_languages(desk):
    def found(asked: str) -> set[str]:
        return {one["word"] for one in desk.get("/api/v1/rules/words", params={"q": asked}).json()}

    assert "battery_temperature" in found("battery temp")
    assert "battery_temperature" in found("电池温度")
    assert "avg_15m(ups_load)" in found("average")
    assert found("no such thing") == set()


FORM = {
    "key": "busy",
    "title_en": "Busy",
    "title_zh": "繁忙",
    "severity": "minor",
    "condition": "ups_load > 60",
    "raise_value": "1.5",
    "raise_unit": "min",
    "source": "ours",
    "reason": WHY,
}


def post(page, path: str, **fields: str):
    token = page.get("/rules/import").text.partition('name="csrf_token" value="')[2]
    return page.post(path, data={"csrf_token": token.partition('"')[0], **fields})


def test_a_form_makes_a_rule_and_one_with_a_fault_comes_back_as_it_was_filled_in(doors, desk):
    page = doors.page("desk")
    refused = post(page, "/rules/new", **FORM | {"condition": "ups_load > 60 ; DROP TABLE device"})
    assert refused.status_code == 422
    assert "<mark>;</mark>" in refused.text
    assert 'value="Busy"' in refused.text
    assert post(page, "/rules/new", **FORM | {"reason": " "}).status_code == 422
    assert post(page, "/rules/new", **FORM | {"key": "x]\n[y"}).status_code == 422
    assert post(page, "/rules/new", **FORM | {"raise_value": "soon"}).status_code == 422
    assert doors.write("SELECT count(*) FROM rule_version") == [(0,)]

    assert post(page, "/rules/new", **FORM).status_code == 303
    kept = desk.get("/api/v1/rules/busy").json()
    assert (kept["raise_after_seconds"], kept["clear_after_seconds"]) == (90, 0)
    assert kept["title_zh"] == "繁忙"


def test_what_was_filled_in_turns_into_toml_and_back(doors):
    page = doors.page("desk")
    written = post(page, "/rules/turn", **FORM)
    assert "raise_after_seconds = 90" in written.text
    assert "[busy]" in written.text
    back = post(page, "/rules/turn", by="toml", toml=STEADY, reason=WHY)
    assert 'value="Load stays high"' in back.text
    assert 'value="steady_load"' in back.text
    assert f'value="{WHY}"' in back.text
    other = post(
        page,
        "/rules/turn?deed=override",
        by="toml",
        key="high_load",
        toml='[high_load]\ncondition = "ups_load > 95"\n',
        scope_kind="device",
        device="some-unit",
    )
    assert "ups_load &gt; 95</textarea>" in other.text
    assert 'value="some-unit"' in other.text
    assert post(page, "/rules/turn", by="toml", toml="[x", reason=WHY).status_code == 422
    assert doors.write("SELECT count(*) FROM rule_version") == [(0,)]


def test_a_form_keeps_what_it_does_not_show(doors, desk):
    make(desk, STEADY.replace("source", 'follows = ["mains_failure"]\nlatches = true\nsource', 1))
    page = doors.page("desk")
    changed = FORM | {"based_on": "1", "title_en": "Loaded", "latches": "yes"}
    assert post(page, "/rules/steady_load/edit", **changed).status_code == 303
    text = desk.get("/api/v1/rules/steady_load/versions").json()[0]["text"]
    assert 'follows = ["mains_failure"]' in text
    assert "latches = true" in text
    assert 'title.en = "Loaded"' in text
    assert "ticket" not in text


def test_an_import_on_the_page_is_looked_at_and_then_saved(doors, desk):
    page = doors.page("desk")
    looked = post(page, "/rules/import", text=STEADY, reason=WHY, deed="look")
    assert "avg_15m(ups_load) &gt; 70" in looked.text
    assert doors.write("SELECT count(*) FROM rule_version") == [(0,)]
    assert post(page, "/rules/import", text=STEADY, reason=WHY, deed="save").status_code == 303
    assert desk.get("/api/v1/rules/steady_load").status_code == 200
    bad = post(page, "/rules/import", text=STEADY + "[x", reason=WHY, deed="save")
    assert bad.status_code == 422


def test_a_rule_of_ours_is_called_by_its_title_where_its_alarms_are(doors, desk):
    make(desk)
    device_id, _ = device(doors)
    (alarm_id,) = doors.write(
        """
        INSERT INTO alarm (device_id, customer_id, site_id, rule_key, severity, state, raised_at,
            changed_at, reason)
        SELECT id, customer_id, site_id, 'steady_load', 'minor', 'active', %s, %s, '{}'
        FROM device WHERE id = %s RETURNING id
        """,
        NOW,
        NOW,
        device_id,
    )[0]
    for retired in (False, True):
        if retired:
            desk.post("/api/v1/rules/steady_load/retire", json={"reason": WHY})
        told = desk.get(f"/api/v1/alarms/{alarm_id}").json()
        assert (told["title_en"], told["title_zh"]) == ("Load stays high", "负载持续偏高")
