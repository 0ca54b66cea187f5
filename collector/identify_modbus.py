"""Identification of Modbus units: by texts that name the family, then by signature registers.

Modbus has no word for "who are you" that all units know. Maps without a text are told apart by
registers that can hold but few values, and only where a single map fits; else a person has to
name the profile. Pure: what was answered decides. Asking is `collector.identify`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from collector.form import ModelRegister, Profile, SignatureRegister
from collector.identify_snmp import Identified
from collector.raw import BIT_FUNCTIONS, RawValue, Ref, Registers
from collector.values import Missing, Refused, from_words, read_text, words_text

_Raw = Mapping[Ref, RawValue]

VENDOR, PRODUCT = "object/0/0", "object/0/1"
_SHOWN = 60
_WIDTHS = {"u32": 2, "f32": 2}


def further_questions(known: Sequence[Profile], raw: _Raw) -> Iterator[tuple[Ref, ...]]:
    """Yield what to ask next, stage by stage; the answers are to be in `raw` when it goes on.

    1. Texts in registers. 2. Signature registers. 3. The device identification, last, since units
    that do not know it may keep silent.
    """
    families = _families(known)
    yield tuple(dict.fromkeys(_text_ref(m) for m in _models(families) if m.path is None))
    if _named(families, raw) is None:
        yield tuple(
            dict.fromkeys(
                _signature_ref(register)
                for profile in families
                for register in profile.identify.signature
            )
        )
        if len(_signed(families, raw)) != 1:
            objects = [_text_ref(model) for model in _models(families) if model.path is not None]
            yield tuple(dict.fromkeys(objects))
            yield (VENDOR, PRODUCT)


def choose_modbus(known: Sequence[Profile], raw: _Raw) -> Identified | None:
    """Return the profile that a text names, else the only one whose signature fits."""
    families = _families(known)
    named = _named(families, raw)
    if named is not None:
        return named
    signed = _signed(families, raw)
    if len(signed) != 1:
        return None
    (profile,) = signed
    told = (_evidence(register, raw) for register in profile.identify.signature)
    return Identified(profile.name, tuple(told))


def unknown_unit(known: Sequence[Profile], raw: _Raw, where: str) -> str:
    """Return one line that says what a unit told of itself and what can be done."""
    families = _families(known)
    said = " ".join(
        read_text(text)
        for text in (raw.get(VENDOR), raw.get(PRODUCT))
        if isinstance(text, bytes | str) and read_text(text)
    )
    who = f" (it calls itself {said[:_SHOWN]!r})" if said else ""
    signed = _signed(families, raw)
    if signed:
        names = ", ".join(profile.name for profile in signed)
        return (
            f"{where} answers{who}, but its registers fit several families alike: "
            f"name the right one with --profile: {names}"
        )
    names = ", ".join(profile.name for profile in families)
    return (
        f"{where} answers{who}, but Modbus registers carry no maker's name and these fit no known "
        f"family: name one with --profile: {names}"
    )


def _families(known: Sequence[Profile]) -> list[Profile]:
    found = [profile for profile in known if profile.protocol == "modbus"]
    return sorted(found, key=lambda profile: (profile.identify.rank, profile.name))


def _models(families: Sequence[Profile]) -> Iterator[ModelRegister]:
    for profile in families:
        if profile.identify.model is not None:
            yield profile.identify.model


def _named(families: Sequence[Profile], raw: _Raw) -> Identified | None:
    """Return the first family whose text is there, and whose signature, if it has one, too."""
    for profile in families:
        model = profile.identify.model
        if model is None:
            continue
        text = _text_at(model, raw)
        if not text or not re.search(model.matches, text):
            continue
        asked = [r for r in profile.identify.signature if _signature_ref(r) in raw]
        if not all(_fits(register, raw) for register in asked):
            continue
        place = model.path or f"registers {model.register_}+{model.length}"
        return Identified(profile.name, (f"{place} hold {text[:_SHOWN]!r}",))
    return None


def _signed(families: Sequence[Profile], raw: _Raw) -> list[Profile]:
    return [
        profile
        for profile in families
        if profile.identify.model is None
        and profile.identify.signature
        and all(_fits(register, raw) for register in profile.identify.signature)
    ]


def _text_ref(model: ModelRegister) -> Ref:
    if model.register_ is None:
        return str(model.path)
    return Registers(model.function, model.register_, model.length)


def _text_at(model: ModelRegister, raw: _Raw) -> str:
    value = raw.get(_text_ref(model))
    if isinstance(value, tuple):
        return words_text(value, model.letters)
    return read_text(value) if isinstance(value, bytes | str) else ""


def _signature_ref(register: SignatureRegister) -> Registers:
    return Registers(register.function, register.register_, _WIDTHS.get(register.type, 1))


def _number_at(register: SignatureRegister, raw: _Raw) -> float | None:
    value = raw.get(_signature_ref(register))
    if register.function in BIT_FUNCTIONS and isinstance(value, int):
        return value
    if not isinstance(value, tuple):
        return None
    try:
        return from_words(value, register.type, missing_ones=True)
    except (Missing, Refused):
        return None


def _fits(register: SignatureRegister, raw: _Raw) -> bool:
    number = _number_at(register, raw)
    if number is None:
        return False
    if register.span is not None:
        return register.span[0] <= number <= register.span[1]
    return number in register.one_of


def _evidence(register: SignatureRegister, raw: _Raw) -> str:
    number = _number_at(register, raw)
    expected = (
        f"from {register.span[0]:g} to {register.span[1]:g}"
        if register.span is not None
        else f"one of {', '.join(map(str, register.one_of[:8]))}"
    )
    place = f"register {register.register_} (function {register.function})"
    return f"{place} holds {number:g}, {expected}"
