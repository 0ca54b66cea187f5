"""Who may come in, and how: tokens, sessions, forms, keys, guessing, headers, errors."""

import httpx
import pytest

from service_api.errors import TooMany
from service_api.limiter import Limiter
from service_api.pages import local_target
from tests.service_api.conftest import Doors
from tests.service_api.fleet_seed import PASSWORD


def form_token(client: httpx.Client) -> str:
    text = client.get("/").text
    return text.split('"X-CSRF-Token": "')[1].split('"')[0]


def test_a_token_opens_the_api_and_nothing_is_open_without(doors: Doors):
    with doors.anyone() as stranger:
        refused = stranger.get("/api/v1/fleet")
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["title"] == "Not logged in"
    assert doors.api("desk").get("/api/v1/me").json()["role"] == "dispatcher"


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(doors: Doors):
    with doors.anyone() as stranger:
        answers = [
            stranger.post("/api/v1/auth/token", data={"username": name, "password": "wrong"})
            for name in ("robot", "nobody-of-this-name")
        ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1


def test_a_token_is_worthless_after_its_time(doors: Doors):
    with doors.anyone() as client:
        given = client.post("/api/v1/auth/token", data={"username": "desk", "password": PASSWORD})
        client.headers["authorization"] = f"Bearer {given.json()['access_token']}"
        assert client.get("/api/v1/me").status_code == 200
        before = doors.now
        doors.later(seconds=given.json()["expires_in"] + 1)
        try:
            assert client.get("/api/v1/me").status_code == 401
        finally:
            doors.now = before


def test_only_hashes_of_tokens_and_passwords_are_kept(doors: Doors):
    token = doors.api("desk").headers["authorization"].removeprefix("Bearer ")
    kept = doors.write("SELECT encode(token_hash, 'escape') FROM user_token")
    assert all(token not in row[0] for row in kept)
    assert all(
        row[0].startswith("$argon2") for row in doors.write("SELECT password_hash FROM app_user")
    )


def test_a_session_begins_with_the_page_that_was_asked_for_and_ends_for_good(doors: Doors):
    with doors.anyone(page=True) as person:
        sent = person.get("/alarms?state=all")
        assert sent.status_code == 303
        assert sent.headers["location"] == "/login?next=/alarms%3Fstate%3Dall"
        wrong = person.post("/login", data={"name": "desk", "password": "no"})
        assert wrong.status_code == 401
        assert "Name or password is wrong." in wrong.text
        opened = person.post(
            "/login", data={"name": "desk", "password": PASSWORD, "next": "/alarms?state=all"}
        )
        assert opened.headers["location"] == "/alarms?state=all"
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()
        session = person.cookies["session"]
        assert person.get("/alarms").status_code == 200
        person.post("/logout", data={"csrf_token": form_token(person)})
    with doors.anyone(page=True) as thief:
        thief.cookies.set("session", session)
        assert thief.get("/alarms").status_code == 303


def test_a_session_works_as_a_cookie_only(doors: Doors):
    session = doors.page("desk").cookies["session"]
    with doors.anyone() as program:
        program.headers["authorization"] = f"Bearer {session}"
        assert program.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    ("headers", "with_token", "expected"),
    [
        ({}, True, 303),
        ({}, False, 403),
        ({"sec-fetch-site": "same-origin"}, True, 303),
        ({"sec-fetch-site": "cross-site"}, True, 403),
        ({"sec-fetch-site": "same-site"}, True, 403),
        ({"origin": "http://elsewhere.example"}, True, 403),
    ],
)
def test_a_form_counts_only_from_our_own_page_of_this_session(
    doors: Doors, headers: dict[str, str], with_token: bool, expected: int
):
    person = doors.page("desk")
    alarm = doors.fleet.alarms["load"]
    data = {"ids": alarm, "csrf_token": form_token(person) if with_token else "0" * 64}
    answer = person.post("/alarms/acknowledge", data=data, headers=headers)
    assert answer.status_code == expected
    doors.write(
        "UPDATE alarm SET acknowledged_at = NULL, acknowledged_by = NULL WHERE id = %s", alarm
    )


def test_a_cookie_does_not_change_anything_through_the_api_without_the_token(doors: Doors):
    person = doors.page("desk")
    path = f"/api/v1/alarms/{doors.fleet.alarms['load']}/acknowledge"
    assert person.post(path).status_code == 403
    assert person.post(path, headers={"x-csrf-token": form_token(person)}).status_code == 200
    undo = path.replace("acknowledge", "unacknowledge")
    assert doors.api("desk").post(undo).status_code == 200


def test_an_api_key_is_made_by_an_administrator_used_by_a_machine_and_revoked(doors: Doors):
    boss = doors.api("boss")
    robot = next(
        one["id"] for one in boss.get("/api/v1/users").json()["items"] if one["name"] == "robot"
    )
    made = boss.post(f"/api/v1/users/{robot}/api-keys", json={"label": "script"})
    assert made.status_code == 201
    key = made.json()["key"]
    with doors.anyone() as machine:
        assert machine.get("/api/v1/me", headers={"x-api-key": key}).json()["name"] == "robot"
        bearer = machine.get("/api/v1/me", headers={"authorization": f"Bearer {key}"})
        assert bearer.status_code == 200
        listed = boss.get(f"/api/v1/users/{robot}/api-keys").json()
        assert key not in str(listed)
        for each in listed:
            gone = boss.delete(f"/api/v1/users/{robot}/api-keys/{each['id']}")
            assert gone.status_code == 204
        assert machine.get("/api/v1/me", headers={"x-api-key": key}).status_code == 401


