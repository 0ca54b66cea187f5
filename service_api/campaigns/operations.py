"""Say of a candidate what it is, and take that back."""

from datetime import datetime
from typing import Literal

import psycopg

from rules.operations import NotThere, OperationRefused
from service_api.request import Connection


def decide(
    connection: Connection,
    campaign_id: int,
    verdict: Literal["confirmed", "dismissed"],
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Confirm or dismiss a candidate, with a reason."""
    if not reason.strip():
        raise OperationRefused("a verdict needs a reason")
    if _state(connection, campaign_id) != "candidate":
        raise OperationRefused("this was decided already; take that back first")
    connection.execute(
        """
        UPDATE campaign SET state = %s, decided_at = %s, decided_by = %s, reason = %s WHERE id = %s
        """,
        (verdict, now, actor, reason.strip(), campaign_id),
    )
    connection.execute("NOTIFY ridethrough, 'change'")


def undo(connection: Connection, campaign_id: int) -> None:
    """Make a candidate of it again."""
    if _state(connection, campaign_id) == "candidate":
        raise OperationRefused("nothing was decided yet")
    try:
        with connection.transaction():
            connection.execute(
                """
                UPDATE campaign SET state = 'candidate', decided_at = NULL, decided_by = NULL,
                    reason = '' WHERE id = %s
                """,
                (campaign_id,),
            )
    except psycopg.errors.UniqueViolation as error:
        raise OperationRefused("it was found again since then; look at that one") from error
    connection.execute("NOTIFY ridethrough, 'change'")


def _state(connection: Connection, campaign_id: int) -> str:
    row = connection.execute(
        "SELECT state FROM campaign WHERE id = %s FOR UPDATE", (campaign_id,)
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no campaign {campaign_id}")
    return str(row[0])
