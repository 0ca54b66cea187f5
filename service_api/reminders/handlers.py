"""Tell staff of a reminder and of each step that it reaches, in both languages, once."""

from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from service_api.outbox import Message
from service_api.reminders import store

Connection = psycopg.Connection[TupleRow]


def tell_of_reminder(connection: Connection, message: Message, now: datetime) -> None:
    """Write the notices of a reminder; a missing fact stands on its page and is not told.

    What is over by the time that anybody is told is told no more.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM reminder WHERE id = %s AND closed_at IS NULL)", (message.ref,)
    ).fetchone()
    if row is None or not row[0]:
        return
    one = store.reminder(connection, message.ref)
    if one.kind == "missing":
        return
    for language, title, about, customer, said, action in (
        ("en", one.title_en, one.about_en, one.customer, one.said_en, one.action_en),
        ("zh", one.title_zh, one.about_zh, one.customer_zh, one.said_zh, one.action_zh),
    ):
        colon, stop = ("：", "。") if language == "zh" else (": ", ". ")
        where = f"{about}（{customer}）" if language == "zh" else f"{about} ({customer})"
        head = f"{title}{colon}{said}" if said else title
        connection.execute(
            """
            INSERT INTO notice (topic, ref, language, title, body, created_at, next_at, dedup_key)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (dedup_key) DO NOTHING
            """,
            (
                message.topic,
                message.ref,
                language,
                head,
                f"{where}{stop}{action}",
                now,
                now,
                f"{message.id}:staff:{language}",
            ),
        )
