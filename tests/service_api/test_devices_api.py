"""One unit: its values, its sentence, its picture, its readings of any span, its history."""

from datetime import datetime, timedelta

import pytest

from service_api.devices.picture import picture_of
from service_api.devices.sentence import sentence
from service_api.devices.telemetry import fitting_resolution
from service_api.fleet.store import unit
from tests.service_api.conftest import NOW, Database, Doors, open_doors
from tests.service_api.fleet_seed import seed_fleet


@pytest.fixture(scope="module")
def past_doors(embedded_server):
    database = embedded_server.copy()
    with open_doors(database, past=True) as opened:
        yield opened
    embedded_server.drop(database.name)


def asked(doors: Doors, key: str, **query: str):
    device = doors.fleet.devices[key]
    return doors.api("desk").get(f"/api/v1/devices/{device}/telemetry", params=query)


def before(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


@pytest.mark.parametrize(
    ("span", "age", "expected"),
    [
        (timedelta(hours=6), timedelta(hours=6), "raw"),
        (timedelta(days=2), timedelta(days=2), "raw"),
        (timedelta(days=1), timedelta(days=20), "15m"),
        (timedelta(days=7), timedelta(days=7), "15m"),
        (timedelta(days=90), timedelta(days=90), "1h"),
        (timedelta(days=365), timedelta(days=365), "1d"),
        (timedelta(days=36_500), timedelta(days=36_500), "1d"),
    ],
)
def test_the_resolution_follows_the_span_and_raw_only_while_it_is_kept(span, age, expected):
    assert fitting_resolution(span, age, 14) == expected


@pytest.mark.parametrize(
    ("back", "resolution"),
    [({"hours": 6}, "raw"), ({"days": 7}, "15m"), ({"days": 90}, "1h"), ({"days": 365}, "1d")],
)
def test_any_span_is_answered_small_enough_to_draw(past_doors: Doors, back, resolution):
    answer = asked(past_doors, "bank-1-u1", **{"from": before(**back)}).json()
    assert answer["resolution"] == resolution
    assert 50 < len(answer["at"]) <= 3_000
    for series in answer["series"]:
        assert len(series["values"]) == len(answer["at"])
    load = next(one for one in answer["series"] if one["column"] == "ups_load")
    assert load["unit"] == "%"
    for low, value, high in zip(load["low"], load["values"], load["high"], strict=True):
        assert value is None or low - 1e-9 <= value <= high + 1e-9


def test_a_raw_reading_is_told_at_its_time_with_its_value(past_doors: Doors):
    end = NOW - timedelta(minutes=100)
    answer = asked(
        past_doors,
        "bank-1-u1",
        **{"from": (end - timedelta(minutes=10)).isoformat(), "to": end.isoformat()},
        points="input.voltage,status.on_battery",
    ).json()
    assert [one["point"] for one in answer["series"]] == ["input.voltage", "status.on_battery"]
    told = [datetime.fromisoformat(at) for at in answer["at"]]
    assert told == [NOW - timedelta(minutes=minute) for minute in (109, 107, 105, 103, 101)]
    assert answer["series"][1]["values"] == [0.0] * 5


@pytest.mark.parametrize(
    "query",
    [
        {"points": "no.such.point"},
        {"points": "battery.charger.status"},
        {"points": "battery.current", "resolution": "1h"},
        {"points": ",".join(f"input.l{n}.voltage" for n in range(20))},
        {"from": "2026-03-02T08:00:00Z", "to": "2026-03-02T07:00:00Z"},
        {"from": "2020-01-01T00:00:00Z", "resolution": "15m"},
        {"from": "yesterday"},
        {"from": "2026-03-02T08:00:00"},
        {"resolution": "5s"},
        {"to": "0001-01-01T00:00:00Z"},
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_with_the_reason(past_doors: Doors, query):
    answer = asked(past_doors, "bank-1-u1", **query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


def test_a_unit_tells_what_it_is_and_what_is_open(doors: Doors):
    device = doors.api("desk").get(f"/api/v1/devices/{doors.fleet.devices['bank-1-u1']}").json()
    points = {point["name"]: point["value"] for point in device["points"]}
    assert points["battery.charge"] == 34.0
    assert points["status.on_battery"] is True
    assert device["state"] == "low_battery"
    assert device["sentence_en"] == (
        "On battery for 7 min, battery low, about 4 min left at 42 % load."
    )
    assert len(device["alarms"]) == 2
    assert device["tickets"][0]["id"] == doors.fleet.tickets["low"]
    assert "address" not in device


def test_history_tells_alarms_and_tickets_newest_first(doors: Doors):
    path = f"/api/v1/devices/{doors.fleet.devices['bank-1-u1']}/history"
    entries = doors.api("desk").get(path).json()["items"]
    assert [(one["about"], one["kind"]) for one in entries] == [
        ("ticket", "opened"),
        ("alarm", "raised"),
        ("alarm", "raised"),
    ]
    part = doors.api("desk").get(f"{path}?limit=1").json()
    rest = doors.api("desk").get(f"{path}?limit=5&cursor={part['next']}").json()
    assert part["items"] + rest["items"] == entries
    none = doors.api("desk").get(path, params={"to": before(days=10)}).json()
    assert none == {"items": [], "total": 0, "next": None}


def test_the_battery_figure_says_how_sure_it_is(past_doors: Doors):
    path = f"/api/v1/devices/{past_doors.fleet.devices['bank-1-u1']}/health"
    days = past_doors.api("bank").get(path).json()
    assert days[0]["confidence"] == "medium"
    assert days[0]["low_percent"] < days[0]["index_percent"] < days[0]["high_percent"]


def test_each_state_has_its_sentence_in_both_languages(database: Database):
    fleet = seed_fleet(database.owner_dsn, NOW, past=False)
    from service_api.database import STAFF, open_pool, request_transaction

    pool = open_pool(database.api_dsn, most=1, name="sentences")
    with request_transaction(pool, STAFF) as connection:
        said = {
            key: sentence("en", unit(connection, fleet.devices[key], NOW), NOW)
            for key in ("bank-1-u2", "mill-2-u3", "clinic-1-u2", "mill-1-u1")
        }
        chinese = sentence("zh", unit(connection, fleet.devices["bank-1-u2"], NOW), NOW)
    pool.close()
    assert said == {
        "bank-1-u2": "On battery for 7 min, about 12 min left at 43 % load.",
        "mill-2-u3": "Not heard for 42 min; what is shown is from then.",
        "clinic-1-u2": "On bypass at 54 % load: the load is not protected.",
        "mill-1-u1": "On mains at 36 % load, battery at 100 %.",
    }
    assert chinese.startswith("电池供电已 7 分钟")
    assert "预计还可支撑 12 分钟" in chinese


@pytest.mark.parametrize(
    ("key", "carrying", "idle"),
    [
        (
            "mill-1-u1",
            ("mains", "rectifier", "inverter", "load", "charging"),
            ("battery", "bypass"),
        ),
        ("bank-1-u2", ("battery", "inverter", "load"), ("mains", "rectifier", "bypass")),
        ("clinic-1-u2", ("mains", "bypass", "load"), ("rectifier", "inverter", "battery")),
    ],
)
def test_the_diagram_shows_which_path_carries_the_load(doors: Doors, key, carrying, idle):
    from service_api.database import STAFF, open_pool, request_transaction
    from service_api.devices.store import device

    pool = open_pool(doors.database.api_dsn, most=1, name="picture")
    with request_transaction(pool, STAFF) as connection:
        picture = picture_of(device(connection, doors.fleet.devices[key], doors.now))
    pool.close()
    assert {part: getattr(picture, part) for part in (*carrying, *idle)} == {
        **dict.fromkeys(carrying, True),
        **dict.fromkeys(idle, False),
    }
