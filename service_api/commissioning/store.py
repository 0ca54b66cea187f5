"""Read guided tests as the asker may see them; `commissioning.operations` writes them."""

from datetime import timedelta
from functools import partial
from typing import Any, LiteralString

from psycopg.rows import DictRow, dict_row

from rules.commissioning import PROVOCATIONS, Path, StepState
from rules.version_store import known_rules
from rules.versions import Known
from service_api.commissioning.schemas import (
    Commissioning,
    CommissioningQuery,
    CommissioningStep,
    Signed,
)
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.request import Connection

_SELECT: LiteralString = """
    c.id, c.device_id, d.name, c.site_id, t.name, t.name_zh, t.time_zone, c.customer_id, u.name,
    u.name_zh, c.work_session_id, c.started_at, c.started_by, c.finished_at, c.content, c.seal,
    c.engineer_name, c.engineer_signed_at, c.engineer_signature,
    c.customer_name, c.customer_signed_at, c.customer_signature
"""

_FROM: LiteralString = """
    FROM commissioning c JOIN device d ON d.id = c.device_id JOIN site t ON t.id = c.site_id
    JOIN customer u ON u.id = c.customer_id
"""

_WHERE: LiteralString = """
    WHERE (%(device_id)s::bigint IS NULL OR c.device_id = %(device_id)s)
    AND (%(site_id)s::bigint IS NULL OR c.site_id = %(site_id)s)
"""

_NEWEST = Order.of(("c.started_at", "timestamptz", True), ("c.id", "bigint", True))
_HOW = {one.rule_key: one for one in PROVOCATIONS}


def commissionings(connection: Connection, query: CommissioningQuery) -> Page[Commissioning]:
    """Read one part of the list, newest first."""
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM + _WHERE,
        parameters=query.model_dump(exclude={"limit", "cursor"}),
        order=_NEWEST,
        query=query,
        build=partial(_commissioning, connection, known_rules(connection)),
    )


def commissioning(connection: Connection, commissioning_id: int) -> Commissioning:
    """Read one; raise `NotFound`."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE c.id = %s", (commissioning_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no commissioning {commissioning_id}.")
    return _commissioning(connection, known_rules(connection), row)


def _commissioning(connection: Connection, known: Known, row: tuple[Any, ...]) -> Commissioning:
    engineer, accepted = (
        None if part[1] is None else Signed(part[0], part[1], part[2] or "")
        for part in (row[16:19], row[19:22])
    )
    return Commissioning(*(*row[:16], engineer, accepted, _steps(connection, known, row[0])))


def _steps(connection: Connection, known: Known, commissioning_id: int) -> list[CommissioningStep]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT * FROM commissioning_step WHERE commissioning_id = %s ORDER BY turn",
            (commissioning_id,),
        ).fetchall()
    found = []
    for row in rows:
        key = row["rule_key"]
        rule, title = known.rule(key), known.title(key)
        found.append(
            CommissioningStep(
                rule=key,
                title_en=title[0],
                title_zh=title[1],
                how_en=_HOW[key].en,
                how_zh=_HOW[key].zh,
                opens_ticket=rule is not None and rule.ticket is not None,
                state=StepState(row["state"]),
                started_at=row["started_at"],
                waits_until_at=row["waits_until_at"],
                attempts=row["attempts"],
                alarm_id=row["alarm_id"],
                observed_at=row["observed_at"],
                received_at=row["received_at"],
                raised_at=row["raised_at"],
                announced_at=row["announced_at"],
                latencies=_latencies(row, timedelta(0) if rule is None else rule.raise_after),
                reason=row["reason"],
            )
        )
    return found


def _latencies(row: DictRow, held: timedelta) -> dict[str, float]:
    if row["raised_at"] is None:
        return {}
    path = Path(row["observed_at"], row["received_at"], row["raised_at"], row["announced_at"])
    return path.latencies(held)
