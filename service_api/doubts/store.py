"""Read doubts: the list, one, and the open ones by family for the page."""

from typing import Any, LiteralString

from rules.points import BY_NAME
from service_api.doubts.schemas import Doubt, DoubtQuery, Family
from service_api.doubts.words import reason_of
from service_api.errors import NotFound
from service_api.language import translate
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

MOST_FAMILIES = 100
SHOWN_UNITS = 8

_COLUMNS: LiteralString = """
    b.id, b.device_id, d.key, d.name, d.site_id, t.name, t.name_zh, t.time_zone, c.name, c.name_zh,
    d.profile, d.model, b.point, b.kind, b.value, b.evidence, b.proposal, b.raised_at, b.seen_at,
    b.ended_at, b.state, b.decided_by, b.decided_at, b.correction_id
"""
_FROM: LiteralString = """
    FROM doubt b JOIN device d ON d.id = b.device_id JOIN site t ON t.id = d.site_id
    JOIN customer c ON c.id = d.customer_id
"""


def _doubt(row: tuple[Any, ...]) -> Doubt:
    point = BY_NAME.get(row[12])
    evidence = row[15]
    reason = reason_of(evidence.get("rule"))
    return Doubt(
        *(
            *row[:13],
            row[12] if point is None else point.column,
            *row[13:15],
            translate("en", reason),
            translate("zh", reason),
            evidence.get("confidence", "medium"),
            *row[15:],
        )
    )


def doubts(connection: Connection, query: DoubtQuery) -> Page[Doubt]:
    """Read one part of the doubts, the newest first."""
    return read_page(
        connection,
        select=_COLUMNS,
        from_where=_FROM
        + """
        WHERE (%(state)s = 'all' OR b.state = %(state)s)
        AND (%(device_id)s::bigint IS NULL OR b.device_id = %(device_id)s)
        AND (%(site_id)s::bigint IS NULL OR d.site_id = %(site_id)s)
        AND (%(profile)s::text IS NULL OR d.profile = %(profile)s)
        AND (%(kind)s::text IS NULL OR b.kind = %(kind)s)
        AND (%(point)s::text IS NULL OR b.point = %(point)s)
        """,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=Order.of(("b.raised_at", "timestamptz", True), ("b.id", "bigint", True)),
        query=query,
        build=_doubt,
    )


def doubt(connection: Connection, doubt_id: int) -> Doubt:
    """Read one doubt; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _COLUMNS + _FROM + " WHERE b.id = %s", (doubt_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no doubt {doubt_id}.")
    return _doubt(row)


def families(connection: Connection) -> list[Family]:
    """Read the open doubts by family, those of most units first, some units of each."""
    rows = connection.execute(
        "SELECT total, place, " + _COLUMNS
        + """
        FROM (
            SELECT b.*, row_number() OVER family AS place,
                count(*) OVER (PARTITION BY d.profile, d.model, b.point, b.kind) AS total
            FROM doubt b JOIN device d ON d.id = b.device_id WHERE b.state = 'open'
            WINDOW family AS (PARTITION BY d.profile, d.model, b.point, b.kind
                ORDER BY b.raised_at, b.id)
        ) b JOIN device d ON d.id = b.device_id JOIN site t ON t.id = d.site_id
        JOIN customer c ON c.id = d.customer_id
        WHERE place <= %s
        ORDER BY total DESC, d.profile, d.model, b.point, b.kind, place LIMIT %s
        """,
        (SHOWN_UNITS, MOST_FAMILIES * SHOWN_UNITS),
    ).fetchall()  # fmt: skip
    found: dict[tuple[object, ...], Family] = {}
    for total, _place, *row in rows:
        one = _doubt(tuple(row))
        key = (one.profile, one.model, one.point, one.kind)
        family = found.get(key)
        if family is None:
            found[key] = Family(*key, first=one, doubts=[one], total=total)
        else:
            family.doubts.append(one)
    return list(found.values())


def counts(connection: Connection) -> dict[str, int]:
    """Count what the page's chips ask."""
    row = connection.execute(
        """
        SELECT (SELECT count(*) FROM doubt WHERE state = 'open'),
            (SELECT count(DISTINCT device_id) FROM doubt WHERE state = 'open'),
            (SELECT count(*) FROM correction WHERE ended_at IS NULL)
        """
    ).fetchone()
    return dict(zip(("open", "units", "corrections"), row or (0, 0, 0), strict=True))
