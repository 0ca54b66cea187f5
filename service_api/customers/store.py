"""Read customers, contacts and sites as the asker may see them; writing is in `operations`."""

from typing import LiteralString

from psycopg.rows import class_row

from service_api.alarms.store import like
from service_api.customers.schemas import (
    Contact,
    CustomerLine,
    CustomerQuery,
    SiteLine,
    SiteQuery,
)
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_CUSTOMER: LiteralString = """
    c.id, c.key, c.name, c.name_zh, c.value_class,
    (SELECT count(*) FROM site s WHERE s.customer_id = c.id),
    (SELECT count(*) FROM device d WHERE d.customer_id = c.id),
    (SELECT count(*) FROM ticket t WHERE t.customer_id = c.id AND t.closed_at IS NULL),
    (SELECT count(*) FROM contract k WHERE k.customer_id = c.id AND k.state = 'active'
        AND current_date BETWEEN k.starts_on AND k.ends_on)
"""
_SITE: LiteralString = """
    s.id, s.key, s.name, s.name_zh, s.customer_id, c.name, c.name_zh, s.address, s.time_zone,
    s.latitude, s.longitude, s.service_center_id, z.name, z.name_zh,
    (SELECT count(*) FROM device d WHERE d.site_id = s.id)
"""
_FROM_SITE: LiteralString = """
    FROM site s JOIN customer c ON c.id = s.customer_id
    LEFT JOIN service_center z ON z.id = s.service_center_id
"""
_BY_NAME = Order.of(("c.name", "text", False), ("c.id", "bigint", False))
_SITES_BY_NAME = Order.of(("s.name", "text", False), ("s.id", "bigint", False))


def customers(connection: Connection, query: CustomerQuery) -> Page[CustomerLine]:
    """Read one part of the list, by name."""
    return read_page(
        connection,
        select=_CUSTOMER,
        from_where="""
        FROM customer c
        WHERE (%(value_class)s::text IS NULL OR c.value_class = %(value_class)s)
        AND (%(pattern)s::text IS NULL
            OR concat_ws(' ', c.key, c.name, c.name_zh) ILIKE %(pattern)s)
        """,
        parameters={"value_class": query.value_class, "pattern": like(query.q)},
        order=_BY_NAME,
        query=query,
        build=lambda row: CustomerLine(*row),
    )


def customer(connection: Connection, customer_id: int) -> CustomerLine:
    """Read one customer."""
    row = connection.execute(
        "SELECT " + _CUSTOMER + " FROM customer c WHERE c.id = %s", (customer_id,)
    ).fetchone()
    if row is None:
        raise NotFound
    return CustomerLine(*row)


def contacts(connection: Connection, customer_id: int) -> list[Contact]:
    """Read a customer's contacts."""
    with connection.cursor(row_factory=class_row(Contact)) as cursor:
        return cursor.execute(
            """
            SELECT id, customer_id, site_id, name, duty, phone, email, language, wants_notices,
                channel_sealed IS NOT NULL AS has_channel
            FROM contact WHERE customer_id = %s ORDER BY name, id
            """,
            (customer_id,),
        ).fetchall()


def sites(connection: Connection, query: SiteQuery) -> Page[SiteLine]:
    """Read one part of the list of sites, by name."""
    return read_page(
        connection,
        select=_SITE,
        from_where=_FROM_SITE
        + """
        WHERE (%(customer_id)s::bigint IS NULL OR s.customer_id = %(customer_id)s)
        AND (%(pattern)s::text IS NULL OR concat_ws(' ', s.key, s.name, s.name_zh, s.address,
            c.name, c.name_zh) ILIKE %(pattern)s)
        """,
        parameters={"customer_id": query.customer_id, "pattern": like(query.q)},
        order=_SITES_BY_NAME,
        query=query,
        build=lambda row: SiteLine(*row),
    )


def site(connection: Connection, site_id: int) -> SiteLine:
    """Read one site."""
    row = connection.execute(
        "SELECT " + _SITE + _FROM_SITE + "WHERE s.id = %s", (site_id,)
    ).fetchone()
    if row is None:
        raise NotFound
    return SiteLine(*row)
