"""Profile files: found, read strictly, extended and checked, with the line of every fault.

The form of a profile is `collector.form`; what it means for one device is `collector.plan`.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from collector.extend import INHERITED, laid_over, unknown_refusal
from collector.form import EXTRA_POINTS, Profile, State, expand, kind_of, without_context
from collector.topics_check import topics_faults
from rules.points import BY_NAME, CHARGER_STATES, TEST_RESULTS, Kind

_CLOSED_TEXTS: dict[str, tuple[str, ...]] = {
    "ups.test.result": TEST_RESULTS,
    "battery.charger.status": CHARGER_STATES,
}


_Where = tuple[str | int, ...]
_Fault = tuple[_Where, str, str]  # place in the document, message, cure


class ProfileInvalid(ValueError):
    """A profile cannot be used; the message names file, line, fault and cure."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a profile file: its line, what is wrong, what would be right."""

    line: int
    message: str
    cure: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" + (f" ({self.cure})" if self.cure else "")


@cache
def profiles() -> Mapping[str, Profile]:
    """Return every shipped profile by name, read once."""
    folder = files("collector") / "profiles"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {
        profile.name: profile
        for profile in (load_profile(Path(str(folder / name))) for name in names)
    }


def load_profile(path: Path) -> Profile:
    """Read one profile file; raise ProfileInvalid naming the first fault."""
    profile, problems = _examine(path)
    if profile is None or problems:
        raise ProfileInvalid(f"{path}: {problems[0]}")
    return profile


def check(path: Path) -> list[Problem]:
    """Return every fault of a profile file in the order of its lines; empty when it is sound."""
    return _examine(path)[1]


