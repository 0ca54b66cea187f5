"""Read corrections."""

from typing import Any, LiteralString

from rules.points import BY_NAME
from service_api.corrections.schemas import Correction, CorrectionQuery
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_SELECT: LiteralString = """
    r.id, r.device_id, d.name, r.profile, r.model,
    CASE WHEN r.device_id IS NOT NULL THEN 1 ELSE (
        SELECT count(*) FROM device o WHERE o.profile = r.profile
        AND (r.model IS NULL OR o.model = r.model)) END,
    r.point, r.point, r.action, r.factor, r.addend, r.reason, r.made_by, r.made_at, r.ended_by,
    r.ended_at
"""
_FROM: LiteralString = " FROM correction r LEFT JOIN device d ON d.id = r.device_id "


def _correction(row: tuple[Any, ...]) -> Correction:
    point = BY_NAME.get(row[7])
    return Correction(*(*row[:7], row[7] if point is None else point.column, *row[8:]))


def corrections(connection: Connection, query: CorrectionQuery) -> Page[Correction]:
    """Read one part of the corrections, the newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM
        + """
        WHERE CASE %(state)s WHEN 'active' THEN r.ended_at IS NULL
            WHEN 'ended' THEN r.ended_at IS NOT NULL ELSE true END
        AND (%(device_id)s::bigint IS NULL OR r.device_id = %(device_id)s OR EXISTS (
            SELECT FROM device o WHERE o.id = %(device_id)s AND o.profile = r.profile
            AND (r.model IS NULL OR r.model = o.model)))
        AND (%(profile)s::text IS NULL OR r.profile = %(profile)s)
        AND (%(point)s::text IS NULL OR r.point = %(point)s)
        """,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=Order.of(("r.id", "bigint", True)),
        query=query,
        build=_correction,
    )


def correction(connection: Connection, correction_id: int) -> Correction:
    """Read one correction; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE r.id = %s", (correction_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no correction {correction_id}.")
    return _correction(row)
