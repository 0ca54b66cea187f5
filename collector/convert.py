"""Conversion: the one place where a raw value gets meaning, unit and validity, and the way back.

`decode` reads what a device said, `encode` writes what a device of that family would say. What
follows from several points together is `collector.settle`, who a unit is `collector.marks`,
documents keyed by point names `collector.names`. No I/O.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from collector.form import Profile
from collector.marks import encode_identity
from collector.names import decode_names, encode_names
from collector.plan import AlarmStep, NumberStep, Phases, Plan, StateStep, Told, plan_for
from collector.raw import BIT_FUNCTIONS, Encoded, RawValue, Ref, Registers, Typed, Walk
from collector.settle import settle, signed
from collector.values import (
    LIMITS,
    LONGEST_TEXT,
    Missing,
    Refused,
    part_of,
    read_number,
    read_text,
    rejection,
    to_bits,
    to_words,
    whole,
)
from rules.facts import Identity, Rejection, Value
from rules.plausibility import DOUBTFUL
from rules.points import BY_COLUMN, column_of

_NOTHING: Mapping[str, Value] = {}
_PATTERNS_KEPT = 1_000
_UNKNOWN_CODE = "a code that the profile does not know"
_STATE_CHARACTERS = 64
_OBJECT_ID = "1.3.6.1.2.1.1.2.0"
_DESCRIPTION = "1.3.6.1.2.1.1.1.0"

Bits = tuple[Mapping[str, bool], tuple[str, ...]]
"""The flags a source decides, all lowered, and those that it raises."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Points by column, what has no column by name, and the values that were refused."""

    points: dict[str, Value]
    extra: dict[str, Value] = field(default_factory=dict)
    rejections: tuple[Rejection, ...] = ()


def decode(
    plan: Plan, raw: Mapping[Ref, RawValue], known: Mapping[str, Value] | None = None
) -> Decoded:
    """Turn raw values into points; `known` are the newest slow points by column (thresholds).

    A value that is absent or a placeholder is left out silently; one of a wrong type or outside
    what physics allows is left out with a Rejection, and the rest goes on. The latter is kept in
    `extra` as doubtful: it may be right in another unit.
    """
    if plan.profile.every_point is not None:
        named, unnamed, refused = decode_names(plan.profile.every_point, raw)
        return Decoded(named, unnamed, tuple(refused))
    points: dict[str, Value] = {}
    rejections: list[Rejection] = []
    unsigned = _read_numbers(plan, raw, points, rejections)
    others = _read_flags(plan, raw, points, rejections)
    for key in unsigned:
        current = signed(points, float(points.pop(key)))
        if current is not None:
            points[key] = current
    settle(points, known or _NOTHING, max(plan.phases.input, plan.phases.output))
    extra = {key: points.pop(key) for key in plan.extra_keys if key in points}
    for wrong in rejections:
        column = None if wrong.point is None else column_of(wrong.point)
        if wrong.value is not None and column in BY_COLUMN and column not in points:
            extra[f"{DOUBTFUL}{column}"] = wrong.value
    if others:
        extra["ups.alarm"] = ", ".join(others)[:LONGEST_TEXT]
    return Decoded(points, extra, tuple(rejections))


def _read_numbers(
    plan: Plan,
    raw: Mapping[Ref, RawValue],
    points: dict[str, Value],
    rejections: list[Rejection],
) -> list[str]:
    """Fill in the numbers, the preferred place of each first; return those still unsigned."""
    unsigned: list[str] = []
    for ref, key, low, high, missing, scale, divide, offset, step in plan.quick:
        value = raw.get(ref)
        if value is None or key in points:
            continue
        if type(value) is int and low < value < high and value not in missing:
            points[key] = value * scale / divide + offset
        elif _read_number(plan, step, value, points, rejections) and step.by_state:
            unsigned.append(key)
    return unsigned


def _read_number(
    plan: Plan,
    step: NumberStep,
    value: RawValue,
    points: dict[str, Value],
    rejections: list[Rejection],
) -> bool:
    """Fill in one number, whatever its raw value is; return whether it could be."""
    number = number_of(plan, step, value)
    if isinstance(number, float):
        points[step.key] = number
    elif number is not None:
        rejections.append(number)
    return isinstance(number, float)


