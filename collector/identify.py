"""Identification: which profile fits a device, told with the evidence. Reads, writes nothing.

The choice is a pure function of what the device answered: `collector.identify_snmp` for agents.
Vendors stand before the generic profile.
"""

import asyncio
from collections.abc import Mapping, Sequence

from collector import identify_modbus, readers
from collector.address import Address, ModbusAddress, MqttAddress, SnmpAddress
from collector.form import Profile
from collector.identify_snmp import (
    OBJECT_ID,
    Identified,
    choose_snmp,
    further_questions,
    plain_oid,
)
from collector.profile import profiles
from collector.raw import (
    CardMemory,
    Failure,
    Habits,
    RawValue,
    ReadFailed,
    Ref,
)

_LEAST_SECONDS = 0.2


async def identify(address: Address, *, memory: CardMemory, deadline: float) -> Identified:
    """Ask a device who made it and choose its profile; ReadFailed when none fits or answers."""
    if isinstance(address, MqttAddress):
        return Identified("ridethrough-json", ("an MQTT topic of the product's own convention",))
    known = list(profiles().values())
    raw: dict[Ref, RawValue] = {}
    is_modbus = isinstance(address, ModbusAddress)
    stages = (
        further_questions(known, raw)
        if isinstance(address, SnmpAddress)
        else identify_modbus.further_questions(known, raw)
    )
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline
    for stage, refs in enumerate(stages):
        wanted = [ref for ref in refs if ref not in raw and ref not in memory.absent]
        if not wanted:
            continue
        try:
            reply = await readers.read(
                address,
                wanted,
                memory=memory,
                deadline=max(_LEAST_SECONDS, ends_at - loop.time()),
                habits=Habits(varbinds=10),
            )
        except ReadFailed as failed:
            # A Modbus unit that refuses every question has answered it.
            if stage == 0 and not (is_modbus and failed.kind is Failure.UNSUPPORTED):
                raise
            continue  # a card that drops questions it does not know is judged by what it said
        raw.update(reply.values)
    choose = choose_snmp if isinstance(address, SnmpAddress) else identify_modbus.choose_modbus
    found = choose(known, raw)
    if found is None:
        raise ReadFailed(Failure.UNSUPPORTED, _unknown(known, address, raw))
    return found


def _unknown(known: Sequence[Profile], address: Address, raw: Mapping[Ref, RawValue]) -> str:
    if isinstance(address, ModbusAddress):
        return identify_modbus.unknown_unit(known, raw, address.public)
    said = plain_oid(raw.get(OBJECT_ID)) or "nothing"
    return (
        f"{address.public} answers (sysObjectID {said}), but speaks neither a known maker's MIB "
        "nor the UPS-MIB: it may be no UPS, or hide that branch from this community"
    )
