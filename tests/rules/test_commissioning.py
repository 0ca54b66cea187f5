"""Which alarms are provoked at a unit, how long they are waited for, and the seal of a report."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rules.catalogue import catalogue
from rules.commissioning import (
    GRACE,
    PROVOCATIONS,
    SILENCE,
    Path,
    StepState,
    applicable,
    is_complete,
    sealed,
    waits_until,
)

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def test_every_provocation_is_of_a_shipped_rule():
    assert {one.rule_key for one in PROVOCATIONS} <= catalogue().keys()


def test_what_a_unit_does_not_tell_is_not_provoked_and_silence_always_is():
    def keys(told: set[str]) -> list[str]:
        return [one.rule_key for one in applicable(catalogue(), told)]

    assert keys(set()) == ["communication_lost"]
    assert keys({"status_on_battery", "status_bypass"}) == [
        "on_battery",
        "low_battery",
        "on_bypass",
        "communication_lost",
    ]


def test_an_alarm_is_waited_for_as_long_as_its_way_takes():
    rules = catalogue()
    mains = waits_until(rules["on_battery"], NOW, 30.0)
    assert mains == NOW + timedelta(seconds=60 + 90) + GRACE
    silent = waits_until(rules["communication_lost"], NOW, 30.0)
    assert silent == NOW + timedelta(seconds=90) + GRACE + SILENCE


def test_latencies_leave_the_rule_s_own_time_out():
    path = Path(
        NOW,
        NOW + timedelta(seconds=0.4),
        NOW + timedelta(seconds=60),
        NOW + timedelta(seconds=60.7),
    )
    found = path.latencies(timedelta(seconds=60))
    assert found["hold"] == 60.0
    assert round(found["transport"], 3) == 0.4
    assert round(found["judging"], 3) == 0.7
    assert Path(None, None, NOW, None).latencies(timedelta(0)) == {"hold": 0.0}


def test_a_test_is_complete_when_all_was_tried_or_left_out():
    tried = [StepState.PASSED, StepState.FAILED, StepState.SKIPPED]
    assert is_complete(tried)
    assert not is_complete([*tried, StepState.RUNNING])
    assert not is_complete([*tried, StepState.WAITING])


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_the_seal_is_of_the_content_and_not_of_its_order(content):
    backwards = dict(reversed(content.items()))
    assert sealed(content) == sealed(backwards)
    assert sealed({**content, "more": 1}) != sealed(content) or "more" in content
