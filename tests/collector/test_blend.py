import pytest

from collector.blend import (
    contradicted,
    disagreements,
    is_outgrown,
    sources,
    spare_places,
)
from collector.convert import answers, decode, encode
from collector.plan import plan_for
from collector.profile import profiles
from collector.raw import Walk
from rules.facts import Identity
from rules.points import TEST_RESULTS

BY_NAME = profiles()
APC = "1.3.6.1.4.1.318.1.1.1"
XUPS = "1.3.6.1.4.1.534.1"
RFC = "1.3.6.1.2.1.33.1"
FINE, COARSE = f"{APC}.2.3.1.0", f"{APC}.2.2.1.0"


def apc(lines=1):
    return plan_for(BY_NAME["apc-powernet"], lines)


def test_a_second_place_is_only_a_check_once_the_better_one_answers():
    spare = spare_places(apc(), {FINE: 987, COARSE: 99})
    assert COARSE in spare.checks
    narrow = plan_for(BY_NAME["apc-powernet"], 1, spare.idle, spare.checks)
    assert COARSE not in (*narrow.fast_refs, *narrow.slow_refs)
    assert COARSE in narrow.check_refs
    assert FINE in narrow.fast_refs


def test_a_second_place_that_tells_nothing_is_not_even_a_check():
    spare = spare_places(apc(), {FINE: 987})
    assert COARSE in spare.idle
    assert COARSE not in spare.checks


def test_a_placeholder_in_the_better_place_keeps_both_asked():
    spare = spare_places(apc(), {FINE: -1, COARSE: 99})
    assert not {FINE, COARSE} & (spare.checks | spare.idle)


def test_nonsense_in_the_better_place_makes_it_the_check():
    spare = spare_places(apc(), {FINE: 98_700, COARSE: 99})
    assert FINE in spare.checks
    assert COARSE not in spare.checks | spare.idle


def test_nonsense_without_an_alternative_stays_asked():
    assert FINE not in spare_places(apc(), {FINE: 98_700}).checks


def test_a_point_is_read_from_the_standard_where_the_maker_says_nothing():
    plan = plan_for(BY_NAME["eaton-xups"])
    raw = {f"{RFC}.2.4.0": 77, f"{XUPS}.4.1.0": 20, f"{RFC}.4.4.1.5.1": 21}
    where = sources(plan, raw)
    assert where["battery.charge"] == f"{RFC}.2.4.0"
    assert where["ups.load"] == f"{XUPS}.4.1.0"


def test_flags_name_the_place_that_raises_them():
    plan = plan_for(BY_NAME["eaton-xups"])
    raw = {
        f"{XUPS}.4.5.0": 5,
        f"{RFC}.2.1.0": 2,
        Walk(f"{XUPS}.7.2.1.2", f"{XUPS}.7.1.0"): ("1.3.6.1.4.1.534.1.7.33",),
        f"{XUPS}.8.2.0": 2,
    }
    where = sources(plan, raw)
    assert where["status.on_battery"] == f"{XUPS}.4.5.0"
    assert where["alarm.fan_fault"] == f"{XUPS}.7.2.1.2"
    assert where["ups.test.result"] == f"{XUPS}.8.2.0"


@pytest.mark.parametrize(
    ("own", "standard", "agree"),
    [
        (231, 230, True),  # tables are refreshed one after the other
        (231, 2_310, None),  # 2310 V is refused, so there is nothing to compare
        (231, 115, False),
        (23, 231, False),
    ],
)
def test_two_places_are_compared_within_what_honest_ones_may_differ(own, standard, agree):
    plan = plan_for(BY_NAME["eaton-xups"])
    raw = {f"{XUPS}.4.4.1.2.1": own, f"{RFC}.4.4.1.2.1": standard}
    found = disagreements(plan, raw)
    if agree is False:
        (found,) = found
        assert found.to_json() == {
            "point": "output.voltage",
            "primary": float(own),
            "check": float(standard),
            "primary_source": f"{XUPS}.4.4.1.2.1",
            "check_source": f"{RFC}.4.4.1.2.1",
        }
        assert str(found).startswith(f"output.voltage: {own} at ")
    else:
        assert found == ()


