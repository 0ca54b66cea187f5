"""Read battery figures of the fleet, replacements by quarter, and what was recorded of swaps."""

from datetime import date
from typing import LiteralString

from psycopg.rows import class_row

from service_api.battery.schemas import BatteryLine, BatteryQuery, Replacements, Swap
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_NEWEST: LiteralString = """
    FROM device d
    JOIN site t ON t.id = d.site_id
    JOIN customer c ON c.id = d.customer_id
    CROSS JOIN LATERAL (
        SELECT * FROM visible_device_health n WHERE n.device_id = d.id ORDER BY n.day DESC LIMIT 1
    ) h
    LEFT JOIN LATERAL (
        SELECT k.id FROM ticket k WHERE k.device_id = d.id AND k.closed_at IS NULL
        AND k.failure_mode = 'battery_end_of_life' ORDER BY k.id LIMIT 1
    ) k ON true
"""

_SELECT: LiteralString = """
    d.id, d.name, d.model, t.id, t.name, t.name_zh, c.id, c.name, c.name_zh, d.criticality, h.day,
    h.index_percent, h.low_percent, h.high_percent, h.replace_from, h.replace_median,
    h.replace_until, h.ends_in_90_days, h.ends_in_365_days, h.advice, h.confidence, h.swapped_on,
    k.id
"""

_WHERE: LiteralString = """
    WHERE d.enabled
    AND (%(advice)s::text IS NULL OR h.advice = %(advice)s
        OR (%(advice)s = 'due' AND h.advice IN ('plan', 'replace')))
    AND (%(customer_id)s::bigint IS NULL OR d.customer_id = %(customer_id)s)
    AND (%(site_id)s::bigint IS NULL OR d.site_id = %(site_id)s)
    AND (%(device_id)s::bigint IS NULL OR d.id = %(device_id)s)
"""

_SOONEST = Order.of(
    ("array_position(ARRAY['replace', 'plan', 'test', 'watch', 'none'], h.advice)", "int", False),
    ("coalesce(to_char(h.replace_median, 'YYYY-MM-DD'), '9999')", "text", False),
    ("d.id", "bigint", False),
)


def batteries(connection: Connection, query: BatteryQuery) -> Page[BatteryLine]:
    """List the newest figures, what has to be done soonest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_NEWEST + _WHERE,
        parameters={
            "advice": query.advice,
            "customer_id": query.customer_id,
            "site_id": query.site_id,
            "device_id": query.device_id,
        },
        order=_SOONEST,
        query=query,
        build=lambda row: BatteryLine(*row),
    )


def counts(connection: Connection) -> dict[str, int]:
    """Count units by advice, and all of them."""
    found = dict.fromkeys(("replace", "plan", "test", "watch", "none"), 0)
    found |= dict(
        connection.execute(
            "SELECT h.advice, count(*) " + _NEWEST + " WHERE d.enabled GROUP BY h.advice"
        ).fetchall()
    )
    return found | {"all": sum(found.values()), "due": found["replace"] + found["plan"]}


def replacements(connection: Connection, today: date, *, quarters: int = 8) -> list[Replacements]:
    """Add up what has to be replaced in this and the following quarters, with list prices.

    The price is that of the battery set made for the model, else of one that fits every model.
    """
    with connection.cursor(row_factory=class_row(Replacements)) as cursor:
        return cursor.execute(
            """
            WITH due AS (
                SELECT d.id, d.site_id, date_trunc('quarter',
                    greatest(h.replace_median, %(today)s)::timestamp)::date AS begins_on, p.price
            """
            + _NEWEST
            + """
                LEFT JOIN LATERAL (
                    SELECT price FROM part
                    WHERE kind = 'battery_set' AND price IS NOT NULL
                    AND (d.model = ANY(fits_models) OR fits_models = '{}')
                    ORDER BY fits_models = '{}', price LIMIT 1
                ) p ON true
                WHERE d.enabled AND h.replace_median IS NOT NULL)
            SELECT extract(year FROM q)::int || '-Q' || extract(quarter FROM q)::int AS quarter,
                q::date AS begins_on, count(due.id)::int AS units,
                count(DISTINCT due.site_id)::int AS sites,
                coalesce(sum(due.price), 0)::float8 AS cost,
                count(due.id) FILTER (WHERE due.price IS NULL)::int AS unpriced
            FROM generate_series(date_trunc('quarter', %(today)s::timestamp),
                date_trunc('quarter', %(today)s::timestamp) + %(quarters)s * interval '3 months'
                    - interval '1 day', interval '3 months') AS q
            LEFT JOIN due ON due.begins_on = q::date
            GROUP BY q ORDER BY q
            """,
            {"today": today, "quarters": quarters},
        ).fetchall()


def swaps(connection: Connection, device_id: int) -> list[Swap]:
    """Return what was recorded of a unit's batteries, newest first."""
    with connection.cursor(row_factory=class_row(Swap)) as cursor:
        return cursor.execute(
            """
            SELECT id, device_id, swapped_on, part_id, remark, recorded_at, recorded_by,
                undone_at, undone_by
            FROM battery_swap WHERE device_id = %s ORDER BY id DESC
            """,
            (device_id,),
        ).fetchall()
