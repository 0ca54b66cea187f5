"""Read reminders; people's changes to them are in `rules.reminder_store`."""

from collections.abc import Mapping
from functools import partial
from typing import Any, LiteralString

from psycopg.rows import class_row

from rules.catalogue import Rule
from rules.occasions import FACTS, Subject, subject_of
from rules.version_store import known_rules
from rules.versions import Known
from service_api.errors import NotFound
from service_api.paging import Order, Page, read_page
from service_api.reminders.schemas import (
    Kind,
    Reminder,
    ReminderEvent,
    ReminderQuery,
    WarrantyFault,
)
from service_api.reminders.words import said_of
from service_api.request import Connection

_SELECT: LiteralString = """
    r.id, r.rule_key, r.subject, r.subject_id,
    coalesce(d.name, t.title_en, s.name, k.name, c.name),
    coalesce(d.name, t.title_zh, s.name_zh, k.name_zh, c.name_zh),
    r.customer_id, c.name, c.name_zh, r.site_id, r.device_id, r.owner, r.taken_by, r.raised_at,
    r.closed_at, r.step, r.reason, r.put_off_until_at, r.put_off_by, r.put_off_reason
"""
_FROM: LiteralString = """
    FROM reminder r JOIN customer c ON c.id = r.customer_id
    LEFT JOIN device d ON r.subject = 'device' AND d.id = r.subject_id
    LEFT JOIN site s ON r.subject = 'site' AND s.id = r.subject_id
    LEFT JOIN contract k ON r.subject = 'contract' AND k.id = r.subject_id
    LEFT JOIN ticket t ON r.subject = 'ticket' AND t.id = r.subject_id
"""
_NEWEST = Order.of(("r.raised_at", "timestamptz", True), ("r.id", "bigint", True))


def kind_of(rule: Rule) -> Kind:
    """Return what sort of reminder a rule makes."""
    if subject_of(rule.columns) is Subject.TICKET:
        return "deadline"
    is_missing = any(column.startswith("missing_") for column in rule.columns & FACTS.keys())
    return "missing" if is_missing else "date"


def _keys(known: Known, kind: Kind | None) -> list[str]:
    """Return the known rules of a kind; None: of every kind."""
    return sorted(
        key
        for key, rule in (known.retired | known.rules).items()
        if rule.reminder is not None and kind in {None, kind_of(rule)}
    )


def _reminder(known: Known, row: tuple[Any, ...]) -> Reminder:
    (
        reminder_id, key, subject, subject_id, about_en, about_zh, customer_id, customer,
        customer_zh, site_id, device_id, owner, taken_by, raised_at, closed_at, step, reason,
        until_at, off_by, off_reason,
    ) = row  # fmt: skip
    rule = known.rule(key)
    work = None if rule is None else rule.reminder
    value = None if work is None or work.steps_of is None else _value(reason, work.steps_of)
    said = None if rule is None else said_of(rule, value)
    return Reminder(
        id=reminder_id,
        rule=key,
        title_en=key if rule is None else rule.title_en,
        title_zh=key if rule is None else rule.title_zh,
        kind="date" if rule is None else kind_of(rule),
        subject=subject,
        subject_id=subject_id,
        about_en=about_en,
        about_zh=about_zh,
        customer_id=customer_id,
        customer=customer,
        customer_zh=customer_zh,
        site_id=site_id,
        device_id=device_id,
        owner=owner,
        taken_by=taken_by,
        raised_at=raised_at,
        closed_at=closed_at,
        step=step,
        value=value,
        said_en="" if said is None else said.en,
        said_zh="" if said is None else said.zh,
        action_en="" if work is None else work.action_en,
        action_zh="" if work is None else work.action_zh,
        source="" if rule is None else rule.source,
        put_off_until_at=until_at,
        put_off_by=off_by,
        put_off_reason=off_reason,
    )


def _value(reason: Mapping[str, Any], column: str) -> float | None:
    value = reason.get("values", {}).get(column)
    return float(value) if isinstance(value, int | float) else None


def reminders(connection: Connection, query: ReminderQuery, *, now: object) -> Page[Reminder]:
    """Read one part of the list, the newest first."""
    known = known_rules(connection)
    return read_page(
        connection,
        select=_SELECT,
        from_where=_FROM
        + """
        WHERE r.raised_at IS NOT NULL
        AND CASE %(state)s WHEN 'closed' THEN r.closed_at IS NOT NULL
            WHEN 'put_off' THEN r.closed_at IS NULL AND r.put_off_until_at > %(now)s
            ELSE r.closed_at IS NULL
                AND (r.put_off_until_at IS NULL OR r.put_off_until_at <= %(now)s) END
        AND (%(kind)s::text IS NULL OR r.rule_key = ANY(%(keys)s))
        AND (%(owner)s::text IS NULL OR r.owner = %(owner)s)
        AND (%(device_id)s::bigint IS NULL OR r.device_id = %(device_id)s)
        AND (%(customer_id)s::bigint IS NULL OR r.customer_id = %(customer_id)s)
        """,
        parameters={
            **query.model_dump(exclude={"limit", "cursor"}),
            "keys": _keys(known, query.kind),
            "now": now,
        },
        order=_NEWEST,
        query=query,
        build=partial(_reminder, known),
    )


def reminder(connection: Connection, reminder_id: int) -> Reminder:
    """Read one reminder."""
    row = connection.execute(
        "SELECT " + _SELECT + _FROM + " WHERE r.id = %s AND r.raised_at IS NOT NULL",
        (reminder_id,),
    ).fetchone()
    if row is None:
        raise NotFound
    return _reminder(known_rules(connection), row)


def events(connection: Connection, reminder_id: int) -> list[ReminderEvent]:
    """Read a reminder's log, oldest first."""
    with connection.cursor(row_factory=class_row(ReminderEvent)) as cursor:
        return cursor.execute(
            """
            SELECT at, kind, actor, detail FROM reminder_event
            WHERE reminder_id = %s ORDER BY id
            """,
            (reminder_id,),
        ).fetchall()


def counts(connection: Connection, *, now: object) -> dict[str, int]:
    """Count open reminders by kind, and those that are put off."""
    known = known_rules(connection)
    found: dict[str, int] = {"all": 0, "date": 0, "deadline": 0, "missing": 0, "put_off": 0}
    for key, shown, hidden in connection.execute(
        """
        SELECT rule_key, count(*) FILTER (WHERE put_off_until_at IS NULL OR put_off_until_at <= %s),
            count(*) FILTER (WHERE put_off_until_at > %s)
        FROM reminder WHERE closed_at IS NULL AND raised_at IS NOT NULL GROUP BY rule_key
        """,
        (now, now),
    ):
        rule = known.rule(key)
        found["all"] += shown
        found["put_off"] += hidden
        found["date" if rule is None else kind_of(rule)] += shown
    return found


def warranty_faults(connection: Connection, device_id: int | None) -> list[WarrantyFault]:
    """Read the first faults within warranties, of one unit or of all, the newest first."""
    with connection.cursor(row_factory=class_row(WarrantyFault)) as cursor:
        return cursor.execute(
            """
            SELECT w.device_id, d.name AS device, w.warranty_until, w.alarm_id, w.at
            FROM warranty_fault w JOIN device d ON d.id = w.device_id
            WHERE %(device)s::bigint IS NULL OR w.device_id = %(device)s
            ORDER BY w.at DESC, w.device_id LIMIT 500
            """,
            {"device": device_id},
        ).fetchall()
