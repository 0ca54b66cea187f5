from math import inf, nan
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collector.convert import answers, decode, encode
from collector.marks import decode_identity, decode_phases
from collector.plan import plan_for
from collector.profile import profiles
from collector.raw import Registers, Typed, Walk
from collector.settle import settle, signed
from collector.values import LIMITS, read_text
from rules.facts import Identity

BY_NAME = profiles()
ASKED = sorted(name for name, profile in BY_NAME.items() if profile.protocol != "json")
RFC = "1.3.6.1.2.1.33.1"
APC = "1.3.6.1.4.1.318.1.1.1"
XUPS = "1.3.6.1.4.1.534.1"

ON_MAINS = {f"{RFC}.4.1.0": 3}


_POWER = {
    f"status_{word}" for word in ("on_line", "on_battery", "off", "bypass", "boost", "trim", "eco")
}


def state_of(plan, chance: Random):
    """Return what a unit could be saying at one instant: each source some code, or silent."""
    points = {}
    preferred = {}
    for step in plan.numbers:
        preferred.setdefault(step.key, step)
    for step in preferred.values():
        if step.codes:
            points[step.key] = chance.choice(sorted(step.codes.values()))
        elif chance.random() < 0.7:
            number = chance.uniform(max(step.low, 0.0), min(step.high, 250.0))
            raw = round(number * step.divide / step.scale)
            low, high = LIMITS.get(step.type, (0, inf))
            held = (raw * step.scale / step.divide - step.offset) * step.divide / step.scale
            told = held > step.missing_below + 1
            if raw not in step.missing and low <= raw < high and told:
                points[step.key] = raw * step.scale / step.divide
    for state in plan.states:
        if chance.random() < 0.7:
            _speak(state, points, chance)
    for table in plan.alarms if chance.random() < 0.7 else ():
        for flag in table.told:
            points.setdefault(flag, False)
        for row in chance.sample(sorted(table.codes), chance.choice((0, 0, 1, 3))):
            if _POWER.isdisjoint(table.codes[row]):
                points |= dict.fromkeys(table.codes[row], True)
    for step in preferred.values():
        if step.by_state and step.key in points:
            current = signed(points, points.pop(step.key))
            if current is not None:
                points[step.key] = current
    settle(points, {}, plan.phases.output)
    return points


def _speak(state, points, chance):
    if state.bits:
        raised = [flag for _, flags in state.bits if chance.random() < 0.1 for flag in flags]
    else:
        codes = [code for code, flags in state.codes.items() if flags is not None]
        codes = codes or sorted({code for _, table in state.texts for code in table})
        # One unit has one source of power, whichever object tells it.
        power = {flag for flag in _POWER if points.get(flag) is True}
        if power:
            ours = power.intersection(state.told)
            codes = [c for c in codes if _POWER.intersection(state.codes.get(c) or ()) == ours]
        if not codes:
            return
        code = chance.choice(codes)
        raised = state.codes.get(code) or ()
        for key, table in state.texts:
            if code in table:
                points.setdefault(key, table[code])
    for flag in state.told:
        points.setdefault(flag, False)
    points |= dict.fromkeys(raised, True)


@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize("name", ASKED)
@settings(deadline=None)  # the first example compiles the plan
@given(seed=st.integers(0, 2**32))
def test_what_is_encoded_is_decoded_again(name, phases, seed):
    plan = plan_for(BY_NAME[name], phases)
    points = state_of(plan, Random(seed))
    found = decode(plan, answers(plan, encode(plan.profile, points, Identity(), phases)))
    assert found.rejections == ()
    both = {**found.points, **found.extra}
    for key, value in points.items():
        if isinstance(value, float):
            assert both[key] == pytest.approx(value), key
        else:
            # What is not raised may stay untold where its only source must say something else.
            assert both.get(key, value if value is False else None) == value, key
    spelled = {key for state in plan.states for key, _ in state.texts}
    # An entry that reads some bits of a register speaks whenever the others do.
    spelled |= {flag for state in plan.states if state.mask != -1 for flag in state.told}
    for key, value in both.items():
        derived = key in spelled or key in ("ups_load", "ups_realpower")
        assert key in points or value is False or derived, key


@pytest.mark.parametrize("name", ASKED)
def test_the_identity_survives(name):
    profile = BY_NAME[name]
    plan = plan_for(profile, 3)
    usual = {"manufacturer": "Maker", "model": "SMT 1500", "serial": "AB12", "firmware": "1.2"}
    fixed = {step.name: step.mark.text for step in plan.marks if step.ref is None}
    coded = {s.name: next(iter(s.mark.codes.values())) for s in plan.marks if s.mark.codes}
    counted = {s.name: "305" for s in plan.marks if s.mark.type in ("u16", "f32")}
    told = {**usual, **counted, **coded, **fixed}
    who = Identity(*(told[word] for word in usual), {"battery.date": "2024-05-06"})
    raw = answers(plan, encode(profile, {}, who, 3))
    found = decode_identity(plan, raw)
    told = {step.name for step in plan.marks}
    for word in ("manufacturer", "model", "serial", "firmware"):
        assert getattr(found, word) == (getattr(who, word) if word in told else None)
    assert dict(found.details) == {k: v for k, v in who.details.items() if k in told}
    for side, *_ in plan.counts:
        assert getattr(decode_phases(plan, raw), side) == 3


