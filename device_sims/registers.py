"""Recordings of Modbus units: registers, bits and identification objects in one YAML file.

One entry a line; each fault is a RecordingInvalid that names the line. Serving is `replay`.

- `3/ADDRESS: VALUE` a holding and `4/ADDRESS: VALUE` an input register, `1/…` a coil, `2/…` a
  discrete input; a list is consecutive ones. `ADDRESS: VALUE` is a register that 3 and 4 both see.
- `object/NUMBER: TEXT` an object of the device identification; bytes that are no text as
  `"0x…"`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from collector.raw import BIT_FUNCTIONS, RawValue, Ref, Registers
from collector.values import to_bits
from device_sims.recordings import RecordingInvalid

_KEY = re.compile(r"(?:(?P<function>[1-4])/)?(?P<address>0[xX][0-9a-fA-F]{1,4}|\d{1,5})")
_OBJECT = re.compile(r"object/(?P<number>\d{1,3})")
_LAST = 0xFFFF
_A_LINE = 16


@dataclass(frozen=True, slots=True)
class RegisterFile:
    """What a unit held: words or bits by read function and address, and identification objects."""

    words: Mapping[int, Mapping[int, int]]
    objects: Mapping[int, bytes] = field(default_factory=dict)


def read_registers(path: Path) -> RegisterFile:
    """Read a register file."""
    words: dict[int, dict[int, int]] = {function: {} for function in (1, 2, 3, 4)}
    objects: dict[int, bytes] = {}
    for key, value in _entries(path):
        line = key.start_mark.line + 1
        named = _OBJECT.fullmatch(str(key.value))
        if named:
            number = int(named["number"])
            if number > 0xFF or number in objects:
                raise RecordingInvalid(line, f"object {number} is there twice or above 255")
            objects[number] = _object(value, line)
            continue
        place = _KEY.fullmatch(str(key.value))
        if place is None:
            raise RecordingInvalid(
                line, "an entry is FUNCTION/ADDRESS, ADDRESS or object/NUMBER, then its value"
            )
        functions = (int(place["function"]),) if place["function"] else (3, 4)
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        address = int(place["address"], 0 if place["address"][:2].lower() == "0x" else 10)
        for offset, item in enumerate(items):
            _put(words, functions, address + offset, item, line)
    return RegisterFile(words, objects)


def write_registers(path: Path, values: Mapping[Ref, RawValue], *, comment: str = "") -> None:
    """Write what a reader brought of a unit, `RawReply.values`, as a register file.

    Consecutive registers stand in one line, sixteen at most.
    """
    held: dict[int, dict[int, int]] = {}
    objects: dict[int, bytes | str] = {}
    for ref, value in values.items():
        if isinstance(ref, Registers):
            words = value if isinstance(value, tuple) else ()
            if ref.function in BIT_FUNCTIONS and isinstance(value, int):
                words = to_bits(value, ref.length)
            for offset, word in enumerate(words):
                if isinstance(word, int):
                    held.setdefault(ref.function, {})[ref.address + offset] = word
        elif isinstance(ref, str) and ref.startswith("object/") and isinstance(value, bytes | str):
            objects[int(ref.rsplit("/", 1)[1])] = value
    lines = [f"# {text}" for text in comment.splitlines()]
    for function in sorted(held):
        lines += _runs(function, held[function])
    for number in sorted(objects):
        lines.append(f"object/{number}: {_written(objects[number])}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _entries(path: Path) -> list[tuple[yaml.Node, yaml.Node]]:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as problem:
        raise RecordingInvalid(1, "the file is not UTF-8") from problem
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        raise RecordingInvalid(line, f"not YAML: {problem.problem}") from problem
    except yaml.YAMLError as problem:
        raise RecordingInvalid(1, "not YAML: characters that no text has") from problem
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise RecordingInvalid(1, "a register file is a mapping of address: value")
    return list(node.value)


def _put(
    words: Mapping[int, dict[int, int]],
    functions: tuple[int, ...],
    address: int,
    item: yaml.Node,
    line: int,
) -> None:
    if address > _LAST:
        raise RecordingInvalid(line, "the last register is 65535")
    value = _number(item, item.start_mark.line + 1)
    for function in functions:
        if address in words[function]:
            raise RecordingInvalid(line, f"register {address} is there twice")
        if function in BIT_FUNCTIONS and value > 1:
            raise RecordingInvalid(line, "a coil or discrete input is 0 or 1")
        words[function][address] = value


def _number(node: Any, line: int) -> int:  # noqa: ANN401 — yaml's nodes are untyped
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int":
        try:
            value = int(node.value, 0)
        except ValueError:
            value = -1
        if 0 <= value <= _LAST:
            return value
    raise RecordingInvalid(line, "a register is a number from 0 to 65535")


def _object(node: Any, line: int) -> bytes:  # noqa: ANN401 — yaml's nodes are untyped
    if not isinstance(node, yaml.ScalarNode):
        raise RecordingInvalid(line, "an object is a text")
    text = str(node.value)
    is_hex = re.fullmatch(r"0x([0-9a-fA-F]{2})*", text) is not None
    found = bytes.fromhex(text[2:]) if is_hex else text.encode()
    if len(found) > 240:
        raise RecordingInvalid(line, "an object has at most 240 bytes")
    return found


def _runs(function: int, held: Mapping[int, int]) -> list[str]:
    lines: list[str] = []
    run: list[int] = []
    for address in [*sorted(held), None]:
        if run and (address is None or address != run[-1] + 1 or len(run) == _A_LINE):
            items = [held[at] for at in run]
            told = str(items[0]) if len(items) == 1 else f"[{', '.join(map(str, items))}]"
            lines.append(f"{function}/{run[0]}: {told}")
            run = []
        if address is not None:
            run.append(address)
    return lines


def _written(value: bytes | str) -> str:
    raw = value.encode() if isinstance(value, str) else value
    text = raw.decode("ascii", "replace")
    if text.isprintable() and text.isascii() and not text.startswith("0x"):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f'"0x{raw.hex()}"'
