"""Identification: which profile fits a device, told with the evidence. Reads, writes nothing.

The choice is a pure function of what the device answered; vendors stand before the generic
profile, and a card of unknown maker that speaks the UPS-MIB gets that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collector import readers
from collector.address import Address, ModbusAddress, MqttAddress, SnmpAddress
from collector.form import Profile
from collector.profile import profiles
from collector.raw import (
    CardMemory,
    Failure,
    Habits,
    RawValue,
    ReadFailed,
    Ref,
    Registers,
)
from collector.values import read_text, words_text

OBJECT_ID = "1.3.6.1.2.1.1.2.0"
DESCRIPTION = "1.3.6.1.2.1.1.1.0"
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Identified:
    """The profile found, and what speaks for it."""

    profile_name: str
    evidence: tuple[str, ...]


async def identify(address: Address, *, memory: CardMemory, deadline: float) -> Identified:
    """Ask a device who made it and choose its profile; ReadFailed when none fits or answers."""
    if isinstance(address, MqttAddress):
        return Identified("ridethrough-json", ("an MQTT topic of the product's own convention",))
    known = list(profiles().values())
    protocol = "snmp" if isinstance(address, SnmpAddress) else "modbus"
    reply = await readers.read(
        address,
        questions(known, protocol),
        memory=memory,
        deadline=deadline,
        habits=Habits(varbinds=10),
    )
    choose = choose_snmp if isinstance(address, SnmpAddress) else choose_modbus
    found = choose(known, reply.values)
    if found is None:
        raise ReadFailed(Failure.UNSUPPORTED, _unknown(address, reply.values))
    return found


def questions(known: Sequence[Profile], protocol: str) -> tuple[Ref, ...]:
    """Return what to read to tell the profiles of a protocol apart."""
    refs: list[Ref] = [OBJECT_ID, DESCRIPTION] if protocol == "snmp" else []
    for profile in known:
        if profile.protocol != protocol:
            continue
        refs += profile.identify.probe
        model = profile.identify.model
        if model is not None:
            refs.append(Registers(model.function, model.register_, model.length))
    return tuple(dict.fromkeys(refs))


def choose_snmp(known: Sequence[Profile], raw: Mapping[Ref, RawValue]) -> Identified | None:
    """Return the profile that fits an agent's answers: by its identifier first, then by probe."""
    object_id = plain_oid(raw.get(OBJECT_ID))
    description = _shown(raw.get(DESCRIPTION))
    fitting = sorted(
        (p for p in known if p.protocol == "snmp" and _described(p, description)),
        key=lambda profile: (profile.identify.rank, profile.name),
    )
    # Among equals in rank the longer prefix is the closer family.
    named = [
        (profile.identify.rank, -prefix.count("."), profile.name, prefix)
        for profile in fitting
        for prefix in profile.identify.object_ids
        if under(object_id, prefix)
        and not any(under(object_id, other) for other in profile.identify.object_ids_not)
    ]
    if named:
        *_, name, prefix = min(named)
        evidence = [f"sysObjectID {object_id} lies under {prefix}"]
        if description:
            evidence.append(f"sysDescr {description[:_SHOWN]!r}")
        return Identified(name, tuple(evidence))
    for profile in fitting:
        for probe in profile.identify.probe:
            if raw.get(probe) not in (None, b"", ""):
                unknown = f"sysObjectID {object_id or 'missing'} is of no known family"
                return Identified(profile.name, (unknown, f"{probe} answers"))
    return None


def choose_modbus(known: Sequence[Profile], raw: Mapping[Ref, RawValue]) -> Identified | None:
    """Return the profile whose model registers hold what they should."""
    ranked = sorted(known, key=lambda profile: (profile.identify.rank, profile.name))
    for profile in ranked:
        model = profile.identify.model
        if model is None or profile.protocol != "modbus":
            continue
        words = raw.get(Registers(model.function, model.register_, model.length))
        text = words_text(words) if isinstance(words, tuple) else ""
        if text and re.search(model.matches, text):
            told = f"registers {model.register_}+{model.length} hold {text[:_SHOWN]!r}"
            return Identified(profile.name, (told,))
    return None


def plain_oid(raw: RawValue) -> str:
    """Return an object identifier as text; bad agents send it as a string, with a leading dot."""
    text = read_text(raw) if isinstance(raw, bytes | str) else ""
    text = text.lstrip(".")
    return text if re.fullmatch(r"\d+(\.\d+)*", text) else ""


def under(oid: str, prefix: str) -> bool:
    """Tell whether an object identifier is a prefix or lies below it, arc by arc."""
    return oid == prefix or oid.startswith(f"{prefix}.")


def _described(profile: Profile, description: str) -> bool:
    block = profile.identify
    if block.description is not None and not re.search(block.description, description):
        return False
    return block.description_not is None or not re.search(block.description_not, description)


def _shown(raw: RawValue) -> str:
    return read_text(raw) if isinstance(raw, bytes | str) else ""


def _unknown(address: Address, raw: Mapping[Ref, RawValue]) -> str:
    if isinstance(address, ModbusAddress):
        return (
            f"{address.public} answers, but its registers fit no known family: "
            "name one with --profile"
        )
    said = plain_oid(raw.get(OBJECT_ID)) or "nothing"
    return (
        f"{address.public} answers (sysObjectID {said}), but speaks neither a known maker's MIB "
        "nor the UPS-MIB: it may be no UPS, or hide that branch from this community"
    )
