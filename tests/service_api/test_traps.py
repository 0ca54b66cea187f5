"""Traps that were heard, through the API and on pages."""

from tests.service_api.conftest import Doors

HEARD = """
    INSERT INTO trap_seen (device_id, source, oid, name, count, first_at, last_at, variables)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
ON_BATTERY = "1.3.6.1.4.1.318.0.5"
STRANGE = "1.3.6.1.4.1.99999.0.7"


def seed(doors: Doors) -> int:
    """Two kinds from one unit, one of them unknown, and one from a stranger; return the unit."""
    device = doors.write("SELECT min(id) FROM device")[0][0]
    doors.write("DELETE FROM trap_seen")
    carried = '{"1.3.6.1.4.1.318.2.3.3.0": "UPS: On battery <b>power</b>."}'
    for row in (
        (device, "192.0.2.1", ON_BATTERY, "upsOnBattery", 12, doors.now, doors.now, carried),
        (device, "192.0.2.1", STRANGE, None, 3, doors.now, doors.now, "{}"),
        (None, "203.0.113.9", "", None, 5_000, doors.now, doors.now, "{}"),
    ):
        doors.write(HEARD, *row)
    return int(device)


def test_traps_are_listed_by_unit_and_by_what_is_known(doors: Doors):
    device = seed(doors)
    staff = doors.api("desk")
    assert staff.get("/api/v1/traps").json()["total"] == 3
    known = staff.get(f"/api/v1/traps?device_id={device}&known=true").json()["items"]
    assert [(one["name"], one["count"], one["flag"], one["raises"]) for one in known] == [
        ("upsOnBattery", 12, "status_on_battery", True)
    ]
    unknown = staff.get("/api/v1/traps?known=false&of_unit=true").json()["items"]
    assert [(one["oid"], one["count"], one["flag"]) for one in unknown] == [(STRANGE, 3, None)]
    strangers = staff.get("/api/v1/traps?of_unit=false").json()["items"]
    assert [(one["source"], one["device_id"]) for one in strangers] == [("203.0.113.9", None)]


def test_customers_are_not_told_of_traps(doors: Doors):
    device = seed(doors)
    assert doors.api("bank").get("/api/v1/traps").status_code == 403
    assert doors.page("bank").get("/traps").status_code == 403
    shown = doors.page("bank").get(f"/devices/{device}")
    assert shown.status_code in (200, 404)
    assert "upsOnBattery" not in shown.text


def test_pages_say_what_a_trap_means_and_escape_what_it_carried(doors: Doors):
    device = seed(doors)
    page = doors.page("desk")
    listed = page.get("/traps").text
    assert "On battery begins" in listed
    assert "&lt;b&gt;power" in listed
    assert "nobody registered" in listed
    unit = page.get(f"/devices/{device}").text
    assert "On battery begins" in unit
    assert "12 times" in unit
    assert "电池供电：开始" in page.get("/traps", headers={"accept-language": "zh-CN"}).text
