from pathlib import Path

import pytest

from collector.form import Profile
from collector.plan import Phases, plan_for
from collector.profile import ProfileInvalid, check, load_profile, profiles

SOUND = """\
name: example
title: {en: Example, zh: 示例}
protocol: snmp
base: 1.3.6.1.4.1.99999.1
points:
  battery.charge: {oid: 1.1.0}
  input.{L-N}.voltage: {oid: "2.{n}", divide: 10}
states:
  - oid: 1.3.0
    codes: {1: [status.on_line], 2: [status.on_battery], 3: ~}
    texts:
      battery.charger.status: {1: off, 2: charging}
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str, name: str = "example") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", sorted(profiles()))
def test_a_shipped_profile_is_sound_and_says_so_in_both_languages(name):
    profile = profiles()[name]
    assert profile.name == name
    assert profile.title.en
    assert any("\u4e00" <= letter <= "\u9fff" for letter in profile.title.zh)


def test_a_sound_profile_has_no_problems(written):
    path = written(SOUND)
    assert check(path) == []
    assert isinstance(load_profile(path), Profile)


def test_words_like_off_stay_words(written):
    state = load_profile(written(SOUND)).states[0]
    assert state.texts["battery.charger.status"][1] == "off"


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("battery.charge:", "battery.chrge:", 6, "did you mean battery.charge?"),
        ("status.on_line", "status.online", 10, "did you mean status.on_line?"),
        ("status.on_line", "battery.charge", 10, "is a number, not a flag"),
        ("{oid: 1.1.0}", "{oid: 1.1.0, divide: 0}", 6, "greater than 0"),
        ("{oid: 1.1.0}", "{oid: 1.1.0, scale: 0}", 6, "loses the value"),
        ("{oid: 1.1.0}", "{oid: 1.1.0, colour: red}", 6, "unknown key 'colour'"),
        ("{oid: 1.1.0}", "{oid: one}", 6, "oid"),
        ("{oid: 1.1.0}", "{oid: 1.0}", 6, "put it in quotes"),
        ("{oid: 1.1.0}", "{register: 7}", 6, "reads by `oid`"),
        ("{oid: 1.1.0}", "{oid: 1.1.0, path: a}", 6, "not several"),
        ("{oid: 1.1.0}", "{}", 6, "give one of oid"),
        ("2: charging", "2: bubbling", 12, "'bubbling' is no value of battery.charger.status"),
        ("    codes:", "    form: text01\n    codes:", 9, "form goes with bits"),
        (
            "points:",
            "points:\n  ups.load: {oid: 1.9.0}\n  ups.load: {oid: 1.8.0}",
            7,
            "stands twice",
        ),
        ("protocol: snmp", "protocol: telepathy", 3, "protocol"),
        ("protocol: snmp", "protocol: snmp\nextends: nothing", 4, "no profile"),
        ("title: {en: Example, zh: 示例}", "title: {en: Example}", 2, "'zh' is missing"),
        ("base: 1.3", "base: [1.3", 4, "expected"),
        ("name: example", "name: Example One", 1, "name"),
    ],
)
def test_a_fault_is_told_with_its_line(written, old, new, line, says):
    path = written(SOUND.replace(old, new, 1))
    problems = check(path)
    assert any(says in str(problem) for problem in problems), problems
    found = next(problem for problem in problems if says in str(problem))
    assert abs(found.line - line) <= 1
    with pytest.raises(ProfileInvalid, match="line"):
        load_profile(path)


def test_all_faults_are_told_at_once(written):
    text = SOUND.replace("battery.charge:", "battery.chrge:").replace("status.on_line", "status.x")
    assert [problem.line for problem in check(written(text))] == [6, 10]


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n", "a: !!python/object:os.system {}"])
def test_what_is_no_profile_is_refused(written, text):
    assert check(written(text))


def test_a_file_that_is_not_there_is_a_problem_of_line_one(tmp_path):
    assert [problem.line for problem in check(tmp_path / "none.yaml")] == [1]


def test_a_profile_lies_over_the_one_it_extends(written):
    path = written(
        """\
