"""Change work orders: each step is a row in the order's log and can be taken back.

The database refuses an engineer in two places. Which step is possible when is in
`work_orders.states`; drafting is in `work_orders.drafting`, taking a step back in `undoing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import Jsonb

from rules import operations as tickets
from rules.store import tell
from service_api.maintenance.days import local_day
from service_api.maintenance.operations import frozen_on
from service_api.spares import operations as stock
from service_api.spares.operations import Item
from service_api.spares.store import parts_of_order
from service_api.work_orders.states import CHANGES, OPEN_STATES, Step

Connection = psycopg.Connection[TupleRow]


class OrderUnknown(tickets.NotThere):
    """There is no such work order, or the user may not see it."""


class StepRefused(tickets.OperationRefused):
    """The order is not in a state that allows this; the message says why."""


class EngineerBusy(StepRefused):
    """The engineer is at another job at that time; the database refused the overlap."""


@dataclass(frozen=True, slots=True)
class UsedPart:
    """How many of a part from a warehouse went into the unit."""

    item: Item
    quantity: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the engineer says at the end; a closing code closes the ticket as well."""

    text: str
    signed_by: str = ""
    used: Sequence[UsedPart] = field(default=())
    closing_code: str | None = None


@dataclass(frozen=True, slots=True)
class LockedOrder:
    """An order as it is before a step."""

    id: int
    ticket_id: int
    customer_id: int
    device_id: int | None
    time_zone: str
    state: str
    engineer_id: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    estimated_minutes: int
    arrived_at: datetime | None
    done_at: datetime | None
    report: str | None
    signed_by: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what an undo brings back."""
        instants = ("starts_at", "ends_at", "arrived_at", "done_at")
        kept: dict[str, Any] = {
            "state": self.state,
            "engineer_id": self.engineer_id,
            "report": self.report,
            "signed_by": self.signed_by,
        }
        for name in instants:
            at: datetime | None = getattr(self, name)
            kept[name] = None if at is None else at.isoformat()
        return kept


def locked_order(connection: Connection, order_id: int) -> LockedOrder:
    """Return an order, held until the transaction ends. Raises `OrderUnknown`."""
    with connection.cursor(row_factory=class_row(LockedOrder)) as cursor:
        order = cursor.execute(
            """
            SELECT w.id, w.ticket_id, w.customer_id, w.device_id, s.time_zone, w.state,
                w.engineer_id, lower(w.planned) AS starts_at, upper(w.planned) AS ends_at,
                w.estimated_minutes, w.arrived_at, w.done_at, w.report, w.signed_by
            FROM work_order w JOIN site s ON s.id = w.site_id
            WHERE w.id = %s FOR UPDATE OF w
            """,
            (order_id,),
        ).fetchone()
    if order is None:
        raise OrderUnknown(f"there is no work order {order_id}")
    return order


def _begin(connection: Connection, order_id: int, step: Step) -> LockedOrder:
    order = locked_order(connection, order_id)
    if order.state not in CHANGES[step].allowed:
        raise StepRefused(f"the work order is {order.state.replace('_', ' ')}")
    return order


def log_order(
    connection: Connection,
    order_id: int,
    kind: str,
    *,
    customer_id: int,
    actor: str,
    now: datetime,
    detail: Mapping[str, Any],
) -> None:
    """Append one line to an order's log and tell who listens."""
    connection.execute(
        """
        INSERT INTO work_order_event (work_order_id, at, kind, actor, detail)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (order_id, now, kind, actor, Jsonb(detail)),
    )
    tell(connection, [("work_order.changed", customer_id, order_id, now)])


def _log_step(
    connection: Connection,
    order: LockedOrder,
    step: Step,
    *,
    actor: str,
    now: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    log_order(
        connection,
        order.id,
        step.value,
        customer_id=order.customer_id,
        actor=actor,
        now=now,
        detail={**(detail or {}), "before": order.to_json()},
    )


def assign(
    connection: Connection,
    order_id: int,
    *,
    engineer_id: int,
    starts_at: datetime,
    minutes: int | None = None,
    actor: str,
    now: datetime,
) -> None:
    """Give the order to an engineer for a time.

    Raises `EngineerBusy` when the database refuses the overlap, `StepRefused` otherwise.
    """
    order = _begin(connection, order_id, Step.ASSIGN)
    length = minutes or order.estimated_minutes
    ends_at = starts_at + timedelta(minutes=length)
    name, name_zh = _engineer_names(connection, engineer_id)
    _must_not_be_frozen(connection, order, starts_at)
    try:
        with connection.transaction():
            connection.execute(
                """
                UPDATE work_order SET state = 'assigned', engineer_id = %s,
                    planned = tstzrange(%s, %s), estimated_minutes = %s
                WHERE id = %s
                """,
                (engineer_id, starts_at, ends_at, length, order_id),
            )
    except psycopg.errors.ExclusionViolation as overlap:
        raise EngineerBusy(
            _why_busy(connection, engineer_id, name, starts_at, ends_at)
        ) from overlap
    _log_step(
        connection,
        order,
        Step.ASSIGN,
        actor=actor,
        now=now,
        detail={
            "engineer_id": engineer_id,
            "engineer": name,
            "engineer_zh": name_zh,
            "starts_at": starts_at.isoformat(),
            "ends_at": ends_at.isoformat(),
        },
    )


def _must_not_be_frozen(connection: Connection, order: LockedOrder, starts_at: datetime) -> None:
    """Refuse planned work on a day on which nothing may be changed at the site."""
    row = connection.execute(
        """
        SELECT w.site_id FROM work_order w JOIN ticket t ON t.id = w.ticket_id
        WHERE w.id = %s AND t.source = 'schedule'
        """,
        (order.id,),
    ).fetchone()
    if row is None:
        return
    day = local_day(starts_at, order.time_zone)
    why = frozen_on(connection, row[0], day)
    if why is not None:
        raise StepRefused(f"nothing may be changed at this site on {day}: {why}")


def _engineer_names(connection: Connection, engineer_id: int) -> tuple[str, str]:
    row = connection.execute(
        "SELECT name, name_zh FROM engineer WHERE id = %s AND active", (engineer_id,)
    ).fetchone()
    if row is None:
        raise StepRefused(f"there is no active engineer {engineer_id}")
    return str(row[0]), str(row[1])


def _why_busy(
    connection: Connection, engineer_id: int, name: str, starts_at: datetime, ends_at: datetime
) -> str:
    row = connection.execute(
        """
        SELECT id, lower(planned), upper(planned) FROM work_order
        WHERE engineer_id = %s AND state IN ('assigned', 'accepted', 'on_site')
        AND planned && tstzrange(%s, %s) ORDER BY lower(planned) LIMIT 1
        """,
        (engineer_id, starts_at, ends_at),
    ).fetchone()
    if row is None:
        return f"{name} is at another job at that time"
    other, begins, ends = row
    return (
        f"{name} is at work order {other} from {begins:%Y-%m-%d %H:%M} to {ends:%H:%M} UTC: "
        "choose another time or engineer"
    )


def accept(connection: Connection, order_id: int, *, actor: str, now: datetime) -> None:
    """Say that the engineer will come."""
    order = _begin(connection, order_id, Step.ACCEPT)
    connection.execute("UPDATE work_order SET state = 'accepted' WHERE id = %s", (order_id,))
    _log_step(connection, order, Step.ACCEPT, actor=actor, now=now)


def arrive(connection: Connection, order_id: int, *, actor: str, now: datetime) -> None:
    """Say that the engineer is on site: the ticket's response clock stops."""
    order = _begin(connection, order_id, Step.ARRIVE)
    connection.execute(
        "UPDATE work_order SET state = 'on_site', arrived_at = %s WHERE id = %s", (now, order_id)
    )
    row = connection.execute(
        "SELECT state FROM ticket WHERE id = %s", (order.ticket_id,)
    ).fetchone()
    started = row is not None and row[0] in {"open", "waiting"}
    if started:
        tickets.start_ticket(connection, order.ticket_id, actor=actor, now=now)
    _log_step(connection, order, Step.ARRIVE, actor=actor, now=now)


def close(
    connection: Connection, order_id: int, report: Report, *, actor: str, now: datetime
) -> str:
    """Finish the order: book parts, keep the report, close the ticket if a code says so.

    What stayed reserved is released. While an alarm behind the ticket still stands the ticket is
    resolved and not closed. Returns what became of the ticket: "closed", "resolved" or "open".
    Raises `NotEnoughStock` or `OperationRefused` (a wrong code), and then nothing has changed.
    """
    order = _begin(connection, order_id, Step.CLOSE)
    moves = _book_parts(connection, order_id, report.used, actor=actor, now=now)
    moves += _release_all(connection, order_id, actor=actor, now=now)
    connection.execute(
        """
        UPDATE work_order SET state = 'done', done_at = %s, report = %s, signed_by = %s
        WHERE id = %s
        """,
        (now, report.text.strip() or None, report.signed_by.strip() or None, order_id),
    )
    outcome = _finish_ticket(connection, order.ticket_id, report, actor=actor, now=now)
    detail = {"moves": moves, "ticket": outcome, "closing_code": report.closing_code}
    if report.closing_code == "battery_replaced" and order.device_id is not None:
        detail |= _new_battery(connection, order.device_id, local_day(now, order.time_zone))
    _log_step(connection, order, Step.CLOSE, actor=actor, now=now, detail=detail)
    return outcome


def _new_battery(connection: Connection, device_id: int, on: date) -> dict[str, Any]:
    """Start the battery's age anew; return what an undo needs."""
    row = connection.execute(
        """
        UPDATE device d SET battery_installed_on = %s
        FROM (SELECT id, battery_installed_on FROM device WHERE id = %s FOR UPDATE) AS old
        WHERE d.id = old.id RETURNING old.battery_installed_on
        """,
        (on, device_id),
    ).fetchone()
    before: date | None = None if row is None else row[0]
    return {
        "battery_of": device_id,
        "battery_before": None if before is None else before.isoformat(),
    }


def _book_parts(
    connection: Connection,
    order_id: int,
    used: Sequence[UsedPart],
    *,
    actor: str,
    now: datetime,
) -> list[int]:
    in_order = sorted(used, key=lambda one: (one.item.part_id, one.item.warehouse_id))
    return [
        stock.issue(
            connection,
            item=one.item,
            quantity=one.quantity,
            work_order_id=order_id,
            actor=actor,
            now=now,
        )
        for one in in_order
    ]


def _release_all(connection: Connection, order_id: int, *, actor: str, now: datetime) -> list[int]:
    return [
        stock.release(
            connection,
            item=Item(part.part_id, part.warehouse_id),
            quantity=part.reserved,
            work_order_id=order_id,
            actor=actor,
            now=now,
        )
        for part in parts_of_order(connection, order_id)
        if part.reserved > 0
    ]


def _finish_ticket(
    connection: Connection, ticket_id: int, report: Report, *, actor: str, now: datetime
) -> str:
    if report.closing_code is None:
        return "open"
    if report.closing_code not in tickets.CLOSING_CODES:
        raise StepRefused(f"unknown closing code {report.closing_code}")
    text = report.text
    for outcome, finish in (("closed", tickets.close_ticket), ("resolved", tickets.resolve_ticket)):
        try:
            with connection.transaction():
                finish(
                    connection,
                    ticket_id,
                    closing_code=report.closing_code,
                    text=text,
                    actor=actor,
                    now=now,
                )
        except tickets.OperationRefused:
            continue
        return outcome
    return "open"


def cancel(
    connection: Connection, order_id: int, *, reason: str, actor: str, now: datetime
) -> None:
    """Call the order off; what was reserved for it is free again."""
    if not reason.strip():
        raise StepRefused("calling an order off needs a reason")
    order = _begin(connection, order_id, Step.CANCEL)
    moves = _release_all(connection, order_id, actor=actor, now=now)
    connection.execute("UPDATE work_order SET state = 'cancelled' WHERE id = %s", (order_id,))
    _log_step(
        connection,
        order,
        Step.CANCEL,
        actor=actor,
        now=now,
        detail={"reason": reason.strip(), "moves": moves},
    )


def reserve_part(
    connection: Connection, order_id: int, used: UsedPart, *, actor: str, now: datetime
) -> None:
    """Reserve a part for an order that is not over. Raises `NotEnoughStock`."""
    order = locked_order(connection, order_id)
    if order.state not in OPEN_STATES:
        raise StepRefused(f"the work order is {order.state}")
    stock.reserve(
        connection,
        item=used.item,
        quantity=used.quantity,
        work_order_id=order_id,
        actor=actor,
        now=now,
    )
    log_order(
        connection,
        order_id,
        "part_reserved",
        customer_id=order.customer_id,
        actor=actor,
        now=now,
        detail={
            "part_id": used.item.part_id,
            "warehouse_id": used.item.warehouse_id,
            "quantity": used.quantity,
        },
    )
