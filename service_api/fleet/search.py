"""Search over everything: units, sites, customers, tickets, as far as the asker may see them."""

from dataclasses import dataclass
from typing import Literal

from psycopg.rows import class_row

from service_api.alarms.store import like
from service_api.request import Connection

AT_MOST_A_KIND = 20


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that fits what was typed."""

    kind: Literal["device", "site", "customer", "ticket"]
    id: int
    name: str
    name_zh: str
    beside: str
    beside_zh: str


def search(connection: Connection, text: str) -> list[Found]:
    """Find what contains `text` in a name, key, serial, address or ticket number."""
    pattern = like(text.strip().removeprefix("#"))
    if pattern is None:
        return []
    with connection.cursor(row_factory=class_row(Found)) as cursor:
        return cursor.execute(
            """
            (SELECT 'device' AS kind, d.id, d.name, d.name AS name_zh,
                concat_ws(' · ', d.model, t.name, c.name) AS beside,
                concat_ws(' · ', d.model, t.name_zh, c.name_zh) AS beside_zh
            FROM device d JOIN site t ON t.id = d.site_id JOIN customer c ON c.id = d.customer_id
            WHERE concat_ws(' ', d.key, d.name, d.serial, d.model, d.manufacturer, t.name,
                t.name_zh) ILIKE %(pattern)s
            ORDER BY d.name, d.id LIMIT %(at_most)s)
            UNION ALL
            (SELECT 'site', t.id, t.name, t.name_zh, concat_ws(' · ', c.name, t.address),
                concat_ws(' · ', c.name_zh, t.address)
            FROM site t JOIN customer c ON c.id = t.customer_id
            WHERE concat_ws(' ', t.key, t.name, t.name_zh, t.address) ILIKE %(pattern)s
            ORDER BY t.name, t.id LIMIT %(at_most)s)
            UNION ALL
            (SELECT 'customer', c.id, c.name, c.name_zh, c.key, c.key
            FROM customer c WHERE concat_ws(' ', c.key, c.name, c.name_zh) ILIKE %(pattern)s
            ORDER BY c.name, c.id LIMIT %(at_most)s)
            UNION ALL
            (SELECT 'ticket', k.id, '#' || k.id || ' ' || k.title_en,
                '#' || k.id || ' ' || k.title_zh, t.name, t.name_zh
            FROM ticket k JOIN site t ON t.id = k.site_id
            WHERE k.id::text = trim(both '%%' from %(pattern)s)
                OR concat_ws(' ', k.title_en, k.title_zh) ILIKE %(pattern)s
            ORDER BY k.opened_at DESC, k.id LIMIT %(at_most)s)
            """,
            {"pattern": pattern, "at_most": AT_MOST_A_KIND},
        ).fetchall()
