"""Identity: who a unit says it is and how many lines it has, read and written. Pure."""

import re
from collections.abc import Iterator, Mapping

from collector.dates import read_date, write_date
from collector.plan import MarkStep, Phases, Plan, side_of
from collector.raw import Encoded, RawValue, Ref, Registers, Typed
from collector.values import (
    LONGEST_TEXT,
    Missing,
    Refused,
    from_words,
    read_text,
    text_words,
    to_words,
    words_text,
)
from rules.facts import Identity

_NUMERAL = re.compile(r"\d{1,9}(\.\d{1,9})?")
_LINE = re.compile(r"\.L(\d)\S*\.voltage$")
_MAIN = ("manufacturer", "model", "serial", "firmware")


def decode_identity(plan: Plan, raw: Mapping[Ref, RawValue]) -> Identity:
    """Return who the unit says it is."""
    found: dict[str, str] = {}
    for step in plan.marks:
        if step.name not in found:
            text = _text_of(plan, step, raw)
            if text:
                found[step.name] = text[:LONGEST_TEXT]
    manufacturer, model, serial, firmware = (found.pop(name, None) for name in _MAIN)
    return Identity(manufacturer, model, serial, firmware, found)


def decode_phases(plan: Plan, raw: Mapping[Ref, RawValue]) -> Phases:
    """Return how many lines the unit has on each side.

    A unit that does not count its lines is judged by which of them carry voltage, if `plan` is
    one for three phases; else such a side has one.
    """
    found: dict[str, int] = {}
    for side, ref, codes in plan.counts:
        value = _whole(raw.get(ref))
        if codes and isinstance(value, int):
            value = codes.get(value)
        if isinstance(value, int) and 1 <= value <= 3:
            found.setdefault(side, value)
    live: dict[str, set[str]] = {}
    for step in plan.numbers:
        line = _LINE.search(step.name)
        value = _whole(raw.get(step.ref), missing_ones=plan.profile.missing_ones)
        if line and isinstance(value, int) and value > 0 and value not in step.missing:
            live.setdefault(side_of(step.name), set()).add(line[1])
    repeated = _repeated_lines(plan, raw)
    for side, lines in live.items():
        if lines >= {"1", "2", "3"} and side not in repeated:
            found.setdefault(side, 3)
    told = {side_of(step.name) for step in plan.numbers if _LINE.search(step.name)}
    if found.get("output") == 3 and "input" not in told:
        found.setdefault("input", 3)  # three phases are not made of one
    return Phases(**found)


def _repeated_lines(plan: Plan, raw: Mapping[Ref, RawValue]) -> set[str]:
    """Return the sides whose table says one line three times: all of it alike, load included.

    Eaton 5PX and 9PX do so on Network-MS cards.
    """
    names = {step.ref: step.name for step in plan.numbers}
    loaded: set[str] = set()
    differing: set[str] = set()
    for cells in plan.columns.values():
        told = [raw[cell] for cell in cells if raw.get(cell) is not None]
        name = names.get(cells[0])
        if name is None or len(told) < 3:
            continue
        if len(set(told)) > 1:
            differing.add(side_of(name))
        elif not name.endswith("voltage") and told[0] not in (0, b"0"):
            loaded.add(side_of(name))
    return loaded - differing


def _whole(value: RawValue, *, missing_ones: bool = True) -> RawValue:
    """Return the number in registers or in a text; any other raw value as it is."""
    if isinstance(value, bytes | str) and re.fullmatch(r"\d+(\.\d*)?", read_text(value)):
        return int(float(read_text(value)))
    if not isinstance(value, tuple):
        return value
    try:
        return int(from_words(value, "", missing_ones=missing_ones))
    except (Missing, Refused):
        return None


def encode_identity(plan: Plan, identity: Identity) -> Iterator[tuple[Ref, Encoded]]:
    """Yield what a unit of this family holds to say who it is; every place of a text is filled."""
    told = {
        "manufacturer": identity.manufacturer,
        "model": identity.model,
        "serial": identity.serial,
        "firmware": identity.firmware,
        **identity.details,
    }
    listed: dict[Ref, list[str]] = {}
    for step in plan.marks:
        text = told.get(step.name)
        if step.ref is None or text is None:
            continue
        mark = step.mark
        if mark.field is not None:
            listed.setdefault(step.ref, []).append(f"{mark.field}={text}")
            continue
        value: float | str | None = write_date(text, mark.date) if mark.date else text
        if mark.type is not None and isinstance(step.ref, Registers) and not mark.codes:
            value = float(text) if _NUMERAL.fullmatch(text) else None
        if mark.codes:
            value = next((code for code, word in mark.codes.items() if word == text), None)
        if value is not None:
            yield step.ref, _held(plan, step, value)
    for listed_in, fields in listed.items():
        yield listed_in, ";".join(fields)
    for side, ref, codes in plan.counts:
        lines = getattr(plan.phases, side)
        lines = next((code for code, count in codes.items() if count == lines), lines)
        if isinstance(ref, Registers):
            yield ref, to_words(lines, ref.length)
        else:
            yield ref, Typed("integer", lines) if plan.profile.protocol == "snmp" else lines


def _held(plan: Plan, step: MarkStep, value: float | str) -> Encoded:
    if isinstance(step.ref, Registers):
        length = step.ref.length
        if not isinstance(value, str):
            return to_words(value, length, step.mark.type or "")
        return text_words(value, length, step.mark.letters)
    if plan.profile.protocol != "snmp":
        return value
    if not isinstance(value, str):
        return Typed("integer", int(value))
    return Typed(step.mark.type or "string", value)


def _text_of(plan: Plan, step: MarkStep, raw: Mapping[Ref, RawValue]) -> str | None:
    mark = step.mark
    if step.ref is None:
        return mark.text
    value = raw.get(step.ref)
    if isinstance(value, tuple):
        value = _from_registers(plan, step, value)
    if value is None:
        return None
    if mark.codes:
        return mark.codes.get(value) if isinstance(value, int) else None
    if mark.date == "days2000":
        return read_date(value, mark.date)
    text = read_text(value if isinstance(value, bytes | str) else str(value))
    text = "".join(letter for letter in text if letter.isprintable())
    if mark.field is not None:
        text = dict(item.partition("=")[::2] for item in text.split(";")).get(mark.field, "")
    if not text or text.lower() in plan.missing_texts:
        return None
    return read_date(text, mark.date) if mark.date else text


def _from_registers(plan: Plan, step: MarkStep, words: tuple[object, ...]) -> int | str | None:
    if not step.mark.codes and step.mark.date != "days2000":
        if step.mark.type is None:
            return words_text(words, step.mark.letters)
        return _number_text(plan, step, words)
    try:
        width = step.mark.type or "u16"
        return int(from_words(words, width, missing_ones=plan.profile.missing_ones))
    except (Missing, Refused):
        return None


def _number_text(plan: Plan, step: MarkStep, words: tuple[object, ...]) -> str | None:
    """Return a number that identifies as text, such as a firmware of 305 or 1.2."""
    try:
        number = from_words(words, step.mark.type or "u16", missing_ones=plan.profile.missing_ones)
    except (Missing, Refused):
        return None
    return f"{number:g}" if isinstance(number, float) else str(number)
