"""Raw values read strictly: numbers, register words and texts, with what is absent told apart.

Pure; used by every kind of conversion; which point a value becomes is `collector.convert`.
"""

import json
import struct
from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Literal

from collector.raw import RawValue
from rules.facts import Rejection

LONGEST_TEXT = 200
SIGNED = ("s16", "s32", "s32_low")
LETTERS = ("high_first", "low_first", "low_only")
"""How Modbus registers hold text: two letters each, in either order, or one."""
LIMITS = {
    "integer": (-(2**31), 2**31 - 1),
    "gauge": (0, 2**32 - 1),
    "counter": (0, 2**32 - 1),
    "ticks": (0, 2**32 - 1),
    "u16": (0, 2**16 - 1),
    "s16": (-(2**15), 2**15 - 1),
    "u32": (0, 2**32 - 1),
    "s32": (-(2**31), 2**31 - 1),
    "u32_low": (0, 2**32 - 1),
    "s32_low": (-(2**31), 2**31 - 1),
}
"""What each SNMP type and each width of Modbus registers can hold."""
_BYTE_ORDERS: dict[str, Literal["big", "little"]] = {"high_first": "big", "low_first": "little"}


class Missing(Exception):  # control flow: the value is absent, which is no error
    """The raw value stands for "not available"."""


class Refused(Exception):  # becomes a Rejection, never escapes the package
    """The raw value cannot be what it should: a word to count by and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_number(
    value: RawValue, width: str, *, missing_texts: frozenset[str], missing_ones: bool
) -> int | float:
    """Return a finite number for a raw value; raise Missing or Refused."""
    if value is None:
        raise Missing
    if isinstance(value, tuple):
        return from_words(value, width, missing_ones=missing_ones)
    if isinstance(value, bytes | str):
        text = read_text(value)
        if not text or text.lower() in missing_texts:
            raise Missing
        try:
            value = float(text)
        except ValueError:
            raise Refused("wrong_type", "a text where a number belongs") from None
    if isinstance(value, bool):
        raise Refused("wrong_type", "a truth value where a number belongs")
    if not isfinite(value):
        raise Refused("not_finite", "no finite number")
    return value


def from_words(words: tuple[object, ...], width: str, *, missing_ones: bool) -> int | float:
    """Return the number in big-endian registers.

    The most significant word is first, save in widths ending in `_low`.
    """
    if not words or (width.startswith("f32") and len(words) != 2):
        raise Refused("wrong_type", "not as many registers as the number takes")
    number = 0
    for word in reversed(words) if width.endswith("_low") else words:
        if not isinstance(word, int) or not 0 <= word <= 0xFFFF:
            raise Refused("wrong_type", "no register words")
        number = number << 16 | word
    bits = 16 * len(words)
    if missing_ones and number == (1 << bits) - 1:
        raise Missing
    if width.startswith("f32"):
        value = float(struct.unpack(">f", number.to_bytes(4, "big"))[0])
        if not isfinite(value):
            raise Missing  # not-a-number is how floats say "none"
        return value
    if width in SIGNED and number >= 1 << (bits - 1):
        number -= 1 << bits
    return number


def to_words(number: float, length: int, width: str = "") -> tuple[int, ...]:
    """Return a number as big-endian registers, two's complement or a float as its width says."""
    if width.startswith("f32"):
        number = int.from_bytes(struct.pack(">f", number), "big")
    whole = int(number) & (1 << 16 * length) - 1
    words = tuple(whole >> 16 * at & 0xFFFF for at in reversed(range(length)))
    return words[::-1] if width.endswith("_low") else words


def to_bits(number: int, length: int) -> tuple[int, ...]:
    """Return a number as coils or discrete inputs, bit 0 first."""
    return tuple(number >> at & 1 for at in range(length))


def read_text(value: bytes | str) -> str:
    """Return a text without padding; bytes that are no UTF-8 are replaced.

    Behind a NUL some cards send what stood in their memory.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.partition("\x00")[0].strip()


def text_words(text: str, length: int, letters: str = "high_first") -> tuple[int, ...]:
    """Return a text as registers, padded with spaces."""
    if letters == "low_only":
        return tuple(text.encode("ascii", "replace")[:length].ljust(length))
    order = _BYTE_ORDERS[letters]
    padded = text.encode("ascii", "replace")[: 2 * length].ljust(2 * length)
    return tuple(int.from_bytes(padded[at : at + 2], order) for at in range(0, 2 * length, 2))


def words_text(words: tuple[object, ...], letters: str = "high_first") -> str:
    """Return the text in registers; unset registers hold nothing."""
    held = [word & 0xFFFF for word in words if isinstance(word, int) and word not in (0, 0xFFFF)]
    if letters == "low_only":
        return read_text(bytes(word & 0xFF for word in held))
    order = _BYTE_ORDERS[letters]
    return read_text(b"".join(word.to_bytes(2, order) for word in held))


def rejection(name: str | None, raw: RawValue, reason: str, detail: str) -> Rejection:
    """Return the record of a refused value, its raw form cut short."""
    return Rejection(name, repr(raw)[:LONGEST_TEXT], reason, detail)


def part_of(value: RawValue, part: str | None) -> RawValue:
    """Return the line of a text or the value of a JSON document that a place means.

    `part` is the number of a line or a path of keys; anything else is returned as it is. A document
    has no lines and lines are no document.
    """
    if part is None or not isinstance(value, bytes | str):
        return value
    text = read_text(value)
    if part.isdigit():
        lines = [] if text.startswith(("{", "[")) else text.splitlines()
        return lines[int(part) - 1] if 0 < int(part) <= len(lines) else None
    found = _document(text)
    for key in part.split("/"):
        if isinstance(found, list):
            found = dict(enumerate(found)).get(int(key)) if key.isdigit() else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, int | float | str) else None


def whole(parts: Mapping[str, int | float | str]) -> str:
    """Return the text that holds these parts, see `part_of`."""
    if all(part.isdigit() for part in parts):
        last = max(map(int, parts))
        return "\n".join(str(parts.get(str(line), "")) for line in range(1, last + 1))
    document: dict[str, object] = {}
    for part, value in parts.items():
        *folders, name = part.split("/")
        inner = document
        for folder in folders:
            inner = inner.setdefault(folder, {})  # type: ignore[assignment]
        inner[name] = value
    return json.dumps(document)


@lru_cache(maxsize=64)
def _document(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