def test_a_check_of_a_narrow_plan_is_compared_too():
    profile = BY_NAME["eaton-xups"]
    own, standard = f"{XUPS}.4.4.1.2.1", f"{RFC}.4.4.1.2.1"
    spare = spare_places(plan_for(profile), {own: 231, standard: 230})
    plan = plan_for(profile, 1, spare.idle, spare.checks)
    assert standard in plan.check_refs
    assert disagreements(plan, {own: 231, standard: 230}) == ()
    (found,) = disagreements(plan, {own: 231, standard: 23})
    assert (found.primary, found.check) == (231.0, 23.0)


def test_minutes_and_seconds_of_one_estimate_agree():
    plan = plan_for(BY_NAME["eaton-xups"])
    assert disagreements(plan, {f"{XUPS}.2.1.0": 1_464, f"{RFC}.2.3.0": 24}) == ()
    (found,) = disagreements(plan, {f"{XUPS}.2.1.0": 1_464, f"{RFC}.2.3.0": 240})
    assert found.point == "battery.runtime"


def test_capped_runtimes_are_not_compared():
    plan = plan_for(BY_NAME["eaton-xups"])
    assert disagreements(plan, {f"{XUPS}.2.1.0": 190_000, f"{RFC}.2.3.0": 998}) == ()


def test_two_mibs_that_tell_another_source_contradict_each_other():
    plan = plan_for(BY_NAME["eaton-xups"])
    assert disagreements(plan, {f"{XUPS}.4.5.0": 3, f"{RFC}.4.1.0": 3}) == ()
    found = disagreements(plan, {f"{XUPS}.4.5.0": 3, f"{RFC}.4.1.0": 5})
    assert [(f.point, f.primary, f.check) for f in found] == [("status.on_battery", False, True)]
    assert str(found[0]).startswith("status.on_battery: no at ")


def test_a_reading_carries_the_value_that_contradicts_it():
    plan = plan_for(BY_NAME["eaton-xups"])
    found = disagreements(plan, {f"{XUPS}.4.4.1.2.1": 231, f"{RFC}.4.4.1.2.1": 23})
    assert contradicted(found) == {"check.output.voltage": 23.0}


def test_two_probes_in_one_room_do_not_contradict_each_other():
    plan = plan_for(BY_NAME["eaton-xups"])
    assert disagreements(plan, {f"{XUPS}.6.1.0": 29, f"{XUPS}.6.5.0": 21}) == ()


@pytest.mark.parametrize(
    ("known", "now", "is_another"),
    [
        (Identity("Eaton", "9PX", "A1", "1.2"), Identity("Eaton", "9PX", "A1", "1.2"), False),
        (Identity("Eaton", "9PX", "A1", "1.2"), Identity("Eaton", "9PX", "B7", "1.2"), True),
        (Identity("Eaton", "9PX", "A1", "1.2"), Identity("Eaton", "9PX", "A1", "1.3"), True),
        (Identity("Eaton", "9PX", "A1", "1.2"), Identity("Eaton", None, "A1", "1.2"), False),
        (None, Identity("Eaton", "9PX", "A1", "1.2"), False),
    ],
)
def test_another_unit_behind_a_card_outgrows_its_plan(known, now, is_another):
    assert is_outgrown(plan_for(BY_NAME["eaton-xups"]), {}, known, now) is is_another


def test_a_place_that_fell_silent_outgrows_the_plan_where_its_check_still_answers():
    profile = BY_NAME["eaton-xups"]
    own, standard = f"{XUPS}.4.4.1.2.1", f"{RFC}.4.4.1.2.1"
    spare = spare_places(plan_for(profile), {own: 231, standard: 230})
    plan = plan_for(profile, 1, spare.idle, spare.checks)
    assert not is_outgrown(plan, {own: 231, standard: 230}, None, Identity())
    assert is_outgrown(plan, {standard: 230}, None, Identity())


@pytest.mark.parametrize("result", TEST_RESULTS)
@pytest.mark.parametrize("name", ["apc-powernet", "eaton-xups", "eaton-mge", "hpe-ups", "rfc1628"])
def test_every_test_result_can_be_told_by_one_of_the_two_mibs(name, result):
    plan = plan_for(BY_NAME[name])
    points = {
        "ups_test_result": result,
        "status_testing": result == "in_progress",
        "alarm_battery_test_failed": result == "failed",
    }
    raw = answers(plan, encode(plan.profile, points, Identity()))
    assert decode(plan, raw).points["ups_test_result"] == result
