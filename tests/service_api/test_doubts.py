"""Values in doubt through the API and on pages: who decides, for whom, and how it is undone."""

import json
import re
from collections.abc import Iterator

import pytest

from service_api.doubts.words import REASONS
from tests.conftest import NOW
from tests.service_api.conftest import Doors, open_doors


@pytest.fixture(scope="module")
def quality_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture
def doors(quality_doors) -> Doors:
    quality_doors.write("DELETE FROM doubt")
    quality_doors.write("DELETE FROM correction")
    return quality_doors


def raise_doubt(
    doors: Doors,
    key: str = "bank-1-u1",
    *,
    point: str = "battery.voltage",
    kind: str = "battery_voltage",
    value: float = 540.0,
    rule: str = "battery_scale",
    proposal: dict | None = None,
    also: tuple[str, ...] = (),
) -> int:
    evidence = {
        "rule": rule,
        "confidence": "high",
        "numbers": {"battery_voltage": value, "battery_voltage_nominal": 48.0},
    }
    if also:
        evidence["also"] = list(also)
    cure = {"action": "convert", "factor": 0.1, "addend": 0.0} if proposal is None else proposal
    return doors.write(
        "INSERT INTO doubt (device_id, point, kind, value, evidence, proposal, raised_at, seen_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        doors.fleet.devices[key], point, kind, value, json.dumps(evidence), json.dumps(cure),
        NOW, NOW,
    )[0][0]  # fmt: skip


def in_force(doors: Doors) -> list[tuple]:
    return doors.write(
        "SELECT device_id, profile, model, point, action, factor FROM correction"
        " WHERE ended_at IS NULL ORDER BY id"
    )


def test_a_doubt_is_told_with_its_reason_and_cure(doors: Doors):
    doubt = raise_doubt(doors)
    listed = doors.api("desk").get("/api/v1/doubts").json()
    assert listed["total"] == 1
    (one,) = listed["items"]
    assert one == doors.api("robot").get(f"/api/v1/doubts/{doubt}").json()
    assert (one["device_key"], one["column"], one["value"]) == (
        "bank-1-u1",
        "battery_voltage",
        540.0,
    )
    assert "nominal" in one["reason_en"]
    assert "标称" in one["reason_zh"]
    assert one["proposal"]["factor"] == 0.1
    assert doors.api("desk").get("/api/v1/doubts?state=ended").json()["items"] == []


def test_a_customer_sees_no_doubts_and_only_who_knows_devices_decides(doors: Doors):
    doubt = raise_doubt(doors)
    assert doors.api("bank").get("/api/v1/doubts").json()["total"] == 0
    assert doors.api("bank").get(f"/api/v1/doubts/{doubt}").status_code == 404
    for name in ("bank", "desk", "field"):
        for deed in ("accept", "dismiss"):
            refused = doors.api(name).post(f"/api/v1/doubts/{doubt}/{deed}", json={})
            assert refused.status_code == 403
    assert in_force(doors) == []


def test_an_accepted_doubt_becomes_a_correction_of_the_device(doors: Doors):
    doubt, other = raise_doubt(doors), raise_doubt(doors, "bank-1-u4")
    answer = doors.api("robot").post(f"/api/v1/doubts/{doubt}/accept", json={}).json()
    assert (answer["state"], answer["decided_by"]) == ("accepted", "robot")
    device = doors.fleet.devices["bank-1-u1"]
    assert in_force(doors) == [(device, None, None, "battery.voltage", "convert", 0.1)]
    assert doors.api("desk").get(f"/api/v1/doubts/{other}").json()["state"] == "open"
    again = doors.api("robot").post(f"/api/v1/doubts/{doubt}/accept", json={})
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("scope", "model", "decided"),
    [("model", "Model 3000", 2), ("profile", None, 3)],
)
def test_a_decision_for_the_family_decides_its_other_doubts(doors: Doors, scope, model, decided):
    first = raise_doubt(doors, "bank-1-u1")
    raise_doubt(doors, "bank-1-u4")  # the same model
    raise_doubt(doors, "bank-1-u2")  # another one
    raise_doubt(doors, "bank-1-u4", point="ups.load", kind="load")
    doors.api("boss").post(f"/api/v1/doubts/{first}/accept", json={"scope": scope})
    assert in_force(doors) == [(None, "rfc1628", model, "battery.voltage", "convert", 0.1)]
    states = doors.write("SELECT state FROM doubt")
    assert states.count(("accepted",)) == decided
    (correction,) = doors.api("desk").get("/api/v1/corrections").json()["items"]
    assert correction["devices"] == {"model": 8, "profile": 24}[scope]


def test_a_shared_decision_covers_all_points_that_lie_alike(doors: Doors):
    doubt = raise_doubt(
        doors,
        point="output.L2-N.voltage",
        kind="phases",
        value=0.0,
        rule="phases_dead",
        proposal={"action": "ignore", "factor": 1.0, "addend": 0.0},
        also=("output_l3_n_voltage",),
    )
    doors.api("robot").post(f"/api/v1/doubts/{doubt}/accept", json={})
    assert {row[3:5] for row in in_force(doors)} == {
        ("output.L2-N.voltage", "ignore"),
        ("output.L3-N.voltage", "ignore"),
    }


def test_a_dismissed_value_is_trusted_from_then_on(doors: Doors):
    doubt = raise_doubt(doors)
    answer = doors.api("robot").post(
        f"/api/v1/doubts/{doubt}/dismiss", json={"reason": "a 480 V battery was fitted"}
    )
    assert answer.json()["state"] == "dismissed"
    assert [row[4] for row in in_force(doors)] == ["trust"]