def rfc(raw, known=None):
    return decode(plan_for(BY_NAME["rfc1628"]), raw, known)


def test_units_are_those_of_the_table_of_points():
    found = rfc({f"{RFC}.2.3.0": 90, f"{RFC}.2.5.0": 546, f"{RFC}.4.2.0": 499})
    assert found.points == {
        "battery_runtime": 5400.0,
        "battery_voltage": 54.6,
        "output_frequency": 49.9,
    }


@pytest.mark.parametrize("raw", [None, b"", b"  ", b"\x00", b"N/A", -1, 255])
def test_a_placeholder_is_missing_without_a_word(raw):
    found = rfc({f"{RFC}.2.4.0": raw, **ON_MAINS})
    assert "battery_charge" not in found.points
    assert found.rejections == ()
    assert found.points["status_on_line"] is True


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (985, "scale_suspect"),
        (101, "implausible"),
        (5_000, "implausible"),
        (-7, "implausible"),
        (b"full", "wrong_type"),
        (nan, "not_finite"),
        (inf, "not_finite"),
        (b"-inf", "not_finite"),
        (True, "wrong_type"),
        ((1, 2, "x"), "wrong_type"),
    ],
)
def test_an_impossible_value_is_refused_and_the_rest_goes_on(raw, reason):
    found = rfc({f"{RFC}.2.4.0": raw, **ON_MAINS})
    assert [(r.point, r.reason) for r in found.rejections] == [("battery.charge", reason)]
    assert "battery_charge" not in found.points
    assert found.points["status_on_line"] is True


@pytest.mark.parametrize("raw", [97, 97.0, b"+97", b" 97 ", "97.00"])
def test_a_number_sent_as_text_is_a_number(raw):
    assert rfc({f"{RFC}.2.4.0": raw}).points == {"battery_charge": 97.0}


def test_a_flag_not_raised_is_false_and_a_flag_not_told_is_missing():
    points = rfc(ON_MAINS).points
    assert points["status_on_battery"] is False
    assert points["status_bypass"] is False
    assert "status_low_battery" not in points
    assert "status_replace_battery" not in points


def test_a_code_that_says_nothing_leaves_its_flags_unknown():
    assert rfc({f"{RFC}.4.1.0": 1}).points == {}


def test_an_unknown_code_is_refused():
    found = rfc({f"{RFC}.4.1.0": 42})
    assert found.points == {}
    assert [r.reason for r in found.rejections] == ["unknown_code"]


def test_any_source_raises_a_flag_that_another_lowers():
    points = rfc(
        {f"{RFC}.2.1.0": 2, Walk(f"{RFC}.6.2.1.2", f"{RFC}.6.1.0"): (f"{RFC}.6.3.3",)}
    ).points
    assert points["status_low_battery"] is True


def test_the_alarm_table_lowers_what_it_does_not_hold():
    table = Walk(f"{RFC}.6.2.1.2", f"{RFC}.6.1.0")
    points = rfc({table: (f".{RFC}.6.3.16",)}).points
    assert points["alarm_fan_fault"] is True
    assert points["alarm_fuse_fault"] is False
    assert rfc({table: ()}).points["alarm_fan_fault"] is False


def test_an_unknown_alarm_is_kept_as_text():
    table = Walk(f"{RFC}.6.2.1.2", f"{RFC}.6.1.0")
    found = rfc({table: ("1.3.6.1.4.1.9999.7", b"", None)})
    assert found.extra["ups.alarm"] == "1.3.6.1.4.1.9999.7"


def test_thresholds_from_an_earlier_read_tell_a_low_battery():
    raw = {f"{RFC}.4.1.0": 5, f"{RFC}.2.4.0": 18}
    assert rfc(raw, {"battery_charge_low": 20.0}).points["status_low_battery"] is True
    assert "status_low_battery" not in rfc(raw).points


def test_the_preferred_place_wins_and_the_fallback_helps():
    plan = plan_for(BY_NAME["apc-powernet"])
    fine, coarse = f"{APC}.2.3.1.0", f"{APC}.2.2.1.0"
    assert decode(plan, {fine: 987, coarse: 99}).points == {"battery_charge": 98.7}
    assert decode(plan, {coarse: 99}).points == {"battery_charge": 99.0}
    assert decode(plan, {fine: -1, coarse: 99}).points == {"battery_charge": 99.0}


