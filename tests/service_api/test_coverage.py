"""How much of the fleet is truly seen: what counts, why units are not heard, where the gaps are."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.conftest import NOW
from tests.service_api.conftest import Doors, open_doors

UNIT = "mill-1-u1"


@pytest.fixture(scope="module")
def covered_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture
def doors(covered_doors) -> Doors:
    """Every unit meets all five; each test takes something away."""
    write = covered_doors.write
    for table in ("doubt", "trap_seen", "device_card", "collector"):
        write(f"DELETE FROM {table}")
    write("UPDATE device_state SET received_at = %s, stays_valid_seconds = 90", NOW)
    write(
        "UPDATE device SET model = 'Model 3000', serial = 'SN' || id, protocol = 'snmp',"
        " installed_on = %s, battery_installed_on = %s, identity = '{}', poll_seconds = 30",
        (NOW - timedelta(days=900)).date(),
        (NOW - timedelta(days=700)).date(),
    )
    write(
        "INSERT INTO trap_seen (device_id, source, oid, first_at, last_at)"
        " SELECT id, '192.0.2.1', '1.3', %s, %s FROM device",
        NOW,
        NOW,
    )
    write(
        "INSERT INTO collector (key, collector_group, started_at, beat_at)"
        " VALUES ('c', 'default', %s, %s)",
        NOW,
        NOW,
    )
    return covered_doors


def lose(doors: Doors, *keys: str, minutes: float = 10) -> None:
    doors.write(
        "UPDATE device_state s SET received_at = %s FROM device d"
        " WHERE d.id = s.device_id AND d.key = ANY(%s)",
        NOW - timedelta(minutes=minutes),
        list(keys),
    )


def gaps(doors: Doors, **query: object) -> list[tuple]:
    answer = doors.api("desk").get("/api/v1/coverage/units", params=query).json()
    return [(one["device"], one["gaps"], one["cause"]) for one in answer["items"]]


def test_a_fleet_without_gaps_is_wholly_seen(doors: Doors):
    summary = doors.api("robot").get("/api/v1/coverage/summary").json()
    assert (summary["units"], summary["seen"], summary["share"]) == (24, 24, 1.0)
    assert set(summary["met"].values()) == {24}
    assert summary["causes"] == {}
    assert gaps(doors) == []


@pytest.mark.parametrize(
    ("change", "gap"),
    [
        ("UPDATE device SET serial = NULL", "identity"),
        ("UPDATE device SET model = NULL", "identity"),
        ("UPDATE device SET battery_installed_on = NULL", "battery_date"),
        ("UPDATE device SET battery_installed_on = '2026-03-03'", "battery_date"),
        ("UPDATE device SET battery_installed_on = '2000-01-01'", "battery_date"),
        ("UPDATE device SET battery_installed_on = '1999-05-05'", "battery_date"),
        ("UPDATE device SET battery_installed_on = '2021-01-02'", "battery_date"),
        (
            """UPDATE device SET battery_installed_on = '2023-09-01',
            identity = '{"battery.date": "2023-09-01", "ups.mfr.date": "2023-09-01"}'""",
            "battery_date",
        ),
        ("DELETE FROM trap_seen USING device WHERE device.id = device_id AND true", "traps"),
        ("UPDATE trap_seen SET last_at = '2024-12-01' FROM device WHERE device_id = device.id",
         "traps"),
        (
            """INSERT INTO doubt (device_id, point, kind, raised_at, seen_at)
            SELECT id, 'ups.load', 'load', now(), now() FROM device WHERE true""",
            "doubt",
        ),
    ],
)  # fmt: skip
def test_each_criterion_takes_a_unit_out_of_what_is_truly_seen(doors: Doors, change, gap):
    condition = "key = %s"
    joined = " AND " if "WHERE" in change else " WHERE "
    doors.write(change + joined + condition, UNIT)
    assert gaps(doors) == [(f"UPS {UNIT}", [gap], None)]
    assert gaps(doors, gap=gap) == gaps(doors)
    assert gaps(doors, gap="identity" if gap != "identity" else "traps") == []
    summary = doors.api("desk").get("/api/v1/coverage/summary").json()
    assert (summary["seen"], summary["met"][gap]) == (23, 23)


@pytest.mark.parametrize(
    "keep",
    [
        "UPDATE device SET battery_installed_on = '2022-11-01' WHERE key = %s",
        'UPDATE device SET identity = \'{"battery.date": "2024-04-01"}\' WHERE key = %s',
        """DELETE FROM trap_seen t USING device d WHERE d.id = t.device_id AND d.key = %s;
        UPDATE device SET protocol = 'modbus'""",
    ],
)
def test_what_is_as_it_should_be_is_no_gap(doors: Doors, keep):
    first, _, second = keep.partition(";")
    doors.write(first, UNIT)
    if second:
        doors.write(second)
    assert gaps(doors) == []


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (None, "unknown"),
        ("auth", "credentials"),
        ("timeout", "network"),
        ("unreachable", "network"),
        ("gateway", "network"),
        ("refused", "card"),
        ("malformed", "card"),
        ("unsupported", "card"),
    ],
)
def test_why_a_unit_is_not_heard_is_told_by_its_card(doors: Doors, failure, cause):
    lose(doors, UNIT)
    if failure:
        doors.write(
            "INSERT INTO device_card (device_id, failure, changed_at) VALUES (%s, %s, now())",
            doors.fleet.devices[UNIT],
            failure,
        )
    assert gaps(doors) == [(f"UPS {UNIT}", ["fresh"], cause)]
    assert gaps(doors, cause=cause) == gaps(doors)


def test_a_restart_a_lost_site_and_a_dead_collector_come_before_the_network(doors: Doors):
    lose(doors, UNIT)
    doors.write(
        "INSERT INTO device_card (device_id, failure, restarted_at, changed_at)"
        " SELECT id, 'timeout', %s, now() FROM device",
        NOW - timedelta(minutes=5),
    )
    assert [row[2] for row in gaps(doors)] == ["restarted"]
    lose(doors, "mill-1-u2")
    assert [row[2] for row in gaps(doors)] == ["restarted"] * 2, "half a site is no site"
    lose(doors, "mill-1-u3")
    assert [row[2] for row in gaps(doors)] == ["site"] * 3
    doors.write("UPDATE collector SET stopped_at = beat_at")
    assert [row[2] for row in gaps(doors)] == ["collector"] * 3


def test_a_unit_that_was_never_heard_says_so(doors: Doors):
    doors.write(
        "UPDATE device_state SET received_at = NULL WHERE device_id = %s",
        doors.fleet.devices[UNIT],
    )
    assert [row[2] for row in gaps(doors)] == ["never"]


@pytest.mark.parametrize(("by", "first"), [("site", "Plant 1"), ("customer", "Example Mill")])
def test_groups_come_with_the_least_seen_first(doors: Doors, by, first):
    doors.write("UPDATE device SET serial = NULL WHERE key = %s", UNIT)
    answer = doors.api("desk").get("/api/v1/coverage", params={"by": by}).json()
    assert answer["items"][0]["name"] == first
    assert answer["items"][0]["seen"] == answer["items"][0]["units"] - 1
    assert sum(one["units"] for one in answer["items"]) == 24
    assert answer["total"] == {"site": 6, "customer": 4}[by]
    place = {f"{by}_id": answer["items"][0]["id"]}
    assert [row[0] for row in gaps(doors, **place)] == [f"UPS {UNIT}"]
    assert gaps(doors, **{f"{by}_id": answer["items"][-1]["id"]}) == []


def test_contracts_are_groups_and_so_are_units_without_one(doors: Doors):
    calendar = doors.write(
        "INSERT INTO service_calendar (key, name, name_zh, opens, closes, holiday_country)"
        " VALUES ('c1', 'C', 'C', '08:00', '17:00', 'CN') RETURNING id"
    )[0][0]
    contract = doors.write(
        "INSERT INTO contract (key, customer_id, name, name_zh, starts_on, ends_on, calendar_id,"
        " respond_minutes) VALUES ('k1', %s, 'Gold', '金牌', '2026-01-01', '2026-12-31', %s, 60)"
        " RETURNING id",
        doors.fleet.customers["mill"],
        calendar,
    )[0][0]
    doors.write("INSERT INTO contract_device VALUES (%s, %s)", contract, doors.fleet.devices[UNIT])
    doors.write("UPDATE device SET serial = NULL WHERE key = ANY(%s)", [UNIT, "metro-1-u1"])
    answer = doors.api("desk").get("/api/v1/coverage?by=contract").json()
    assert [(one["name"], one["units"], one["seen"]) for one in answer["items"]] == [
        ("Gold", 1, 0),
        ("", 23, 22),
    ]
    assert [row[0] for row in gaps(doors, contract_id=contract)] == [f"UPS {UNIT}"]
    assert [row[0] for row in gaps(doors, contract_id=0)] == ["UPS metro-1-u1"]
    doors.write("DELETE FROM contract WHERE id = %s", contract)


def test_a_list_of_groups_is_cut_and_goes_on(doors: Doors):
    doors.write("UPDATE device SET serial = NULL WHERE key = %s", UNIT)
    desk = doors.api("desk")
    names, cursor = [], None
    while True:
        params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
        answer = desk.get("/api/v1/coverage", params=params).json()
        names += [one["name"] for one in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert len(names) == len(set(names)) == 6


def test_customers_are_not_told(doors: Doors):
    assert doors.api("bank").get("/api/v1/coverage").status_code == 403
    assert doors.page("bank").get("/coverage").status_code == 403


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            (
                "Coverage",
                "Traps proven",
                "not heard",
                "Model and serial number are known.",
                "Network",
            ),
        ),
        ("zh", ("覆盖率", "Trap 已验证", "失联", "型号和序列号均已知。", "网络不通")),
    ],
)
def test_the_page_shows_scores_definitions_and_the_units_behind(doors: Doors, language, words):
    lose(doors, UNIT)
    doors.write(
        "INSERT INTO device_card (device_id, failure, failure_detail, changed_at)"
        " VALUES (%s, 'timeout', 'no answer in 2 s', now())",
        doors.fleet.devices[UNIT],
    )
    staff = doors.page("desk")
    staff.cookies.set("language", language)
    page = staff.get("/coverage").text
    for word in words:
        assert word in page
    assert "95 %" in page
    assert f"UPS {UNIT}" in page
    assert "no answer in 2 s" in page
    assert staff.get("/coverage?gap=identity").text.count(f"UPS {UNIT}") == 0