def number_of(plan: Plan, step: NumberStep, value: RawValue) -> float | Rejection | None:
    """Return the number that a place holds, None for a placeholder, or why it is refused."""
    try:
        told = (
            value if type(value) is int else _read_one(plan, part_of(value, step.part), step.type)
        )
    except Missing:
        return None
    except Refused as refused:
        return rejection(step.name, value, refused.reason, refused.detail)
    if told in step.missing or told < step.missing_below:
        return None
    if step.codes:
        if int(told) not in step.codes:
            return rejection(step.name, value, "unknown_code", _UNKNOWN_CODE)
        told = step.codes[int(told)]
    number = max(told * step.scale / step.divide + step.offset, step.floor)
    if not step.low <= number <= step.high:
        return _implausible(step, told, number)
    return float(number)


def _read_flags(
    plan: Plan,
    raw: Mapping[Ref, RawValue],
    points: dict[str, Value],
    rejections: list[Rejection],
) -> tuple[str, ...]:
    """Fill in the flags and coded texts; return the alarms that the profile does not know."""
    pattern = tuple(map(raw.get, plan.flag_refs))
    told = plan.told.get(pattern)
    if told is None:
        told = _told(plan, raw)
        # In JSON true is not 1, but in a dictionary's eyes it is.
        if plan.profile.protocol != "json" and len(plan.told) < _PATTERNS_KEPT:
            plan.told[pattern] = told
    for key, text in told.texts.items():
        points.setdefault(key, text)
    points.update(told.flags)
    rejections.extend(told.rejections)
    return told.others


def _told(plan: Plan, raw: Mapping[Ref, RawValue]) -> Told:
    """Return what all sources of flags tell together, a flag raised by any being raised."""
    texts: dict[str, Value] = {}
    rejections: list[Rejection] = []
    lowered: dict[str, bool] = {}
    raised: list[str] = []
    others: list[str] = []
    for state in plan.states:
        value = raw.get(state.ref)
        told = None if value is None else read_state(plan, state, value, texts, rejections)
        if told is not None:
            lowered.update(told[0])
            raised.extend(told[1])
    for table in plan.alarms:
        rows = raw.get(table.ref)
        if isinstance(rows, tuple):
            lowered.update(table.told)
            others += _read_alarms(table, rows, raised)
    flags = lowered | dict.fromkeys(raised, True)
    return Told(flags, texts, tuple(others), tuple(rejections))


def _read_one(plan: Plan, value: RawValue, width: str) -> int | float:
    profile = plan.profile
    return read_number(
        value, width, missing_texts=plan.missing_texts, missing_ones=profile.missing_ones
    )


def read_state(
    plan: Plan,
    state: StateStep,
    value: RawValue,
    texts: dict[str, Value],
    rejections: list[Rejection],
) -> Bits | None:
    """Return what one coded value tells of flags, and fill in the texts that it spells."""
    if state.text01:
        return _bits_of_text(state, value)
    try:
        code = _code_of(plan, state, value)
    except Missing:
        return None
    except Refused as refused:
        rejections.append(rejection(_first_name(state), value, refused.reason, refused.detail))
        return None
    spelled = False
    for key, table in state.texts:
        if code in table:
            spelled = True
            texts.setdefault(key, table[code])
    if state.bits:
        return _bits_of_number(state, code)
    if code in state.codes:
        up = state.codes[code]
        return None if up is None else (state.told, up)
    if not spelled:
        rejections.append(rejection(_first_name(state), value, "unknown_code", _UNKNOWN_CODE))
    return None


def _code_of(plan: Plan, state: StateStep, value: RawValue) -> int:
    value = part_of(value, state.part)
    if state.words and isinstance(value, bytes | str):
        text = read_text(value).lower()
        if not text or text in plan.missing_texts:
            raise Missing
        if text not in state.words:
            raise Refused("unknown_code", "a word that the profile does not know")
        return state.words[text]
    return int(_read_one(plan, value, state.type)) & state.mask


def _bits_of_number(state: StateStep, code: int) -> Bits:
    return state.told, tuple(flag for bit, flags in state.bits if code >> bit & 1 for flag in flags)


def _bits_of_text(state: StateStep, value: RawValue) -> Bits | None:
    """Return what a text of 0 and 1 tells; other text, as of a card without its UPS, nothing."""
    text = read_text(value) if isinstance(value, bytes | str) else ""
    if not text or text.strip("01"):
        return None
    reach = [(bit, flags) for bit, flags in state.bits if bit <= len(text)]
    told = {flag: False for _, flags in reach for flag in flags}
    return told, tuple(flag for bit, flags in reach if text[bit - 1] == "1" for flag in flags)


