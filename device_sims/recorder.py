"""Recording a real device, so that it can be replayed and a profile be made at a desk.

SNMP is walked with its types, Modbus read as far as its family's profile goes, MQTT listened to.
Everything is bounded in number and time. What a device's owner would not show is taken out by
`scrub`; serving recordings is `replay`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pysnmp.hlapi.v3arch.asyncio import (
    CommunityData,
    ContextData,
    ObjectIdentity,
    ObjectType,
    SnmpEngine,
    UdpTransportTarget,
    UsmUserData,
    bulk_walk_cmd,
    walk_cmd,
)
from pysnmp.proto import rfc1902

from collector import readers
from collector.address import ModbusAddress, SnmpAddress
from collector.identify import identify
from collector.plan import Plan, plan_for
from collector.profile import profiles
from collector.raw import CardMemory, Failure, RawValue, ReadFailed, Ref
from collector.readers.traps import SNMP_AUTH, SNMP_PRIV
from device_sims.snmp_agent import Oid, Table, Untyped, oid_of

ROOTS = ("1.3.6.1.2.1.1", "1.3.6.1.2.1.33", "1.3.6.1.4.1")
"""The system group, the UPS-MIB and every maker's own tree."""
MOST_OBJECTS = 20_000
SECONDS = 300.0

_REQUEST_SECONDS = 3.0
_RETRIES = 2
_ROWS = 10  # a request, for cards that answer longer ones short
_READ_SECONDS = 30.0

Told = Callable[[int], None]
"""Told how many objects are recorded so far."""


async def walk(
    address: SnmpAddress,
    roots: Sequence[str] = ROOTS,
    *,
    most: int = MOST_OBJECTS,
    seconds: float = SECONDS,
    told: Told = lambda _: None,
) -> Table:
    """Return what an agent holds below some roots; raise ReadFailed when that is nothing.

    Ends, with what came, at the bounds, and in each tree where the agent turns in a circle.
    """
    engine = SnmpEngine()
    objects: dict[Oid, Untyped] = {}
    try:
        async with asyncio.timeout(seconds):
            for root in roots:
                async for oid, value in _tree(engine, address, root):
                    objects[oid] = value
                    told(len(objects))
                    if len(objects) >= most:
                        return Table.of(objects)
    except TimeoutError:
        pass  # what came is what is recorded
    finally:
        engine.close_dispatcher()
    if not objects:
        raise ReadFailed(
            Failure.TIMEOUT, f"{address.public} tells nothing: wrong address, or another community"
        )
    return Table.of(objects)


async def _tree(
    engine: SnmpEngine, address: SnmpAddress, root: str
) -> AsyncIterator[tuple[Oid, Untyped]]:
    """Yield the objects below a root in order; by single steps where bulk requests fail."""
    last: Oid = ()
    for bulk in (True, False) if address.version != "1" else (False,):
        failed = False
        async for error, status, _, binds in await _steps(engine, address, root, bulk=bulk):
            if error or status:
                failed = True
                break
            for name, value in binds:
                oid = tuple(name)
                if oid <= last:
                    return  # it turns in a circle
                last = oid
                yield oid, value
        if not failed or last:
            return


async def _steps(
    engine: SnmpEngine, address: SnmpAddress, root: str, *, bulk: bool
) -> AsyncIterator[tuple[Untyped, ...]]:
    target = await UdpTransportTarget.create(
        (address.host, address.port), timeout=_REQUEST_SECONDS, retries=_RETRIES
    )
    below = ObjectType(ObjectIdentity(root))
    common = (engine, _login(address), target, ContextData())
    options = {"lookupMib": False, "lexicographicMode": False}
    if bulk:
        found: AsyncIterator[tuple[Untyped, ...]] = bulk_walk_cmd(
            *common, 0, _ROWS, below, **options
        )
        return found
    stepped: AsyncIterator[tuple[Untyped, ...]] = walk_cmd(*common, below, **options)
    return stepped


def _login(address: SnmpAddress) -> CommunityData | UsmUserData:
    secret = address.credentials
    if address.version != "3":
        return CommunityData(secret.user, mpModel=0 if address.version == "1" else 1)
    return UsmUserData(
        secret.user,
        secret.password or None,
        secret.private_password or None,
        authProtocol=SNMP_AUTH[address.auth],
        privProtocol=SNMP_PRIV[address.priv],
    )


def own_in(objects: Iterable[Oid]) -> tuple[Oid, ...]:
    """Return which of some objects any family takes for this one unit's alone: serial numbers."""
    own = {
        oid_of(step.ref)
        for profile in profiles().values()
        if profile.protocol == "snmp"
        for step in plan_for(profile).marks
        if step.name == "serial" and isinstance(step.ref, str)
    }
    return tuple(oid for oid in objects if oid in own)


async def read_all(
    address: ModbusAddress, profile: str | None = None
) -> tuple[Plan, Mapping[Ref, RawValue]]:
    """Return what a Modbus unit says to everything that its family's profile asks."""
    memory = CardMemory()
    if profile is None:
        found = await identify(address, memory=memory, deadline=_READ_SECONDS)
        profile = found.profile_name
    plan = plan_for(profiles()[profile], 3)
    refs = (*plan.identity_refs, *plan.fast_refs, *plan.slow_refs)
    reply = await readers.read(
        address, refs, memory=memory, deadline=_READ_SECONDS, habits=plan.habits
    )
    return plan, reply.values


def without_serial(plan: Plan, values: Mapping[Ref, RawValue]) -> dict[Ref, RawValue]:
    """Return a unit's registers with those of its serial number full of zeros in text, `0`."""
    own = {step.ref for step in plan.marks if step.name == "serial"}
    return {
        ref: tuple(0x3030 for _ in value) if ref in own and isinstance(value, tuple) else value
        for ref, value in values.items()
    }


def write_objects(path: Path, objects: Mapping[Oid, Untyped], *, comment: str = "") -> None:
    """Write a `.snmprec` file that `recordings.read_snmp` reads to the same objects."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [_line(oid, objects[oid]) for oid in sorted(objects)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


_TAGS = (
    (rfc1902.IpAddress, "64"),
    (rfc1902.Counter64, "70"),
    (rfc1902.Counter32, "65"),
    (rfc1902.TimeTicks, "67"),
    (rfc1902.Gauge32, "66"),
    (rfc1902.Unsigned32, "66"),
    (rfc1902.Opaque, "68"),
    (rfc1902.Integer32, "2"),
    (rfc1902.OctetString, "4"),
    (rfc1902.ObjectIdentifier, "6"),
)


def _line(oid: Oid, value: Untyped) -> str:
    tag = next((tag for kind, tag in _TAGS if isinstance(value, kind)), None)
    name = ".".join(map(str, oid))
    if tag is None:
        return f"{name}|5|"
    if tag in ("4", "64", "68"):
        content = bytes(value)
        if tag == "4" and content.isascii() and content.decode().isprintable():
            return f"{name}|4|{content.decode()}"
        return f"{name}|{tag}x|{content.hex()}"
    return f"{name}|{tag}|{value.prettyPrint()}"
