"""Scalars of the standard MIB at odd instances: without the final 0, or with one too many.

A card that does so answers none of the usual questions, so it is looked at last. Where it keeps its
scalars is remembered as aliases; tables are looked for by `collector.readers.snmp.find_cells`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from collector import readers
from collector.address import SnmpAddress
from collector.identify_snmp import GENERIC, Identified
from collector.plan import plan_for
from collector.profile import profiles
from collector.raw import CardMemory, Habits, ReadFailed

_FORMS: dict[str, Callable[[str], str]] = {
    "lack the final 0": lambda oid: oid[:-2],
    "have a 0 too many": lambda oid: f"{oid}.0",
}
_LEAST_SECONDS = 0.2


async def find_scalars(
    address: SnmpAddress, *, memory: CardMemory, deadline: float
) -> Identified | None:
    """Look for the standard MIB at odd instances and remember them; None where it is not."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline
    profile = profiles()[GENERIC]
    plan = plan_for(profile, 3)
    refs = (*plan.identity_refs, *plan.fast_refs, *plan.slow_refs)
    scalars = [ref for ref in refs if isinstance(ref, str) and ref.endswith(".0")]
    for what, form in _FORMS.items():
        with suppress(ReadFailed):
            reply = await readers.read(
                address,
                [form(oid) for oid in profile.identify.probe],
                memory=CardMemory(),
                deadline=max(_LEAST_SECONDS, ends_at - loop.time()),
                habits=Habits(varbinds=5),
            )
            if reply.values:
                memory.aliases.update((oid, form(oid)) for oid in scalars)
                for oid in scalars:
                    memory.absent.pop(oid, None)
                return Identified(GENERIC, (f"objects of the UPS-MIB answer, but {what}",))
    return None
