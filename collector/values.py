"""Raw values read strictly: numbers, register words and texts, with what is absent told apart.

Pure; used by every kind of conversion; which point a value becomes is `collector.convert`.
"""

from math import isfinite

from collector.raw import RawValue
from rules.facts import Rejection

LONGEST_TEXT = 200
SIGNED = ("s16", "s32")
LIMITS = {
    "integer": (-(2**31), 2**31 - 1),
    "gauge": (0, 2**32 - 1),
    "counter": (0, 2**32 - 1),
    "ticks": (0, 2**32 - 1),
    "u16": (0, 2**16 - 1),
    "s16": (-(2**15), 2**15 - 1),
    "u32": (0, 2**32 - 1),
    "s32": (-(2**31), 2**31 - 1),
}
"""What each SNMP type and each width of Modbus registers can hold."""


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


def from_words(words: tuple[object, ...], width: str, *, missing_ones: bool) -> int:
    """Return the number in big-endian registers, most significant word first."""
    number = 0
    for word in words:
        if not isinstance(word, int) or not 0 <= word <= 0xFFFF:
            raise Refused("wrong_type", "no register words")
        number = number << 16 | word
    bits = 16 * len(words)
    if missing_ones and number == (1 << bits) - 1:
        raise Missing
    if width in SIGNED and number >= 1 << (bits - 1):
        number -= 1 << bits
    return number


def to_words(number: int, length: int) -> tuple[int, ...]:
    """Return a number as big-endian registers, two's complement."""
    number &= (1 << 16 * length) - 1
    return tuple(number >> 16 * at & 0xFFFF for at in reversed(range(length)))


def read_text(value: bytes | str) -> str:
    """Return a text without padding; bytes that are no UTF-8 are replaced."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip("\x00 \t\r\n")


def text_words(text: str, length: int) -> tuple[int, ...]:
    """Return a text as registers of two characters, padded with spaces."""
    padded = text.encode("ascii", "replace")[: 2 * length].ljust(2 * length)
    return tuple(int.from_bytes(padded[at : at + 2], "big") for at in range(0, 2 * length, 2))


def words_text(words: tuple[object, ...]) -> str:
    """Return the text in registers of two characters; unset registers hold nothing."""
    held = (word for word in words if isinstance(word, int) and word not in (0, 0xFFFF))
    return read_text(b"".join((word & 0xFFFF).to_bytes(2, "big") for word in held))


def rejection(name: str | None, raw: RawValue, reason: str, detail: str) -> Rejection:
    """Return the record of a refused value, its raw form cut short."""
    return Rejection(name, repr(raw)[:LONGEST_TEXT], reason, detail)
