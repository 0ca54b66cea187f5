"""What is looked at before an engineer leaves a unit."""

from datetime import UTC, datetime, timedelta

import pytest

from rules.rearming import FRESH_FOR, verify

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
FIT = {
    "status_on_battery": False,
    "status_bypass": False,
    "status_off": False,
    "status_testing": False,
    "battery_charge": 80.0,
    "status_charging": True,
    "ups_test_result": "passed",
}


def verdicts(facts: dict, *, ago: timedelta = timedelta(0), is_known=True) -> dict[str, str]:
    found = verify(facts, NOW - ago, (), NOW, is_known=is_known)
    return {one.key: one.verdict for one in found}


def test_a_unit_that_is_fit_passes():
    assert set(verdicts(FIT).values()) == {"passed"}


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"status_on_battery": True}, "status_on_battery"),
        ({"status_bypass": True}, "status_bypass"),
        ({"status_off": True}, "status_off"),
        ({"status_testing": True}, "status_testing"),
        ({"status_charging": False}, "battery"),
        ({"ups_test_result": "failed"}, "self_test"),
        ({"ups_test_result": "warning"}, "self_test"),
    ],
)
def test_one_thing_wrong_is_named_alone(wrong: dict, key: str):
    found = verdicts(FIT | wrong)
    assert {name for name, verdict in found.items() if verdict == "failed"} == {key}


def test_another_unit_than_the_records_know_is_no_pass():
    assert verdicts(FIT, is_known=False)["identity"] == "failed"
    assert verdicts(FIT, is_known=None)["identity"] == "unknown"


@pytest.mark.parametrize("told", ["none", "aborted", "in_progress", None])
def test_a_self_test_that_was_not_run_to_its_end_says_nothing(told):
    assert verdicts(FIT | {"ups_test_result": told})["self_test"] == "unknown"


def test_what_a_unit_does_not_tell_is_no_pass_and_no_failure():
    found = verdicts({"status_on_battery": False})
    assert found["status_on_battery"] == "passed"
    assert {found["status_bypass"], found["battery"]} == {"unknown"}
    assert verdicts({"battery_charge": 96.0})["battery"] == "passed"
    assert verdicts({"battery_charge": 90.0})["battery"] == "failed"


def test_old_values_say_nothing():
    found = verdicts(FIT, ago=FRESH_FOR + timedelta(seconds=1))
    assert found["fresh"] == "failed"
    assert found["status_bypass"] == "unknown"
    never = {one.key: one.verdict for one in verify({}, None, (), NOW, is_known=None)}
    assert never["fresh"] == "failed"


def test_standing_alarms_are_named_in_both_languages():
    (alarms,) = (
        one
        for one in verify(FIT, NOW, [("Fan fault", "风扇故障")], NOW, is_known=True)
        if one.key == "alarms"
    )
    assert (alarms.verdict, "Fan fault" in alarms.en, "风扇故障" in alarms.zh) == (
        "failed",
        True,
        True,
    )