def test_a_state_text_of_a_card_without_its_unit_tells_nothing():
    plan = plan_for(BY_NAME["apc-powernet"])
    assert decode(plan, {f"{APC}.11.1.1.0": b"UNKNOWN"}).points == {}


def test_a_state_text_tells_what_it_is_long_enough_for():
    points = decode(plan_for(BY_NAME["apc-powernet"]), {f"{APC}.11.1.1.0": b"0001100000"}).points
    assert points["status_on_line"] is True
    assert points["status_replace_battery"] is True
    assert points["status_on_battery"] is False
    assert "alarm_epo" not in points


def test_a_software_bypass_of_apc_is_a_bypass_on_mains():
    points = decode(plan_for(BY_NAME["apc-powernet"]), {f"{APC}.4.1.1.0": 6}).points
    assert points["status_bypass"] is True
    assert points["status_on_line"] is True
    assert points["status_off"] is False


def test_an_absent_apc_sensor_is_no_temperature():
    plan = plan_for(BY_NAME["apc-powernet"])
    assert decode(plan, {f"{APC}.2.3.2.0": 255, f"{APC}.2.2.2.0": 255}).points == {}


def test_network_m2_thresholds_tell_a_low_battery():
    plan = plan_for(BY_NAME["eaton-xups"])
    raw = {f"{XUPS}.4.5.0": 5, f"{XUPS}.2.1.0": 170, f"{XUPS}.2.10.0": 2}
    assert decode(plan, raw).points["status_low_battery"] is False
    assert decode(plan, raw | {f"{XUPS}.2.20.2.0": 180}).points["status_low_battery"] is True


def test_eaton_discharge_current_is_positive():
    plan = plan_for(BY_NAME["eaton-xups"])
    assert decode(plan, {f"{XUPS}.2.3.0": 12}).points["battery_current"] == 12.0
    assert decode(plan, {f"{XUPS}.2.3.0": -3}).points["battery_current"] == -3.0


def test_registers_of_a_missing_feature_are_missing():
    plan = plan_for(BY_NAME["apc-modbus"])
    raw = {
        Registers(3, 128, 2): (0xFFFF, 0xFFFF),
        Registers(3, 135, 1): (0xFFFF,),
        Registers(3, 130, 1): (100 * 512,),
        Registers(3, 154, 1): (0x10000 - 3,),
    }
    assert decode(plan, raw).points == {"battery_charge": 100.0}


def test_smart_ups_registers_are_fixed_point():
    plan = plan_for(BY_NAME["apc-modbus"])
    raw = {
        Registers(3, 0, 2): (0x0000, 0x0002),
        Registers(3, 131, 1): (round(54.5 * 32),),
        Registers(3, 135, 1): (0x10000 - 5 * 128,),
        Registers(3, 23, 1): (0x0048,),
    }
    points = decode(plan, raw).points
    assert points["battery_voltage"] == 54.5
    assert points["battery_temperature"] == -5.0
    assert points["status_on_line"] is True
    assert points["status_on_battery"] is False
    assert points["ups_test_result"] == "failed"
    assert points["status_replace_battery"] is True


def test_an_agent_of_a_family_announces_it():
    held = encode(BY_NAME["apc-powernet"], {"battery_charge": 88.8}, Identity())
    assert held["1.3.6.1.2.1.1.2.0"] == Typed("oid", "1.3.6.1.4.1.318.1.3.27")
    assert held[f"{APC}.2.3.1.0"] == Typed("gauge", 888)
    assert held[f"{APC}.2.2.1.0"] == Typed("gauge", 89)


@given(name=st.sampled_from(ASKED), data=st.data())
def test_no_raw_value_breaks_the_decoding(name, data):
    plan = plan_for(BY_NAME[name], data.draw(st.sampled_from([1, 3])))
    refs = [*plan.fast_refs, *plan.slow_refs]
    assume(refs)
    any_raw = st.one_of(
        st.none(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.binary(max_size=70),
        st.text(max_size=70),
        st.lists(st.one_of(st.integers(-5, 2**17), st.none(), st.binary()), max_size=4).map(tuple),
    )
    raw = {ref: data.draw(any_raw) for ref in data.draw(st.lists(st.sampled_from(refs)))}
    found = decode(plan, raw)
    assert all(isinstance(value, float | bool | str) for value in found.points.values())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b" Model 3000\x00\x00", "Model 3000"),
        (b"Model\x00old text", "Model"),
        (b"\x00\x00\n00 00 00", ""),
        ("  \t", ""),
        (b"caf\xc3\xa9 \r\n", "café"),
    ],
)
def test_a_text_ends_at_its_first_nul_without_what_pads_it(raw, text):
    assert read_text(raw) == text
