"""The pages in a real browser: live, in both languages, without errors, on a desk and a phone."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.service_api.conftest import Doors, open_doors
from tests.service_api.fleet_seed import PASSWORD

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="no chromium on the PATH: pages stay unseen"
    ),
]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
PATIENCE = 15_000


@pytest.fixture(scope="module")
def live_doors(embedded_server) -> Iterator[Doors]:
    database = embedded_server.copy()
    with open_doors(database, past=True) as opened:
        yield opened
    embedded_server.drop(database.name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(ARGUMENTS)
        )
        yield chromium
        chromium.close()


@contextmanager
def at(
    browser: Browser, doors: Doors, name: str, *, size: dict[str, int] = DESK, locale: str = "en-GB"
) -> Iterator[Page]:
    """Log in and hand over the page; afterwards nothing may have gone wrong in the browser."""
    context = browser.new_context(viewport=size, locale=locale)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda one: wrong.append(f"{one.url} {one.failure}"))
    page.goto(f"{doors.url}/login")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"{doors.url}/")
    yield page
    # Leaving a page ends its event stream and what it was loading: that is no fault.
    left = [line for line in wrong if "ERR_ABORTED" not in line]
    context.close()
    assert not left, left


def addresses(doors: Doors) -> list[str]:
    fleet = doors.fleet
    return [
        "/",
        "/?state=on_battery",
        "/?q=nothing-like-this",
        "/wall",
        "/search?q=bank",
        f"/devices/{fleet.devices['bank-1-u1']}",
        f"/devices/{fleet.devices['clinic-1-u2']}",
        f"/devices/{fleet.devices['mill-2-u3']}",
        "/alarms",
        "/alarms?state=cleared",
        "/alarms/figures",
        "/suppressions",
        "/planned-work",
        "/problems",
        "/power-events",
        "/planned-work/new",
        f"/alarms/{fleet.alarms['stale']}",
        "/incidents",
        "/incidents?state=all",
        f"/incidents/{fleet.incident}",
        "/campaigns",
        f"/sites/{fleet.sites['mill-1']}/topology",
        "/tickets",
        "/tickets?state=waiting",
        "/tickets/new",
        *(f"/tickets/{ticket}" for ticket in fleet.tickets.values()),
        "/coverage",
        "/coverage?by=contract&gap=traps",
        "/backtests",
        "/backtests?rule=overload",
        "/batteries",
        "/reliability",
        "/rules",
        "/rules/new",
        "/rules/new?like=overload",
        "/rules/new?by=toml",
        "/rules/high_load/override",
        "/rules/import",
        *(f"/rules/{key}" for key in ("on_battery", "input_out_of_range", "shutdown_imminent")),
        "/doubts",
        "/doubts?state=ended",
        "/work-orders",
        "/maintenance",
        "/parts",
        "/notifications",
        "/customers",
        "/contracts",
        "/users",
        "/users/1",
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_no_page_is_wider_than_its_screen_or_logs_an_error(
    browser: Browser, live_doors: Doors, size: dict[str, int], language: str
):
    locale = "zh-CN" if language == "zh" else "en-GB"
    with at(browser, live_doors, "boss", size=size, locale=locale) as page:
        for address in addresses(live_doors):
            answer = page.goto(live_doors.url + address)
            assert answer is not None
            assert answer.ok, address
            assert page.locator("html").get_attribute("lang") == (
                "zh-CN" if language == "zh" else "en"
            )
            wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wider <= 0, f"{address} is {wider} pixels wider than the screen"


def test_the_fleet_changes_in_place_when_readings_arrive(browser: Browser, live_doors: Doors):
    device = live_doors.fleet.devices["metro-1-u4"]
    with (
        at(browser, live_doors, "desk") as page,
        psycopg.connect(live_doors.database.ingest_dsn, autocommit=True) as ingest,
    ):
        row = page.locator(f'tr[data-key="{device}"]')
        expect(row).to_contain_text("On mains")
        page.evaluate("window.staysTheSame = 1")
        ingest.execute(
            "UPDATE device_state SET status_on_battery = true, status_on_line = false,"
            " battery_runtime = 840, ups_load = 63 WHERE device_id = %s",
            (device,),
        )
        ingest.execute("NOTIFY ridethrough, 'readings'")
        expect(row).to_contain_text("On battery", timeout=PATIENCE)
        expect(row).to_contain_text("13 min left")
        expect(page.locator(".chip", has_text="On battery")).to_contain_text("5")
        assert page.evaluate("window.staysTheSame") == 1, "the page was loaded again"
        ingest.execute(
            "UPDATE device_state SET status_on_battery = false, status_on_line = true"
            " WHERE device_id = %s",
            (device,),
        )


def test_rows_keep_their_places_while_somebody_points_at_them(browser: Browser, live_doors: Doors):
    device = live_doors.fleet.devices["metro-1-u3"]
    order = "[...document.querySelectorAll('tbody tr')].map((row) => row.dataset.key)"
    with (
        at(browser, live_doors, "desk") as page,
        psycopg.connect(live_doors.database.ingest_dsn, autocommit=True) as ingest,
    ):
        before = page.evaluate(order)
        page.locator("tbody tr").nth(2).hover()
        ingest.execute("UPDATE device_state SET status_off = true WHERE device_id = %s", (device,))
        ingest.execute("NOTIFY ridethrough, 'readings'")
        row = page.locator(f'tr[data-key="{device}"]')
        expect(row).to_contain_text("Output off", timeout=PATIENCE)
        assert page.evaluate(order) == before
        page.mouse.move(5, 5)
        ingest.execute("NOTIFY ridethrough, 'readings'")
        second = page.locator("tbody tr").nth(1)
        expect(second).to_have_attribute("data-key", str(device), timeout=PATIENCE)
        ingest.execute("UPDATE device_state SET status_off = false WHERE device_id = %s", (device,))


def test_what_has_the_focus_keeps_it_when_a_live_part_is_renewed(
    browser: Browser, live_doors: Doors
):
    device = live_doors.fleet.devices["metro-1-u2"]
    put_out = {"device_id": device, "reason": "Fan comes on Friday"}
    made = live_doors.api("desk").post("/api/v1/suppressions", json=put_out)
    assert made.is_success, made.text
    with at(browser, live_doors, "desk") as page:
        page.goto(f"{live_doors.url}/devices/{device}")
        page.get_by_role("button", name="Put back").focus()
        page.evaluate("document.activeElement.dataset.before = 1")
        page.evaluate("window.htmx.trigger('#live', 'sse:change')")
        expect(page.locator("[data-before]")).to_have_count(0, timeout=PATIENCE)
        assert page.evaluate("document.activeElement.textContent") == "Put back"


def test_the_keyboard_searches_and_walks_the_list(browser: Browser, live_doors: Doors):
    with at(browser, live_doors, "desk") as page:
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.textContent") == "UPS bank-1-u2"
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/devices/{live_doors.fleet.devices['bank-1-u1']}")
        page.keyboard.press("/")
        page.keyboard.type("clinic")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=clinic")
        expect(page.locator("main")).to_contain_text("operating theatre")


def test_language_and_theme_are_switched_in_the_header_and_stay(
    browser: Browser, live_doors: Doors
):
    with at(browser, live_doors, "field") as page:
        page.goto(f"{live_doors.url}/alarms?severity=major")
        page.click("button[name=language][value=zh]")
        expect(page.locator("h1")).to_have_text("告警")
        assert page.url.endswith("/alarms?severity=major")
        page.goto(f"{live_doors.url}/tickets")
        expect(page.locator("h1")).to_have_text("工单")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("button[name=theme]")
        page.click("button[name=theme]")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        page.click("button[name=language][value=en]")


def test_a_units_charts_are_drawn_for_every_span(browser: Browser, live_doors: Doors):
    with at(browser, live_doors, "desk") as page:
        page.goto(f"{live_doors.url}/devices/{live_doors.fleet.devices['bank-1-u1']}")
        expect(page.locator("#charts canvas")).to_have_count(4, timeout=PATIENCE)
        for span in ("6h", "7d", "90d", "1y"):
            with page.expect_response("**/telemetry?*") as answer:
                page.click(f"[data-span='{span}']")
            assert answer.value.ok
            expect(page.locator("#charts canvas")).to_have_count(4)
            expect(page.locator(f"[data-span='{span}']")).to_have_attribute("aria-pressed", "true")
        page.goto(f"{live_doors.url}/devices/{live_doors.fleet.devices['metro-1-u4']}")
        expect(page.locator("#charts")).to_contain_text("No readings in this span.")


def test_alarms_are_ticked_acknowledged_and_taken_back(browser: Browser, live_doors: Doors):
    with at(browser, live_doors, "desk") as page:
        page.goto(f"{live_doors.url}/alarms?severity=warning")
        page.locator("tr", has_text="metro-1-u1").locator("input[type=checkbox]").check()
        page.get_by_role("button", name="Acknowledge selected").click()
        expect(page.locator(".said")).to_have_text("Acknowledged: 1")
        row = page.locator("tr", has_text="metro-1-u1")
        expect(row).to_contain_text("Acknowledged")
        row.locator("input[type=checkbox]").check()
        page.get_by_role("button", name="Take acknowledgement back").click()
        expect(page.locator(".said")).to_have_text("Acknowledgement taken back: 1")


def test_a_phone_has_its_navigation_at_the_thumb(browser: Browser, live_doors: Doors):
    with at(browser, live_doors, "bank", size=PHONE) as page:
        box = page.locator("nav.nouns").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] == pytest.approx(PHONE["height"], abs=1)
        page.get_by_text("More", exact=True).click()
        expect(page.get_by_role("link", name="Contracts")).to_be_visible()
        page.get_by_role("link", name="Alarms").first.click()
        expect(page.locator("h1")).to_have_text("Alarms")
        expect(page.get_by_role("button", name="Acknowledge selected")).to_have_count(0)


def test_a_page_says_when_the_server_is_gone_and_when_data_are_old(
    browser: Browser, live_doors: Doors
):
    before = live_doors.now
    with at(browser, live_doors, "desk") as page:
        live_doors.later(minutes=5)
        page.evaluate(
            "window.htmx.ajax('GET', '/freshness', {target: '#freshness', swap: 'outerHTML'})"
        )
        expect(page.locator("#freshness")).to_contain_text("No data since")
        live_doors.now = before
        page.evaluate("window.dispatchEvent(new Event('offline'))")
        expect(page.locator("#offline")).to_contain_text("No connection to the server")
        page.evaluate("window.dispatchEvent(new Event('online'))")
        expect(page.locator("#offline")).to_be_hidden()


def test_what_an_announcement_would_do_is_shown_beside_the_form(
    browser: Browser, live_doors: Doors
):
    with at(browser, live_doors, "bank") as page:
        page.goto(f"{live_doors.url}/planned-work/new")
        preview = page.locator("#preview")
        expect(preview.get_by_text("Low battery while on battery")).to_be_visible()
        page.select_option("select[name=work]", "network_work")
        expect(preview.get_by_text("Low battery while on battery")).to_have_count(0)
        expect(preview.get_by_text("Unit does not answer").first).to_be_visible()


def test_a_finger_signs_the_alarm_test(browser: Browser, live_doors: Doors):
    field = live_doors.api("field")
    unit = next(iter(live_doors.fleet.devices.values()))
    made = field.post("/api/v1/commissioning", json={"device_id": unit}).json()
    for step in made["steps"]:
        where = f"/api/v1/commissioning/{made['id']}/steps/{step['rule']}/skip"
        field.post(where, json={"reason": "only papers"})
    with at(browser, live_doors, "field", size=PHONE) as page:
        page.goto(f"{live_doors.url}/commissioning/{made['id']}")
        page.get_by_role("button", name="Finish and sign").click()
        form = page.locator("form", has=page.locator("input[value=customer]"))
        form.locator("input[name=name]").fill("Caretaker")
        pad = form.locator("[data-signature]")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 120, box["y"] + 60, steps=5)
        page.mouse.up()
        form.get_by_role("button", name="Sign", exact=True).click()
        expect(page.get_by_text("Caretaker")).to_be_visible()
    signed = field.get(f"/api/v1/commissioning/{made['id']}").json()["accepted"]
    assert signed["strokes"].count("L") >= 5
    session = made["work_session_id"]
    field.post(f"/api/v1/work-sessions/{session}/check-out", json={"exception": "test over"})
