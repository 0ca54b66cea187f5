"""The service nouns through HTTP: what they do, and what a customer cannot see or do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI
from psycopg_pool import ConnectionPool

from rules import operations as tickets
from service_api.app import create_app
from service_api.auth import give_token
from service_api.consumers import HANDLERS
from service_api.maintenance.planning import plan_all
from service_api.outbox import take_one
from service_api.request import AppConfig
from service_api.users.operations import add_user
from tests.conftest import NOW
from tests.service_world import lay_crew, lay_world

API = "/api/v1"


@pytest.fixture
def world(database):
    return lay_world(database.owner_dsn)


@pytest.fixture
def crew(database, world):
    return lay_crew(database.owner_dsn)


@pytest.fixture
def ticket(database, world, crew):
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=2, open=True) as pool:
        with pool.connection() as connection:
            opened = tickets.open_scheduled_ticket(
                connection,
                device_id=world.device,
                failure_mode="battery_end_of_life",
                title=("UPS u1: battery", "UPS u1：电池"),
                why=("old", "旧"),
                priority=2,
                skills=("battery",),
                part_kinds=("battery_set",),
                action=("Replace", "更换"),
                source="rule",
                now=NOW,
            )
        while take_one(pool, now=NOW, handlers=HANDLERS):
            pass
    return opened


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(database):
    with ConnectionPool(database.api_dsn, min_size=1, max_size=4, open=True) as pool:
        app = create_app(
            pool=pool,
            config=AppConfig(encryption_key="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
            now=lambda: NOW,
        )
        with served(app) as address, httpx.Client(base_url=address, timeout=30) as opened:
            yield opened


@pytest.fixture
def token(database, world):
    """Return a function that logs a role in; a customer is the first one of the world."""

    def give(role: str, customer_key: str = "bank") -> dict[str, str]:
        with psycopg.connect(database.api_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            user = add_user(
                connection,
                name=f"{role}-{customer_key}",
                password="a-long-password",
                role=role,
                customer_key=customer_key if role == "customer" else None,
            )
            bearer = give_token(connection, user, kind="bearer", now=NOW, life=timedelta(hours=1))
        return {"Authorization": f"Bearer {bearer}"}

    return give


@pytest.fixture
def staff(client, token):
    client.headers.update(token("dispatcher"))
    return client


def test_a_work_order_goes_its_way_through_the_api(staff, crew, ticket):
    (line,) = staff.get(f"{API}/work-orders").json()["items"]
    assert (line["state"], line["ticket_id"]) == ("draft", ticket)
    order = f"{API}/work-orders/{line['id']}"
    seen = staff.get(order).json()
    assert seen["next_step"] == "assign"
    best = seen["candidates"][0]
    assert best["engineer_id"] == crew["a"]
    sent = staff.post(
        f"{order}/assign",
        json={"engineer_id": best["engineer_id"], "starts_at": best["arrives_at"]},
    )
    assert sent.json()["line"]["engineer"] == "Engineer A"
    assert staff.post(f"{order}/accept").status_code == 200
    assert staff.post(f"{order}/arrive").json()["ticket_state"] == "in_progress"
    done = staff.post(
        f"{order}/close",
        json={
            "report": "Replaced",
            "signed_by": "Facility manager",
            "used": [{"part_id": crew["B-A"], "warehouse_id": crew["main"], "quantity": 1}],
            "closing_code": "battery_replaced",
        },
    ).json()
    assert (done["line"]["state"], done["ticket_state"]) == ("done", "closed")
    assert [(part["reserved"], part["issued"]) for part in done["parts"]] == [(0, 1)]
    assert staff.post(f"{order}/undo").json()["line"]["state"] == "on_site"


def test_an_engineer_in_two_places_is_a_conflict_with_its_reason(staff, world, crew, ticket):
    first = staff.get(f"{API}/work-orders").json()["items"][0]["id"]
    other = staff.post(
        f"{API}/tickets",
        json={
            "site_id": world.site,
            "device_id": world.second_device,
            "title": "Noise",
        },
    ).json()
    second = staff.post(f"{API}/work-orders", json={"ticket_id": other["id"]}).json()
    body = {"engineer_id": crew["a"], "starts_at": (NOW + timedelta(hours=1)).isoformat()}
    assert staff.post(f"{API}/work-orders/{first}/assign", json=body).status_code == 200
    refused = staff.post(f"{API}/work-orders/{second['line']['id']}/assign", json=body)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert f"Engineer A is at work order {first}" in refused.json()["detail"]


def test_stock_is_booked_counted_and_undone(staff, crew):
    item = {"part_id": crew["FAN"], "warehouse_id": crew["main"]}
    got = staff.post(f"{API}/stock/receipts", json={**item, "quantity": 3, "remark": "order 7"})
    assert got.status_code == 201
    assert staff.post(f"{API}/stock/issues", json={**item, "quantity": 4}).status_code == 409
    assert staff.post(f"{API}/stock/counts", json={**item, "counted": 3}).status_code == 409
    move = got.json()["move_id"]
    assert staff.post(f"{API}/stock/moves/{move}/undo").status_code == 201
    assert staff.post(f"{API}/stock/moves/{move}/undo").status_code == 409
    (line,) = staff.get(f"{API}/stock", params=item).json()
    assert line["on_hand"] == 0
    assert staff.get(f"{API}/stock/moves", params={"part_id": crew["FAN"]}).json()["total"] == 3


def test_the_contract_check_shows_its_conditions(staff, world):
    for at, covered in (("2026-03-02T16:30:00+08:00", True), ("2027-01-01T00:00:00+08:00", False)):
        asked = {"device_id": world.device, "at": at}
        answer = staff.get(f"{API}/entitlements/check", params=asked).json()
        assert answer["covered"] is covered
        by_name = {one["name"]: one["holds"] for one in answer["conditions"]}
        assert by_name["contract_not_ended"] is covered
        assert by_name["warranty"] is None


def test_a_contract_covers_its_own_customers_units_only(staff, world):
    body = {
        "key": "C-9",
        "customer_id": world.customer,
        "name": "New",
        "name_zh": "新合同",
        "starts_on": "2026-01-01",
        "ends_on": "2026-12-31",
        "calendar_id": world.calendar,
        "respond_minutes": 240,
        "device_ids": [world.second_device],
    }
    made = staff.post(f"{API}/contracts", json=body)
    assert made.json()["devices"] == 1
    contract = made.json()["id"]
    foreign = {"device_ids": [world.other_device]}
    assert staff.put(f"{API}/contracts/{contract}/devices", json=foreign).status_code == 422
    assert staff.post(f"{API}/contracts", json=body).status_code == 409
    wrong = {**body, "key": "C-10", "ends_on": "2025-01-01"}
    assert staff.post(f"{API}/contracts", json=wrong).status_code == 422
    changed = staff.patch(f"{API}/contracts/{contract}", json={"ends_on": "2025-01-01"})
    assert changed.status_code == 422


def test_a_contacts_channel_is_kept_and_never_told(staff, world):
    contacts = f"{API}/customers/{world.customer}/contacts"
    made = staff.post(
        contacts, json={"name": "Duty desk", "channel": "jsons://secret-token@example.test/x"}
    )
    assert made.status_code == 201
    assert "secret-token" not in made.text
    assert [one["has_channel"] for one in made.json() if one["name"] == "Duty desk"] == [True]
    wrong = staff.post(contacts, json={"name": "Nobody", "channel": "nonsense"})
    assert wrong.status_code == 422


UNUSABLE = (
    ("post", "/customers", {"key": "x", "name": "X", "name_zh": "X", "color": "red"}),
    ("post", "/contracts/calendars", {"key": "x", "name": "X", "name_zh": "X", "a": 1}),
    ("post", "/contracts/calendars", {"key": "x", "name": "X", "name_zh": "X", "weekdays": []}),
    (
        "post",
        "/contracts/calendars",
        {"key": "x", "name": "X", "name_zh": "X", "holiday_country": "XX"},
    ),
    ("post", "/parts", {"sku": "x y", "kind": "fan_kit", "name": "X", "name_zh": "X"}),
    ("post", "/stock/receipts", {"part_id": 1, "warehouse_id": 1, "quantity": 0}),
    ("get", "/work-orders?state=lost", None),
    ("get", "/maintenance?color=red", None),
    ("get", "/contracts?cursor=nonsense", None),
)


def test_what_cannot_be_used_is_refused_with_the_field(staff):
    for method, path, body in UNUSABLE:
        answer = staff.request(method, API + path, json=body)
        assert answer.status_code == 422, (path, body)
        assert answer.json()["detail"]


CUSTOMERS_LISTS = (
    "/customers",
    "/sites",
    "/contracts",
    "/work-orders?state=all",
    "/notifications",
    "/maintenance",
)


@pytest.fixture
def planned(database, world, crew):
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
        connection.execute(
            "INSERT INTO maintenance_plan (key, title, title_zh, interval_months, basis,"
            " duration_minutes) VALUES ('annual', 'Annual', '年检', 12, 'schedule', 60)"
        )
        connection.execute("UPDATE device SET installed_on = '2025-12-01'")
    with ConnectionPool(database.ingest_dsn, min_size=1, max_size=1, open=True) as pool:
        plan_all(pool, NOW)


def test_a_customer_sees_only_their_own_through_every_list(client, token, world, ticket, planned):
    bank, mill, desk = token("customer"), token("customer", "mill"), token("dispatcher")
    for path in CUSTOMERS_LISTS:
        mine, theirs, everything = (
            client.get(API + path, headers=who).json()["items"] for who in (bank, mill, desk)
        )
        assert mine, path
        assert len(everything) == len(mine) + len(theirs), path
        assert all(one not in theirs for one in mine), path


def test_what_is_the_organizations_own_is_closed_to_customers(client, token, ticket):
    customer = token("customer")
    for path in (
        "/parts",
        "/stock",
        "/stock/moves",
        "/stock/warehouses",
        "/dispatch/engineers",
        "/dispatch/candidates?ticket_id=1",
    ):
        assert client.get(API + path, headers=customer).status_code == 403, path


def test_another_customers_things_are_not_found(client, token, world, ticket):
    other = token("customer", "mill")
    order = client.get(f"{API}/work-orders", headers=token("dispatcher")).json()["items"][0]["id"]
    for path in (
        f"/customers/{world.customer}",
        f"/customers/{world.customer}/contacts",
        f"/sites/{world.site}",
        f"/contracts/{world.contract}",
        f"/contracts/{world.contract}/devices",
        f"/work-orders/{order}",
        f"/work-orders/{order}/log",
        "/notifications/1",
        f"/entitlements/check?device_id={world.device}",
    ):
        assert client.get(API + path, headers=other).status_code == 404, path


def test_a_customer_does_not_learn_who_else_could_have_come(client, token, ticket):
    mine = token("customer")
    order = client.get(f"{API}/work-orders", headers=mine).json()["items"][0]["id"]
    seen = client.get(f"{API}/work-orders/{order}", headers=mine).json()
    assert seen["candidates"] == []
    assert client.post(f"{API}/work-orders/{order}/accept", headers=mine).status_code == 403


PAGES = (
    "/work-orders",
    "/work-orders/1",
    "/maintenance",
    "/parts",
    "/parts/new",
    "/stock",
    "/notifications",
    "/customers",
    "/customers/new",
    "/contracts",
    "/entitlements",
)


def test_every_page_opens_in_both_languages(staff, world, crew, ticket, planned):
    more = (
        f"/customers/{world.customer}",
        f"/contracts/{world.contract}",
        f"/contracts/new?customer_id={world.customer}",
        f"/parts/{crew['B-A']}",
        f"/entitlements?device_id={world.device}&at=2026-03-02T16:30",
    )
    for path in PAGES + more:
        for language, said in (("en", 'lang="en"'), ("zh", 'lang="zh-CN"')):
            answer = staff.get(path, headers={"Accept": "text/html", "Accept-Language": language})
            assert answer.status_code == 200, path
            assert said in answer.text, path
