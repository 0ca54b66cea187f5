"""Draft the work order of a ticket: who could go, and the part kept for the job.

Drafting twice drafts once. Which engineer goes is a person's decision, in
`work_orders.operations`.
"""

from datetime import datetime

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from service_api.dispatch.ranking import Engineer, rank
from service_api.dispatch.store import TicketJob, engineers, position_of, ticket_job
from service_api.spares import operations as stock
from service_api.spares.choosing import in_order_of_use
from service_api.spares.operations import Item
from service_api.spares.store import offers
from service_api.work_orders.operations import StepRefused, log_order

Connection = psycopg.Connection[TupleRow]

MOST_CANDIDATES = 6


def draft_order(connection: Connection, ticket_id: int, *, actor: str, now: datetime) -> int | None:
    """Return the ticket's open work order, drafted if there was none; None without a ticket.

    1. Rank the engineers.
    2. Write the draft; of two at once the database keeps one.
    3. Reserve the first part that fits, nearest to the best candidate, if the order is new.

    Raises `StepRefused` for a closed ticket.
    """
    found = ticket_job(connection, ticket_id)
    if found is None:
        return None
    if found.state == "closed":
        raise StepRefused("the ticket is closed; reopen it first")
    crew = engineers(connection, now=now)
    ranked = rank(found.job(now), crew)
    row = connection.execute(
        """
        INSERT INTO work_order (ticket_id, customer_id, site_id, device_id, skills,
            estimated_minutes, candidates, created_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (ticket_id) WHERE state NOT IN ('done', 'cancelled') DO NOTHING
        RETURNING id
        """,
        (
            ticket_id,
            found.customer_id,
            found.site_id,
            found.device_id,
            found.skills,
            found.minutes,
            Jsonb([one.to_json() for one in ranked[:MOST_CANDIDATES]]),
            now,
        ),
    ).fetchone()
    if row is None:
        return open_order_of(connection, ticket_id)
    order_id = int(row[0])
    best = next((one for one in crew if ranked and one.id == ranked[0].engineer_id), None)
    kept = _reserve_part(connection, order_id, found, best, actor=actor, now=now)
    log_order(
        connection,
        order_id,
        "drafted",
        customer_id=found.customer_id,
        actor=actor,
        now=now,
        detail={"candidates": len(ranked), "reserved": kept},
    )
    return order_id


def open_order_of(connection: Connection, ticket_id: int) -> int | None:
    """Return the id of the ticket's work order that is not over."""
    row = connection.execute(
        """
        SELECT id FROM work_order
        WHERE ticket_id = %s AND state NOT IN ('done', 'cancelled')
        """,
        (ticket_id,),
    ).fetchone()
    return None if row is None else int(row[0])


def _reserve_part(
    connection: Connection,
    order_id: int,
    job: TicketJob,
    best: Engineer | None,
    *,
    actor: str,
    now: datetime,
) -> str | None:
    if not job.part_kinds:
        return None
    at = None if best is None else best.position
    chosen = in_order_of_use(
        offers(connection, kinds=job.part_kinds, model=job.model),
        kinds=job.part_kinds,
        engineer_id=None if best is None else best.id,
        engineer_at=at or position_of(job.latitude, job.longitude),
    )
    for offer in chosen:
        try:
            stock.reserve(
                connection,
                item=Item(offer.part_id, offer.warehouse_id),
                quantity=1,
                work_order_id=order_id,
                actor=actor,
                now=now,
            )
        except stock.NotEnoughStock:
            continue  # another order was faster: the next best place
        return offer.sku
    return None


def refresh_candidates(connection: Connection, order_id: int, *, now: datetime) -> None:
    """Rank again for a draft, since load and time have moved on."""
    row = connection.execute(
        "SELECT ticket_id FROM work_order WHERE id = %s AND state = 'draft' FOR UPDATE",
        (order_id,),
    ).fetchone()
    if row is None:
        return
    found = ticket_job(connection, int(row[0]))
    if found is None:
        return
    ranked = rank(found.job(now), engineers(connection, now=now))
    connection.execute(
        "UPDATE work_order SET candidates = %s WHERE id = %s",
        (Jsonb([one.to_json() for one in ranked[:MOST_CANDIDATES]]), order_id),
    )