# The parser in C reads sixty families in a third of a second, the one in Python in four.
class _Loader(yaml.CSafeLoader):
    """YAML 1.2 truth: `on`, `off`, `yes` and `no` are words, as the texts of points need them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


@dataclass(frozen=True, slots=True)
class _File:
    node: yaml.Node | None = None
    data: Any = None
    problems: tuple[Problem, ...] = ()


def _parsed(path: Path) -> _File:
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        return _File(problems=(Problem(1, f"cannot be read: {problem}", "give a UTF-8 file"),))
    try:
        node = loader.get_single_node()
        data = loader.construct_document(node) if node else None
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        why = getattr(problem, "problem", None) or "not YAML"
        return _File(problems=(Problem(mark.line + 1 if mark else 1, str(why), "correct it"),))
    except ValueError as problem:
        return _File(problems=(Problem(1, str(problem), "correct it"),))
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        return _File(problems=(Problem(1, "the file holds no mapping", "begin with `name: …`"),))
    return _File(node, data, tuple(_doubled_keys(node)) if node else ())


def _examine(path: Path) -> tuple[Profile | None, list[Problem]]:
    file = _parsed(path)
    problems = list(file.problems)
    if file.data is None:
        return None, problems
    data, fault = _extended(file.data, path)
    if fault is not None:
        where, message, cure = fault
        return None, [*problems, Problem(_line(file.node, where), message, cure)]
    profile = None
    try:
        profile = Profile.model_validate(data)
        problems += [
            Problem(_line(file.node, where), message, cure)
            for where, message, cure in _faults(profile)
        ]
    except ValidationError as invalid:
        problems += [_explained(file.node, dict(error)) for error in invalid.errors()]
    return profile, sorted(dict.fromkeys(problems), key=lambda problem: problem.line)


def _extended(data: dict[str, Any], path: Path) -> tuple[dict[str, Any], _Fault | None]:
    """Lay the file over the profile that it extends, see `collector.extend`."""
    parent_name = data.get("extends")
    if parent_name is None:
        return data, None
    here = path.parent / f"{parent_name}.yaml"
    shipped = Path(str(files("collector") / "profiles" / f"{parent_name}.yaml"))
    source = here if here.is_file() else shipped
    if not source.is_file() or source == path:
        fault = f"extends {parent_name!r}, which is no profile"
        return data, (("extends",), fault, "name a shipped profile")
    parent = load_profile(source).model_dump(by_alias=True, exclude_unset=True)
    return laid_over(data, parent), unknown_refusal(data, parent)


def _doubled_keys(node: yaml.Node) -> Iterator[Problem]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield Problem(
                    key.start_mark.line + 1, f"{key.value!r} stands twice", "keep one of them"
                )
            seen.add(key.value)
            yield from _doubled_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _doubled_keys(item)


def _line(node: yaml.Node | None, where: _Where) -> int:
    """Return the line of the deepest part of a path that the file really has."""
    line = 1
    for step in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if found is None:
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if step >= len(node.value):
                break
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _explained(node: yaml.Node | None, error: Mapping[str, Any]) -> Problem:
    where = tuple(error["loc"])
    last = str(where[-1]) if where else ""
    if error["type"] == "extra_forbidden":
        return Problem(_line(node, where), f"unknown key {last!r}", "see docs on profiles")
    if error["type"] == "missing":
        return Problem(_line(node, where), f"{last!r} is missing", f"add `{last}:`")
    if error["input"] == INHERITED:
        message = f"there is nothing {INHERITED} for {where[1]!r}"
        return Problem(_line(node, where), message, "leave the word out")
    message = str(error["msg"]).removeprefix("Value error, ")
    # YAML takes two arcs for a decimal fraction.
    cure = "put it in quotes" if last == "oid" and isinstance(error["input"], float) else ""
    return Problem(_line(node, where), ".".join(map(str, where)) + ": " + message, cure)


def _faults(profile: Profile) -> Iterator[_Fault]:
    for name, numbers in profile.points.items():
        yield from _name_faults(("points", name), expand(name)[0], Kind.NUMBER)
        for number in numbers:
            if number.only != "three":
                single = number.single or without_context(name)
                yield from _name_faults(("points", name), single, Kind.NUMBER)
    for index, state in enumerate(profile.states):
        yield from _state_faults(("states", index), state)
    yield from _alarm_faults(profile)
    yield from topics_faults(profile)
    yield from _identify_faults(profile)
    key, field = {
        "snmp": ("oid", "oid"),
        "modbus": ("register", "register_"),
        "json": ("path", "path"),
    }[profile.protocol]
    for where, place in _places(profile):
        if getattr(place, field) is None:
            yield where, f"a {profile.protocol} profile reads by `{key}`", f"give `{key}:`"
        for word in set(re.findall(r"\{(\w+)\}", place.oid or "")) - {"n", *profile.rows}:
            yield where, f"{word!r} is no row of this profile", "name it under `rows:`"


def _identify_faults(profile: Profile) -> Iterator[_Fault]:
    for key in ("description", "description_not", "described_as"):
        yield from _pattern_faults(("identify", key), getattr(profile.identify, key))
    for oid, pattern in profile.identify.texts.items():
        yield from _pattern_faults(("identify", "texts", oid), pattern)


def _alarm_faults(profile: Profile) -> Iterator[_Fault]:
    for index, table in enumerate(profile.alarms):
        for prefix, codes in table.codes.items():
            for arc, flags in codes.items():
                where = ("alarms", index, "codes", prefix, arc)
                for flag in flags:
                    yield from _name_faults(where, flag, Kind.FLAG)


def _places(profile: Profile) -> Iterator[tuple[_Where, Any]]:
    for name, numbers in profile.points.items():
        for index, number in enumerate(numbers):
            yield ("points", name, index), number
    for index, state in enumerate(profile.states):
        yield ("states", index), state


def _state_faults(where: _Where, state: State) -> Iterator[_Fault]:
    for group, table in (("codes", state.codes), ("bits", state.bits)):
        for code, flags in table.items():
            for flag in flags or ():
                yield from _name_faults((*where, group, code), flag, Kind.FLAG)
    for name, texts in state.texts.items():
        yield from _name_faults((*where, "texts", name), name, Kind.TEXT)
        allowed = _CLOSED_TEXTS.get(name)
        for code, text in texts.items():
            if allowed and text not in allowed:
                yield (
                    (*where, "texts", name, code),
                    f"{text!r} is no value of {name}",
                    f"use one of {', '.join(allowed)}",
                )


def _name_faults(where: _Where, name: str, wanted: Kind) -> Iterator[_Fault]:
    kind = kind_of(name)
    if kind is None:
        near = difflib.get_close_matches(name, [*BY_NAME, *EXTRA_POINTS], n=1)
        cure = f"did you mean {near[0]}?" if near else "use a name of the table of points"
        yield where, f"{name!r} is no point", cure
    elif kind is not wanted:
        yield where, f"{name!r} is a {kind.value}, not a {wanted.value}", ""


def _pattern_faults(where: _Where, pattern: str | None) -> Iterator[_Fault]:
    try:
        re.compile(pattern or "")
    except re.error as problem:
        yield where, f"no regular expression: {problem}", ""
