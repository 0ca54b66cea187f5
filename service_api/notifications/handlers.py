"""Write the notices that follow from what was announced: one a contact, once a message.

A contact without a channel is told on the notices page alone, and so at once. A customer without
any contact gets a notice on the page too, so that nothing goes unsaid.
"""

from collections.abc import Callable
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from service_api.notifications import texts
from service_api.notifications.facts import incident_facts, ticket_facts
from service_api.notifications.texts import Text
from service_api.outbox import Message

Connection = psycopg.Connection[TupleRow]


def _ticket_text(
    connection: Connection, message: Message, now: datetime, write: Callable[..., Text]
) -> Text | None:
    facts = ticket_facts(connection, message.ref, now=now)
    return None if facts is None else write(facts)


def tell_of_ticket(connection: Connection, message: Message, now: datetime) -> None:
    """Tell that a ticket was opened, or opened again."""

    def write(facts: texts.TicketFacts) -> Text:
        return texts.ticket_opened(facts, again=message.topic == "ticket.reopened")

    _write(connection, message, _ticket_text(connection, message, now, write), now)


def tell_of_condition_cleared(connection: Connection, message: Message, now: datetime) -> None:
    """Tell that the unit is well again."""
    text = _ticket_text(connection, message, now, texts.condition_cleared)
    _write(connection, message, text, now)


def tell_of_closed_ticket(connection: Connection, message: Message, now: datetime) -> None:
    """Tell how a ticket ended."""
    _write(connection, message, _ticket_text(connection, message, now, texts.ticket_closed), now)


def tell_of_incident(connection: Connection, message: Message, now: datetime) -> None:
    """Tell what struck a site."""
    facts = incident_facts(connection, message.ref, now=now)
    if facts is None:
        _tell_staff(connection, message, now)
        return
    _write(connection, message, texts.incident_opened(facts), now)


def tell_of_closed_incident(connection: Connection, message: Message, now: datetime) -> None:
    """Tell that it is over."""
    facts = incident_facts(connection, message.ref, now=now)
    if facts is None:
        _tell_staff(connection, message, now)
        return
    _write(connection, message, texts.incident_closed(facts), now)


def _tell_staff(connection: Connection, message: Message, now: datetime) -> None:
    """Tell the service organization itself, in both languages, what is nobody's but its own."""
    row = connection.execute(
        "SELECT cause, subject, opened_at, closed_at FROM incident WHERE id = %s", (message.ref,)
    ).fetchone()
    if row is None:
        return
    text = texts.own_trouble(*row)
    for language, title, body in (
        ("en", text.title.en, text.body.en),
        ("zh", text.title.zh, text.body.zh),
    ):
        connection.execute(
            """
            INSERT INTO notice (topic, ref, language, title, body, created_at, next_at, dedup_key)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (dedup_key) DO NOTHING
            """,
            (
                message.topic,
                message.ref,
                language,
                title,
                body,
                now,
                now,
                f"{message.id}:staff:{language}",
            ),
        )


def _write(connection: Connection, message: Message, text: Text | None, now: datetime) -> None:
    """Insert the notices of a message; the unique key keeps a second time without effect."""
    if text is None or message.customer_id is None:
        return
    connection.execute(
        """
        INSERT INTO notice (customer_id, contact_id, topic, ref, language, title, body, created_at,
            sent_at, next_at, dedup_key)
        SELECT %(customer)s, told.id, %(topic)s, %(ref)s, told.language,
            CASE told.language WHEN 'zh' THEN %(title_zh)s ELSE %(title_en)s END,
            CASE told.language WHEN 'zh' THEN %(body_zh)s ELSE %(body_en)s END,
            %(now)s,
            CASE WHEN told.channel_sealed IS NULL THEN %(now)s::timestamptz END,
            CASE WHEN told.channel_sealed IS NOT NULL THEN %(now)s::timestamptz END,
            %(message)s || ':' || coalesce(told.id::text, 'page')
        FROM (
            SELECT c.id, c.language, c.channel_sealed FROM contact c
            WHERE c.customer_id = %(customer)s AND c.wants_notices
            AND (c.site_id IS NULL OR c.site_id = (
                SELECT site_id FROM ticket WHERE %(about)s = 'ticket' AND id = %(ref)s
                UNION ALL
                SELECT site_id FROM incident WHERE %(about)s = 'incident' AND id = %(ref)s))
            UNION ALL
            SELECT NULL, 'zh', NULL WHERE NOT EXISTS (
                SELECT FROM contact WHERE customer_id = %(customer)s AND wants_notices)
        ) AS told
        ORDER BY told.id
        ON CONFLICT (dedup_key) DO NOTHING
        """,
        {
            "customer": message.customer_id,
            "topic": message.topic,
            "ref": message.ref,
            "about": message.topic.partition(".")[0],
            "title_en": text.title.en,
            "title_zh": text.title.zh,
            "body_en": text.body.en,
            "body_zh": text.body.zh,
            "now": now,
            "message": str(message.id),
        },
    )
