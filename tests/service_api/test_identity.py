"""Two units that swap addresses, one that was exchanged: found, told, set right, taken back."""

import random
from collections.abc import Iterator

import psycopg
import pytest

from service_api.calendar_facts import CalendarFacts
from service_api.database import open_pool
from service_api.identity.store import doubts_of
from tests.service_api.conftest import Doors
from tests.service_api.test_doors import form_token


@pytest.fixture
def pair(doors: Doors) -> Iterator[tuple[int, int]]:
    """Two units with serial numbers of their own, which are theirs again afterwards."""
    a, b = sorted(
        doors.fleet.devices[key] for key, owner in doors.fleet.owner_of.items() if owner == "mill"
    )[:2]
    tell(doors, {a: "SER-A1", b: "SER-B2"}, confirmed=True)
    yield a, b
    tell(doors, {a: "SER-A1", b: "SER-B2"}, confirmed=True)


def tell(doors: Doors, serials: dict[int, str], *, confirmed: bool = False) -> None:
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        for device_id, serial in serials.items():
            admin.execute(
                "UPDATE device SET serial = %s, manufacturer = 'Maker' WHERE id = %s",
                (serial, device_id),
            )
            if confirmed:
                admin.execute(
                    "UPDATE device SET serial_confirmed = serial WHERE id = %s", (device_id,)
                )


def doubt(doors: Doors, device_id: int) -> tuple[str, int | None] | None:
    told = doors.api("desk").get(f"/api/v1/devices/{device_id}/identity-doubt").json()
    return None if told is None else (told["doubt"], told["other_id"])


def address(doors: Doors, device_id: int) -> str:
    with psycopg.connect(doors.database.admin_dsn) as admin:
        return admin.execute("SELECT address FROM device WHERE id = %s", (device_id,)).fetchone()[0]


def test_swapped_addresses_are_found_set_right_and_taken_back(doors: Doors, pair):
    a, b = pair
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute("UPDATE device SET address = 'snmp://192.0.2.1' WHERE id = %s", (a,))
        admin.execute("UPDATE device SET address = 'snmp://192.0.2.2' WHERE id = %s", (b,))
    tell(doors, {a: "SER-B2"})
    assert doubt(doors, a) == ("told_twice", b)
    tell(doors, {b: "SER-A1"})
    assert (doubt(doors, a), doubt(doors, b)) == (("swapped", b), ("swapped", a))
    page = doors.page("desk")
    assert "Exchange the addresses" in page.get(f"/devices/{a}").text
    sent = {"csrf_token": form_token(page), "with_device_id": b}
    assert page.post(f"/devices/{a}/exchange-address", data=sent).status_code == 303
    assert (address(doors, a), address(doors, b)) == ("snmp://192.0.2.2", "snmp://192.0.2.1")
    assert (doubt(doors, a), doubt(doors, b)) == (None, None)
    desk = doors.api("desk")
    back = desk.post(f"/api/v1/devices/{b}/exchange-address", json={"with_device_id": a})
    assert back.status_code == 204
    assert address(doors, a) == "snmp://192.0.2.1"
    assert doubt(doors, a) == ("swapped", b)


def test_another_unit_is_confirmed(doors: Doors, pair):
    a, _ = pair
    tell(doors, {a: "SER-NEW7"})
    assert doubt(doors, a) == ("exchanged", None)
    desk = doors.api("desk")
    assert desk.post(f"/api/v1/devices/{a}/confirm-identity").status_code == 204
    assert doubt(doors, a) is None
    assert desk.post(f"/api/v1/devices/{a}/confirm-identity").status_code == 409


@pytest.mark.parametrize("seed", range(12))
def test_one_unit_is_judged_as_among_all(doors: Doors, seed: int):
    choose = random.Random(seed)
    serials = ["SER-A1", "SER-B2", "SER-C3", "unknown", None]
    with psycopg.connect(doors.database.admin_dsn) as admin:
        admin.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        admin.execute("UPDATE device SET serial = NULL, serial_confirmed = NULL")
        ids = sorted(doors.fleet.devices.values())[:6]
        for device_id in ids:
            for column in ("serial_confirmed", "serial"):
                admin.execute(
                    f"UPDATE device SET {column} = %s WHERE id = %s",
                    (choose.choice(serials), device_id),
                )
        among_all = doubts_of(admin, ids)
        alone = {}
        for device_id in ids:
            alone |= doubts_of(admin, [device_id])
        admin.rollback()
    assert alone == among_all


def test_whoever_keeps_the_register_is_reminded_until_it_is_right(doors: Doors, pair):
    a, b = pair
    pool = open_pool(doors.database.ingest_dsn, most=2, name="test")

    def reminded() -> set[str]:
        CalendarFacts().look_at_dates(pool, doors.now)
        listed = doors.api("desk").get("/api/v1/reminders?limit=500").json()["items"]
        return {one["rule"] for one in listed if one["rule"] == "addresses_swapped"}

    try:
        tell(doors, {a: "SER-B2", b: "SER-A1"})
        assert reminded() == {"addresses_swapped"}
        assert "Two units have changed addresses" in doors.page("desk").get(f"/devices/{a}").text
        assert "Two units have changed" not in doors.page("mill").get(f"/devices/{a}").text
        tell(doors, {a: "SER-A1", b: "SER-B2"})
        assert reminded() == set()
    finally:
        pool.close()


def test_only_who_keeps_the_register_decides(doors: Doors, pair):
    a, b = pair
    tell(doors, {a: "SER-NEW7"})
    for name in ("mill", "field"):
        client = doors.api(name)
        assert client.post(f"/api/v1/devices/{a}/confirm-identity").status_code == 403
        swap = client.post(f"/api/v1/devices/{a}/exchange-address", json={"with_device_id": b})
        assert swap.status_code == 403
    desk = doors.api("desk")
    for other, status in ((a, 409), (999_999, 404)):
        answer = desk.post(f"/api/v1/devices/{a}/exchange-address", json={"with_device_id": other})
        assert answer.status_code == status
    assert doors.api("bank").get(f"/api/v1/devices/{a}/identity-doubt").status_code == 404
