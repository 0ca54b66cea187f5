"""A unit's card, by API and page: seen, fixed within bounds, and kept from customers."""

import re

import pytest

from tests.service_api.conftest import Doors

ENGINE = bytes.fromhex("80004fb805766d072e27")


def seed(doors: Doors, **card) -> int:
    """Tell something of the card of a unit of the bank and return the unit."""
    device = doors.fleet.devices["bank-1-u1"]
    doors.write("UPDATE device SET protocol = 'snmp', patience = '{}', profile = 'apc-powernet'")
    doors.write("DELETE FROM device_card")
    doors.write(
        """
        INSERT INTO device_card (device_id, patience, engine_id, failing_since_at, failure,
            failure_detail, changed_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        device,
        card.get("patience", "{}"),
        card.get("engine_id"),
        card.get("failing_since_at"),
        card.get("failure"),
        card.get("failure_detail"),
        doors.now,
    )
    return int(device)


def card_of(doors: Doors, device: int, who: str = "desk"):
    return doors.api(who).get(f"/api/v1/devices/{device}").json()["card"]


def test_what_was_learned_and_what_was_set_is_told_with_what_is_in_force(doors: Doors):
    device = seed(doors, patience='{"objects": 5, "pause_seconds": 0.1}', engine_id=ENGINE)
    answer = doors.api("desk").put(
        f"/api/v1/devices/{device}/patience", json={"objects": 12, "deadline_seconds": 4.5}
    )
    assert answer.status_code == 200, answer.text
    card = card_of(doors, device)
    assert card == answer.json()
    assert card["set"]["objects"] == 12
    assert card["set"]["pause_seconds"] is None
    assert card["learned"]["objects"] == 5
    assert card["patience"] == {
        "objects": 12,
        "pause_seconds": 0.1,
        "deadline_seconds": 4.5,
        "interval_seconds": 30.0,
        "bulk": True,
    }
    assert card["engine_id"] == ENGINE.hex()
    assert card["failure"] is None
    assert card["sentence_en"] is None


def test_what_is_left_out_is_learned_again(doors: Doors):
    device = seed(doors)
    url = f"/api/v1/devices/{device}/patience"
    doors.api("desk").put(url, json={"objects": 12})
    assert doors.api("desk").put(url, json={"bulk": False}).json()["set"] == {
        "objects": None,
        "pause_seconds": None,
        "deadline_seconds": None,
        "interval_seconds": None,
        "bulk": False,
    }
    assert doors.write("SELECT patience FROM device WHERE id = %s", device) == [({"bulk": False},)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"objects": 0},
        {"objects": 61},
        {"objects": 2.5},
        {"objects": "12"},
        {"objects": True},
        {"pause_seconds": -0.1},
        {"pause_seconds": 6},
        {"deadline_seconds": 0.1},
        {"deadline_seconds": 31},
        {"interval_seconds": 0},
        {"interval_seconds": 4_000},
        {"bulk": "yes"},
        {"ceiling": 3},
        [],
    ],
)
def test_what_is_out_of_bounds_is_refused_and_changes_nothing(doors: Doors, wrong):
    device = seed(doors)
    answer = doors.api("desk").put(f"/api/v1/devices/{device}/patience", json=wrong)
    assert answer.status_code == 422
    assert doors.write("SELECT patience FROM device WHERE id = %s", device) == [({},)]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_numbers_that_are_none_are_refused(doors: Doors, number):
    device = seed(doors)
    answer = doors.api("desk").put(
        f"/api/v1/devices/{device}/patience",
        content=f'{{"pause_seconds": {number}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422


def test_only_who_may_tune_sets_anything_and_customers_see_no_card(doors: Doors):
    device = seed(doors, engine_id=ENGINE)
    url = f"/api/v1/devices/{device}/patience"
    assert doors.api("bank").put(url, json={}).status_code == 403
    assert doors.api("field").put(url, json={}).status_code == 403
    assert doors.api("robot").put(url, json={"objects": 9}).status_code == 200
    assert card_of(doors, device, "bank") is None
    assert ENGINE.hex() not in doors.page("bank").get(f"/devices/{device}").text


def test_a_unit_that_speaks_by_itself_has_no_card(doors: Doors):
    device = seed(doors)
    doors.write("UPDATE device SET protocol = 'mqtt' WHERE id = %s", device)
    assert card_of(doors, device) is None
    answer = doors.api("desk").put(f"/api/v1/devices/{device}/patience", json={})
    assert answer.status_code == 404


def test_a_unit_that_nobody_knows_cannot_be_set(doors: Doors):
    assert doors.api("desk").put("/api/v1/devices/99999999/patience", json={}).status_code == 404


def test_why_a_card_cannot_be_read_is_said_in_both_languages(doors: Doors):
    since = doors.now.replace(hour=doors.now.hour - 2)
    device = seed(
        doors,
        failing_since_at=since,
        failure="auth",
        failure_detail="<b>refuses</b>: the card knows no such user",
    )
    card = card_of(doors, device)
    assert card["sentence_en"] == "Cannot be read for 2 h: it refuses the credentials."
    assert "拒绝了登录凭据" in card["sentence_zh"]
    page = doors.page("desk").get(f"/devices/{device}").text
    assert "it refuses the credentials" in page
    assert "&lt;b&gt;refuses" in page
    chinese = doors.page("desk").get(f"/devices/{device}", headers={"accept-language": "zh-CN"})
    assert "拒绝了登录凭据" in chinese.text


def test_cards_of_one_engine_id_name_each_other(doors: Doors):
    device = seed(doors, engine_id=ENGINE)
    other = doors.fleet.devices["bank-1-u2"]
    doors.write(
        "INSERT INTO device_card (device_id, engine_id, changed_at) VALUES (%s, %s, %s)",
        other,
        ENGINE,
        doors.now,
    )
    assert card_of(doors, device)["same_engine"] == ["bank-1-u2"]
    assert "bank-1-u2" in doors.page("desk").get(f"/devices/{device}").text


def test_the_page_s_form_sets_and_lets_go(doors: Doors):
    device = seed(doors, patience='{"objects": 5}')
    page = doors.page("desk")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.get(f"/devices/{device}").text)
    sent = {
        "csrf_token": token[1],
        "objects": "7",
        "pause_seconds": "",
        "deadline_seconds": "2.5",
        "interval_seconds": "",
        "bulk": "false",
    }
    answer = page.post(f"/devices/{device}/patience", data=sent)
    assert answer.status_code == 303, answer.text
    kept = doors.write("SELECT patience FROM device WHERE id = %s", device)
    assert kept == [({"objects": 7, "deadline_seconds": 2.5, "bulk": False},)]
    sent |= {"objects": "", "deadline_seconds": "", "bulk": ""}
    assert page.post(f"/devices/{device}/patience", data=sent).status_code == 303
    assert doors.write("SELECT patience FROM device WHERE id = %s", device) == [({},)]
    assert (
        page.post(f"/devices/{device}/patience", data=sent | {"objects": "99"}).status_code == 422
    )
