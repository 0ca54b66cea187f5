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
    for side, ref in plan.counts:
        value = raw.get(ref)
        if isinstance(value, bytes) and value.strip().isdigit():
            value = int(value)
        if isinstance(value, int) and 1 <= value <= 3:
            found.setdefault(side, value)
    live: dict[str, set[str]] = {}
    for step in plan.numbers:
        line = _LINE.search(step.name)
        value = raw.get(step.ref)
        if line and isinstance(value, int) and value > 0 and value not in step.missing:
            live.setdefault(side_of(step.name), set()).add(line[1])
    for side, lines in live.items():
        if lines >= {"1", "2", "3"}:
            found.setdefault(side, 3)
    return Phases(**found)


def encode_identity(plan: Plan, identity: Identity) -> Iterator[tuple[Ref, Encoded]]:
    """Yield what a unit of this family holds to say who it is; every place of a text is filled."""
    told = {
        "manufacturer": identity.manufacturer,
        "model": identity.model,
        "serial": identity.serial,
        "firmware": identity.firmware,
        **identity.details,
    }
    for step in plan.marks:
        text = told.get(step.name)
        if step.ref is None or text is None:
            continue
        mark = step.mark
        value: int | str | None = write_date(text, mark.date) if mark.date else text
        if mark.codes:
            value = next((code for code, word in mark.codes.items() if word == text), None)
        if value is not None:
            yield step.ref, _held(plan, step, value)
    for side, ref in plan.counts:
        lines = getattr(plan.phases, side)
        yield ref, Typed("integer", lines) if plan.profile.protocol == "snmp" else lines


def _held(plan: Plan, step: MarkStep, value: int | str) -> Encoded:
    if isinstance(step.ref, Registers):
        length = step.ref.length
        return to_words(value, length) if isinstance(value, int) else text_words(value, length)
    if plan.profile.protocol == "json":
        return value
    return Typed("integer" if isinstance(value, int) else step.mark.type or "string", value)


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
    if not text or text.lower() in plan.missing_texts:
        return None
    return read_date(text, mark.date) if mark.date else text


def _from_registers(plan: Plan, step: MarkStep, words: tuple[object, ...]) -> int | str | None:
    if not step.mark.codes and step.mark.date != "days2000":
        return words_text(words)
    try:
        width = step.mark.type or "u16"
        return from_words(words, width, missing_ones=plan.profile.missing_ones)
    except (Missing, Refused):
        return None
