"""Read what traps were heard."""

from typing import Any, LiteralString

from collector.plan import key_of
from collector.traps import alarm_named, meaning_of
from service_api.paging import Order, Page, read_page
from service_api.request import Connection
from service_api.traps.schemas import Trap, TrapQuery

_FROM_WHERE: LiteralString = """
    FROM trap_seen t LEFT JOIN device d ON d.id = t.device_id
    WHERE (%(device_id)s::bigint IS NULL OR t.device_id = %(device_id)s)
    AND (%(known)s::boolean IS NULL OR (t.name IS NOT NULL) = %(known)s)
    AND (%(of_unit)s::boolean IS NULL OR (t.device_id IS NOT NULL) = %(of_unit)s)
"""


def traps(connection: Connection, query: TrapQuery) -> Page[Trap]:
    """Read traps, those heard last first."""
    return read_page(
        connection,
        select="t.id, t.device_id, d.name, t.source, t.oid, t.name, t.count, t.first_at,"
        " t.last_at, t.variables",
        from_where=_FROM_WHERE,
        parameters={
            "device_id": query.device_id,
            "known": query.known,
            "of_unit": query.of_unit,
        },
        order=Order.of(("t.last_at", "timestamptz", True), ("t.id", "bigint", True)),
        query=query,
        build=_trap,
    )


def _trap(row: tuple[Any, ...]) -> Trap:
    id_, device_id, device, source, oid, name, count, first_at, last_at, variables = row
    meaning = meaning_of(oid)
    flag = meaning.flag if meaning else None
    if flag == "*":
        flag = alarm_named(variables)
    return Trap(
        id=id_,
        device_id=device_id,
        device=device,
        source=source,
        oid=oid,
        name=name,
        flag=None if flag is None else key_of(flag),
        raises=meaning.raises if meaning else None,
        count=count,
        first_at=first_at,
        last_at=last_at,
        variables=variables,
    )
