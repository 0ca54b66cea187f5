"""Read back-tests: the list, one, and what its form offers."""

from dataclasses import dataclass
from typing import LiteralString

from psycopg.rows import class_row

from service_api.backtests.schemas import Backtest, BacktestQuery, BacktestRow
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_COLUMNS: LiteralString = """
    id, state, rules, since_at, until_at, scope, asked_by, asked_at, started_at, finished_at,
    cancelled_by, parts_done, parts, error_en, error_zh
"""


def backtests(connection: Connection, query: BacktestQuery) -> Page[BacktestRow]:
    """Read one part of the back-tests, the newest first, without their results."""
    return read_page(
        connection,
        select=_COLUMNS,
        from_where="FROM backtest WHERE (%(state)s::text IS NULL OR state = %(state)s)",
        parameters={"state": query.state},
        order=Order.of(("asked_at", "timestamptz", True), ("id", "bigint", True)),
        query=query,
        build=lambda row: BacktestRow(*row),
    )


def backtest(connection: Connection, backtest_id: int) -> Backtest:
    """Read one back-test; raise `NotFound`."""
    with connection.cursor(row_factory=class_row(Backtest)) as cursor:
        found = cursor.execute(
            "SELECT " + _COLUMNS + ", estimate, result FROM backtest WHERE id = %s", (backtest_id,)
        ).fetchone()
    if found is None:
        raise NotFound(f"There is no back-test {backtest_id}.")
    return found


@dataclass(frozen=True, slots=True)
class SiteChoice:
    """A site that a back-test may be about."""

    key: str
    name: str
    name_zh: str


def sites(connection: Connection) -> list[SiteChoice]:
    """Read the sites with units, by name."""
    with connection.cursor(row_factory=class_row(SiteChoice)) as cursor:
        return cursor.execute(
            """
            SELECT key, name, name_zh FROM site s
            WHERE EXISTS (SELECT FROM device d WHERE d.site_id = s.id) ORDER BY name, key LIMIT 1000
            """
        ).fetchall()
