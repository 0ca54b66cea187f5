"""A service manager makes a rule, overrides one and goes back, in a real browser."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.service_api.conftest import Doors
from tests.service_api.test_pages_chromium import (
    PHONE,
    at,
    browser,
    live_doors,
    pytestmark,
)

__all__ = ["browser", "live_doors", "pytestmark"]


def test_a_rule_is_made_by_form_with_a_look_at_the_fleet_and_changed_and_taken_back(
    browser: Browser, live_doors: Doors
):
    with at(browser, live_doors, "desk") as page:
        page.goto(f"{live_doors.url}/rules/new")
        page.fill("textarea[name=condition]", "ups_lod > 60")
        check = page.locator("#check")
        expect(check).to_contain_text("did you mean `ups_load`?")
        page.fill("textarea[name=condition]", "")
        page.fill("#words-search", "负载率")
        expect(page.locator("[data-word=battery_charge]")).to_have_count(0)
        page.click("[data-word=ups_load]")
        page.locator("textarea[name=condition]").press_sequentially(" > 600")
        page.fill("input[name=key]", "busy")
        page.fill("input[name=title_en]", "Busy")
        page.fill("input[name=title_zh]", "繁忙")
        page.fill("textarea[name=source]", "ours")
        expect(check).to_contain_text("can never hold")
        page.fill("textarea[name=condition]", "ups_load > 60")
        expect(check.locator(".holds b")).to_have_text(re.compile(r"[1-9]\d*"))
        page.fill("input[name=raise_value]", "2")
        page.select_option("select[name=work]", "ticket")
        page.fill("input[name=failure_mode]", "busy")
        page.fill("textarea[name=action_en]", "Look.")
        page.fill("textarea[name=action_zh]", "查看。")
        page.fill("input[name=reason]", "asked for by the customer")
        page.click("button:has-text('Save')")
        page.wait_for_url(f"{live_doors.url}/rules/busy")
        expect(page.locator("main")).to_contain_text("Your own rule, version 1")
        expect(page.locator("main")).to_contain_text("2 min")

        page.click("a:has-text('Edit')")
        expect(page.locator("input[name=raise_value]")).to_have_value("2")
        page.fill("textarea[name=condition]", "ups_load > 65")
        page.fill("input[name=reason]", "too many")
        page.click("button:has-text('Save')")
        page.wait_for_url(f"{live_doors.url}/rules/busy")
        page.click("a:has-text('Version 1')")
        expect(page.locator("main")).to_contain_text("asked for by the customer")
        page.fill("input[name=reason]", "was right")
        page.click("button:has-text('Put in force again')")
        page.wait_for_url(f"{live_doors.url}/rules/busy")
        expect(page.locator("main")).to_contain_text("version 3")
        expect(page.locator("pre").first).to_have_text("ups_load > 60")
        page.goto(f"{live_doors.url}/rules/busy/versions/2")


def test_an_override_is_made_and_ended_on_a_phone(browser: Browser, live_doors: Doors):
    name = live_doors.write("SELECT name FROM device ORDER BY id LIMIT 1")[0][0]
    with at(browser, live_doors, "desk", size=PHONE, locale="zh-CN") as page:
        page.goto(f"{live_doors.url}/rules/high_load")
        page.click("a:has-text('对部分设备覆盖')")
        page.fill("input[name=device]", name)
        page.fill("textarea[name=condition]", "ups_load > 95")
        expect(page.locator("#check")).to_contain_text("台成立，共 1 台")
        page.fill("input[name=reason]", "新机房")
        page.click("button:has-text('保存')")
        page.wait_for_url(f"{live_doors.url}/rules/high_load")
        expect(page.locator(".overrides")).to_contain_text("ups_load > 95")
        page.click("summary:has-text('更改或结束')")
        page.fill(".overrides input[name=reason]", "已更换")
        page.click("button:has-text('结束此覆盖')")
        expect(page.locator(".overrides")).to_have_count(0)


@pytest.mark.parametrize("address", ["/rules/new", "/rules/import", "/rules/high_load/override"])
def test_who_may_not_change_rules_sees_no_form(live_doors: Doors, address: str):
    assert live_doors.page("field").get(address).status_code == 403
    assert live_doors.page("field").get("/rules/high_load").text.count(address) == 0
