"""Nothing of another customer is told by any address, and nothing at all to nobody."""

import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from service_api.app import NOUNS
from tests.service_api.conftest import Doors

OPEN = {"/healthz", "/readyz", "/metrics", "/login", "/api/v1/openapi.json"}
NUMBERS = (1, 2, 3, 4, 5, 6, 7, 10, 12, 14, 17, 21, 999_999)
FOREIGN_WORDS = (
    "Example Mill",
    "示例工厂",
    "Plant 1",
    "一号厂房",
    "Warehouse",
    "mill-1",
    "mill-2",
    "Example Clinic",
    "clinic-1",
    "Example Metro",
    "metro-1",
)


def flat(router: APIRouter) -> Iterator[APIRoute]:
    for route in router.routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from flat(included)
        elif isinstance(route, APIRoute):
            yield route


def get_routes() -> set[str]:
    """Every GET address of the application, API and pages."""
    routers = [getattr(noun, name, None) for noun in NOUNS for name in ("api", "pages")]
    return {
        route.path
        for router in routers
        if router is not None
        for route in flat(router)
        if "GET" in route.methods
    }


def addresses() -> list[str]:
    """Each route with ids of this customer, of others, and of nothing."""
    found = []
    for path in sorted(get_routes()):
        if path in OPEN or path == "/api/v1/events":
            continue
        if "{" not in path:
            found.append(path)
            continue
        found += [re.sub(r"\{[^}]+\}", str(number), path) for number in NUMBERS]
    return found


def test_the_walk_finds_the_routes():
    assert len(get_routes()) > 50


def test_nobody_is_told_anything(doors: Doors):
    with doors.anyone() as program, doors.anyone(page=True) as person:
        for path in addresses():
            if path.startswith("/api/"):
                assert program.get(path).status_code == 401, path
            else:
                answer = person.get(path)
                assert answer.status_code == 303, path
                assert answer.headers["location"].startswith("/login"), path


def test_the_event_stream_is_closed_to_nobody(doors: Doors):
    with doors.anyone() as program:
        assert program.get("/api/v1/events").status_code == 401


@pytest.mark.parametrize("how", ["api", "page"])
def test_a_customer_is_told_nothing_of_another(doors: Doors, how: str):
    client = doors.api("bank") if how == "api" else doors.page("bank")
    told = 0
    for path in addresses():
        if path.startswith("/api/") != (how == "api"):
            continue
        answer = client.get(path)
        assert answer.status_code in {200, 303, 403, 404, 422}, (path, answer.status_code)
        found = [word for word in FOREIGN_WORDS if word in answer.text]
        assert not found, (path, found)
        told += answer.status_code == 200
    assert told > 20


def test_a_customer_sees_all_of_their_own(doors: Doors):
    bank = doors.api("bank")
    own = {
        doors.fleet.devices[key] for key, owner in doors.fleet.owner_of.items() if owner == "bank"
    }
    fleet = bank.get("/api/v1/fleet?limit=500").json()
    assert {unit["id"] for unit in fleet["items"]} == own
    assert fleet["total"] == len(own)
    assert bank.get("/api/v1/fleet/summary").json()["units"] == len(own)
    assert {alarm["device_id"] for alarm in bank.get("/api/v1/alarms").json()["items"]} <= own
    for device in doors.fleet.devices.values():
        expected = 200 if device in own else 404
        for part in ("", "/telemetry", "/health", "/history"):
            assert bank.get(f"/api/v1/devices/{device}{part}").status_code == expected


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/alarms/{alarm}/acknowledge",
        "/api/v1/alarms/{alarm}/unacknowledge",
        "/api/v1/alarms/{alarm}/unshelve",
        "/api/v1/tickets/{ticket}/start",
    ],
)
@pytest.mark.parametrize("name", ["bank", "robot"])
def test_what_staff_decide_is_refused_to_customers_and_machines(doors: Doors, path: str, name: str):
    path = path.format(alarm=doors.fleet.alarms["low_battery"], ticket=doors.fleet.tickets["low"])
    assert doors.api(name).post(path).status_code == 403


def test_a_customer_asks_for_service_at_their_own_sites_only(doors: Doors):
    bank = doors.api("bank")
    mine = {"site_id": doors.fleet.sites["bank-2"], "title": "Noise", "detail": "It hums."}
    made = bank.post("/api/v1/tickets", json=mine)
    assert made.status_code == 201
    assert made.json()["site"] == "Branch 7"
    foreign_site = mine | {"site_id": doors.fleet.sites["mill-1"]}
    assert bank.post("/api/v1/tickets", json=foreign_site).status_code == 404
    foreign_device = mine | {"device_id": doors.fleet.devices["mill-1-u1"]}
    assert bank.post("/api/v1/tickets", json=foreign_device).status_code == 404
    ticket = made.json()["id"]
    noted = bank.post(f"/api/v1/tickets/{ticket}/note", json={"text": "Since noon."})
    assert noted.json()["log"][0]["detail"] == {"text": "Since noon."}
    assert doors.api("mill").get(f"/api/v1/tickets/{ticket}").status_code == 404


def test_a_unit_that_changed_hands_shows_each_owner_their_own_time(doors: Doors):
    device = doors.fleet.devices["bank-2-u4"]
    doors.write("SELECT ensure_partition('telemetry', %s)", doors.now)
    for minutes, load in ((120, 11.0), (30, 22.0)):
        doors.write(
            "INSERT INTO telemetry (device_id, observed_at, received_at, ups_load)"
            " SELECT %s, at, at, %s"
            " FROM (SELECT %s::timestamptz - make_interval(mins => %s) AS at) AS moment",
            device, load, doors.now, minutes,
        )  # fmt: skip
    doors.write(
        "UPDATE device SET customer_id = %s WHERE id = %s", doors.fleet.customers["mill"], device
    )
    doors.write(
        "UPDATE device_owner SET during = CASE WHEN upper_inf(during)"
        " THEN tstzrange(%s, NULL) ELSE tstzrange(NULL, %s) END WHERE device_id = %s",
        *[doors.now.replace(hour=7)] * 2, device,
    )  # fmt: skip
    loads = doors.api("mill").get(f"/api/v1/devices/{device}/telemetry?points=ups.load").json()
    assert loads["series"][0]["values"] == [22.0]
    assert doors.api("bank").get(f"/api/v1/devices/{device}/telemetry").status_code == 404