def test_a_doubt_without_a_cure_needs_one_said(doors: Doors):
    doubt = raise_doubt(doors, proposal={"action": "none"})
    robot = doors.api("robot")
    assert robot.post(f"/api/v1/doubts/{doubt}/accept", json={}).status_code == 409
    body = {"action": "convert", "factor": 0.01}
    assert robot.post(f"/api/v1/doubts/{doubt}/accept", json=body).json()["state"] == "accepted"
    assert [row[4:] for row in in_force(doors)] == [("convert", 0.01)]


def test_what_is_beyond_its_range_cannot_be_called_right(doors: Doors):
    doubt = raise_doubt(doors, kind="range", rule="out_of_range")
    answer = doors.api("robot").post(f"/api/v1/doubts/{doubt}/dismiss", json={})
    assert answer.status_code == 409


def test_a_card_put_right_ends_its_correction(doors: Doors):
    robot = doors.api("robot")
    device = doors.fleet.devices["bank-1-u1"]
    made = robot.post(
        "/api/v1/corrections",
        json={"device_id": device, "point": "battery.voltage", "action": "convert", "factor": 0.1},
    )
    assert made.status_code == 201
    doubt = raise_doubt(doors, proposal={"action": "end"})
    robot.post(f"/api/v1/doubts/{doubt}/accept", json={})
    assert in_force(doors) == []


def test_a_correction_by_hand_replaces_the_one_in_force_and_can_be_ended(doors: Doors):
    robot = doors.api("robot")
    body = {"profile": "rfc1628", "model": "Model 10K", "point": "ups.load", "action": "ignore"}
    first = robot.post("/api/v1/corrections", json=body).json()
    second = robot.post("/api/v1/corrections", json=body | {"action": "convert", "factor": 10})
    listed = robot.get("/api/v1/corrections").json()["items"]
    assert [one["id"] for one in listed] == [second.json()["id"]]
    ended = robot.get("/api/v1/corrections?state=ended").json()["items"]
    assert [(one["id"], one["ended_by"]) for one in ended] == [(first["id"], "robot")]
    answer = robot.post(f"/api/v1/corrections/{second.json()['id']}/end")
    assert answer.json()["ended_by"] == "robot"
    assert robot.post(f"/api/v1/corrections/{second.json()['id']}/end").status_code == 409
    assert robot.post("/api/v1/corrections/999999/end").status_code == 404
    device = doors.fleet.devices["bank-1-u2"]
    of_unit = robot.get(f"/api/v1/corrections?state=all&device_id={device}").json()
    assert of_unit["total"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"point": "ups.load", "action": "ignore"},
        {"device_id": 1, "profile": "rfc1628", "point": "ups.load", "action": "ignore"},
        {"device_id": 1, "model": "Model 10K", "point": "ups.load", "action": "ignore"},
        {"profile": "rfc1628", "point": "no.such", "action": "ignore"},
        {"profile": "rfc1628", "point": "status.off", "action": "convert", "factor": 2},
        {"profile": "rfc1628", "point": "ups.load", "action": "convert", "factor": 0},
        {"profile": "rfc1628", "point": "ups.load", "action": "trust", "factor": 2},
        {"profile": "rfc1628", "point": "ups.load", "action": "explode"},
        {"profile": "rfc1628", "point": "ups.load", "action": "ignore", "more": 1},
    ],
)
def test_a_correction_that_makes_no_sense_is_refused(doors: Doors, body):
    answer = doors.api("robot").post("/api/v1/corrections", json=body)
    assert answer.status_code == 422
    assert in_force(doors) == []


def test_a_correction_of_a_device_that_is_not_there_is_refused(doors: Doors):
    body = {"device_id": 999_999, "point": "ups.load", "action": "ignore"}
    assert doors.api("robot").post("/api/v1/corrections", json=body).status_code == 404


@pytest.mark.parametrize(("language", "title"), [("en", "Data quality"), ("zh", "数据质量")])
def test_the_page_groups_doubts_by_family_and_decides_in_one_step(doors: Doors, language, title):
    for key in ("bank-1-u1", "bank-1-u4", "bank-2-u3"):
        raise_doubt(doors, key)
    admin = doors.page("boss")
    admin.cookies.set("language", language)
    page = admin.get("/doubts").text
    assert title in page
    assert page.count('<section class="panel doubt">') == 1
    assert re.search(r"540(\.0)?\s*V", page)
    assert re.search(r"\D54(\.0)?\s*V", page)
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    doubt = page.split("/doubts/")[1].split("/")[0]
    sent = admin.post(
        f"/doubts/{doubt}/accept", data={"csrf_token": token, "scope": "model", "next": "/doubts"}
    )
    assert sent.status_code == 303
    assert [row[2] for row in in_force(doors)] == ["Model 3000"]
    after = admin.get("/doubts").text
    assert '<section class="panel doubt">' not in after
    assert "Model 3000" in after


def test_who_may_not_decide_sees_why_and_no_buttons(doors: Doors):
    raise_doubt(doors)
    page = doors.page("desk").get("/doubts").text
    assert "540" in page
    assert "/accept" not in page


def test_the_units_page_shows_its_doubts_and_corrections(doors: Doors):
    raise_doubt(doors)
    device = doors.fleet.devices["bank-1-u1"]
    doors.api("robot").post(
        "/api/v1/corrections",
        json={"device_id": device, "point": "ups.load", "action": "convert", "factor": 0.1},
    )
    doors.page("boss").cookies.set("language", "en")
    page = doors.page("boss").get(f"/devices/{device}").text
    assert "In doubt at this unit" in page
    assert "/corrections/" in page
    assert "In doubt" not in doors.page("bank").get(f"/devices/{device}").text


def test_every_reason_is_said_in_chinese_too():
    from service_api.language import translate

    assert [rule for rule, text in REASONS.items() if translate("zh", text) == text] == []