name: over
title: {en: Over, zh: 上层}
protocol: snmp
base: 1.3.6.1.4.1.99999.1
extends: rfc1628
points:
  battery.charge: {oid: 1.7.0}
""",
        "over",
    )
    plan = plan_for(load_profile(path))
    charge = [step.ref for step in plan.numbers if step.key == "battery_charge"]
    assert charge == ["1.3.6.1.4.1.99999.1.1.7.0", "1.3.6.1.2.1.33.1.2.4.0"]
    assert "1.3.6.1.2.1.33.1.2.5.0" in plan.fast_refs
    assert plan.alarms


OVER = """\
name: over
title: {en: Over, zh: 上层}
protocol: snmp
base: 1.3.6.1.4.1.99999.1
extends: rfc1628
"""
STANDARD = "1.3.6.1.2.1.33.1"
OWN = "1.3.6.1.4.1.99999.1"


def places(path, key):
    return [step.ref for step in plan_for(load_profile(path)).numbers if step.key == key]


def test_the_word_inherited_puts_the_better_place_first(written):
    path = written(OVER + "points:\n  battery.charge: [inherited, {oid: 1.7.0}]\n", "over")
    assert places(path, "battery_charge") == [f"{STANDARD}.2.4.0", f"{OWN}.1.7.0"]


def test_what_a_profile_is_without_is_not_inherited(written):
    path = written(OVER + "without: [battery.charge]\n", "over")
    assert places(path, "battery_charge") == []
    path = written(OVER + "without: [battery.charg]\n", "over")
    (problem,) = check(path)
    assert problem.line == 6
    assert "battery.charg" in problem.message


def test_there_must_be_something_to_inherit(written):
    path = written(OVER + "points:\n  output.energy: [inherited, {oid: 1.7.0}]\n", "over")
    (problem,) = check(path)
    assert (problem.line, problem.cure) == (7, "leave the word out")


def test_a_place_replaces_the_inherited_one_at_the_same_object(written):
    text = f"points:\n  battery.charge: {{oid: {STANDARD}.2.4.0, divide: 10}}\n"
    path = written(OVER + text, "over")
    (step,) = [s for s in plan_for(load_profile(path)).numbers if s.key == "battery_charge"]
    assert step.divide == 10


def test_an_own_place_stands_before_inherited_ones_of_a_line(written):
    # On a unit with one line, the load of the line is that of the unit.
    text = "points:\n  ups.{L}.load: {oid: '1.{n}', only: three}\n  ups.load: {oid: 1.7.0}\n"
    path = written(OVER + text, "over")
    assert places(path, "ups_load") == [f"{OWN}.1.7.0", f"{STANDARD}.4.4.1.5.1"]


def test_a_single_phase_unit_drops_the_context():
    profile = profiles()["rfc1628"]
    one, three = plan_for(profile, 1), plan_for(profile, 3)
    assert {step.name for step in one.numbers} >= {"input.voltage", "ups.load", "ups.realpower"}
    assert {step.name for step in three.numbers} >= {"input.L2-N.voltage", "ups.L3.load"}
    assert not any(".L1" in step.name for step in one.numbers)
    assert "input.voltage" not in {step.name for step in three.numbers}


def test_each_side_has_its_own_number_of_lines():
    names = {step.name for step in plan_for(profiles()["rfc1628"], Phases(input=3)).numbers}
    assert "input.L3-N.voltage" in names
    assert "output.voltage" in names


def test_slow_settings_are_not_asked_on_every_poll():
    plan = plan_for(profiles()["rfc1628"])
    assert "1.3.6.1.2.1.33.1.9.5.0" in plan.slow_refs
    assert "1.3.6.1.2.1.33.1.9.5.0" not in plan.fast_refs
    assert "1.3.6.1.2.1.33.1.2.4.0" in plan.fast_refs
    assert set(plan.fast_refs).isdisjoint(plan.slow_refs)


def test_a_plan_is_made_once():
    profile = profiles()["rfc1628"]
    assert plan_for(profile, 3) is plan_for(profile, Phases(3, 3, 3))
