"""Probing: one reading of one device, now, with everything found out on the way.

The first meeting with a device (identify, count its lines, read everything, find odd rows) is
also how polling begins: `meet` is shared. Needs no database.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from collector import readers
from collector.address import Address, MqttAddress, SnmpAddress
from collector.blend import Disagreement, disagreements, sources, spare_places
from collector.convert import Decoded, decode
from collector.identify import identify
from collector.identify_snmp import GENERIC, Identified
from collector.marks import decode_identity, decode_phases
from collector.plan import Plan, plan_for
from collector.profile import profiles
from collector.raw import CardMemory, Failure, RawValue, ReadFailed, Ref
from collector.readers import snmp
from collector.rows import find_rows
from collector.scalars import find_scalars
from rules.facts import Identity, Value
from rules.plausibility import believed
from rules.points import BY_COLUMN, BY_NAME, Kind

PROBE_SECONDS = 15.0
"""What a first meeting may take: cards unknown so far need more requests than later polls."""

_LEAST_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Met:
    """A device met for the first time: how to read it from now on, and its first reading.

    `plan` leaves out what the card lacks and fallbacks that are not needed; ask its `fast_refs`
    on each poll and its `slow_refs`, `check_refs` and `identity_refs` rarely. `sources` says where
    each point came from, by its name.
    """

    identified: Identified
    plan: Plan
    identity: Identity
    decoded: Decoded
    problems: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=dict)
    disagreements: tuple[Disagreement, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found, ready to print."""

    profile: str
    evidence: tuple[str, ...]
    identity: Identity
    points: Mapping[str, Value]
    problems: tuple[str, ...] = field(default=())
    sources: Mapping[str, str] = field(default_factory=dict)
    disagreements: tuple[Disagreement, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the documented JSON form; points by name, numbers plain, flags as booleans.

        Beside what is documented: what speaks for the profile, further texts of the identity,
        where each point came from, and where the card contradicts itself.
        """
        who = self.identity
        return {
            "profile": self.profile,
            "identity": {
                "manufacturer": who.manufacturer,
                "model": who.model,
                "serial": who.serial,
                "firmware": who.firmware,
            },
            "points": {name: _plain(value) for name, value in self.points.items()},
            "problems": list(self.problems),
            "evidence": list(self.evidence),
            "details": dict(who.details),
            "sources": {name: self.sources[name] for name in self.points if name in self.sources},
            "disagreements": [found.to_json() for found in self.disagreements],
        }


async def probe(
    address: Address, profile: str | None = None, *, deadline: float = PROBE_SECONDS
) -> ProbeResult:
    """Read a device once; raise ReadFailed with one line when it cannot be read at all.

    A unit that publishes cannot be asked: `collector.overhear` listens to it instead.
    """
    met = await meet(address, profile, memory=CardMemory(), deadline=deadline)
    points = {BY_COLUMN[key].name: value for key, value in met.decoded.points.items()}
    points |= believed(met.decoded.extra)
    order = {name: at for at, name in enumerate(point.name for point in BY_COLUMN.values())}
    names = sorted(points, key=lambda name: (order.get(name, len(order)), name))
    return ProbeResult(
        met.identified.profile_name,
        met.identified.evidence,
        met.identity,
        MappingProxyType({name: points[name] for name in names}),
        met.problems,
        met.sources,
        met.disagreements,
    )


async def meet(
    address: Address, profile: str | None, *, memory: CardMemory, deadline: float = PROBE_SECONDS
) -> Met:
    """Meet a device: find or check its profile, learn its shape, read everything once.

    1. Find the profile, unless one is named.
    2. Read the identity and how many lines there are.
    3. Read all points; look for table rows at odd instances when the plain ones are absent.
    4. A maker's card that says nothing in its own tongue is read by the standard MIB.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline
    if isinstance(address, MqttAddress):
        raise ReadFailed(
            Failure.UNSUPPORTED, f"{address.public} is listened to, it cannot be asked"
        )
    if profile is None:
        found = await _identified(address, memory, deadline / 2)
    else:
        found = _named(profile, address)
    met = await _read_all(address, found, memory, ends_at)
    if not _tells_of_a_unit(met) and found.profile_name != GENERIC and profile is None:
        generic = Identified(GENERIC, (*found.evidence, "its own MIB is silent: standard MIB"))
        if isinstance(address, SnmpAddress):
            met = await _read_all(address, generic, memory, ends_at)
    if not (met.decoded.points if profile else _tells_of_a_unit(met)):
        raise ReadFailed(
            Failure.UNSUPPORTED,
            f"{address.public} answers, but tells nothing that profile "
            f"{found.profile_name} understands",
        )
    return met


def _tells_of_a_unit(met: Met) -> bool:
    """Tell whether anything was read save that no alarm stands.

    Power strips and transfer switches on a card made for units too have its empty table of alarms.
    Whoever names the profile has told that it is a unit.
    """
    return any(value is not False for value in met.decoded.points.values())


async def _identified(address: Address, memory: CardMemory, deadline: float) -> Identified:
    try:
        return await identify(address, memory=memory, deadline=deadline)
    except ReadFailed as failed:
        if failed.kind is not Failure.UNSUPPORTED or not isinstance(address, SnmpAddress):
            raise
        odd = await find_scalars(address, memory=memory, deadline=deadline / 2)
        if odd is None:
            raise
        return odd


def _named(profile: str, address: Address) -> Identified:
    known = profiles()
    wanted = "snmp" if isinstance(address, SnmpAddress) else "modbus"
    fitting = ", ".join(name for name, found in known.items() if found.protocol == wanted)
    if profile not in known or known[profile].protocol != wanted:
        raise ReadFailed(
            Failure.UNSUPPORTED, f"no {wanted} profile is named {profile!r}: use one of {fitting}"
        )
    return Identified(profile, ("named by hand",))


async def _read_all(address: Address, found: Identified, memory: CardMemory, ends_at: float) -> Met:
    """Read identity and points with the widest plan, learn the unit's shape, fill in the rest."""
    profile = profiles()[found.profile_name]
    wide = plan_for(profile, 3)
    raw: dict[Ref, RawValue] = {}
    problems: list[str] = []

    async def ask(refs: Iterable[Ref]) -> None:
        wanted = [ref for ref in refs if ref not in raw and ref not in memory.absent]
        if wanted:
            seconds = max(_LEAST_SECONDS, ends_at - asyncio.get_running_loop().time())
            reply = await readers.read(
                address, wanted, memory=memory, deadline=seconds, habits=wide.habits
            )
            raw.update(reply.values)
            problems.extend(reply.problems)

    if isinstance(address, SnmpAddress) and profile.rows:
        seconds = max(_LEAST_SECONDS, ends_at - asyncio.get_running_loop().time())
        await find_rows(address, profile, memory=memory, deadline=seconds)

    async def find_oddly(columns: Mapping[str, tuple[str, ...]]) -> int:
        seconds = max(_LEAST_SECONDS, ends_at - asyncio.get_running_loop().time())
        if not isinstance(address, SnmpAddress) or not columns:
            return 0
        return await snmp.find_cells(
            address, columns, deadline=seconds, memory=memory, habits=wide.habits
        )

    await ask((*wide.identity_refs, *wide.fast_refs, *wide.slow_refs))
    if isinstance(address, SnmpAddress):
        for first, others in _silent_tables(wide.columns, raw):
            if await find_oddly(first):
                await find_oddly(others)
                await ask(ref for refs in (first | others).values() for ref in refs)
    plan = plan_for(profile, decode_phases(wide, raw))
    await ask((*plan.fast_refs, *plan.slow_refs))
    decoded = decode(plan, raw)
    problems += [f"{r.point or 'value'}: {r.detail} (raw {r.raw})" for r in decoded.rejections]
    spare = spare_places(plan, raw)
    skip = frozenset(memory.absent) | spare.idle
    return Met(
        found,
        plan_for(profile, plan.phases, skip, spare.checks),
        decode_identity(plan, raw),
        decoded,
        tuple(problems),
        sources(plan, raw),
        disagreements(plan, raw),
    )


_Columns = dict[str, tuple[str, ...]]


def _silent_tables(
    columns: Mapping[str, tuple[str, ...]], raw: Mapping[Ref, RawValue]
) -> list[tuple[_Columns, _Columns]]:
    """Return the tables none of whose cells answered, since their rows may stand oddly.

    Of each, its first column, which tells whether there is such a table at all, and the others.
    """
    tables: dict[str, _Columns] = {}
    for column, cells in columns.items():
        tables.setdefault(column.rpartition(".")[0], {})[column] = cells
    found = []
    for table in tables.values():
        if raw.keys().isdisjoint(cell for cells in table.values() for cell in cells):
            first, *others = table
            found.append(({first: table[first]}, {column: table[column] for column in others}))
    return found


def render(result: ProbeResult) -> str:
    """Return the result as lines for people."""
    who = result.identity
    lines = [
        f"profile   {result.profile}  ({'; '.join(result.evidence)})",
        f"maker     {who.manufacturer or '–'}",
        f"model     {who.model or '–'}",
        f"serial    {who.serial or '–'}",
        f"firmware  {who.firmware or '–'}",
    ]
    lines += [f"{name:<10} {text}" for name, text in who.details.items()]
    lines.append("")
    width = max((len(name) for name in result.points), default=0)
    shown: dict[str, str] = {}
    for name, value in result.points.items():
        point = BY_NAME.get(name)
        unit = f" {point.unit}" if point and point.unit and point.kind is Kind.NUMBER else ""
        shown[name] = f"{_shown(value)}{unit}"
    column = max((len(text) for text in shown.values()), default=0)
    for name, text in shown.items():
        source = result.sources.get(name, "")
        lines.append(f"{name:<{width}}  {text:<{column}}  {source}".rstrip())
    if result.problems:
        lines += ["", "could not be read:", *(f"  {problem}" for problem in result.problems)]
    if result.disagreements:
        lines += ["", "contradicts itself:", *(f"  {found}" for found in result.disagreements)]
    return "\n".join(lines)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else value


def _plain(value: Value) -> Value | int:
    """Return whole numbers without a fraction, as people write them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
