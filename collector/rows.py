"""Rows whose numbers differ from card to card: found once by a walk, remembered as aliases.

Which rows a family has stands in its profile (`rows`); a plan is written with the usual numbers.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from collector.address import SnmpAddress
from collector.extend import absolute
from collector.form import Place, Profile, Row
from collector.plan import in_rows, ref_of
from collector.raw import CardMemory, RawValue, ReadFailed, Ref
from collector.readers import snmp
from collector.values import read_text

_ASK_AGAIN_SECONDS = 86_400.0
_LEAST_SECONDS = 0.2

_Table = Sequence[tuple[Ref, RawValue]]


async def find_rows(
    address: SnmpAddress, profile: Profile, *, memory: CardMemory, deadline: float
) -> None:
    """Find where this card keeps a family's rows and remember it.

    What stands in a row that the card lacks counts as absent; a table that does not answer changes
    nothing.
    """
    ends_at = asyncio.get_running_loop().time() + deadline
    tables: dict[str, _Table] = {}

    async def table(column: str, at: str | None) -> _Table:
        left = max(_LEAST_SECONDS, ends_at - asyncio.get_running_loop().time())
        if at is None:
            return await snmp.table(address, column, deadline=left, memory=memory)
        cell = f"{column}.{at}"
        with suppress(ReadFailed):
            reply = await snmp.read(address, [cell], deadline=left, memory=CardMemory())
            return [(oid, value) for oid, value in reply.values.items() if oid == cell]
        return []

    for name, row in profile.rows.items():
        told = False
        for column in (absolute(column, profile.base) for column in row.column):
            key = column if row.at is None else f"{column}.{row.at}"
            if key not in tables:
                tables[key] = await table(column, row.at)
            told = told or bool(tables[key])
            arcs = row_of(row, column, tables[key])
            if arcs is not None:
                if arcs != row.usual:
                    memory.aliases.update(_cells(profile, name, arcs))
                break
        else:
            if told:
                lacking = [usual for usual, _ in _cells(profile, name, row.usual)]
                until = asyncio.get_running_loop().time() + _ASK_AGAIN_SECONDS
                memory.learn_absent(lacking, until)


def row_of(row: Row, column: str, table: _Table) -> str | None:
    """Return the arcs of the row that is meant, None when no row is."""
    wanted = row.value
    for oid, value in table:
        text = read_text(value) if isinstance(value, bytes | str) else str(value)
        text = text.lstrip(".")
        if wanted is None or text == wanted or text.startswith(f"{wanted}."):
            arcs = str(oid)[len(column) + 1 :].split(".")
            return ".".join(arcs[: row.usual.count(".") + 1])
    return None


def _cells(profile: Profile, name: str, arcs: str) -> Iterator[tuple[str, str]]:
    """Yield what stands in a row: its OID with the usual row, and with this card's."""
    usual = {other: row.usual for other, row in profile.rows.items()}
    here = {**usual, name: arcs}
    for place in _places(profile):
        if place.oid is None or f"{{{name}}}" not in place.oid:
            continue
        for line in range(1, 4) if "{n}" in place.oid else (1,):
            oid = absolute(place.oid, profile.base).replace("{n}", str(line))
            yield str(ref_of(profile, place, line)), in_rows(oid, here)


def _places(profile: Profile) -> Iterator[Place]:
    for numbers in profile.points.values():
        yield from numbers
    yield from profile.states
    for counts in (profile.phases.input, profile.phases.output, profile.phases.bypass):
        yield from counts
    who = profile.identity
    for marks in (who.manufacturer, who.model, who.serial, who.firmware, *who.details.values()):
        yield from marks