def _read_alarms(step: AlarmStep, rows: tuple[object, ...], raised: list[str]) -> list[str]:
    """Raise what the rows say and return the object identifiers that the profile lacks."""
    others: list[str] = []
    for row in rows:
        oid = read_text(row).lstrip(".") if isinstance(row, bytes | str) else ""
        known = step.codes.get(oid)
        if known is not None:
            raised.extend(known)
        elif oid:
            others.append(oid)
    return others


def _first_name(state: StateStep) -> str | None:
    key = next(iter(state.told), None) or (state.texts[0][0] if state.texts else None)
    point = BY_COLUMN.get(key) if key else None
    return point.name if point else key


def _implausible(step: NumberStep, raw: RawValue, number: float) -> Rejection:
    detail = f"{number:g} lies outside {step.low:g} to {step.high:g}"
    # A card that counts in tenths where its MIB says units shows itself by a factor of ten.
    suspect = 2 * step.high < number <= 10 * step.high
    refused = rejection(step.name, raw, "scale_suspect" if suspect else "implausible", detail)
    return replace(refused, value=float(number))


def encode(
    profile: Profile,
    points: Mapping[str, Value],
    identity: Identity,
    phases: Phases | int = 1,
) -> dict[Ref, Encoded]:
    """Return what a device of this family would hold for these points (columns or extra names).

    SNMP: OID → Typed, tables row by row, sysObjectID and sysDescr included. Modbus: Registers →
    words. JSON: path → plain value. What the family cannot tell is left out.
    """
    plan = plan_for(profile, phases)
    held: dict[Ref, Encoded] = {}
    if profile.identify.announce and profile.protocol == "snmp":
        told = profile.identify.announce
        held[_OBJECT_ID] = Typed("oid", told.get("object_id", "0.0"))
        held[_DESCRIPTION] = Typed("string", told.get("description", ""))
    held.update(encode_identity(plan, identity))
    if profile.every_point is not None:
        held.update(encode_names(profile.every_point, points))
        return held
    parts: dict[Ref, dict[str, int | float | str]] = {}
    spoken: set[str] = set()
    for step in plan.numbers:
        value = points.get(step.key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            told_raw = _raw_of(plan, step, value)
            if step.part is not None:
                if step.key not in spoken:
                    parts.setdefault(step.ref, {})[step.part] = told_raw
                spoken.add(step.key)
            else:
                held.setdefault(step.ref, _held(step.ref, step.type, told_raw))
    held.update((ref, Typed("string", whole(texts))) for ref, texts in parts.items())
    held.update(_encode_flags(plan, points))
    return held


def _encode_flags(plan: Plan, points: Mapping[str, Value]) -> dict[Ref, Encoded]:
    held: dict[Ref, Encoded] = {}
    wanted = {key for key, value in points.items() if value is True}
    wanted_elsewhere = set(wanted)
    for table in plan.alarms:
        wanted_elsewhere -= table.told.keys()
        held.update(_alarm_rows(table, points))
    tellers = Counter(flag for state in plan.states for flag in state.told)
    # A low battery is told by the thresholds too.
    rare = {flag for flag in wanted - {"status_low_battery"} if tellers[flag] == 1}
    # Sources that can say several things at once go first; codes say what is then left.
    for state in sorted(plan.states, key=lambda state: not state.bits):
        if state.told.keys().isdisjoint(points) and not any(k in points for k, _ in state.texts):
            continue
        pattern: int | str | None
        if state.bits:
            pattern = _bits_for(state, wanted)
            wanted_elsewhere -= state.told.keys()
        else:
            pattern = _code_for(state, points, wanted, wanted_elsewhere, rare)
            wanted_elsewhere -= set(state.codes.get(pattern or 0) or ())
        if pattern is not None:
            kind = "string" if state.text01 or state.words else state.type
            pattern = next((word for word, code in state.words.items() if code == pattern), pattern)
            told, before = _held(state.ref, kind, pattern), held.get(state.ref)
            if isinstance(state.ref, Registers) and state.mask != -1 and before is not None:
                told = _masked(before, told, to_words(state.mask, state.ref.length, kind))
            held[state.ref] = told
    return held


def _masked(before: Encoded, told: Encoded, mask: tuple[int, ...]) -> Encoded:
    """Return registers of which several entries hold their own bits."""
    if not isinstance(before, tuple) or not isinstance(told, tuple):
        return told
    words = zip(before, told, mask, strict=True)
    return tuple(int(old) & ~kept | int(new) & kept for old, new, kept in words)


def _held(ref: Ref, kind: str, value: float | str) -> Encoded:
    if isinstance(ref, Registers):
        if ref.function in BIT_FUNCTIONS:
            return to_bits(int(value), ref.length)
        return to_words(float(value) if kind.startswith("f32") else int(value), ref.length, kind)
    return Typed(kind, value if isinstance(value, str) else int(value))


def _raw_of(plan: Plan, step: NumberStep, value: float) -> float | str:
    """Return the raw value nearest to a number, never one that means "not available"."""
    if step.by_state:
        value = abs(value)
    if step.type.startswith("f32"):
        return (value - step.offset) * step.divide / step.scale
    if step.codes:
        return min(step.codes, key=lambda code: abs(step.codes[code] - value))
    if step.type == "string":
        return f"{(value - step.offset) * step.divide / step.scale:.10g}"
    low, high = LIMITS[step.type]
    raw = round((value - step.offset) * step.divide / step.scale)
    raw = min(max(raw, low), high)
    if plan.profile.missing_ones and raw in (-1, (1 << 32) - 1, (1 << 16) - 1):
        raw = raw - 1 if raw > 0 else 0
    if raw in step.missing:
        raw = raw - 1 if raw - 1 >= max(low, step.missing_below) else raw + 1
    return raw


def _bits_for(state: StateStep, wanted: set[str]) -> int | str:
    """Return the bits all of whose flags are wanted."""
    up = {bit for bit, flags in state.bits if wanted.issuperset(flags)}
    if state.text01:
        return "".join("1" if bit in up else "0" for bit in range(1, _STATE_CHARACTERS + 1))
    return sum(1 << bit for bit in up)


def _code_for(
    state: StateStep,
    points: Mapping[str, Value],
    wanted: set[str],
    urgent: set[str],
    rare: set[str],
) -> int | None:
    """Return the code that raises wanted flags and no other, the rare and urgent above all.

    No code is chosen that spells another text than the wanted one, and a text nobody asked for is
    spelled only where an urgent flag has no other way.
    """
    best: tuple[tuple[int, int, int, int, bool], int] | None = None
    spelled_codes = (code for _, table in state.texts for code in table)
    for code in dict.fromkeys([*state.codes, *spelled_codes]):
        raised = state.codes.get(code) or ()
        needed = urgent.intersection(raised)
        spelled = [(key, table[code]) for key, table in state.texts if code in table]
        if not wanted.issuperset(raised) or not all(
            points[key] == text if key in points else needed for key, text in spelled
        ):
            continue
        asked = sum(key in points for key, _ in spelled)
        speaks = not state.codes or state.codes.get(code) is not None
        score = (asked, len(needed & rare), len(needed), len(raised), speaks)
        if best is None or score > best[0]:
            best = (score, code)
    return None if best is None else best[1]


def _alarm_rows(step: AlarmStep, points: Mapping[str, Value]) -> Iterator[tuple[Ref, Encoded]]:
    if step.told.keys().isdisjoint(points):
        return
    wanted = {flag for flag in step.told if points.get(flag) is True}
    rows: list[str] = []
    covered: set[str] = set()
    for oid, flags in step.codes.items():
        if flags and wanted.issuperset(flags) and not covered.issuperset(flags):
            rows.append(oid)
            covered.update(flags)
    if step.ref.counter is not None:
        yield step.ref.counter, Typed("gauge", len(rows))
    for row, oid in enumerate(rows, start=1):
        yield f"{step.ref.column}.{row}", Typed("oid", oid)


def answers(plan: Plan, held: Mapping[Ref, Encoded]) -> dict[Ref, RawValue]:
    """Return what a reader would bring for a plan's references from a device holding this."""
    raw: dict[Ref, RawValue] = {}
    for ref in (*plan.fast_refs, *plan.slow_refs, *plan.identity_refs):
        if isinstance(ref, Walk):
            inside = f"{ref.column}."
            rows = [v for k, v in held.items() if isinstance(k, str) and k.startswith(inside)]
            if rows or ref.counter in held:
                raw[ref] = tuple(row.value for row in rows if isinstance(row, Typed))
        elif ref in held:
            raw[ref] = _answer(held[ref], is_bits=ref[0] in BIT_FUNCTIONS)
    if plan.profile.every_point is not None:
        raw.update((ref, _answer(value)) for ref, value in held.items())
    return raw


def _answer(value: Encoded, *, is_bits: bool = False) -> RawValue:
    if is_bits and isinstance(value, tuple):
        return sum(int(bit) << at for at, bit in enumerate(value))
    if not isinstance(value, Typed):
        return value
    text = isinstance(value.value, str) and value.type == "string"
    return str(value.value).encode() if text else value.value
