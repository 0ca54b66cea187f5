"""Count how much of the fleet is truly seen: one statement over all units, grouped by need."""

from datetime import datetime, timedelta
from typing import Any, LiteralString

from service_api.coverage.schemas import (
    CAUSES,
    GAPS,
    By,
    Cause,
    Coverage,
    CoverageQuery,
    CoverageSummary,
    Gap,
    UncoveredUnit,
    UnitsQuery,
)
from service_api.language import translate
from service_api.pages import freshness_of
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

TRAP_HOLDS = timedelta(days=400)
COLLECTOR_LIVES = timedelta(seconds=60)
RESTART_HOLDS = timedelta(minutes=15)

# What a unit meets. A card's clock that was never set, and the day the unit was made, are what
# cards tell as battery date until somebody enters it.
_MET: LiteralString = """
    SELECT d.id, d.name, d.site_id, d.customer_id, d.collector_group, s.received_at,
        coalesce(s.received_at >= coalesce(%(heard_at)s, %(now)s) - make_interval(secs =>
            CASE WHEN s.stays_valid_seconds IS NULL THEN 900
            ELSE greatest(60, 3 * d.poll_seconds) END), false) AS fresh,
        d.model IS NOT NULL AND d.serial IS NOT NULL AS identity,
        coalesce(d.battery_installed_on BETWEEN
                greatest(%(today)s - 7305, coalesce(d.installed_on - 400, %(today)s - 7305))
                AND %(today)s
            AND d.battery_installed_on NOT IN ('1970-01-01', '1980-01-01', '1999-12-31',
                '2000-01-01', '2001-01-01')
            AND NOT coalesce(d.battery_installed_on::text = d.identity->>'battery.date'
                AND d.identity->>'battery.date' = d.identity->>'ups.mfr.date', false), false)
            AS battery_date,
        d.protocol <> 'snmp' OR r.device_id IS NOT NULL AS traps,
        b.device_id IS NULL AS doubt,
        c.failure, c.failure_detail, c.restarted_at
    FROM device d
    LEFT JOIN visible_device_state s ON s.device_id = d.id
    LEFT JOIN device_card c ON c.device_id = d.id
    LEFT JOIN (SELECT DISTINCT device_id FROM trap_seen WHERE last_at > %(trap_after)s) r
        ON r.device_id = d.id
    LEFT JOIN (SELECT DISTINCT device_id FROM doubt WHERE state = 'open') b ON b.device_id = d.id
    WHERE d.enabled
"""

_UNITS: LiteralString = (
    """
    SELECT u.*, u.fresh AND u.identity AND u.battery_date AND u.traps AND u.doubt AS seen,
        CASE WHEN u.fresh THEN NULL
            WHEN NOT EXISTS (SELECT FROM collector o WHERE o.collector_group = u.collector_group
                AND o.stopped_at IS NULL AND o.beat_at > %(alive_after)s) THEN 'collector'
            WHEN u.lost_here > 1 AND u.lost_here * 2 > u.units_here THEN 'site'
            WHEN u.failure = 'auth' THEN 'credentials'
            WHEN u.restarted_at > %(restart_after)s THEN 'restarted'
            WHEN u.failure IN ('refused', 'malformed', 'unsupported') THEN 'card'
            WHEN u.failure IS NOT NULL THEN 'network'
            WHEN u.received_at IS NULL THEN 'never'
            ELSE 'unknown' END AS cause
    FROM (SELECT m.*, count(*) OVER site AS units_here,
            count(*) FILTER (WHERE NOT m.fresh AND m.received_at IS NOT NULL) OVER site
                AS lost_here
        FROM ("""
    + _MET
    + """) m WINDOW site AS (PARTITION BY m.site_id)) u
"""
)

_COUNTS: LiteralString = """
    count(*)::int, (count(*) FILTER (WHERE u.seen))::int,
    (count(*) FILTER (WHERE u.fresh))::int, (count(*) FILTER (WHERE u.identity))::int,
    (count(*) FILTER (WHERE u.battery_date))::int, (count(*) FILTER (WHERE u.traps))::int,
    (count(*) FILTER (WHERE u.doubt))::int
"""
_COUNTED: LiteralString = "units, seen, fresh, identity, battery_date, traps, doubt"

_GROUPED: dict[By, LiteralString] = {
    "site": "SELECT t.id, t.name, t.name_zh, " + _COUNTS + " FROM (" + _UNITS
    + ") u JOIN site t ON t.id = u.site_id GROUP BY t.id",
    "customer": "SELECT t.id, t.name, t.name_zh, " + _COUNTS + " FROM (" + _UNITS
    + ") u JOIN customer t ON t.id = u.customer_id GROUP BY t.id",
    "contract": "SELECT t.id, coalesce(t.name, ''), coalesce(t.name_zh, ''), " + _COUNTS
    + " FROM (" + _UNITS + """) u LEFT JOIN (
            SELECT x.device_id, k.id, k.name, k.name_zh FROM contract_device x
            JOIN contract k ON k.id = x.contract_id AND k.state = 'active'
                AND %(today)s BETWEEN k.starts_on AND k.ends_on
        ) t ON t.device_id = u.id GROUP BY t.id, t.name, t.name_zh""",
}  # fmt: skip


