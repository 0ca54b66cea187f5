"""Read campaigns."""

from functools import partial
from typing import Any, LiteralString

from rules.version_store import known_rules
from rules.versions import Known
from service_api.campaigns.schemas import Campaign, CampaignQuery
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_SELECT: LiteralString = """
    g.id, g.manufacturer, g.model, g.firmware, g.rule_key, g.state, g.found_at, g.last_at, g.units,
    g.customers, (SELECT count(*) FROM device d WHERE d.manufacturer = g.manufacturer
        AND d.model = g.model AND d.firmware = g.firmware AND d.enabled),
    g.decided_at, g.decided_by, g.reason
"""
_FROM: LiteralString = " FROM campaign g "
_NEWEST = Order.of(("g.last_at", "timestamptz", True), ("g.id", "bigint", True))


def _campaign(known: Known, row: tuple[Any, ...]) -> Campaign:
    told: tuple[Any, ...] = (*row, *known.title(row[4]))
    return Campaign(*told)


def campaigns(connection: Connection, query: CampaignQuery) -> Page[Campaign]:
    """Read one part of the list, the latest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + "WHERE %(state)s = 'all' OR g.state = %(state)s",
        parameters={"state": query.state},
        order=_NEWEST,
        query=query,
        build=partial(_campaign, known_rules(connection)),
    )


def campaign(connection: Connection, campaign_id: int) -> Campaign:
    """Read one campaign; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + "WHERE g.id = %s", (campaign_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return _campaign(known_rules(connection), row)