def test_users_are_the_administrators_business(doors: Doors):
    for name in ("desk", "field", "robot", "bank"):
        assert doors.api(name).get("/api/v1/users").status_code == 403
        assert doors.page(name).get("/users").status_code == 403
    boss = doors.api("boss")
    new = {"name": "newcomer", "password": "long-enough-1", "role": "engineer"}
    made = boss.post("/api/v1/users", json=new)
    assert made.status_code == 201
    assert boss.post("/api/v1/users", json=new).status_code == 422
    assert (
        boss.post("/api/v1/users", json=new | {"name": "x", "role": "customer"}).status_code == 422
    )
    assert boss.post("/api/v1/users", json=new | {"name": "x", "admin": True}).status_code == 422
    switched_off = boss.patch(f"/api/v1/users/{made.json()['id']}", json={"enabled": False})
    assert switched_off.json()["enabled"] is False
    with doors.anyone() as newcomer:
        given = newcomer.post(
            "/api/v1/auth/token", data={"username": "newcomer", "password": "long-enough-1"}
        )
    assert given.status_code == 401
    me = boss.get("/api/v1/me").json()["id"]
    assert boss.patch(f"/api/v1/users/{me}", json={"enabled": False}).status_code == 409


def guess(limiter: Limiter, times: int, name: str, address: str, now) -> None:
    for _ in range(times):
        limiter.check(name, address, now=now)
        limiter.failed(name, address, now=now)


def test_guessing_is_slowed_down_and_forgotten_after_a_while(now):
    limiter = Limiter()
    guess(limiter, Limiter.ALLOWED, "desk", "10.0.0.1", now)
    with pytest.raises(TooMany):
        limiter.check(" DESK", "10.0.0.1", now=now)
    limiter.check("desk", "10.0.0.2", now=now)
    limiter.check("other", "10.0.0.1", now=now)
    limiter.check("desk", "10.0.0.1", now=now + Limiter.WINDOW)
    limiter.succeeded("desk", "10.0.0.1")
    limiter.check("desk", "10.0.0.1", now=now)


def test_guessing_from_many_places_or_for_many_names_is_slowed_down_too(now):
    limiter = Limiter()
    for place in range(Limiter.ALLOWED_ALONE):
        guess(limiter, 1, "desk", f"10.0.0.{place}", now)
        guess(limiter, 1, f"name-{place}", "10.1.1.1", now)
    for name, address in (("desk", "10.2.2.2"), ("somebody", "10.1.1.1")):
        with pytest.raises(TooMany):
            limiter.check(name, address, now=now)


def test_the_door_answers_429_with_the_time_to_wait(doors: Doors):
    with doors.anyone() as stranger:
        for _ in range(Limiter.ALLOWED):
            stranger.post("/api/v1/auth/token", data={"username": "mallory", "password": "x"})
        answer = stranger.post("/api/v1/auth/token", data={"username": "mallory", "password": "x"})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= Limiter.WINDOW.total_seconds()
    doors.later(minutes=6)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/alarms?x=1", "/alarms?x=1"),
        ("//elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("https://elsewhere.example", "/"),
        ("/a\nb", "/"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_a_login_leads_to_a_page_of_ours_only(target, expected):
    assert local_target(target) == expected


def test_every_answer_forbids_foreign_scripts_and_frames(doors: Doors):
    for path in ("/login", "/api/v1/fleet", "/static/app.css", "/nothing-here"):
        with doors.anyone(page=True) as client:
            headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_a_person_gets_a_page_and_a_program_problem_details(doors: Doors):
    page = doors.page("desk").get("/devices/999999")
    assert page.status_code == 404
    assert "<h1>Not found</h1>" in page.text
    assert "Log out" in page.text, "the page does not know who asked"
    lost = doors.page("desk").get("/no/such/page")
    assert "Log out" in lost.text
    program = doors.api("desk").get("/api/v1/devices/999999")
    assert program.json() == {
        "type": "about:blank",
        "title": "Not found",
        "status": 404,
        "detail": "There is no device 999999.",
        "instance": "/api/v1/devices/999999",
        "fields": [],
    }
    assert doors.api("desk").get("/api/v1/no-such-thing").json()["status"] == 404


def test_unknown_fields_and_parameters_are_refused_by_name(doors: Doors):
    desk = doors.api("desk")
    body = desk.post(
        f"/api/v1/alarms/{doors.fleet.alarms['load']}/shelve",
        json={"until_at": "2026-03-02T09:00:00Z", "reason": "x", "colour": "red"},
    )
    assert body.status_code == 422
    assert body.json()["fields"][0]["field"] == "colour"
    query = desk.get("/api/v1/fleet?colour=red")
    assert query.status_code == 422
    assert query.json()["fields"][0]["field"] == "colour"


def test_who_runs_the_product_can_ask_without_a_login(doors: Doors):
    with doors.anyone() as probe:
        assert probe.get("/healthz").json() == {"status": "ok"}
        ready = probe.get("/readyz").json()
        assert ready["ready"] is True
        assert ready["last_ingest_age_seconds"] >= 0
        probe.get("/api/v1/devices/1")
        text = probe.get("/metrics").text
    assert 'route="/api/v1/devices/{device_id}"' in text
    assert "/devices/1" not in text


def test_the_language_is_kept_with_the_browser_and_the_user(doors: Doors):
    with doors.anyone(page=True) as person:
        person.headers["accept-language"] = "zh-CN"
        assert "登录" in person.get("/login").text
        person.post("/login", data={"name": "field", "password": PASSWORD})
        assert "设备总览" in person.get("/").text
        switched = person.post("/preferences", data={"language": "en", "next": "/alarms"})
        assert switched.headers["location"] == "/alarms"
        assert "<h1>Fleet</h1>" in person.get("/").text
    assert doors.write("SELECT language FROM app_user WHERE name = 'field'") == [("en",)]