def _clock(connection: Connection, now: datetime) -> dict[str, Any]:
    return {
        "now": now,
        "today": now.date(),
        "heard_at": freshness_of(connection, now).last_at,
        "trap_after": now - TRAP_HOLDS,
        "alive_after": now - COLLECTOR_LIVES,
        "restart_after": now - RESTART_HOLDS,
    }


def coverage(connection: Connection, query: CoverageQuery, now: datetime) -> Page[Coverage]:
    """Read the coverage group by group, the least seen first."""
    return read_page(
        connection,
        select="id, name, name_zh, " + _COUNTED,
        from_where="FROM (SELECT *, seen::float8 / units AS share FROM ("
        + _GROUPED[query.by]
        + ") AS counted (id, name, name_zh, "
        + _COUNTED
        + ")) g WHERE true",
        parameters=_clock(connection, now),
        order=Order.of(
            ("g.share", "float8", False),
            ("g.units", "integer", True),
            ("coalesce(g.id, 0)", "bigint", False),
        ),
        query=query,
        build=lambda row: Coverage(
            query.by, row[0], row[1], row[2], row[3], row[4], row[4] / row[3], *row[5:]
        ),
    )


def summary(connection: Connection, now: datetime) -> CoverageSummary:
    """Read the coverage of the whole fleet, and why units are not heard."""
    rows = connection.execute(
        "SELECT u.cause, " + _COUNTS + " FROM (" + _UNITS + ") u GROUP BY u.cause",
        _clock(connection, now),
    ).fetchall()
    totals = [sum(row[place] for row in rows) for place in range(1, 8)]
    units, seen, *met = totals
    names: list[Gap] = list(GAPS)
    counted: dict[str, int] = {row[0]: row[1] for row in rows if row[0] is not None}
    causes: dict[Cause, int] = {c: counted[c] for c in CAUSES if c in counted}
    return CoverageSummary(
        at=now,
        units=units,
        seen=seen,
        share=seen / units if units else 0.0,
        met=dict(zip(names, met, strict=True)),
        causes=causes,
        definitions={
            name: translate("en", text) for name, (_, text) in [*GAPS.items(), *CAUSES.items()]
        },
    )


def uncovered(connection: Connection, query: UnitsQuery, now: datetime) -> Page[UncoveredUnit]:
    """Read the units that are not truly seen, those with most gaps first."""
    return read_page(
        connection,
        select="""
            u.id, u.name, u.site_id, t.name, t.name_zh, t.time_zone, c.name, c.name_zh,
            array_remove(ARRAY[CASE WHEN NOT fresh THEN 'fresh' END,
                CASE WHEN NOT identity THEN 'identity' END,
                CASE WHEN NOT battery_date THEN 'battery_date' END,
                CASE WHEN NOT traps THEN 'traps' END,
                CASE WHEN NOT doubt THEN 'doubt' END], NULL),
            cause, failure_detail, received_at
        """,
        from_where="FROM (" + _UNITS + """) u JOIN site t ON t.id = u.site_id
        JOIN customer c ON c.id = u.customer_id
        WHERE NOT seen
        AND CASE %(gap)s::text WHEN 'fresh' THEN NOT fresh WHEN 'identity' THEN NOT identity
            WHEN 'battery_date' THEN NOT battery_date WHEN 'traps' THEN NOT traps
            WHEN 'doubt' THEN NOT doubt ELSE true END
        AND (%(cause)s::text IS NULL OR cause = %(cause)s)
        AND (%(site_id)s::bigint IS NULL OR u.site_id = %(site_id)s)
        AND (%(customer_id)s::bigint IS NULL OR u.customer_id = %(customer_id)s)
        AND CASE WHEN %(contract_id)s::bigint IS NULL THEN true
            ELSE (%(contract_id)s = 0) <> EXISTS (
                SELECT FROM contract_device x JOIN contract k ON k.id = x.contract_id
                WHERE x.device_id = u.id AND k.state = 'active'
                AND %(today)s BETWEEN k.starts_on AND k.ends_on
                AND %(contract_id)s IN (0, k.id)) END
        """,
        parameters={
            **_clock(connection, now),
            "gap": query.gap,
            "cause": query.cause,
            "site_id": query.site_id,
            "customer_id": query.customer_id,
            "contract_id": query.contract_id,
        },
        order=Order.of(
            ("fresh::int + identity::int + battery_date::int + traps::int + doubt::int",
             "integer", False),
            ("u.name", "text", False),
            ("u.id", "bigint", False),
        ),
        query=query,
        build=lambda row: UncoveredUnit(*row),
    )  # fmt: skip


def place_names(connection: Connection, query: UnitsQuery) -> tuple[str, str] | None:
    """Return what the site, customer or contract of a filter is called (en, zh)."""
    if query.contract_id == 0:
        return None
    row = connection.execute(
        """
        SELECT name, name_zh FROM site WHERE id = %(site_id)s
        UNION ALL SELECT name, name_zh FROM customer WHERE id = %(customer_id)s
        UNION ALL SELECT name, name_zh FROM contract WHERE id = %(contract_id)s LIMIT 1
        """,
        query.model_dump(include={"site_id", "customer_id", "contract_id"}),
    ).fetchone()
    return None if row is None else (row[0], row[1])
