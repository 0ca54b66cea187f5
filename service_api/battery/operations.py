"""Record that a battery was replaced, and take that back."""

from datetime import date, datetime, timedelta

from psycopg.errors import ForeignKeyViolation

from rules.operations import NotThere, OperationRefused
from service_api.request import Connection

LONGEST_AGO = timedelta(days=20 * 365)


def record_swap(
    connection: Connection,
    device_id: int,
    *,
    swapped_on: date,
    part_id: int | None,
    remark: str,
    actor: str,
    now: datetime,
) -> int:
    """Write a replacement down; the unit's battery counts from that day. Returns its id.

    Raises `OperationRefused` for a day ahead or impossibly long ago.
    """
    # A day ahead of UTC may be today at the site.
    if not now.date() - LONGEST_AGO <= swapped_on <= now.date() + timedelta(days=1):
        raise OperationRefused("the day must not lie ahead, nor more than 20 years ago")
    row = connection.execute(
        "SELECT customer_id, battery_installed_on FROM device WHERE id = %s FOR UPDATE",
        (device_id,),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no device {device_id}")
    try:
        made = connection.execute(
            """
            INSERT INTO battery_swap (device_id, customer_id, swapped_on, installed_before,
                part_id, remark, recorded_at, recorded_by)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
            """,
            (device_id, row[0], swapped_on, row[1], part_id, remark.strip(), now, actor),
        ).fetchone()
    except ForeignKeyViolation as error:
        raise OperationRefused(f"there is no part {part_id}") from error
    if made is None:
        raise RuntimeError("an insert returns its row")
    connection.execute(
        "UPDATE device SET battery_installed_on = %s WHERE id = %s", (swapped_on, device_id)
    )
    return int(made[0])


def undo_swap(
    connection: Connection, device_id: int, swap_id: int, *, actor: str, now: datetime
) -> None:
    """Take back the newest recorded replacement; the date from before it holds again."""
    row = connection.execute(
        """
        SELECT s.installed_before, s.undone_at, s.id = (
            SELECT max(n.id) FROM battery_swap n
            WHERE n.device_id = s.device_id AND n.undone_at IS NULL)
        FROM battery_swap s JOIN device d ON d.id = s.device_id
        WHERE s.id = %s AND s.device_id = %s FOR UPDATE OF s, d
        """,
        (swap_id, device_id),
    ).fetchone()
    if row is None:
        raise NotThere(f"there is no replacement {swap_id} of device {device_id}")
    if row[1] is not None:
        raise OperationRefused("it was taken back already")
    if not row[2]:
        raise OperationRefused("a newer replacement is recorded; take that back first")
    connection.execute(
        "UPDATE battery_swap SET undone_at = %s, undone_by = %s WHERE id = %s",
        (now, actor, swap_id),
    )
    connection.execute(
        "UPDATE device SET battery_installed_on = %s WHERE id = %s", (row[0], device_id)
    )
