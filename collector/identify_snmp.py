"""Identification of SNMP agents: whose unit is behind a card, and how sure that is. Pure.

A card is asked in stages: its sysObjectID and sysDescr; objects of the families that these name;
and only where none of those answers, or no family is named, objects of all families. So a card
that tells the truth costs few requests, and one that carries another maker's identifier, or that
of its operating system, is still found out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from collector.form import Profile
from collector.raw import RawValue, Ref
from collector.values import read_text

OBJECT_ID = "1.3.6.1.2.1.1.2.0"
DESCRIPTION = "1.3.6.1.2.1.1.1.0"
GENERIC = "rfc1628"
_STANDARD = "1.3.6.1.2.1.33"
_SHOWN = 60

_Raw = Mapping[Ref, RawValue]


@dataclass(frozen=True, slots=True)
class Identified:
    """The profile found, and what speaks for it."""

    profile_name: str
    evidence: tuple[str, ...]


def further_questions(known: Sequence[Profile], raw: _Raw) -> Iterator[tuple[Ref, ...]]:
    """Yield what to ask next, stage by stage; the answers are to be in `raw` when it goes on."""
    yield (OBJECT_ID, DESCRIPTION)
    families = _of_snmp(known)
    told = plain_oid(raw.get(OBJECT_ID)), text_of(raw.get(DESCRIPTION))
    yield _probes([p for p in families if _names(p, *told) is not None])
    if not any(_is_proved(p, raw) for p in _named(families, raw)):
        # A slow card of version 1 may not get through all of them: the standard is asked first.
        yield _probes([p for p in families if p.name == GENERIC])
        yield _probes(families)


def choose_snmp(known: Sequence[Profile], raw: _Raw) -> Identified | None:
    """Return the profile that fits an agent's answers, None when it is no unit that we know.

    1. A family that the identifiers name, if one of its objects answers, or it has none to ask.
    2. A family whose objects answer although the identifiers name another or none.
    3. A family that the identifiers name although its objects are silent: the standard may help.
    4. The standard MIB.
    """
    families = _of_snmp(known)
    named = _named(families, raw)
    proved = next((p for p in named if _is_proved(p, raw)), None)
    if proved is not None:
        return Identified(proved.name, _identifiers(proved, raw))
    generic = next((p for p in families if p.name == GENERIC), None)
    object_id = plain_oid(raw.get(OBJECT_ID)) or "missing"
    for profile in families:
        oid = _answering(profile, raw)
        if oid is None or profile is generic or not _fits(profile, raw):
            continue
        # Objects of the standard prove a family that is named; they name none by themselves.
        if profile.identify.texts or not under(oid, _STANDARD):
            doubt = (
                f"sysObjectID {object_id} names {named[0].name}, of which nothing answers"
                if named
                else f"sysObjectID {object_id} is of no known family"
            )
            return Identified(profile.name, (doubt, f"{oid} answers"))
    if named:
        return Identified(named[0].name, _identifiers(named[0], raw))
    oid = None if generic is None else _answering(generic, raw)
    if generic is None or oid is None:
        return None
    unknown = f"sysObjectID {object_id} is of no known family"
    return Identified(generic.name, (unknown, f"{oid} answers"))


def plain_oid(raw: RawValue) -> str:
    """Return an object identifier as text; bad agents send it as a string, with a leading dot."""
    text = text_of(raw).lstrip(".")
    return text if re.fullmatch(r"\d+(\.\d+)*", text) else ""


def under(oid: str, prefix: str) -> bool:
    """Tell whether an object identifier is a prefix or lies below it, arc by arc."""
    return oid == prefix or oid.startswith(f"{prefix}.")


def text_of(raw: RawValue) -> str:
    """Return a raw value as text, nothing for what is none."""
    return read_text(raw) if isinstance(raw, bytes | str) else ""


def _of_snmp(known: Sequence[Profile]) -> list[Profile]:
    families = [profile for profile in known if profile.protocol == "snmp"]
    return sorted(families, key=lambda profile: (profile.identify.rank, profile.name))


def _named(families: Sequence[Profile], raw: _Raw) -> list[Profile]:
    """Return the families that the identifiers name, the likeliest first.

    Among equals in rank the longer prefix is the closer family.
    """
    object_id, description = plain_oid(raw.get(OBJECT_ID)), text_of(raw.get(DESCRIPTION))
    found = []
    for profile in families:
        prefix = _names(profile, object_id, description)
        if prefix is not None and _fits(profile, raw):
            found.append((profile.identify.rank, -prefix.count("."), profile.name, profile))
    return [profile for *_, profile in sorted(found, key=lambda entry: entry[:3])]


def _names(profile: Profile, object_id: str, description: str) -> str | None:
    """Return the prefix by which the identifiers name a family, "" where sysDescr alone does."""
    block = profile.identify
    if any(under(object_id, other) for other in block.object_ids_not):
        return None
    if block.description is not None and not re.search(block.description, description):
        return None
    if block.description_not is not None and re.search(block.description_not, description):
        return None
    prefixes = [prefix for prefix in block.object_ids if under(object_id, prefix)]
    if prefixes:
        return max(prefixes, key=len)
    if block.described_as is not None and re.search(block.described_as, description):
        return ""
    return None


def _fits(profile: Profile, raw: _Raw) -> bool:
    """Tell whether nothing that the agent says of itself speaks against a family."""
    block = profile.identify
    description = text_of(raw.get(DESCRIPTION))
    if block.description is not None and not re.search(block.description, description):
        return False
    if block.description_not is not None and re.search(block.description_not, description):
        return False
    texts = block.texts.items()
    return all(re.search(wanted, text_of(raw.get(oid))) for oid, wanted in texts)


def _is_proved(profile: Profile, raw: _Raw) -> bool:
    return not profile.identify.probe or _answering(profile, raw) is not None


def _answering(profile: Profile, raw: _Raw) -> str | None:
    probes = profile.identify.probe
    return next((oid for oid in probes if raw.get(oid) not in (None, b"", "")), None)


def _probes(families: Sequence[Profile]) -> tuple[Ref, ...]:
    blocks = [profile.identify for profile in families]
    return tuple(dict.fromkeys(oid for b in blocks for oid in (*b.probe, *b.texts)))


def _identifiers(profile: Profile, raw: _Raw) -> tuple[str, ...]:
    """Return how the agent names a family, and which of its objects prove it."""
    object_id, description = plain_oid(raw.get(OBJECT_ID)), text_of(raw.get(DESCRIPTION))
    prefix = _names(profile, object_id, description)
    evidence = [f"sysObjectID {object_id} lies under {prefix}"] if prefix else []
    if description:
        evidence.append(f"sysDescr {description[:_SHOWN]!r}")
    evidence += [f"{oid} holds {text_of(raw.get(oid))!r}" for oid in profile.identify.texts]
    answering = _answering(profile, raw)
    if answering is not None:
        evidence.append(f"{answering} answers")
    elif profile.identify.probe:
        evidence.append("none of its own objects answers")
    return tuple(evidence)
