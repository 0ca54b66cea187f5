"""One reader a protocol: raw values by reference, without meaning.

A reader knows how to ask and how long to wait, and what a card did not have last time. What the
values mean stands in the profile and is applied by `collector.convert`.
"""

from collections.abc import Iterable

from collector.address import Address, ModbusAddress, SnmpAddress
from collector.raw import CardMemory, Failure, Habits, RawReply, ReadFailed, Ref
from collector.readers import modbus, snmp

DEADLINE_SECONDS = 2.0
"""What one poll may take by default."""


async def read(
    address: Address,
    refs: Iterable[Ref],
    *,
    memory: CardMemory,
    deadline: float = DEADLINE_SECONDS,
    habits: Habits | None = None,
) -> RawReply:
    """Read references from a device that is asked; one that speaks by itself is listened to."""
    match address:
        case SnmpAddress():
            return await snmp.read(address, refs, deadline=deadline, memory=memory, habits=habits)
        case ModbusAddress():
            return await modbus.read(address, refs, deadline=deadline, memory=memory, habits=habits)
        case _:
            raise ReadFailed(
                Failure.UNSUPPORTED, f"{address.public} is listened to, it cannot be asked"
            )
